"""What a proven quota costs, against the bare pair: what the simplest exact counter with a ledger has to do for each call.

The bare pair is one statement that changes a counter's row and adds a ledger's row, executed twice, one commit before the call
and one after it. Both are measured by the same processes over the same kind of connection in one run, in turns, so that the ratio
says something on any machine. Then: how often a cycle waits for the server, and what 15,000 cycles, a day's calls, leave on disk.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import psycopg

from alexandria.domain.quota import RECONCILER, Account, Lane, Policy, Request
from alexandria.domain.reconciling import Reading
from alexandria.domain.settling import Evidence
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from measuring import PATIENCE_SECONDS, NoonClock, be_quiet, fresh_database, processes, server

SECONDS = 1.0
ROUNDS = 7
PROCESSES = (1, 4, 16)
COUNTED_CYCLES = 200
CALLS_A_DAY = 15_000

LIMIT = 100_000_000
POLICY = Policy(hard_limit=LIMIT, safe_limit=LIMIT, requests_per_window=1_000_000, has_counter=True)
"""Nothing is denied: a denial is cheaper than a grant and would flatter the figures."""
ACCOUNT = Account.of("isbndb", "a key")

BARE_TABLES = """
CREATE TABLE bare_counter AS SELECT 0 AS units;
CREATE TABLE bare_ledger (
    entry       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id  uuid NOT NULL,
    units       int NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
"""
BARE_STATEMENT = """
WITH charge AS (UPDATE bare_counter SET units = units + %(units)s)
INSERT INTO bare_ledger (request_id, units) VALUES (%(request_id)s, %(units)s)
"""

Cycle = Callable[[Database, QuotaStore], Awaitable[None]]
Latencies = list[float]


async def quota_cycle(_: Database, quota: QuotaStore) -> None:
    """All that the coordinator does for one call that is answered."""
    request = Request(uuid4(), Lane.BULK, "bench", units=1)
    reservation = await quota.reserve(ACCOUNT, POLICY, request)
    evidence = Evidence(reservation.as_of, total=LIMIT, left=LIMIT, rate=POLICY.rate, is_failure=False)
    await quota.settle(reservation, units_spent=1, outcome="200", evidence=evidence, policy=POLICY)


async def know_the_count(quota: QuotaStore) -> None:
    """What a process does once: a free call whose answer tells the day, and the provider's count compared with ours."""
    free = Request(uuid4(), Lane.INTERACTIVE, RECONCILER, units=0)
    reservation = await quota.reserve(ACCOUNT, POLICY, free)
    answered = Evidence(reservation.as_of, total=LIMIT, left=LIMIT, rate=POLICY.rate)
    await quota.settle(reservation, units_spent=0, outcome="200", evidence=answered, policy=POLICY)
    reading = Reading(reservation.day, LIMIT, 0, asked_at=reservation.as_of)
    await quota.reconcile(ACCOUNT, POLICY, reading)


async def bare_pair(database: Database, _: QuotaStore) -> None:
    """The least that is durable before and after one call."""
    request_id = uuid4()
    for units in (1, 0):
        async with database.connection() as connection:
            await connection.execute(BARE_STATEMENT, {"request_id": request_id, "units": units})


CYCLES: dict[str, Cycle] = {"bare": bare_pair, "quota": quota_cycle}


async def repeat(cycle: Cycle, database: Database, quota: QuotaStore) -> Latencies:
    """How long each cycle took, for a while."""
    latencies = []
    begun_at = ends_at = time.perf_counter()
    ends_at += SECONDS
    while begun_at < ends_at:
        await cycle(database, quota)
        done_at = time.perf_counter()
        latencies.append(done_at - begun_at)
        begun_at = done_at
    return latencies


def work(url: str, clock: NoonClock, together: Barrier, results: "Queue[dict[str, list[Latencies]]]") -> None:
    """The body of one process: every round measures one after the other, all processes at the same time."""
    be_quiet()

    async def measure() -> dict[str, list[Latencies]]:
        found: dict[str, list[Latencies]] = {kind: [] for kind in CYCLES}
        async with Database.open(url, most_connections=1) as database:
            quota = QuotaStore(database, clock)
            await know_the_count(quota)
            for cycle in CYCLES.values():  # prepares the statements; psycopg does so when it sees one again
                for _ in range(10):
                    await cycle(database, quota)
            for _ in range(ROUNDS):
                for kind, cycle in CYCLES.items():
                    together.wait(PATIENCE_SECONDS)
                    found[kind].append(await repeat(cycle, database, quota))
        return found

    results.put(asyncio.run(measure()))


def compare_rates(url: str, clock: NoonClock) -> None:
    """Cycles per second with more and more processes, and how long the unlucky ones take."""
    alone = None
    for count in PROCESSES:
        together = processes.Barrier(count)
        results: Queue[dict[str, list[Latencies]]] = processes.Queue()
        workers = [processes.Process(target=work, args=(url, clock, together, results)) for _ in range(count)]
        for worker in workers:
            worker.start()
        found = [results.get(timeout=PATIENCE_SECONDS) for _ in workers]
        for worker in workers:
            worker.join(timeout=10)
        rounds = {kind: [cycles_a_second(found, kind, turn) for turn in range(ROUNDS)] for kind in CYCLES}
        rates = {kind: median(rounds[kind]) for kind in CYCLES}
        ratio = median(quota / bare for quota, bare in zip(rounds["quota"], rounds["bare"], strict=True))
        alone = alone or rates
        print(
            f"quota: {count:>2} process(es): {rates['quota']:5,.0f} reserve+settle/s, {rates['bare']:5,.0f} bare pairs/s,"
            f" ratio {ratio:.2f}; against 1 process: {rates['quota'] / alone['quota']:.2f}"
            f" (bare {rates['bare'] / alone['bare']:.2f}); a cycle: {percentiles(found, 'quota')},"
            f" bare: {percentiles(found, 'bare')}"
        )


def cycles_a_second(found: list[dict[str, list[Latencies]]], kind: str, turn: int) -> float:
    return sum(len(each[kind][turn]) for each in found) / SECONDS


def percentiles(found: list[dict[str, list[Latencies]]], kind: str) -> str:
    every = [seconds * 1000 for each in found for latencies in each[kind] for seconds in latencies]
    hundredths = quantiles(every, n=100)
    return f"p50 {hundredths[49]:.1f} ms, p99 {hundredths[98]:.1f} ms"


class CountingProxy:
    """Stands between a client and the server's socket and counts how often the client waits for an answer.

    Counted is each time that the client speaks after the server spoke: what it sends in one breath is one round trip, however
    many statements that holds. A client that waits is never missed; one that still sends while the server already answers is
    counted once too often, so the figure is an upper bound.
    """

    def __init__(self, server_url: str) -> None:
        self._parts = urlsplit(server_url)
        self.round_trips = 0
        self._server_spoke = True

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The URL that leads through here."""
        with tempfile.TemporaryDirectory(prefix="alexandria-bench-") as folder:
            async with asyncio.TaskGroup() as connections:
                listener = await asyncio.start_unix_server(
                    lambda *streams: connections.create_task(self._join(*streams)),
                    Path(folder) / ".s.PGSQL.5432",
                )
                async with listener:
                    yield self._parts._replace(query=f"host={quote(folder, safe='/')}&port=5432").geturl()

    async def _join(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        target = parse_qs(self._parts.query)
        socket = Path(target["host"][0]) / f".s.PGSQL.{target['port'][0]}"
        answers, to_server = await asyncio.open_unix_connection(socket)
        await asyncio.gather(self._pass_on(client, to_server, True), self._pass_on(answers, to_client, False))

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, from_client: bool
    ) -> None:
        while data := await source.read(65536):
            self.round_trips += from_client and self._server_spoke
            self._server_spoke = not from_client
            target.write(data)
            await target.drain()
        target.close()


async def count_round_trips(url: str, clock: NoonClock) -> None:
    """What one cycle costs when the server is far away; the very first also creates the account."""
    proxy = CountingProxy(url)

    async def round_trips(cycle: Cycle, cycles: int) -> float:
        before = proxy.round_trips
        for _ in range(cycles):
            await cycle(database, quota)
        return (proxy.round_trips - before) / cycles

    async with (
        proxy.listening() as url_through_proxy,
        Database.open(url_through_proxy, most_connections=1) as database,
    ):
        quota = QuotaStore(database, clock)
        await know_the_count(quota)
        first = await round_trips(quota_cycle, 1)
        for cycle in CYCLES.values():
            await round_trips(cycle, 20)  # psycopg prepares a statement when it sees it again
        proven = await round_trips(quota_cycle, COUNTED_CYCLES)
        bare = await round_trips(bare_pair, COUNTED_CYCLES)
    print(
        f"quota: a cycle takes {proven:.2f} round trips (the very first {first:.0f}), the bare pair {bare:.2f},"
        f" ratio {proven / bare:.2f}; counted over {COUNTED_CYCLES} cycles each"
    )


def sizes(url: str) -> dict[str, tuple[int, int]]:
    """Bytes of heap (with its TOAST and maps) and of indexes for each of the quota's tables, after VACUUM."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        rows = connection.execute(
            "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class"
            " WHERE relname LIKE 'quota%' AND relkind = 'r' ORDER BY relname"
        ).fetchall()
    return {name: (heap, indexes) for name, heap, indexes in rows}


