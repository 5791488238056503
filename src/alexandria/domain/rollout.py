"""Gradual rollout: how a harvester is switched, paused and capped while it runs, and when a run fails too often to go on.

docs/harvesting.md says what each of these means for open runs.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alexandria.domain.errors import InvalidInput
from alexandria.domain.plans import Kind

MOST_UNITS = 1_000_000_000
"""The highest cap that can be set: more than any plan grants."""


class PauseCause(StrEnum):
    """Who or what paused a run."""

    PERSON = "person"
    """Somebody: nothing but a person lets it go on."""
    QUOTA = "quota"
    """No units, or a provider that is left alone for a while; passes by itself."""
    CEILING = "ceiling"
    """A cap: on a day's units, which passes by itself, or on the run's, which a person raises."""
    REFUSED = "refused"
    """The key or the configuration: a person mends it."""
    FAILING = "failing"
    """Too many of its items failed: a person looks at it."""


@dataclass(frozen=True)
class Settings:
    """What can be changed of a harvester while it runs. None as a cap is no cap; caps are in units."""

    is_enabled: bool = True
    paused_at: datetime | None = None
    pause_reason: str | None = None
    units_per_run: int | None = None
    units_per_day: int | None = None
    most_failures_percent: int = 50
    """More than that of the items that ended last: then a run pauses itself. 100 never does."""
    least_items: int = 20
    """How many items that are."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("units_per_run", 0, MOST_UNITS),
            ("units_per_day", 0, MOST_UNITS),
            ("most_failures_percent", 0, 100),
            ("least_items", 1, 1000),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise InvalidInput(name, value, f"must lie between {least:,} and {most:,}")


@dataclass(frozen=True)
class Harvester(Settings):
    """One kind of run, with what is set for it now."""

    name: str = ""
    consumer: str = ""
    runs_open: int = 0

    @property
    def shown_name(self) -> str:
        """Its name as people write it."""
        return self.name.replace("_", "-")

    @property
    def state(self) -> str:
        """`enabled`, `paused` or `disabled`."""
        return "disabled" if not self.is_enabled else "paused" if self.paused_at else "enabled"

    def as_json(self, *, units_today: int | None) -> dict[str, object]:
        """For the CLI and the API; `units_today` are None without a key."""
        return {
            "name": self.shown_name,
            "state": self.state,
            "is_enabled": self.is_enabled,
            "paused_at": self.paused_at and self.paused_at.isoformat(),
            "pause_reason": self.pause_reason,
            "units_per_run": self.units_per_run,
            "units_per_day": self.units_per_day,
            "units_today": units_today,
            "most_failures_percent": self.most_failures_percent,
            "least_items": self.least_items,
            "consumer": self.consumer,
            "runs_open": self.runs_open,
        }


def kind_of(name: str) -> Kind:
    """The harvester that somebody names, written with - or _. Raises InvalidInput when there is none of that name."""
    try:
        return Kind(name.replace("-", "_"))
    except ValueError:
        known = ", ".join(each.replace("_", "-") for each in Kind)
        raise InvalidInput("harvester", name, f"is not one of {known}") from None


@dataclass(frozen=True)
class Record:
    """How those items of a run fared that ended last since a person let it go on, and the harvester's threshold for that.

    At most `least_items` of them are counted.
    """

    ended: int
    failed: int
    most_failures_percent: int
    least_items: int

    @property
    def failure(self) -> str | None:
        """Why the run should not go on, or None.

        The rate is that of the items that ended last, so that a long good beginning does not hide a broken end. Fewer than
        `least_items` prove nothing.
        """
        is_proof = self.ended >= self.least_items
        if not is_proof or self.failed * 100 <= self.most_failures_percent * self.ended:
            return None
        return (
            f"{self.failed} of the last {self.ended} items failed, more than {self.most_failures_percent} %"
        )
