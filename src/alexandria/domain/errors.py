"""What can be the case, as errors that say what to do next.

The four outcomes of asking a provider are never one: found (an answer), `RecordNotFound` (a definite absence, remembered for
a while), `ProviderRefused` or `QuotaDenied` (do not ask, or not now), `ProviderUnavailable` (ask again later). Only
`RecordNotFound` may enter a negative cache (design.md, invariant 5).
"""

from datetime import datetime, timedelta


class AlexandriaError(Exception):
    """The base of everything a person is told about in one line."""


class InvalidInput(AlexandriaError):
    """Something a person or a file gave us is wrong: names the field, shows the value, says why; nothing was changed."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        shown = repr(value)
        self.field = field
        self.value = value
        self.reason = reason
        super().__init__(f"{field}: {shown if len(shown) <= 80 else shown[:77] + '...'}: {reason}")


class Conflict(AlexandriaError):
    """What is asked for can't be done as things stand; says what can be done instead. Nothing was changed."""


class ConfigurationError(AlexandriaError):
    """A setting is missing or wrong; the message names it and where it came from."""


class StoreUnavailable(AlexandriaError):
    """The database or the object store can't be reached: nothing is called until it can (design.md, invariant 4)."""


class QuotaDenied(AlexandriaError):
    """The coordinator refused a reservation; `reason` is one of `quota.DenialReason`, `retry_at` may be unknown.

    `retry_at` is by the coordinator's clock; `retry_after` is the same as a span, for who has another clock.
    """

    def __init__(
        self,
        provider: str,
        reason: str,
        *,
        detail: str = "",
        retry_at: datetime | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        self.provider = provider
        self.reason = reason
        self.detail = detail
        self.retry_at = retry_at
        self.retry_after = retry_after
        until = f", again at {retry_at:%Y-%m-%d %H:%M:%S} UTC" if retry_at else ""
        super().__init__(f"{provider}: {detail or reason}{until}")


class QuotaExhausted(QuotaDenied):
    """The day's safe limit is reached: a snooze until `retry_at`, not a failed attempt."""


class ProviderError(AlexandriaError):
    """A provider did not give what was asked; `status` is its HTTP status, None when no answer came."""

    def __init__(self, provider: str, reason: str, *, status: int | None = None) -> None:
        self.provider = provider
        self.reason = reason
        self.status = status
        super().__init__(f"{provider}: {reason}")


class RecordNotFound(ProviderError):
    """A definite answer: the provider has no such record. Remember that, for a while."""


class ProviderRefused(ProviderError):
    """The provider will not answer this (key, plan or request): do not ask again before the cause is known."""


class ProviderUnavailable(ProviderError):
    """No usable answer this time: ask again, after `retry_after` if the provider named a wait."""

    def __init__(
        self, provider: str, reason: str, *, status: int | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(provider, reason, status=status)
        self.retry_after = retry_after


class FeedNotGranted(AlexandriaError):
    """The plan of the key does not include the update feed; nothing else is wrong with the key."""
