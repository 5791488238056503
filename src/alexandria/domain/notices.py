"""Notices: what is told to a person about an alert, or once a day; and how a receiver knows that a webhook is ours."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto

from alexandria.domain.alerting import Severity

MOST_ATTEMPTS = 10
"""Of one notice to one target: over some hours, as `back_off` has it. What can't be sent by then is given up, and shown."""
FIRST_BACK_OFF = timedelta(seconds=30)
LONGEST_BACK_OFF = timedelta(hours=1)

REPLAY_WINDOW = timedelta(minutes=5)
"""A receiver refuses a webhook whose timestamp is further from its own clock than that, on either side."""
TIMESTAMP_HEADER = "Alexandria-Timestamp"
SIGNATURE_HEADER = "Alexandria-Signature"
NOTICE_HEADER = "Alexandria-Notice"

_MOST_TEXT = 2000


class Event(StrEnum):
    """What a notice is about."""

    RAISED = auto()
    REMINDED = auto()
    CLEARED = auto()
    DIGEST = auto()
    TEST = auto()


@dataclass(frozen=True)
class Notice:
    """One thing to tell, as it is told everywhere. `id` stays the same however often it is tried."""

    id: str
    event: Event
    severity: Severity
    title: str
    body: str
    created_at: datetime
    kind: str | None = None
    subject: str | None = None

    def as_json(self) -> dict[str, object]:
        """The body of a webhook (docs/alerts.md)."""
        return {
            "id": self.id,
            "event": self.event,
            "severity": self.severity,
            "kind": self.kind,
            "subject": self.subject,
            "title": self.title,
            "body": self.body,
            "created_at": self.created_at.isoformat(),
        }


def title_of(event: Event, kind: str, subject: str) -> str:
    """The line by which a person knows what it is about."""
    words = f"{kind.replace('_', ' ')}: {subject}" if subject else kind.replace("_", " ")
    match event:
        case Event.CLEARED:
            return f"Alexandria: over: {words}"
        case Event.REMINDED:
            return f"Alexandria: still: {words}"
        case _:
            return f"Alexandria: {words}"


def back_off(attempts: int) -> timedelta:
    """How long to wait after so many attempts that failed: twice as long each time."""
    return min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** min(attempts - 1, 20))


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The value of the signature's header: HMAC-SHA256 over the timestamp, a full stop and the body, in hexadecimal digits."""
    message = str(timestamp).encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def shortened(text: str) -> str:
    """A text that any service takes."""
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
