"""What the address of the tuning answers."""

from datetime import datetime

from pydantic import Field

from alexandria.api.shapes import Shape


class DialChange(Shape):
    """A step that was taken."""

    before: float
    after: float
    reason: str = Field(description="What was seen, in figures.")
    changed_at: datetime


class Dial(Shape):
    """A figure that follows what is seen."""

    name: str
    value: float
    unit: str
    low: float = Field(description="It is never less.")
    high: float = Field(description="It is never more.")
    start: float = Field(description="Where it stands until something is seen.")
    pinned: bool = Field(description="Whether the configuration keeps it where it is.")
    why: str
    changes: list[DialChange] = Field(description="The latest ones, newest first.")


class TuningAnswer(Shape):
    """Every dial."""

    dials: list[Dial]
