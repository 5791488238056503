"""Sending notices to the targets that a person configured: Apprise's addresses, and a signed webhook (docs/alerts.md)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from alexandria.clock import Clock
from alexandria.domain.errors import ProviderError
from alexandria.domain.notices import NOTICE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Notice, sign
from alexandria.providers.gateway import Gateway
from alexandria.providers.notices import AppriseSender, AppriseTarget

log = structlog.get_logger()

WEBHOOK_SECONDS = 10.0


@dataclass(frozen=True)
class Webhook:
    """An address of the person's own that takes notices as JSON, signed with a secret that both know."""

    url: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def key(self) -> str:
        """What the database knows it by: there is one, wherever it leads."""
        return "webhook"

    @property
    def name(self) -> str:
        """What a person knows it by."""
        return "webhook"


Target = AppriseTarget | Webhook


@dataclass(frozen=True)
class Answer:
    """What a target made of a notice; an `error` of None means that it took it."""

    target: str
    error: str | None = None

    def as_json(self) -> dict[str, object]:
        """For the CLI."""
        return {"target": self.target, "is_sent": self.error is None, "error": self.error}


@dataclass(frozen=True)
class Sender:
    """Sends notices, each through its target's door."""

    targets: Sequence[Target]
    gateway: Gateway
    apprise: AppriseSender
    clock: Clock

    @property
    def names(self) -> dict[str, str]:
        """Key -> name of every target; neither tells a secret."""
        return {each.key: each.name for each in self.targets}

    async def check(self) -> None:
        """Raises ConfigurationError for an address that can't be used."""
        await self.apprise.check([each for each in self.targets if isinstance(each, AppriseTarget)])

    async def send(self, key: str, notice: Notice) -> Answer:
        """Send a notice to one target, once."""
        target = next(each for each in self.targets if each.key == key)
        try:
            if isinstance(target, Webhook):
                await self._post(target, notice)
            else:
                await self.apprise.send(target, notice)
        except ProviderError as error:
            log.warning("notice.failed", target=target.name, notice=notice.id, reason=str(error))
            return Answer(target.name, str(error))
        log.info("notice.sent", target=target.name, notice=notice.id)
        return Answer(target.name)

    async def send_to_all(self, notice: Notice) -> list[Answer]:
        """Send a notice to every target once, past the database."""
        return list(await asyncio.gather(*(self.send(each.key, notice) for each in self.targets)))

    async def _post(self, target: Webhook, notice: Notice) -> None:
        body = msgspec.json.encode(notice.as_json())
        timestamp = int(self.clock.now().timestamp())
        await self.gateway.publish(
            target.url,
            body,
            headers={
                "Content-Type": "application/json",
                NOTICE_HEADER: notice.id,
                TIMESTAMP_HEADER: str(timestamp),
                SIGNATURE_HEADER: sign(target.secret, timestamp, body),
            },
            timeout_seconds=WEBHOOK_SECONDS,
            method="POST",
        )
