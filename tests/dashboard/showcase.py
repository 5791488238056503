"""A day in the middle of its work, invented: for pictures of the dashboard, and to look at it while changing it."""

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import LiteralString
from uuid import uuid4

from alexandria.domain.alerting import Alert, AlertKind, Severity
from alexandria.domain.quota import Account, Lane, Policy, Request
from alexandria.domain.rollout import PauseCause
from alexandria.domain.settling import Evidence
from alexandria.domain.targets import Target, TargetKind
from alexandria.stores.alerts import AlertStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.meters import MeterStore
from alexandria.stores.objects import ObjectStore
from alexandria.stores.postgres import Connection, Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock
from dashboard.showcase_library import fill_library, fill_month

KEY = "a-key"
NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
AUTHORS = (
    "Jane Austen",
    "Mary Shelley",
    "Charles Dickens",
    "George Eliot",
    "Leo Tolstoy",
    "Emily Brontë",
    "Herman Melville",
    "Anthony Trollope",
    "Virginia Woolf",
    "Thomas Hardy",
    "Fyodor Dostoevsky",
    "Elizabeth Gaskell",
    "Victor Hugo",
    "Jules Verne",
    "Selma Lagerlöf",
    "Anton Chekhov",
)


async def fill_showcase(database_url: str, objects: ObjectStore, clock: SetClock) -> None:
    """A day's spending hour by hour, the month before, books and covers, runs in every state, queues that move, dead letters, alerts and
    calls; `clock` ends at `NOW`."""
    dice = random.Random(5)  # noqa: S311 - invented figures, the same each time
    async with Database.open(database_url) as database:
        await spend(QuotaStore(database, clock), clock, dice)
        async with database.transaction() as connection:
            await harvest(connection, dice)
            await fill_queue(connection, dice)
            await fill_meters(connection)
            await fill_library(connection, objects, NOW)
            await fill_month(connection, Account.of("isbndb", KEY), NOW.date())
            await AlertStore(connection).raise_alert(
                Alert(
                    AlertKind.DEAD_LETTERS,
                    "fetch_cover",
                    "2 jobs of kind fetch_cover have failed for good: look at them on the page of the queues",
                    NOW - timedelta(minutes=41),
                    severity=Severity.WARNING,
                )
            )


async def spend(quota: QuotaStore, clock: SetClock, dice: random.Random) -> None:
    """Some eight thousand units since midnight."""
    account, policy = Account.of("isbndb", KEY), Policy()
    consumers = (
        (Lane.BULK, "bulk-authors", 55),
        (Lane.BULK, "author-bibliography", 40),
        (Lane.SCHEDULED, "new-releases", 22),
        (Lane.SCHEDULED, "updates", 12),
        (Lane.INTERACTIVE, "batch-direct", 9),
    )
    hours = [0.1, *range(1, 15), 14.3]
    for begins, ends in pairwise(hours):
        pace = 1.6 if 2 <= begins < 6 else 0.8
        for n in range(4):
            clock.set(NOW.replace(hour=0, minute=0) + timedelta(hours=begins + (ends - begins) * n / 4))
            for lane, consumer, mean in consumers:
                clock.advance(timedelta(seconds=5))  # or their slots would be taken
                units = max(1, round(mean * pace * dice.uniform(0.6, 1.4)))
                reservation = await quota.reserve(
                    account, policy, Request(uuid4(), lane, consumer, units, requests=1)
                )
                await quota.settle(
                    reservation,
                    units_spent=units,
                    outcome="found",
                    policy=policy,
                    evidence=Evidence(provider_time=clock.now()),
                )
    clock.set(NOW)
    for units in (20, 6):
        clock.advance(timedelta(seconds=2))
        await quota.reserve(account, policy, Request(uuid4(), Lane.BULK, "bulk-authors", units))


