"""What is wanted, what is due, and what an outcome changes, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from structlog.testing import capture_logs

from alexandria.domain.covers import CoverOutcome, CoverState, CoverWish, Picture, Unfit
from alexandria.domain.errors import RecordNotFound
from alexandria.domain.isbn import Isbn
from alexandria.stores.covers import Cover, CoverStore, queries
from alexandria.stores.postgres import Connection, Database

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
URL = "https://images.example/1.jpg"
PICTURE = Picture("ab" * 32, 500, 750, 4711)
STORED = CoverOutcome(CoverState.STORED, picture=PICTURE)
MISSING = CoverOutcome.unfit(Unfit(CoverState.MISSING, "no such file"), NOON)
REFUSED = CoverOutcome.unfit(Unfit(CoverState.REFUSED, "not a picture"), NOON)


def isbn(number: int) -> Isbn:
    """A valid ISBN of the tests' own."""
    digits = f"97814028{number:04d}"
    return Isbn(digits + str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10))


ONE, TWO, THREE, FOUR = (isbn(number) for number in range(1, 5))


def wish(number: Isbn = ONE, url: str = URL, found_at: datetime = NOON) -> CoverWish:
    return CoverWish(number, url, found_at)


def failed(attempts: int, now: datetime = NOON) -> CoverOutcome:
    return CoverOutcome.failed("no answer", attempts=attempts, now=now)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    async with database.connection() as connection:
        yield connection


@pytest.fixture
def covers(connection: Connection) -> CoverStore:
    return CoverStore(connection)


async def wanted(covers: CoverStore, number: Isbn = ONE, url: str = URL) -> Cover:
    await covers.want([wish(number, url)])
    return await covers.get(number)


async def store(covers: CoverStore, *numbers: Isbn, picture: Picture = PICTURE) -> list[CoverState]:
    outcome = CoverOutcome(CoverState.STORED, picture=picture)
    return [(await covers.record(await wanted(covers, each), outcome, NOON)).state for each in numbers]


async def save_edition(connection: Connection, work: str, edition: str, *numbers: Isbn) -> None:
    await connection.execute(
        "INSERT INTO works (key, title, identity) VALUES (%s, 'A title', 'matched') ON CONFLICT DO NOTHING",
        [work],
    )
    await connection.execute(
        "INSERT INTO editions (key, work_key, title) VALUES (%s, %s, 'A title')", [edition, work]
    )
    for each in numbers:
        await connection.execute(
            "INSERT INTO edition_isbns (isbn, edition_key, is_first) VALUES (%s, %s, true)",
            [str(each), edition],
        )


# Wishes


async def test_a_wish_is_counted_once_and_due_at_once(covers: CoverStore) -> None:
    assert await covers.want([wish(TWO, found_at=NOON - HOUR), wish(ONE)]) == 2
    assert await covers.want([wish(ONE), wish(TWO), wish(THREE, found_at=NOON + HOUR)]) == 1
    assert await covers.list_due(10, NOON) == [TWO, ONE]
    assert await covers.list_due(1, NOON) == [TWO]
    assert await covers.list_due(10, NOON + HOUR) == [TWO, ONE, THREE]


async def test_the_latest_of_several_wishes_for_one_isbn_stands_in_any_order(covers: CoverStore) -> None:
    wishes = [wish(ONE, f"{URL}?v={age}", NOON - age * HOUR) for age in range(3)]
    for number, ordered in enumerate(permutations(wishes)):
        each_isbn = isbn(100 + number)
        ordered_wishes = [CoverWish(each_isbn, each.url, each.found_at) for each in ordered]
        assert await covers.want(ordered_wishes) == 1
        assert (await covers.get(each_isbn)).url == f"{URL}?v=0"


async def test_an_older_record_does_not_bring_an_old_address_back(covers: CoverStore) -> None:
    await covers.want([wish(url=URL)])
    assert await covers.want([wish(url="https://images.example/old.jpg", found_at=NOON - HOUR)]) == 0
    assert (await covers.get(ONE)).url == URL


async def test_addresses_that_carry_a_token_are_neither_stored_nor_logged(covers: CoverStore) -> None:
    with capture_logs() as events:
        assert await covers.want([wish(ONE, f"{URL}?key=secret"), wish(TWO)]) == 1
        assert await covers.want([wish(ONE, f"{URL}?key=secret")]) == 0
    assert await covers.find(ONE) is None
    assert [each["event"] for each in events] == ["cover.wish_refused"] * 2
    assert "secret" not in str(events)


