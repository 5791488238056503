"""When to ask again: an answer that says "there is no such book" is believed for a while, longer each time it is repeated."""

from dataclasses import dataclass
from datetime import datetime, timedelta

ABSENT_FOR = (timedelta(days=1), timedelta(days=7), timedelta(days=30))
"""After the first, the second and every later definite absence. The provider adds books within a day of being asked for them
(contracts/isbndb.md, section 3.1), so that the first time lasts no longer."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a provider last said about an ISBN: `misses` is how many times in a row it knew nothing, 0 when it knew the book."""

    asked_at: datetime
    misses: int

    def asks_again_at(self, freshness: timedelta) -> datetime:
        """The first moment at which asking again may bring something new; a book that was found stays fresh for `freshness`."""
        if self.misses == 0:
            return self.asked_at + freshness
        return self.asked_at + ABSENT_FOR[min(self.misses, len(ABSENT_FOR)) - 1]
