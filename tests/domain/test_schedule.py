"""Slots: in the time of their zone, each once, in order, whatever the clocks there do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria.domain.quota import Lane
from alexandria.domain.schedule import GRACE, MOST_COUNTED, Cron, Entry, Missed

MINUTE = timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")  # 2026: 2:00 -> 3:00 on 29 March, 3:00 -> 2:00 on 25 October
CAIRO = ZoneInfo("Africa/Cairo")  # 2026: 0:00 -> 1:00 on 24 April, 24:00 -> 23:00 on 29 October
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # its clocks change by half an hour
KATHMANDU = ZoneInfo("Asia/Kathmandu")  # UTC+5:45, never changed


def entry(cron: str, zone: ZoneInfo = BERLIN, missed: Missed = Missed.ONCE) -> Entry:
    return Entry("an-entry", Cron.parse(cron), zone, "authors", Lane.BULK, missed=missed)


def slots(cron: str, after: datetime, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    found = []
    for _ in range(count):
        after = entry(cron, zone).next_slot(after)
        found.append(f"{after:%d %H:%M}")
    return found


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def test_slots_keep_to_the_clock_of_their_zone() -> None:
    assert slots("30 3 * * *", utc(2026, 3, 27, 12), 3) == ["28 02:30", "29 01:30", "30 01:30"]
    assert slots("0 12 * * 1", utc(2026, 3, 27), 1, KATHMANDU) == ["30 06:15"]


@pytest.mark.parametrize("cron", ["30 2 * * *", "0,15,30 2 * * *", "*/10 2 * * *"])
def test_slots_in_a_gap_come_once_at_its_end(cron: str) -> None:
    on_the_day = [each for each in slots(cron, utc(2026, 3, 28, 12), 6) if each.startswith("29")]
    assert on_the_day == ["29 01:00"], "3:00 by the new time"


def test_a_repeated_hour_comes_once() -> None:
    assert slots("30 2 * * *", utc(2026, 10, 24, 12), 2) == ["25 00:30", "26 01:30"]
    assert slots("*/30 1-3 * * *", utc(2026, 10, 24, 23), 5) == [
        "24 23:30",
        "25 00:00",
        "25 00:30",
        "25 02:00",
        "25 02:30",
    ]


def test_every_five_minutes_is_so_while_the_clocks_change() -> None:
    for zone, day in (
        (BERLIN, utc(2026, 3, 28, 22)),
        (BERLIN, utc(2026, 10, 24, 22)),
        (CAIRO, utc(2026, 10, 29, 19)),
    ):
        slot = day
        for _ in range(60):
            following = entry("*/5 * * * *", zone).next_slot(slot)
            assert following - slot == timedelta(minutes=5)
            slot = following


def test_between_two_occurrences_of_a_time_nothing_comes_twice() -> None:
    # 2:10 for the second time: 2:30 has been, an hour earlier.
    assert slots("30 2 * * *", utc(2026, 10, 25, 1, 10), 1) == ["26 01:30"]
    assert entry("30 2 * * *").cron.last_slot(utc(2026, 10, 25, 1, 10), BERLIN) == utc(2026, 10, 25, 0, 30)


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("", "must have five fields"),
        ("* * * *", "must have five fields"),
        ("0 * * * * *", "must have five fields"),
        ("@daily", "must have five fields"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 9", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 ² * *", "bad day-of-month"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_field(cron: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Cron.parse(cron)


# Any expression, in any of these zones

FIELDS = st.tuples(
    st.sampled_from(["*", "*/5", "*/20", "0", "30", "7,37", "59"]),
    st.sampled_from(["*", "*", "*/2", "0", "2", "1-3", "23", "0,23", "2,3"]),
    st.sampled_from(["*", "*", "*", "1", "24-30"]),
    st.sampled_from(["*", "*", "3,4,10"]),
    st.sampled_from(["*", "*", "0", "4,5"]),
)
CRONS = FIELDS.map(" ".join).map(Cron.parse)
ZONES = st.sampled_from([BERLIN, CAIRO, LORD_HOWE, KATHMANDU, ZoneInfo("UTC"), ZoneInfo("America/Havana")])
CHANGES = st.sampled_from(
    [utc(2026, 3, 29), utc(2026, 10, 25), utc(2026, 4, 23, 21), utc(2026, 10, 29, 20), utc(2026, 4, 4, 14),
     utc(2026, 10, 3, 15), utc(2026, 3, 8, 4), utc(2026, 11, 1, 4), utc(2026, 7, 1)]
)  # fmt: skip
MOMENTS = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds), CHANGES, st.integers(-90_000, 90_000)
)


def reference(cron: Cron, zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    """Slots in (first, last], found by asking every minute of every clock."""
    every = Cron.parse(cron.text)
    counts_time = cron.text.split()[1] == "*"
    found = set()
    minute = first.replace(second=0, microsecond=0) - timedelta(hours=2)
    while minute <= last + timedelta(hours=2):
        local = minute.astimezone(zone)
        if counts_time:
            if matches(every, local):
                found.add(minute)
        else:
            time = local.replace(tzinfo=None, fold=0)
            if local.fold == 0 and matches(every, time):
                found.add(minute)
            # The clock jumps over times between the minute before and this one.
            before = (minute - MINUTE).astimezone(zone).replace(tzinfo=None)
            skipped = before + MINUTE
            while skipped < time:
                if matches(every, skipped):
                    found.add(minute)
                skipped += MINUTE
        minute += MINUTE
    return sorted(each for each in found if first < each <= last)


def matches(cron: Cron, time: datetime) -> bool:
    """Whether an expression names a time on the clock, by the library on a clock that never changes."""
    time = time.replace(tzinfo=UTC, fold=0)
    return cron.next_slot(time - MINUTE, UTC) == time


@settings(deadline=None)
@given(CRONS, ZONES, MOMENTS)
def test_slots_are_those_that_asking_every_minute_finds(cron: Cron, zone: ZoneInfo, first: datetime) -> None:
    last = first + timedelta(hours=5)
    found, slot = [], cron.next_slot(first, zone)
    while slot <= last:
        found.append(slot)
        slot = cron.next_slot(slot, zone)
    assert found == reference(cron, zone, first, last)


@settings(deadline=None)
@given(CRONS, ZONES, MOMENTS)
def test_the_last_slot_is_the_one_before_the_next(cron: Cron, zone: ZoneInfo, now: datetime) -> None:
    last = cron.last_slot(now, zone)
    assert last <= now < cron.next_slot(last, zone)
    assert cron.next_slot(now, zone) == cron.next_slot(last, zone)
    assert cron.last_slot(last, zone) == last


@settings(deadline=None)
@given(
    CRONS,
    ZONES,
    st.sampled_from(Missed),
    MOMENTS,
    st.lists(st.integers(-7200, 7200), min_size=1, max_size=20),
)
def test_whatever_the_clock_does_each_slot_is_dealt_with_once_and_in_order(
    cron: Cron, zone: ZoneInfo, missed: Missed, begun: datetime, steps: list[int]
) -> None:
    line = Entry("an-entry", cron, zone, "authors", Lane.BULK, missed=missed)
    handled_until, now, dealt, latest = begun, begun, [], begun
    for step in steps:
        now += timedelta(seconds=step)
        due = line.due(handled_until, now)
        if due:
            assert handled_until < due.slot <= now
            assert due.is_too_late == (missed is Missed.SKIP and now - due.slot > GRACE)
            dealt.append((due.slot, due.missed))
            handled_until = due.slot
            assert line.due(handled_until, now) is None
        latest = max(latest, now)
    assert [slot for slot, _ in dealt] == sorted({slot for slot, _ in dealt})
    # None is left out: alone, or counted by the one that stood for it.
    passed, slot = 0, line.next_slot(begun)
    while slot <= latest:
        passed, slot = passed + 1, line.next_slot(slot)
    assert sum(1 + others for _, others in dealt) == passed


# After a night


def test_a_night_without_a_worker_is_one_firing_for_all_its_slots() -> None:
    due = entry("*/20 * * * *").due(utc(2026, 5, 1, 22), utc(2026, 5, 2, 6, 5))
    assert due
    assert (due.slot, due.missed, due.is_too_late) == (utc(2026, 5, 2, 6), 23, False)


def test_a_slot_that_is_to_be_skipped_is_so_when_it_is_older_than_the_grace() -> None:
    daily = entry("0 3 * * *", ZoneInfo("UTC"), Missed.SKIP)
    for late, is_too_late in ((GRACE, False), (GRACE + timedelta(seconds=1), True)):
        due = daily.due(utc(2026, 5, 1, 3), utc(2026, 5, 2, 3) + late)
        assert due
        assert (due.slot, due.is_too_late) == (utc(2026, 5, 2, 3), is_too_late)


def test_years_of_missed_slots_are_counted_no_further_than_a_bound() -> None:
    due = entry("*/5 * * * *").due(utc(2020, 1, 1), utc(2026, 1, 1))
    assert due
    assert due.missed == MOST_COUNTED
