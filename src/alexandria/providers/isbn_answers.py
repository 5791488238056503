"""What asking a source for many ISBNs came to: each of them found, absent, unclear or unasked, and in one of these only.

Of ISBNdb that is `isbndb_answers.BookBatch`, whose records are named by their ISBN. Here an answer's record has a name of its
own (`/books/OL1M`), and one record may be found under several ISBNs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from alexandria.domain.catalogue import Dropped, SourceRecord
from alexandria.domain.errors import AlexandriaError
from alexandria.domain.isbn import Isbn


def _nothing() -> dict[Isbn, SourceRecord]:
    return {}


@dataclass(frozen=True, slots=True)
class IsbnAnswers:
    """Every ISBN asked for is in exactly one of the four groups."""

    found: Mapping[Isbn, SourceRecord] = field(default_factory=_nothing)
    absent: tuple[Isbn, ...] = ()
    """Definitely not there: may be remembered, for a while."""
    unclear: tuple[Isbn, ...] = ()
    """Answered, but neither found nor absent."""
    unasked: tuple[Isbn, ...] = ()
    """Not asked for, because `failure` came first, or because unrelated books share the number."""
    failure: AlexandriaError | None = None
    """The first thing that went wrong: what is unasked, or some of what is unclear, is so because of it."""
    dropped: tuple[Dropped, ...] = ()

    def and_then(self, later: "IsbnAnswers") -> "IsbnAnswers":
        """These and later answers as one."""
        return IsbnAnswers(
            {**self.found, **later.found},
            self.absent + later.absent,
            self.unclear + later.unclear,
            self.unasked + later.unasked,
            self.failure or later.failure,
            self.dropped + later.dropped,
        )

    @classmethod
    def shared_numbers(cls, isbns: tuple[Isbn, ...]) -> "IsbnAnswers":
        """The answer for numbers that unrelated books share: nothing found under them would be right (hard-cases.md, A13)."""
        return cls(
            unasked=isbns,
            dropped=tuple(Dropped(str(isbn), "unrelated books share this number") for isbn in isbns),
        )
