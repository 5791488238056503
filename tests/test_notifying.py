"""Sending notices over real sockets: what arrives, how a webhook is signed, what is said of a failure, and that no secret is."""

import logging
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from alexandria.domain.alerting import Severity
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.notices import Event, Notice
from alexandria.notifying import Answer, Sender, Target, Webhook
from alexandria.providers.gateway import Gateway
from alexandria.providers.notices import AppriseSender, AppriseTarget, without_secrets
from alexandria.stores.postgres import Database
from alexandria.stores.quota import QuotaStore
from conftest import SetClock
from targets import Listener, running_listener, running_mail_server

SECRET = "0123456789abcdef-secret"
SECRETS = (SECRET, "secret-password", "secret-path", "secret-token")
DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "alerts.md").read_text("utf-8")


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with running_listener() as listening:
        yield listening


@pytest.fixture
async def gateway(database: Database, clock: SetClock) -> AsyncIterator[Gateway]:
    async with Gateway(QuotaStore(database, clock), clock) as opened:
        yield opened


@pytest.fixture
async def apprise() -> AsyncIterator[AppriseSender]:
    async with AppriseSender() as sender:
        yield sender


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """What reaches the root logger, whoever says it, at the lowest level. (pytest's own fixture hears what does not reach it too.)"""
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(f"{record.name} {record.getMessage()}")  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


def a_notice(clock: SetClock, event: Event = Event.RAISED) -> Notice:
    return Notice(
        "7", event, Severity.CRITICAL, "Alexandria: key refused: isbndb", "Mend it.", clock.now(), "key_refused", "isbndb"
    )  # fmt: skip


async def sent(
    gateway: Gateway, apprise: AppriseSender, clock: SetClock, *targets: Target, event: Event = Event.RAISED
) -> list[Answer]:
    return await Sender(targets, gateway, apprise, clock).send_to_all(a_notice(clock, event))


