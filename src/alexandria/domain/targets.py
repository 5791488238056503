"""What a harvest asks for: one target is one thing that a provider can be asked about, in one call or in several pages."""

import calendar
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum

from alexandria.domain.isbn import Isbn


class TargetKind(StrEnum):
    """How a target is asked for."""

    AUTHOR = "author"
    """The pages of an author's books."""
    MONTH = "month"
    """The pages of what was published in a month."""
    SUBJECT = "subject"
    """The pages of what has a subject, within a span of days."""
    ISBNS = "isbns"
    """Some ISBNs, in one bulk call."""
    FEED = "feed"
    """What the provider says has changed; its answer becomes further targets."""
    PEOPLE = "people"
    """Facts about authors, from sources that cost no unit; who is due is chosen when it is asked."""


@dataclass(frozen=True, slots=True)
class Span:
    """Days of publication, both included; None leaves an end open."""

    first: date | None = None
    last: date | None = None

    def __str__(self) -> str:
        return f"{self.first or ''}..{self.last or ''}"

    @property
    def is_open(self) -> bool:
        """Whether it leaves everything in."""
        return self.first is None and self.last is None

    def split(self, *, today: date) -> tuple["Span", ...]:
        """Shorter spans that follow each other and cover the same days; none when it can't be made shorter.

        What passes a query's results window is asked for in parts (design.md, section 7). The older parts are longer, because
        fewer books are that old.
        """
        if self.first is None and self.last is None:
            newest = today.year // 10 * 10
            edges = [date(year, 1, 1) for year in (1980, *range(2000, newest + 1, 10))]
        elif self.first is None or self.last is None:
            # Open at one end: years near the end that is known, the rest in one.
            known = self.first or self.last or today
            edges = (
                [date(known.year + 1, 1, 1), date(known.year + 2, 1, 1)]
                if self.first
                else [date(known.year - years, 1, 1) for years in (20, 10, 5, 0) if known.year > years]
            )
        else:
            edges = _edges_within(self.first, self.last)
        inside = [
            edge
            for edge in edges
            if (self.first is None or edge > self.first) and (self.last is None or edge <= self.last)
        ]
        if not inside:
            return ()
        ends = [edge - timedelta(days=1) for edge in inside]
        return tuple(
            Span(first, last) for first, last in zip((self.first, *inside), (*ends, self.last), strict=True)
        )


def _edges_within(first: date, last: date) -> list[date]:
    """Where to cut: by years, by months within a year, in halves within a month."""
    if last.year > first.year:
        return [date(year, 1, 1) for year in range(first.year + 1, last.year + 1)]
    if last.month > first.month:
        return [date(first.year, month, 1) for month in range(first.month + 1, last.month + 1)]
    return [first + (last - first + timedelta(days=1)) // 2] if last > first else []


def month_span(month: str) -> Span:
    """The days of a month, `YYYY-MM`."""
    year, number = int(month[:4]), int(month[5:])
    return Span(date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1]))


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to ask for.

    `subject` says what it is in our words (an author's key, a month, how many ISBNs), `name` how the provider is asked. What it
    is expected to cost and to bring is in units and in editions that the catalogue does not hold yet, uncorrected (domain/yields.py).
    """

    kind: TargetKind
    subject: str
    name: str
    span: Span = Span()
    isbns: tuple[Isbn, ...] = ()
    units_expected: float = 1
    editions_expected: float = 0

    @property
    def query(self) -> str:
        """What is asked of the provider, as the key under which its pages are kept."""
        # Spellings that the provider answers alike are one query: blanks, case and the form of accents make no other page.
        asked = " ".join(unicodedata.normalize("NFC", self.name).split()).casefold()
        place = {TargetKind.AUTHOR: "author", TargetKind.MONTH: "date_published"}.get(self.kind, self.kind)
        return f"{place}/{asked}" + ("" if self.span.is_open else f"@{self.span}")

    def parts(self, *, today: date) -> tuple["Target", ...]:
        """The same in parts, for a query with more results than the provider shows; none when there are no smaller parts."""
        span = month_span(self.name) if self.kind is TargetKind.MONTH and self.span.is_open else self.span
        spans = span.split(today=today)
        return tuple(
            replace(
                self,
                span=each,
                units_expected=self.units_expected / len(spans),
                editions_expected=self.editions_expected / len(spans),
            )
            for each in spans
        )


ISBNS_AT_ONCE = 100
"""ISBNs of one target: a bulk call may hold ten times as many, but what it brings is kept, shown and paid in one piece, and an
answer of 6 MB comes as an error (contracts/isbndb.md, section 3.2)."""


def isbn_targets(isbns: Iterable[Isbn], *, editions_each: float) -> list[Target]:
    """Targets for some ISBNs, in their order, each of which is expected to bring so many new editions for its unit."""
    wanted = list(dict.fromkeys(isbns))
    chunks = [wanted[at : at + ISBNS_AT_ONCE] for at in range(0, len(wanted), ISBNS_AT_ONCE)]
    return [
        Target(
            TargetKind.ISBNS,
            f"{len(chunk)} ISBNs" if len(chunk) > 1 else str(chunk[0]),
            f"{chunk[0]} to {chunk[-1]}" if len(chunk) > 1 else str(chunk[0]),
            isbns=tuple(chunk),
            units_expected=len(chunk),
            editions_expected=len(chunk) * editions_each,
        )
        for chunk in chunks
    ]
