"""What the reservations of programs outside look like over HTTP."""

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from alexandria.api.shapes import Shape, one_line
from alexandria.domain.outside import NAME_RULE, is_name
from alexandria.domain.quota import Lane, Record, ReservationState
from alexandria.sharing import units_charged

MOST_UNITS = 10_000_000
"""More than any plan grants in a day."""

Line = Annotated[str, AfterValidator(one_line)]


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(NAME_RULE)
    return text


def _in_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Lines = Annotated[
    list[Annotated[str, Field(max_length=2000)]], BeforeValidator(_in_list), Field(max_length=20)
]
"""Every line of a header; one alone may be a string."""


class Wish(BaseModel):
    """What to reserve: for one request to the provider."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    units: int = Field(ge=0, le=MOST_UNITS, description="What the provider will charge at most.")
    requests: int = Field(
        default=1, ge=1, le=MOST_UNITS, description="What its limit per minute counts it as."
    )
    request_id: UUID | None = Field(
        default=None,
        strict=False,
        description="Made by you, it lets you ask again after a lost answer: the same id is charged once. It becomes the reservation's id.",
    )
    lane: Lane | None = Field(
        default=None,
        strict=False,
        description="How urgent it is. Left out: that of the token, or `bulk` for one that may do everything.",
    )
    job: Line | None = Field(
        default=None, description="What it is for, in your words; shown beside what it cost."
    )
    provider: Literal["isbndb"] = Field(default="isbndb", description="Whose units.")
    consumer: Annotated[str, AfterValidator(_name)] | None = Field(
        default=None,
        description="Only with a token that may do everything: the program's name. Charged as `external-<name>`.",
    )


class ProviderHeaders(BaseModel):
    """Headers of the provider's answer, as they came."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    date: Lines = []
    ratelimit: Lines = []
    ratelimit_policy: Lines = []


class Ending(BaseModel):
    """How a reservation ended."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    state: Literal["settled", "released"] = Field(
        description="`settled`: it was sent, or may have been; `released`: it certainly was not."
    )
    units_spent: int | None = Field(
        default=None,
        ge=0,
        le=MOST_UNITS,
        description="What the provider charged; left out: what was reserved.",
    )
    outcome: Line | None = Field(default=None, description="What came of it, in your words; for the ledger.")
    is_certain: bool = Field(
        default=True,
        description="False when nobody knows what it cost: it stays charged until the provider's count tells.",
    )
    provider_headers: ProviderHeaders | None = Field(
        default=None, description="What the answer said about the day's count."
    )

    @field_validator("units_spent", "is_certain", "provider_headers")
    @classmethod
    def _fits_its_state(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("state") == "released" and value is not None and value is not True:
            raise ValueError("goes with settled only: what was not sent cost nothing and had no answer")
        return value


class Reservation(Shape):
    """Leave to send one request, and what became of it. Times are the server's; who has another clock counts the seconds."""

    id: UUID
    provider: str
    day: date = Field(description="The provider's day that it is charged to.")
    lane: Lane
    consumer: str
    job: str | None
    units: int = Field(description="Units that were reserved.")
    units_charged: int = Field(
        description="Units that count against the day: reserved, spent, or 0 once released."
    )
    requests: int
    state: ReservationState = Field(
        description="`reserved`, `settled`, `released`, or `unresolved`: it may have been sent, and nobody knows what it cost."
    )
    not_before: datetime
    use_before: datetime
    wait_seconds: float | None = Field(
        description="So long after this answer came it may be sent, not sooner; null once it has ended."
    )
    use_within_seconds: float | None = Field(
        description="So long after it was asked for it may not be sent any more: 0 is too late; null once it has ended."
    )

    @classmethod
    def of(cls, record: Record) -> Self:
        """The shape of a reservation as of now."""
        request, held = record.request, record.reservation
        is_open = record.state is ReservationState.RESERVED
        return cls(
            id=request.request_id,
            provider=held.account.provider,
            day=held.day,
            lane=request.lane,
            consumer=request.consumer,
            job=request.job,
            units=request.units,
            units_charged=units_charged(record),
            requests=request.requests,
            state=record.state,
            not_before=held.not_before,
            use_before=held.use_before,
            # Rounded so that whoever keeps to them is never too early and never too late.
            wait_seconds=_seconds(held.not_before - held.as_of, math.ceil) if is_open else None,
            use_within_seconds=_seconds(held.use_before - held.as_of, math.floor) if is_open else None,
        )


def _seconds(span: timedelta, rounded: Callable[[float], int]) -> float:
    return max(0, rounded(span.total_seconds() * 1000)) / 1000
