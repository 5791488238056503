"""Planning: what a run would ask for, in the order of what it buys, and what that is expected to cost, before anything is spent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from alexandria.domain import matching
from alexandria.domain.errors import FeedNotGranted, InvalidInput
from alexandria.domain.isbn import Isbn
from alexandria.domain.names import is_generic, name_key
from alexandria.domain.plans import Kind, Plan, PlanLine
from alexandria.domain.targets import Span, Target, TargetKind, isbn_targets, month_span
from alexandria.domain.yields import Experience, Yields, guess_isbn, guess_new_pages, guess_pages
from alexandria.providers.isbndb import MOST_NAME_CHARACTERS, MOST_RESULTS, PAGE_SIZE, PROVIDER
from alexandria.stores.catalogue import CatalogueStore
from alexandria.stores.harvest_pages import PageStore
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.isbn_answers import IsbnAnswerStore
from alexandria.stores.postgres import Connection

TIERS: Mapping[str, tuple[int, int]] = {
    "top-100": (0, 100),
    "top-1000": (0, 1000),
    "1000-5000": (1000, 4000),
    "5000-20000": (5000, 15_000),
    "all": (0, 100_000),
}
"""Slices of the authors by number of works, as offset and length (predecessor.md, 1.7)."""

MOST_PAGES = 100
"""The provider shows 10,000 results of a query at most (contracts/isbndb.md, section 11)."""

MOST_ISBNS = 1000
"""In one run of ISBNs, as in the predecessor's batch (predecessor.md, 1.2)."""

MOST_UNITS = 1000
"""What a run over updates, gaps or covers asks for unless it is told otherwise: what is left comes with the next one."""

MOST_PEOPLE = 10_000
"""Authors of one run: Open Library answers three of them in a second."""

EXPERIENCE = timedelta(days=30)
"""Expectations are compared with the results of the time in which pages are fresh, and of so long before it."""

WHOLE_AGAIN_AFTER = timedelta(days=180)
"""A bibliography that was read whole is read from its new end for so long, then whole again: providers add old books, too."""

LATE = timedelta(days=92)
"""How long after its publication a book may come into the provider's index without being missed."""

FEED_NOT_GRANTED = "the plan of this key does not include the update feed"
FEED_REFUSED_FOR = timedelta(days=1)
"""How long a plan without the feed is not asked for it (contracts/isbndb.md, section 7)."""


async def plan_tier(
    connection: Connection,
    tier: str,
    *,
    max_pages: int,
    fresh_since: datetime,
    now: datetime,
    whole: bool = False,
) -> Plan:
    """Plan the bibliographies of a tier of authors. Raises InvalidInput for a tier that does not exist.

    Of a bibliography that was read before, only what is new is asked for unless it is to be read `whole`.
    """
    if tier not in TIERS:
        raise InvalidInput("tier", tier, "is not one of " + ", ".join(TIERS))
    offset, length = TIERS[tier]
    authors = await CatalogueStore(connection).list_top_authors(offset=offset, limit=length)
    people = [(author.key, author.name) for author in authors if not is_generic(author.name)]
    return await _plan_people(
        connection, Kind.TIERS, people, max_pages=max_pages, fresh_since=fresh_since, now=now, whole=whole
    )


async def plan_authors(
    connection: Connection,
    names: Sequence[str],
    *,
    max_pages: int,
    fresh_since: datetime,
    now: datetime,
    whole: bool = False,
) -> Plan:
    """Plan the bibliographies of authors given by name. Raises InvalidInput for an empty or generic name."""
    people: dict[str, str] = {}
    for name in names:
        if not name_key(name) or is_generic(name):
            raise InvalidInput("author", name, "is not the name of a person")
        bearers = await CatalogueStore(connection).list_authors_called(name)
        # Of several authors of one name the page speaks of all of them: matching keeps them apart by title.
        people[bearers[0].key if bearers else matching.named_author_key(name)] = name.strip()
    return await _plan_people(
        connection,
        Kind.AUTHORS,
        list(people.items()),
        max_pages=max_pages,
        fresh_since=fresh_since,
        now=now,
        whole=whole,
    )


async def plan_author(
    connection: Connection,
    key: str,
    *,
    max_pages: int,
    fresh_since: datetime,
    now: datetime,
    whole: bool = False,
) -> Plan:
    """Plan the bibliography of one author given by key. Raises InvalidInput for a key that the catalogue does not hold."""
    author = await CatalogueStore(connection).find_author(key)
    if author is None:
        raise InvalidInput(
            "author_key", key, "is not the key of an author in the catalogue; see /api/authors"
        )
    return await _plan_people(
        connection,
        Kind.AUTHORS,
        [(author.key, author.name)],
        max_pages=max_pages,
        fresh_since=fresh_since,
        now=now,
        whole=whole,
    )


