"""What may come of asking for an ISBN."""

from enum import StrEnum


class IsbnOutcome(StrEnum):
    """What came of one ISBN."""

    ENRICHED = "enriched"
    """A source knows it, and said something new."""
    FOUND = "found"
    """A source knows it and said nothing new."""
    SKIPPED_FRESH = "skipped_fresh"
    """It was asked for not long ago, so that asking again would buy nothing."""
    NOT_FOUND = "not_found"
    """The provider definitely does not know it, now or when it was asked not long ago."""
    FAILED = "failed"


Outcomes = dict[str, tuple[str, str | None]]
"""ISBN -> outcome and reason, as an item keeps them."""
