"""A provider's days: when they begin, by its own clock."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alexandria.domain.errors import InvalidInput


@dataclass(frozen=True)
class Days:
    """The calendar of a time zone. Raises InvalidInput for a zone that does not exist."""

    zone_name: str = "UTC"

    def __post_init__(self) -> None:
        try:
            self._zone  # noqa: B018  # looked up now, so that a wrong name is told at start
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise InvalidInput("reset_zone", self.zone_name, "is no name of a time zone") from error

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone_name)

    def of(self, at: datetime) -> date:
        """The day at a time of the provider's clock."""
        return at.astimezone(self._zone).date()

    def begins_at(self, day: date) -> datetime:
        """When a day begins, UTC; a day with a clock change is an hour shorter or longer."""
        return datetime.combine(day, time(), self._zone).astimezone(UTC)

    def ends_at(self, day: date) -> datetime:
        """When the next day begins, UTC."""
        return self.begins_at(day + timedelta(days=1))
