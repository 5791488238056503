"""What the addresses of alerts take and answer."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from alexandria.api.shapes import Shape


class Alert(Shape):
    """Something that a person should look at, until it is cleared."""

    kind: str = Field(description="Which rule; docs/alerts.md has all.")
    severity: Literal["info", "warning", "critical"]
    subject: str = Field(description="What it is about: a provider, its day, a run, a kind of job, a folder.")
    message: str = Field(description="What is the case, and what to do.")
    raised_at: datetime
    cleared_at: datetime | None = Field(description="Null as long as it is so.")
    silenced_until: datetime | None = Field(description="Until when nobody is told of it.")


class Silence(Shape):
    """A kind of alert, or one subject of it, that nobody is told of for a while."""

    id: int
    kind: str
    subject: str | None = Field(description="Null: every subject of the kind.")
    until: datetime
    created_at: datetime


class Undelivered(Shape):
    """A notice that could not be sent."""

    title: str
    target: str
    attempts: int
    error: str | None
    given_up_at: datetime | None
    next_try_at: datetime | None = Field(description="Null once it was given up.")


class AlertsAnswer(Shape):
    """Alerts, the latest first, and how telling people goes."""

    alerts: list[Alert]
    silences: list[Silence]
    undelivered: list[Undelivered]


class SilenceWish(BaseModel):
    """What is to be silenced, and for how long."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(max_length=40)
    subject: str | None = Field(
        default=None, min_length=1, max_length=500, description="Every subject if left out."
    )
    minutes: int = Field(ge=1, le=366 * 24 * 60)


class SilencesAnswer(Shape):
    """What is silenced now, the one that ends first first."""

    silences: list[Silence]