def verify() -> Any:
    """The receiver's half, as docs/alerts.md gives it to be copied."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    return names["is_from_alexandria"]


async def test_a_webhook_is_signed_so_that_its_receiver_can_tell(
    gateway: Gateway, apprise: AppriseSender, clock: SetClock, listener: Listener
) -> None:
    assert await sent(gateway, apprise, clock, Webhook(listener.url, SECRET)) == [Answer("webhook")]
    [came] = listener.received
    assert came.headers["Alexandria-Notice"] == came.json["id"] == "7"
    assert came.json == {
        "id": "7", "event": "raised", "severity": "critical", "kind": "key_refused", "subject": "isbndb",
        "title": "Alexandria: key refused: isbndb", "body": "Mend it.", "created_at": "2026-11-23T12:00:00+00:00",
    }  # fmt: skip
    is_ours, now = verify(), clock.now().timestamp()
    assert is_ours(SECRET, came.headers, came.body, now)
    assert is_ours(SECRET, came.headers, came.body, now + 299)
    assert not is_ours(SECRET, came.headers, came.body, now + 301)
    assert not is_ours(SECRET, came.headers, came.body, now - 301)
    assert not is_ours("another secret of someone", came.headers, came.body, now)
    assert not is_ours(SECRET, came.headers, came.body + b" ", now)
    later = str(int(now) + 60)
    assert not is_ours(SECRET, {**came.headers, "Alexandria-Timestamp": later}, came.body, now)


async def test_apprise_sends_to_a_web_address_and_by_mail(
    gateway: Gateway, apprise: AppriseSender, clock: SetClock, listener: Listener
) -> None:
    async with running_mail_server() as mail:
        address = f"mailto://127.0.0.1:{mail.port}?from=me@example.org&to=you@example.org&mode=insecure"
        answers = await sent(
            gateway, apprise, clock, AppriseTarget(listener.apprise_url, 1), AppriseTarget(address, 2)
        )
    assert answers == [Answer("json (1)"), Answer("mailto (2)")]
    [came] = listener.received
    assert came.headers["X-Token"] == "secret-token"
    assert (came.json["title"], came.json["message"], came.json["type"]) == (
        "Alexandria: key refused: isbndb", "Mend it.", "failure",
    )  # fmt: skip
    [text] = mail.mails
    assert "key refused" in text
    assert "you@example.org" in text


async def test_what_is_not_taken_is_told_with_its_reason(
    gateway: Gateway, apprise: AppriseSender, clock: SetClock, listener: Listener
) -> None:
    listener.statuses = [401, 500]
    refused = await sent(gateway, apprise, clock, AppriseTarget(listener.apprise_url, 1))
    failed = await sent(gateway, apprise, clock, Webhook(listener.url, SECRET))
    nowhere = await sent(gateway, apprise, clock, AppriseTarget("json://127.0.0.1:1/secret-path", 3))
    assert "401" in str(refused[0].error)
    assert "500" in str(failed[0].error)
    assert "not taken" in str(nowhere[0].error)


async def test_a_target_that_hangs_holds_nobody_up(
    gateway: Gateway, clock: SetClock, listener: Listener
) -> None:
    listener.gate.clear()
    async with AppriseSender(timeout_seconds=0.3) as apprise:
        [answer] = await sent(gateway, apprise, clock, AppriseTarget(listener.apprise_url, 1))
    listener.gate.set()
    assert "did not take it within 0.3 s" in str(answer.error)


@pytest.mark.parametrize("address", ["nope://example.org/secret-path", "mailto://", "json://"])
async def test_an_address_that_apprise_does_not_know_is_refused_by_its_place(
    gateway: Gateway, apprise: AppriseSender, clock: SetClock, address: str
) -> None:
    sender = Sender(
        [AppriseTarget("json://127.0.0.1", 1), AppriseTarget(address, 2)], gateway, apprise, clock
    )
    with pytest.raises(ConfigurationError, match="entry 2 is no address") as error:
        await sender.check()
    assert "secret" not in str(error.value)


async def test_secrets_are_in_no_log_and_in_no_answer(
    gateway: Gateway,
    apprise: AppriseSender,
    clock: SetClock,
    listener: Listener,
    everything_logged: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    targets: list[Target] = [
        AppriseTarget(listener.apprise_url, 1),
        AppriseTarget("json://person:secret-password@127.0.0.1:1/secret-path?+X-Token=secret-token", 2),
        AppriseTarget("mailto://person:secret-password@127.0.0.1:1?to=you@example.org", 3),
        AppriseTarget("discord://secret-token/secret-path", 4),
        AppriseTarget("mailto://secret-password@", 5),
        Webhook(listener.url, SECRET),
        Webhook("http://127.0.0.1:1/secret-path", SECRET),
    ]
    listener.statuses = [403, 500, 403, 500]
    with capture_logs() as logs:
        answers = [await sent(gateway, apprise, clock, each) for each in targets[:3]]
        answers += [await sent(gateway, apprise, clock, each) for each in targets[4:]]
        answers += [await sent(gateway, apprise, clock, *targets[:2])]
    shown = f"{logs} {everything_logged} {capfd.readouterr()} {answers} {targets!r} {[each.key for each in targets]}"
    assert "notice.failed" in shown
    for secret in SECRETS:
        assert secret not in shown


@pytest.mark.parametrize(
    ("said", "url", "told"),
    [
        ("Failed at tgram://123456:AbC/99: error=401", "tgram://123456:AbC/99", "Failed at *** error=401"),
        ("token pwd/en%2F9 is bad", "x://host/pwd%2Fen%252F9", "token ***/*** is bad"),
        ("user me: 535 denied by mail.example.org", "mailtos://me:pass@mail.example.org", "user me: 535 denied by mail.example.org"),
        ("see https://host/abc?sig=1\nnow", "x://host", "see *** now"),
        ("id AAAAAAAAAABBBBBBBBBBCC", "x://host", "id ***"),
    ],
)  # fmt: skip
def test_what_apprise_says_is_told_without_the_address(said: str, url: str, told: str) -> None:
    assert without_secrets(said, url) == told


async def test_what_is_over_looks_like_good_news(
    gateway: Gateway, apprise: AppriseSender, clock: SetClock, listener: Listener
) -> None:
    clock.advance(timedelta(minutes=1))
    await sent(gateway, apprise, clock, AppriseTarget(listener.apprise_url, 1), event=Event.CLEARED)
    assert listener.received[0].json["type"] == "success"