async def plan_new_releases(
    connection: Connection,
    first_month: str,
    last_month: str,
    *,
    subjects: Sequence[str] = (),
    today: datetime,
    max_pages: int,
    fresh_since: datetime,
) -> Plan:
    """Plan the new releases of some months, `YYYY-MM`, all of them or those of some subjects.

    Raises InvalidInput for months that are no months, reversed or too far ahead, and for a subject that no edition has.
    """
    first, last = _month("start_month", first_month), _month("end_month", last_month)
    if first > last:
        raise InvalidInput("end_month", last_month, f"lies before {first_month}")
    if last > today.year * 12 + today.month + 11:
        raise InvalidInput("end_month", last_month, "lies more than a year ahead")
    if last - first >= 120:
        raise InvalidInput("end_month", last_month, "is more than 120 months after the first")
    months = [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(first, last + 1)]
    await _refuse_unknown_subjects(connection, subjects)
    targets = [
        Target(TargetKind.SUBJECT, f"{month} {subject}", subject, month_span(month))
        for month in months
        for subject in dict.fromkeys(" ".join(each.split()) for each in subjects)
    ] or [Target(TargetKind.MONTH, month, month) for month in months]
    return await _plan_pages(
        connection, Kind.NEW_RELEASES, targets, {}, max_pages=max_pages, fresh_since=fresh_since
    )


async def plan_isbns(
    connection: Connection, isbns: Sequence[Isbn], *, fresh_since: datetime, anew: bool = False
) -> Plan:
    """Plan to ask for some ISBNs, `anew` however fresh their answers are. Raises InvalidInput for none, or for more than a run takes."""
    wanted = list(dict.fromkeys(isbns))
    if not 1 <= len(wanted) <= MOST_ISBNS:
        raise InvalidInput("isbns", len(wanted), f"must be 1 to {MOST_ISBNS:,} different ones")
    targets = isbn_targets(wanted, editions_each=guess_isbn(is_held=False))
    return replace(await _plan_calls(connection, Kind.ISBNS, targets, fresh_since), anew=anew)


async def plan_covers(connection: Connection, isbns: Sequence[Isbn], *, fresh_since: datetime) -> Plan:
    """Plan to ask for editions because their cover's address is unknown."""
    targets = isbn_targets(isbns, editions_each=guess_isbn(is_held=True))
    return await _plan_calls(connection, Kind.COVERS, targets, fresh_since)


async def plan_missing_covers(
    connection: Connection, *, max_units: int, fresh_since: datetime, now: datetime
) -> Plan:
    """Plan to ask for editions without a cover's address that may be asked for now, at most `max_units` of them."""
    _check_units(max_units)
    isbns = await IsbnAnswerStore(connection).list_gaps(
        PROVIDER, only_covers=True, fresh_since=fresh_since, now=now, limit=max_units
    )
    return await plan_covers(connection, isbns, fresh_since=fresh_since)


async def plan_updates(connection: Connection, *, now: datetime) -> Plan:
    """Plan to read the update feed and to ask again for what changed, however fresh it is.

    Raises FeedNotGranted if the feed was refused within a day.
    """
    refused_at = await HarvestStore(connection).find_feed_refused_at(FEED_NOT_GRANTED)
    if refused_at is not None and now < refused_at + FEED_REFUSED_FOR:
        raise FeedNotGranted(
            f"{FEED_NOT_GRANTED}; it is not asked again before {refused_at + FEED_REFUSED_FOR:%Y-%m-%d %H:%M} UTC"
        )
    feed = Target(TargetKind.FEED, "updates", "the update feed", units_expected=0)
    return replace(await _plan_calls(connection, Kind.UPDATES, [feed], now), anew=True)


async def plan_people(connection: Connection, *, most: int, fresh_since: datetime) -> Plan:
    """Plan to ask Open Library and Wikidata about at most so many authors, for no unit; those with the most works first."""
    if not 1 <= most <= MOST_PEOPLE:
        raise InvalidInput("most", most, f"must lie between 1 and {MOST_PEOPLE:,}")
    target = Target(TargetKind.PEOPLE, "people", f"{most:,} authors", units_expected=0)
    return await _plan_calls(connection, Kind.PEOPLE, [target], fresh_since)


async def plan_gaps(
    connection: Connection, *, max_units: int, max_pages: int, fresh_since: datetime, now: datetime
) -> Plan:
    """Plan to fill gaps: pages of authors of whom the provider has more than we read, then editions that lack fields."""
    _check_units(max_units)
    authors = await HarvestStore(connection).list_authors_with_gaps(
        page_size=PAGE_SIZE, window=MOST_RESULTS, limit=max_units
    )
    people = await _plan_people(
        connection, Kind.GAPS, authors, max_pages=max_pages, fresh_since=fresh_since, now=now, whole=True
    )
    lines, units = [], 0
    for line in people.lines:
        if line.units_expected and units + line.units_expected <= max_units:
            lines.append(line)
            units += line.units_expected
    isbns = await IsbnAnswerStore(connection).list_gaps(
        PROVIDER, only_covers=False, fresh_since=fresh_since, now=now, limit=max_units - units
    )
    rest = await _plan_calls(
        connection, Kind.GAPS, isbn_targets(isbns, editions_each=guess_isbn(is_held=True)), fresh_since
    )
    return Plan(Kind.GAPS, (*lines, *rest.lines), max_pages, fresh_since)