async def spend_a_day(url: str, clock: NoonClock) -> None:
    # Whether commits wait for the disk changes no size, only how long this takes.
    async with Database.open(f"{url}&options=-c%20synchronous_commit%3Doff", most_connections=1) as database:
        quota = QuotaStore(database, clock)
        await know_the_count(quota)
        for _ in range(CALLS_A_DAY):
            await quota_cycle(database, quota)


def measure_growth(url: str, clock: NoonClock) -> None:
    """What a day's calls leave behind, table by table."""
    before = sizes(url)
    asyncio.run(spend_a_day(url, clock))
    total = 0
    print(f"quota: {CALLS_A_DAY:,} cycles of one unit leave on disk (heap + indexes, after VACUUM):")
    for name, (heap, indexes) in sizes(url).items():
        heap, indexes = heap - before[name][0], indexes - before[name][1]
        total += heap + indexes
        if heap + indexes:
            print(f"    {name:<20} {heap / 1e6:6.2f} MB + {indexes / 1e6:6.2f} MB")
    print(f"    {'all':<20} {total / 1e6:6.2f} MB, {total / CALLS_A_DAY:,.0f} bytes a call")


def with_bare_tables(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(BARE_TABLES)
    return url


def main() -> None:
    be_quiet()
    clock = NoonClock()
    with server() as server_url:
        compare_rates(with_bare_tables(fresh_database(server_url, "rates")), clock)
        asyncio.run(count_round_trips(with_bare_tables(fresh_database(server_url, "trips")), clock))
        measure_growth(fresh_database(server_url, "growth"), clock)


if __name__ == "__main__":
    main()