async def test_no_wishes_are_no_work(covers: CoverStore) -> None:
    assert await covers.want([]) == 0
    assert await covers.find(ONE) is None
    with pytest.raises(RecordNotFound, match=str(ONE)):
        await covers.get(ONE)


async def test_only_another_address_makes_a_finished_wish_new(covers: CoverStore) -> None:
    for number, outcome in enumerate((MISSING, REFUSED, failed(1), failed(10))):
        each = isbn(number)
        await covers.record(await wanted(covers, each), outcome, NOON)
        assert await covers.want([wish(each, found_at=NOON + HOUR)]) == 0
        assert (await covers.get(each)).state is outcome.state
        assert await covers.want([wish(each, "https://images.example/2.jpg", NOON + HOUR)]) == 1
        cover = await covers.get(each)
        assert (cover.state, cover.attempts, cover.reason) == (CoverState.WANTED, 0, None)
        assert each in await covers.list_due(10, NOON + HOUR)


async def test_another_address_for_a_cover_still_wanted_is_taken_but_not_counted(covers: CoverStore) -> None:
    await wanted(covers)
    assert await covers.want([wish(url="https://images.example/2.jpg", found_at=NOON + HOUR)]) == 0
    assert (await covers.get(ONE)).url == "https://images.example/2.jpg"


async def test_a_stored_cover_is_not_asked_for_again(covers: CoverStore) -> None:
    await store(covers, ONE)
    assert await covers.want([wish(url="https://images.example/2.jpg", found_at=NOON + HOUR)]) == 0
    assert await covers.list_due(10, NOON + timedelta(days=1000)) == []


# Outcomes


async def test_a_stored_cover_shows_what_was_measured_and_where_it_came_from(covers: CoverStore) -> None:
    outcome = await covers.record(await wanted(covers, url=f"{URL}?zoom=1"), STORED, NOON + HOUR)
    cover = await covers.get(ONE)
    assert outcome == cover.outcome == STORED
    assert (cover.picture, cover.stored_at, cover.due_at) == (PICTURE, NOON + HOUR, None)
    assert cover.source == URL


async def test_failures_in_a_row_wait_longer_and_longer_until_nobody_asks_any_more(
    covers: CoverStore,
) -> None:
    await wanted(covers)
    now, waits = NOON, []
    for _ in range(20):
        if not await covers.list_due(1, now):
            break
        cover = await covers.get(ONE)
        outcome = await covers.record(cover, failed(cover.attempts + 1, now), now)
        waits.append(outcome.due_at - now if outcome.due_at else None)
        now = outcome.due_at or now + timedelta(days=1000)
    assert waits == [*(timedelta(minutes=2**n) for n in range(9)), None]
    assert (await covers.get(ONE)).attempts == 10
    assert (await covers.get(ONE)).state is CoverState.FAILED


async def test_a_definite_answer_ends_the_row_of_failures_and_is_asked_again_in_three_months(
    covers: CoverStore,
) -> None:
    await covers.record(await wanted(covers), failed(1), NOON)
    await covers.record(await covers.get(ONE), MISSING, NOON)
    assert (await covers.get(ONE)).attempts == 0
    assert await covers.list_due(10, NOON + timedelta(days=89)) == []
    assert await covers.list_due(10, NOON + timedelta(days=90)) == [ONE]


async def test_two_workers_who_fail_together_count_as_one_failure(covers: CoverStore) -> None:
    cover = await wanted(covers)
    for _ in range(2):
        await covers.record(cover, failed(cover.attempts + 1), NOON)
    assert (await covers.get(ONE)).attempts == 1


async def test_a_stored_cover_is_not_lost_to_a_slower_worker(covers: CoverStore) -> None:
    cover = await wanted(covers)
    await covers.record(cover, STORED, NOON)
    for late in (MISSING, REFUSED, failed(1)):
        assert await covers.record(cover, late, NOON + HOUR) == STORED
    assert (await covers.get(ONE)).state is CoverState.STORED


async def test_an_answer_from_an_address_given_up_meanwhile_changes_nothing(covers: CoverStore) -> None:
    cover = await wanted(covers)
    await covers.want([wish(url="https://images.example/2.jpg", found_at=NOON + HOUR)])
    assert (await covers.record(cover, MISSING, NOON)).state is CoverState.WANTED
    assert (await covers.record(cover, STORED, NOON)).state is CoverState.WANTED
    assert await covers.list_due(10, NOON + HOUR) == [ONE]