async def harvest(connection: Connection, dice: random.Random) -> None:
    """Runs in every state."""
    harvests = HarvestStore(connection)
    runs: list[tuple[str, str, dict[str, object], float, int, float]] = [
        ("20261123-4b81d0", "tiers", {"tier": "top-1000"}, 9, 240, 0.62),
        ("20261123-9c02ee", "new_releases", {"start_month": "2026-10", "end_month": "2026-11"}, 5, 44, 0.4),
        ("20261123-71aa3f", "authors", {"authors": list(AUTHORS)}, 3, 16, 0.3),
        ("20261122-e0c9d4", "tiers", {"tier": "top-100"}, 31, 100, 1),
        ("20261122-5d1f77", "isbns", {"isbns": 1840}, 38, 19, 1),
        ("20261121-a83b10", "new_releases", {"start_month": "2026-09", "end_month": "2026-09"}, 55, 22, 1),
    ]
    for run_id, kind, parameters, hours_ago, items, share in runs:
        begun_at = NOW - timedelta(hours=hours_ago)
        await harvests.add_run(
            run_id,
            kind=kind,
            lane=Lane.SCHEDULED if kind == "new_releases" else Lane.BULK,
            parameters=parameters,
            targets=[target(kind, n) for n in range(items)],
            fresh_since=begun_at,
            now=begun_at,
        )
        await fill_items(connection, run_id, kind, round(items * share), begun_at, dice)
        if share == 1:
            await harvests.finish_run(run_id, now=begun_at + timedelta(hours=2, minutes=17))
    await harvests.pause_run(
        "20261123-71aa3f",
        cause=PauseCause.CEILING,
        reason="it may spend 1,200 units a day, and has",
        resumes_at=NOW.replace(day=24, hour=0, minute=0),
    )


def target(kind: str, n: int) -> Target:
    """What an item asks for."""
    if kind == "new_releases":
        return Target(
            TargetKind.MONTH, f"2026-{11 - n % 2}", f"subject {n}", units_expected=9, editions_expected=610
        )
    if kind == "isbns":
        return Target(TargetKind.ISBNS, f"{100 - n} ISBNs", "", units_expected=97, editions_expected=80)
    name = AUTHORS[n % len(AUTHORS)]
    return Target(TargetKind.AUTHOR, f"OL{2000 + 31 * n}A", name, units_expected=4, editions_expected=140)


ENDED: LiteralString = (
    "UPDATE harvest_items SET state = %(state)s, units_rolled_up = %(units)s, editions_found = %(found)s, editions_new = %(new)s,"
    " works_new = %(works)s, covers_wanted = %(covers)s, reason = %(reason)s, next_page = %(page)s, total = %(total)s,"
    " outcomes = %(outcomes)s::jsonb, updated_at = %(at)s WHERE run_id = %(run)s AND position = %(position)s"
)


async def fill_items(
    connection: Connection, run_id: str, kind: str, ended: int, begun_at: datetime, dice: random.Random
) -> None:
    """What came of a run's first items."""
    for position in range(1, ended + 1):
        units = dice.randint(1, 9) if kind != "isbns" else dice.randint(80, 100)
        found = units * dice.randint(60, 98) if kind != "isbns" else round(units * 0.9)
        new = round(found * dice.uniform(0.15, 0.6))
        is_failed, is_empty = dice.random() < 0.03, dice.random() < 0.05
        is_last = position == ended and run_id.startswith("20261123")
        state = "partial" if is_last else "failed" if is_failed else "empty" if is_empty else "done"
        if state in {"failed", "empty"}:
            found = new = 0
        outcomes = {f"97800000{position:02d}{n:03d}": ["found", None] for n in range(found)}
        values = {
            "state": state,
            "units": units,
            "found": found,
            "new": new,
            "works": round(new * 0.7),
            "covers": round(new * 0.8),
            "reason": "the provider answered 502 three times" if state == "failed" else None,
            "page": units + 1,
            "total": found + 140 if state == "partial" else found,
            "outcomes": json.dumps(outcomes if kind == "isbns" else {}),
            "at": begun_at + timedelta(seconds=40 * position),
            "run": run_id,
            "position": position,
        }
        await connection.execute(ENDED, values)


