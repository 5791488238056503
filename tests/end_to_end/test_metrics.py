"""A server and two workers, each a process of its own: /metrics is right for all of them together, and stays so when they end."""

import asyncio
import signal
import socket
from collections.abc import Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from alexandria import config
from alexandria.sandbox.server import running_sandbox
from alexandria.sandbox.switches import Switches
from alexandria.sandbox.world import World
from alexandria.server import serving
from alexandria.stores.postgres import Database
from conftest import Environment
from end_to_end.processes import ended, interrupted, ran, started

Told = dict[str, list[tuple[dict[str, str], float]]]


async def scrape(address: str) -> Told:
    async with aiohttp.ClientSession() as session, session.get(f"{address}/metrics") as answer:
        assert answer.status == 200
        found: Told = {}
        for family in text_string_to_metric_families(await answer.text()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found


def total(told: Told, name: str, **labels: str) -> float:
    return sum(value for of, value in told.get(name, []) if labels.items() <= of.items())


async def scrape_until(address: str, condition: Callable[[Told], bool]) -> Told:
    async with asyncio.timeout(60):
        while not condition(told := await scrape(address)):  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.1)
    return told


async def count_editions(database: Database) -> int:
    async with database.connection() as connection:
        row = await (await connection.execute("SELECT count(*) FROM editions")).fetchone()
    assert row is not None
    return int(row[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.timeout(150)
async def test_a_server_tells_what_two_workers_counted(
    environment_for: Environment, database: Database
) -> None:
    world = World.invent(seed=5, authors=40)
    async with running_sandbox(world, switches=Switches(rate_q=100_000, book_dirt="off")) as sandbox:
        environment = environment_for(sandbox, port=free_port())
        settings = config.load(environment)
        assert settings.database_url
        async with serving(settings, settings.database_url, with_worker=False) as server:
            workers = [await started(environment, "worker") for _ in range(2)]
            await scrape_until(server.address, lambda told: total(told, "alexandria_workers_alive") == 2)
            names = [author.name for author in world.truth.authors.values()]
            arguments = [word for name in names for word in ("--author", name)]
            code, _, err = await ran(environment, "harvest", "authors", *arguments, "--json")
            assert code == 0, err

            # One is told to end, the other is killed once it has told what it did.
            code, _, err = await interrupted(workers[0])
            assert code == 0, err
            calls = len([call for call in sandbox.calls if call.path.startswith("/author/")])
            editions = await count_editions(database)

            def is_complete(told: Told) -> bool:
                return (
                    total(told, "alexandria_provider_calls_total", endpoint="author") >= calls
                    and total(told, "alexandria_added_editions_total") >= editions
                    and total(told, "alexandria_jobs_ended_total", outcome="done") >= len(names)
                )

            told = await scrape_until(server.address, is_complete)
            workers[1].send_signal(signal.SIGKILL)
            await ended(workers[1])
            after = await scrape(server.address)

        assert total(told, "alexandria_provider_calls_total", endpoint="author", outcome="delivered") == calls
        assert total(told, "alexandria_provider_call_seconds_count", endpoint="author") == calls
        assert total(told, "alexandria_provider_call_seconds_bucket", endpoint="author", le="+Inf") == calls
        assert total(told, "alexandria_quota_charged_units", provider="isbndb") == sandbox.spent(
            "sandbox-key"
        )
        assert total(told, "alexandria_added_editions_total") == editions > 0
        assert total(told, "alexandria_jobs_ended_total", kind="harvest_item", outcome="done") >= len(names)
        assert total(told, "alexandria_harvest_runs", kind="authors", state="done") == 1
        for name in ("alexandria_provider_calls_total", "alexandria_jobs_ended_total"):
            assert total(after, name) >= total(told, name), "nobody takes what he counted with him"