# Placeholders


async def test_the_same_bytes_under_three_unrelated_isbns_are_a_placeholder(covers: CoverStore) -> None:
    assert await store(covers, ONE, TWO) == [CoverState.STORED, CoverState.STORED]
    assert not await covers.is_placeholder(PICTURE.content_hash)
    outcome = await covers.record(await wanted(covers, THREE), STORED, NOON)
    assert outcome.is_placeholder
    assert await covers.is_placeholder(PICTURE.content_hash)
    assert {(await covers.get(each)).state for each in (ONE, TWO, THREE)} == {CoverState.MISSING}
    assert {(await covers.get(each)).stored_at for each in (ONE, TWO, THREE)} == {None}
    assert await store(covers, FOUR) == [CoverState.MISSING]


async def test_other_pictures_stay_when_a_placeholder_is_withdrawn(covers: CoverStore) -> None:
    other = Picture("cd" * 32, 500, 750, 4712)
    await store(covers, FOUR, picture=other)
    await store(covers, ONE, TWO, THREE)
    assert (await covers.get(FOUR)).outcome == CoverOutcome(CoverState.STORED, picture=other)


async def test_isbns_of_one_work_may_share_a_cover(connection: Connection, covers: CoverStore) -> None:
    await save_edition(connection, "a work", "hardback", ONE)
    await save_edition(connection, "a work", "paperback", TWO)
    await save_edition(connection, "a work", "large print", THREE)
    assert await store(covers, ONE, TWO, THREE) == [CoverState.STORED] * 3
    await save_edition(connection, "another work", "its edition", FOUR)
    assert await store(covers, FOUR) == [CoverState.STORED]  # two works: not yet
    assert await store(covers, isbn(5)) == [CoverState.MISSING]


async def test_workers_who_bring_a_placeholder_at_the_same_moment_can_not_all_miss_it(
    database: Database,
) -> None:
    numbers = [isbn(number) for number in range(10, 18)]
    async with database.connection() as connection:
        found = [await wanted(CoverStore(connection), each) for each in numbers]

    async def record(cover: Cover) -> None:
        async with database.connection() as connection:
            await CoverStore(connection).record(cover, STORED, NOON)

    async with asyncio.TaskGroup() as group:
        for each in found:
            group.create_task(record(each))
    async with database.connection() as connection:
        counts = await CoverStore(connection).counts()
    assert counts[CoverState.MISSING] == len(numbers)


async def test_wishes_and_outcomes_at_the_same_time_never_wait_for_each_other_for_ever(
    database: Database,
) -> None:
    numbers = [isbn(number) for number in range(20, 40)]
    async with database.connection() as connection:
        found = [await wanted(CoverStore(connection), each) for each in numbers]

    async def record(cover: Cover) -> None:
        async with database.connection() as connection:
            await CoverStore(connection).record(cover, STORED, NOON)

    async def want(order: list[Isbn]) -> None:
        async with database.connection() as connection:
            await CoverStore(connection).want([wish(each, f"{URL}?again") for each in order])

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for place, each in enumerate(reversed(found)):
            group.create_task(record(each))
            group.create_task(want(numbers if place % 2 else numbers[::-1]))
    # Whichever came first for each ISBN, nothing is stored: all had the same bytes.
    async with database.connection() as connection:
        assert (await CoverStore(connection).counts())[CoverState.STORED] <= 2


async def test_a_placeholder_is_withdrawn_without_blocking_who_wishes_for_the_same_isbns(
    database: Database,
) -> None:
    async with database.connection() as connection:
        await store(CoverStore(connection), ONE, TWO)
        third = await wanted(CoverStore(connection), THREE)

    async def withdraw() -> None:
        async with database.connection() as connection:
            await CoverStore(connection).record(third, STORED, NOON)

    async def wait_until_somebody_waits() -> None:
        waiting = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with database.connection() as connection:
            while not (await connection.execute(waiting)).rowcount:
                pass

    async with asyncio.timeout(20), asyncio.TaskGroup() as group, database.transaction() as connection:
        await CoverStore(connection).want([wish(ONE, f"{URL}?again")])
        group.create_task(withdraw())
        await wait_until_somebody_waits()
        # In the order of ISBNs: whoever withdraws must not hold this one while waiting for the other.
        await CoverStore(connection).want([wish(THREE, found_at=NOON)])
    async with database.connection() as connection:
        assert (await CoverStore(connection).counts())[CoverState.MISSING] == 3