async def fill_queue(connection: Connection, dice: random.Random) -> None:
    """Jobs that wait, and what moved in the last two hours. The queue's times are the database's."""
    await connection.execute(
        "INSERT INTO pgqueuer (priority, created, execute_after, status, entrypoint, dedupe_key, payload)"
        " SELECT 0, now() - make_interval(secs => n), now() - make_interval(secs => CASE WHEN n %% 9 = 0 THEN -600 ELSE n END),"
        "        CASE WHEN n < 6 THEN 'picked' ELSE 'queued' END::pgqueuer_status, kind, kind || n, '{}'"
        "   FROM (VALUES ('harvest_item', 40), ('fetch_cover', 164)) AS jobs (kind, count), generate_series(1, count) AS n",
        [],
    )
    for minute in range(120):
        entered = max(0, round(38 + 14 * dice.uniform(-1, 1) - (24 if 50 < minute < 70 else 0)))
        done = max(0, entered - dice.randint(0, 5))
        steps = (("queued", entered, None), ("successful", done, None), ("queued", dice.randint(0, 3), "{}"))
        for status, count, traceback in steps:
            await connection.execute(
                "INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint, traceback)"
                " SELECT now() - make_interval(mins => %s), 1, %s::pgqueuer_status, 0, 'harvest_item', %s::jsonb"
                "   FROM generate_series(1, %s)",
                [minute, status, traceback, count],
            )
    for n, (isbn, kind, message) in enumerate(
        (
            ("9780306406157", "DecompressionBombError", "the picture claims 90,000 x 90,000 points"),
            ("9781861972712", "ProviderUnavailable", "covers: no answer within 20 s, five times"),
        )
    ):
        cursor = await connection.execute(
            "INSERT INTO pgqueuer (priority, created, updated, status, entrypoint, payload, attempts)"
            " VALUES (0, now() - interval '3 hours', now() - make_interval(mins => %s), 'failed', 'fetch_cover', %s, 5) RETURNING id",
            [41 + 13 * n, json.dumps({"isbn": isbn}).encode()],
        )
        row = await cursor.fetchone()
        assert row is not None
        await connection.execute(
            "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) VALUES (%s, 'failed', 0, 'fetch_cover', %s)",
            [
                row[0],
                json.dumps(
                    {
                        "exception_type": kind,
                        "exception_message": message,
                        "traceback": f"Traceback (most recent call last):\n  ...\n{kind}: {message}",
                    }
                ),
            ],
        )


async def fill_meters(connection: Connection) -> None:
    """The last hour's calls, and who is alive."""
    bounds = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
    readings: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    calls = (
        ("isbndb", "author", 412, (0.05, 0.5, 0.9, 0.99, 1, 1), {"delivered": 401, "absent": 8, "failed": 3}),
        ("openlibrary", "books", 96, (0.02, 0.2, 0.7, 0.92, 0.99, 1), {"delivered": 88, "absent": 8}),
        ("wikidata", "query", 14, (0, 0, 0.1, 0.6, 0.95, 1), {"delivered": 13, "failed": 1}),
    )
    for provider, endpoint, count, shares, outcomes in calls:
        of = (("endpoint", endpoint), ("provider", provider))
        for outcome, n in outcomes.items():
            readings["alexandria_provider_calls_total", (*of[:1], ("outcome", outcome), *of[1:])] = n
        name = "alexandria_provider_call_seconds"
        readings[name + "_count", of] = count
        readings[name + "_sum", of] = count * 0.4
        for bound, share in (*zip(bounds, shares, strict=True), (float("inf"), 1.0)):
            text = "+Inf" if bound == float("inf") else str(bound)
            readings[name + "_bucket", (of[0], ("le", text), of[1])] = round(count * share)
    store = MeterStore(connection)
    await store.add(readings, spanned=readings)
    for workers in (1, 2):
        await store.beat(uuid4(), workers=workers)