def _check_units(max_units: int) -> None:
    if not 1 <= max_units <= 100_000:
        raise InvalidInput("max_units", max_units, "must lie between 1 and 100,000")


async def _refuse_unknown_subjects(connection: Connection, subjects: Sequence[str]) -> None:
    for subject in subjects:
        if not any(each.isalnum() for each in subject) or len(subject) > MOST_NAME_CHARACTERS:
            raise InvalidInput(
                "subjects",
                subject,
                f"needs a letter or a digit and at most {MOST_NAME_CHARACTERS} characters",
            )
        if not await CatalogueStore(connection).has_subject(subject):
            raise InvalidInput("subjects", subject, "is a subject of no edition in the catalogue")


def _month(field: str, text: str) -> int:
    """Months since year 0."""
    year, dash, month = text.partition("-")
    if not (
        dash
        and year.isascii()
        and year.isdigit()
        and len(year) == 4
        and month.isascii()
        and month.isdigit()
        and len(month) == 2
    ):
        raise InvalidInput(field, text, "is not a month such as 2026-10")
    if not 1 <= int(month) <= 12:
        raise InvalidInput(field, text, "has no such month")
    return int(year) * 12 + int(month) - 1


async def read_experiences(connection: Connection, *, since: datetime) -> list[Experience]:
    """How what was expected since then compares with what came."""
    return [
        Experience(TargetKind(each.target), each.units_expected, each.editions_expected, each.editions_new)
        for each in await HarvestStore(connection).list_yields(since=since)
    ]


async def _plan_people(
    connection: Connection,
    kind: Kind,
    people: Sequence[tuple[str, str]],
    *,
    max_pages: int,
    fresh_since: datetime,
    now: datetime,
    whole: bool,
) -> Plan:
    """Plan bibliographies: all of each if `whole`, else of those that were read whole some time ago only what is new since then."""
    targets = [Target(TargetKind.AUTHOR, key, name) for key, name in people]
    queries = [] if whole else [each.query for each in targets]
    read = await PageStore(connection).list_whole_queries(PROVIDER, queries, since=now - WHOLE_AGAIN_AFTER)
    held = await HarvestStore(connection).count_editions_of_authors([key for key, _ in people])
    return await _plan_pages(
        connection,
        kind,
        [
            replace(each, span=Span(_month_before(read_at)))
            if (read_at := read.get(each.query)) and read_at < fresh_since
            else each
            for each in targets
        ],
        held,
        max_pages=max_pages,
        fresh_since=fresh_since,
    )


def _month_before(read_at: datetime) -> date:
    return (read_at - LATE).date().replace(day=1)


async def _plan_pages(
    connection: Connection,
    kind: Kind,
    targets: Sequence[Target],
    held: Mapping[str, int],
    *,
    max_pages: int,
    fresh_since: datetime,
) -> Plan:
    if not 1 <= max_pages <= MOST_PAGES:
        raise InvalidInput("max_pages", max_pages, f"must lie between 1 and {MOST_PAGES}")
    pages = PageStore(connection)
    queries = [each.query for each in targets]
    fresh = await pages.count_fresh(PROVIDER, queries, fresh_since=fresh_since)
    totals = await pages.list_totals(PROVIDER, queries)
    pages_fresh, guessed = {}, []
    for target in targets:
        count, is_whole = fresh.get(target.query, (0, False))
        total = totals.get(target.query)
        if is_whole:
            units, editions = 0.0, 0.0
        elif target.kind is TargetKind.AUTHOR and target.span.is_open:
            # We hold at least this many editions of the author, so the provider is likely to fill as many pages.
            ours = held.get(target.subject, 0)
            units, editions = guess_pages(
                target.kind, total=total, held=ours, pages=max_pages, pages_fresh=count
            )
        elif total is not None:
            units, editions = guess_pages(
                target.kind, total=total, held=0, pages=max_pages, pages_fresh=count
            )
        else:
            units, editions = guess_new_pages(target.kind, pages=1)
        pages_fresh[target.query] = count
        guessed.append(replace(target, units_expected=units, editions_expected=editions))
    return await _in_order(connection, kind, guessed, pages_fresh, max_pages, fresh_since)


async def _plan_calls(
    connection: Connection, kind: Kind, targets: Iterable[Target], fresh_since: datetime
) -> Plan:
    return await _in_order(connection, kind, targets, {}, MOST_PAGES, fresh_since)


async def _in_order(
    connection: Connection,
    kind: Kind,
    targets: Iterable[Target],
    pages_fresh: Mapping[str, int],
    max_pages: int,
    fresh_since: datetime,
) -> Plan:
    yields = Yields.learnt(await read_experiences(connection, since=fresh_since - EXPERIENCE))
    lines = [
        PlanLine(each, pages_fresh.get(each.query, 0), yields.expected(each))
        for each in yields.in_order(targets)
    ]
    return Plan(kind, tuple(lines), max_pages, fresh_since)
