"""/metrics: every name is documented and told, with the labels that it should have, and a database that is away is no error."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from alexandria import meters
from alexandria.api.metrics import FAMILIES
from alexandria.app import isbndb_account, isbndb_policy
from alexandria.domain.quota import Lane, Request
from alexandria.metering import Publisher
from alexandria.meters import Family
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text("utf-8")

Told = dict[str, dict[tuple[tuple[str, str], ...], float]]


def samples(text: str) -> Told:
    found: Told = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def told(client: Any) -> Told:
    answer = await client.get("/metrics")
    assert answer.status == 200
    return samples(answer.body.decode())


def value(found: Told, name: str, **labels: str) -> float:
    return found[name][tuple(sorted(labels.items()))]


def documented() -> list[tuple[str, ...]]:
    rows = re.findall(
        r"^\| `(alexandria_\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*) \|$", DOCUMENT, flags=re.MULTILINE
    )
    return [(name, kind, labels, unit, help_) for name, kind, labels, unit, help_ in rows]


def test_every_metric_is_documented_as_it_is_and_nothing_else() -> None:
    def row(family: Family) -> tuple[str, ...]:
        labels = ", ".join(f"`{each}`" for each in family.labels) or "–"
        return (family.name, family.kind, labels, family.unit, family.help)

    assert documented() == [row(each) for each in FAMILIES]


def test_names_say_their_unit() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"alexandria(_[a-z]+)+", family.name)
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.kind != "histogram" or family.name.endswith("_seconds"), family.name
        assert "seconds" not in family.unit or family.name.endswith("_seconds"), family.name


def test_every_label_is_documented_with_its_values() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", DOCUMENT.partition("## Labels")[2], flags=re.MULTILINE)
    described = {each for cell, _ in rows for each in re.findall(r"`(\w+)`", cell)} - {"values"}
    used = {label for family in FAMILIES for label in family.labels} - {"version"}
    assert used <= described
    assert described <= used


async def test_what_is_told_is_what_is_documented(client: Any) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    text = answer.body.decode()
    announced = {(name, kind) for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, flags=re.MULTILINE)}
    assert announced == {(each.name, each.kind) for each in FAMILIES}
    labels_of = {each.name: set(each.labels) for each in FAMILIES}
    for each in FAMILIES:
        if each.kind == "histogram":
            labels_of |= {f"{each.name}_{part}": set(each.labels) for part in ("count", "sum")}
            labels_of[f"{each.name}_bucket"] = {*each.labels, "le"}
    found = samples(text)
    for name, lines in found.items():
        for labels in lines:
            assert {label for label, _ in labels} == labels_of[name], name
    assert value(found, "alexandria_up") == 1
    assert value(found, "alexandria_quota_limit_units", provider="isbndb") == 13_000


async def test_openmetrics_is_told_to_who_asks_for_it(client: Any) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await client.get("/metrics", headers=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    families = read_openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]  # theirs has no annotation
    names = {family.name for family in families}
    assert names == {each.stem for each in FAMILIES}


async def test_units_are_told_by_who_spent_them_and_strangers_have_no_name(
    start_server: Any, own_database_url: str, make_config: Any
) -> None:
    config, clock = make_config(), SetClock()
    # Without a count that would have to be asked for first.
    account, policy = isbndb_account(config), replace(isbndb_policy(config), has_counter=False)
    async with Database.open(own_database_url) as database:
        quota = QuotaStore(database, clock)
        for consumer, units in (("new-releases", 3), ("external-somebody", 2)):
            request = Request(uuid4(), Lane.BULK, consumer, units)
            reservation = await quota.reserve(account, policy, request)
            await quota.settle(reservation, units_spent=units, outcome="delivered", policy=policy)
    client = await start_server(url=own_database_url)
    found = await told(client)
    of = {"provider": "isbndb", "lane": "bulk", "state": "settled"}
    assert value(found, "alexandria_quota_used_units", consumer="new-releases", **of) == 3
    assert value(found, "alexandria_quota_used_units", consumer="other", **of) == 2
    assert value(found, "alexandria_quota_charged_units", provider="isbndb") == 5
    assert value(found, "alexandria_quota_left_units", provider="isbndb") == 12_995


async def test_requests_are_counted_by_route_and_never_by_path(
    start_server: Any, own_database_url: str
) -> None:
    client = await start_server(url=own_database_url)
    for path in ("/api/runs/20261123-secret", "/api/runs/20261123-other", "/no/such/secret", "/health"):
        await client.get(path)
    await client.ask("BREW", "/health")
    async with Database.open(own_database_url) as database:
        publisher = Publisher(database)
        publisher._published = {}
        await publisher.publish()
    answer = await client.get("/metrics")
    assert "secret" not in answer.body.decode()
    found = samples(answer.body.decode())
    assert (
        value(found, "alexandria_http_requests_total", method="GET", route="/api/runs/{run_id}", status="404")
        >= 2
    )
    assert value(found, "alexandria_http_requests_total", method="GET", route="none", status="404") >= 1
    assert value(found, "alexandria_http_requests_total", method="GET", route="/health", status="200") >= 1
    assert value(found, "alexandria_http_request_seconds_count", route="/health") >= 1
    methods = {dict(labels)["method"] for labels in found["alexandria_http_requests_total"]}
    assert "BREW" not in methods
    assert "other" in methods


async def test_a_database_that_is_away_is_told_and_no_error(
    start_server: Any, own_database_url: str, server_url: str
) -> None:
    client = await start_server(url=own_database_url)
    assert value(await told(client), "alexandria_up") == 1
    name = urlsplit(own_database_url).path[1:]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    found = await told(client)
    assert value(found, "alexandria_up") == 0
    assert set(found) == {"alexandria_up", "alexandria_build_info", "alexandria_scrape_seconds"}


async def test_a_scrape_waits_for_nobody_who_holds_the_account(
    start_server: Any, own_database_url: str
) -> None:
    client = await start_server(url=own_database_url)
    async with Database.open(own_database_url) as database, database.transaction() as connection:
        await connection.execute("LOCK quota_accounts, quota_windows, meters, pgqueuer IN ROW EXCLUSIVE MODE")
        await connection.execute("SELECT FROM quota_accounts FOR UPDATE")
        async with asyncio.timeout(3):
            assert value(await told(client), "alexandria_up") == 1


async def test_what_takes_long_to_count_is_not_counted_for_every_scrape(
    start_server: Any, own_database_url: str
) -> None:
    client = await start_server(url=own_database_url)
    assert value(await told(client), "alexandria_covers", state="wanted") == 0
    async with Database.open(own_database_url) as database, database.connection() as connection:
        await connection.execute(
            "INSERT INTO covers_wanted (isbn13, url, found_at, due_at) VALUES ('9780306406157', 'https://covers.example/1', now(), now())"
        )
    assert value(await told(client), "alexandria_covers", state="wanted") == 0, "the clock stands still"


def test_reading_the_meters_leaves_out_when_they_began() -> None:
    meters.CALLS.labels("isbndb", "key", "delivered").inc(0)
    names = {sample for sample, _ in meters.read()}
    assert not [each for each in names if each.endswith("_created")]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_metrics_are_only_read(client: Any, method: str) -> None:
    answer = await client.ask(method, "/metrics", headers={"Content-Type": "application/json"})
    assert answer.status == 405
