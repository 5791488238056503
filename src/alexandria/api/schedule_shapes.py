"""What the schedule's addresses answer."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from alexandria.api.shapes import Shape


class Firing(Shape):
    """What was done about a slot."""

    slot: datetime | None = Field(description="The slot; null when a person asked for it.")
    fired_at: datetime
    missed: int = Field(description="Earlier slots that nobody dealt with: this one stands for them too.")
    outcome: Literal["started", "done", "skipped", "failed"]
    run: str | None = Field(description="The run that was started, if there is one.")
    remark: str = Field(description="Why it was skipped or failed, or what was done.")


class Entry(Shape):
    """One line of the schedule."""

    name: str
    cron: str = Field(description="Minute, hour, day of month, month, day of week.")
    time_zone: str
    harvester: str
    parameters: dict[str, Any]
    lane: Literal["scheduled", "bulk"]
    missed: Literal["once", "skip"] = Field(description="What becomes of slots while no worker runs.")
    state: Literal["on", "paused", "off"]
    paused_at: datetime | None
    last: Firing | None
    next_slot: datetime = Field(description="It comes to nothing while the entry is off or paused.")
    next_slot_local: datetime = Field(description="The same in the entry's time zone.")


class ScheduleAnswer(Shape):
    """Every entry of the schedule."""

    entries: list[Entry]