# What is shown


async def test_an_isbn_shows_the_cover_of_its_edition_not_of_another_one(
    connection: Connection, covers: CoverStore
) -> None:
    await save_edition(connection, "a work", "paperback", ONE, TWO)
    await save_edition(connection, "a work", "hardback", THREE)
    await store(covers, TWO)
    shown = [await covers.find_shown(each) for each in (ONE, TWO, THREE, FOUR)]
    assert [each.isbn if each else None for each in shown] == [TWO, TWO, None, None]
    await store(covers, ONE)
    own = await covers.find_shown(ONE)
    assert own is not None
    assert own.isbn == ONE


async def test_an_isbn_printed_in_two_editions_shows_its_cover_with_its_first_one_only(
    connection: Connection, covers: CoverStore
) -> None:
    await save_edition(connection, "a work", "paperback", ONE)
    await save_edition(connection, "another work", "hardback", TWO)
    await connection.execute("INSERT INTO edition_isbns VALUES (%s, 'paperback', false)", [str(TWO)])
    await store(covers, TWO)
    assert await covers.find_shown(ONE) is None
    assert await covers.find_shown(TWO) is not None


async def test_only_a_stored_cover_is_shown(covers: CoverStore) -> None:
    await wanted(covers)
    assert await covers.find_shown(ONE) is None


async def test_the_latest_covers_come_first(covers: CoverStore) -> None:
    for hours, each in ((1, ONE), (3, TWO), (2, THREE)):
        picture = Picture(f"{hours:064x}", 500, 750, 1)
        outcome = CoverOutcome(CoverState.STORED, picture=picture)
        await covers.record(await wanted(covers, each), outcome, NOON + hours * HOUR)
    await wanted(covers, FOUR)
    assert [each.isbn for each in await covers.list_latest(2)] == [TWO, THREE]


async def test_every_state_is_counted(covers: CoverStore) -> None:
    assert set((await covers.counts()).values()) == {0}
    await store(covers, ONE)
    for each, outcome in ((TWO, MISSING), (THREE, REFUSED), (FOUR, failed(1))):
        await covers.record(await wanted(covers, each), outcome, NOON)
    await wanted(covers, isbn(5))
    assert await covers.counts() == dict.fromkeys(CoverState, 1)


async def test_among_many_covers_a_few_are_found_by_an_index(connection: Connection) -> None:
    await connection.execute(
        """
        INSERT INTO covers_wanted (isbn13, url, found_at, state, due_at, content_hash, width, height, bytes, stored_at)
        SELECT '978' || lpad(n::text, 10, '0'), 'https://images.example/' || n, now(),
               CASE WHEN n % 10 < 8 THEN 'stored' ELSE 'wanted' END,
               CASE WHEN n % 10 >= 8 THEN now() - n * interval '1 second' END,
               CASE WHEN n % 10 < 8 THEN sha256(n::text::bytea) END,
               CASE WHEN n % 10 < 8 THEN 500 END, CASE WHEN n % 10 < 8 THEN 750 END, CASE WHEN n % 10 < 8 THEN 1 END,
               CASE WHEN n % 10 < 8 THEN now() - n * interval '1 second' END
          FROM generate_series(1, 20000) AS n
        """
    )
    await connection.execute("VACUUM ANALYZE covers_wanted")
    served_by = {
        queries.list_due_covers: "covers_wanted_due",
        queries.list_latest_covers: "covers_wanted_latest",
        queries.find_cover: "covers_wanted_pkey",
        queries.find_shown_cover: "covers_wanted_pkey",
        queries.lock_covers: "covers_wanted_content",
        queries.mark_placeholder: "covers_wanted_content",
        queries.withdraw_covers: "covers_wanted_content",
    }
    values = {
        "isbn": str(ONE),
        "hash": bytes(32),
        "now": NOON,
        "limit": 10,
        "holders": 3,
        "due_at": NOON,
        "reason": "",
    }
    for statement, index in served_by.items():
        rows = await (await connection.execute(f"EXPLAIN {statement}".encode(), values)).fetchall()
        plan = "\n".join(row[0] for row in rows)
        assert index in plan, plan
        assert "Seq Scan on covers_wanted" not in plan, plan
