"""Tuning at work: each minute one process looks at the meters of all, and turns dials a step (`domain/tuning.py`, docs/tuning.md)."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from alexandria.domain.errors import InvalidInput, StoreUnavailable
from alexandria.domain.latencies import Latencies
from alexandria.domain.tuning import DIALS, Change, Dial, Sample, decide, get_dial
from alexandria.providers import google_books, isbndb, openlibrary, wikidata
from alexandria.stores.meters import MeterStore, Readings
from alexandria.stores.postgres import Connection, Database
from alexandria.stores.tuning import Changed, TuningStore

log = structlog.get_logger()

INTERVAL = timedelta(seconds=60)
"""From one look to the next: each dial takes one step at most in it."""

REFRESH_SECONDS = 15.0
"""How late a process learns of a change."""

STALE_SECONDS = 3600.0
"""What was counted longer ago says nothing of now: a dial that has seen too little until then begins to count anew."""

CHANGES_SHOWN = 5


class Dials:
    """Where the dials stand, as this process knows it. Those that are pinned stand where they are pinned."""

    def __init__(self, pinned: Mapping[str, float]) -> None:
        self.pinned = pinned
        self._values: Mapping[str, float] = {}

    def learn(self, values: Mapping[str, float]) -> None:
        """Take over where they stand now."""
        self._values = values

    def value(self, name: str) -> float:
        """Of a dial, always within its bounds."""
        dial = DIALS[name]
        return dial.fit(self.pinned.get(name, self._values.get(name, dial.start)))

    def whole(self, name: str) -> int:
        """The same of a dial that counts something."""
        return int(self.value(name))

    def seconds(self, provider: str, endpoint: str, otherwise: float) -> float:
        """How long to wait for an answer; `otherwise` where nothing is tuned."""
        name = _BULK_SECONDS if (provider, endpoint) == _BULK else f"{provider.replace('-', '_')}_seconds"
        return self.value(name) if name in DIALS else otherwise


# What is read


@dataclass(frozen=True, slots=True)
class _Reads:
    """Which meters tell how something fares: those that count, by a label that says what became of it, and those that time."""

    counter: str
    label: str
    failures: frozenset[str]
    ignored: frozenset[str]
    timer: str
    provider: str | None = None
    only: frozenset[str] | None = None
    besides: frozenset[str] = frozenset()

    def is_about(self, labels: Mapping[str, str]) -> bool:
        """Whether a sample with these labels belongs to it."""
        endpoint = labels.get("endpoint", "")
        return (
            (self.provider is None or labels.get("provider") == self.provider)
            and (self.only is None or endpoint in self.only)
            and endpoint not in self.besides
        )


def _calls(
    provider: str, only: frozenset[str] | None = None, besides: frozenset[str] = frozenset()
) -> _Reads:
    return _Reads(
        "alexandria_provider_calls_total",
        "outcome",
        # `paused`: more came than the provider takes. What is refused, or spent for the day, is nobody's haste.
        frozenset({"failed", "paused"}),
        frozenset({"interrupted", "suspended", "exhausted"}),
        "alexandria_provider_call_seconds",
        provider,
        only,
        besides,
    )


_BULK = (isbndb.PROVIDER, "bulk")
_BULK_SECONDS = "isbndb_bulk_seconds"
_ONLY_BULK = frozenset({"bulk"})
_COVERS = _Reads(
    "alexandria_covers_fetched_total",
    "state",
    frozenset({"failed"}),
    frozenset(),
    "alexandria_cover_download_seconds",
)
_READS: Mapping[str, _Reads] = {
    "items_at_once": _calls(isbndb.PROVIDER),
    "isbns_at_once": _calls(isbndb.PROVIDER, only=_ONLY_BULK),
    "covers_percent": _COVERS,
    "cover_seconds": _COVERS,
    "isbndb_seconds": _calls(isbndb.PROVIDER, besides=_ONLY_BULK),
    _BULK_SECONDS: _calls(isbndb.PROVIDER, only=_ONLY_BULK),
    "openlibrary_seconds": _calls(openlibrary.PROVIDER),
    "google_books_seconds": _calls(google_books.PROVIDER),
    "wikidata_seconds": _calls(wikidata.PROVIDER),
}


@dataclass(frozen=True, slots=True)
class _Totals:
    """What the meters of one dial had come to at some moment: they only ever grow."""

    at: float
    """Seconds of the database's clock, since 1970."""
    count: float = 0.0
    failed: float = 0.0
    sum: float = 0.0
    at_most: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, reads: _Reads, sums: Readings, at: float) -> "_Totals":
        count = failed = total = 0.0
        at_most = dict[str, float]()
        for (sample, pairs), value in sums.items():
            labels = dict(pairs)
            if not reads.is_about(labels):
                continue
            if sample == reads.counter and labels[reads.label] not in reads.ignored:
                count += value
                failed += value if labels[reads.label] in reads.failures else 0.0
            elif sample == f"{reads.timer}_sum":
                total += value
            elif sample == f"{reads.timer}_bucket":
                at_most[labels["le"]] = at_most.get(labels["le"], 0.0) + value
        return cls(at, count, failed, total, at_most)

    @classmethod
    def read(cls, kept: Any) -> "_Totals | None":
        if not isinstance(kept, Mapping):
            return None
        try:
            return cls(**kept)
        except TypeError:
            return None  # another version's

    def as_kept(self) -> dict[str, object]:
        return {
            "at": self.at,
            "count": self.count,
            "failed": self.failed,
            "sum": self.sum,
            "at_most": dict(self.at_most),
        }

    def since(self, before: "_Totals") -> Sample:
        at_most = {
            math.inf if bound == "+Inf" else float(bound): value - before.at_most.get(bound, 0.0)
            for bound, value in self.at_most.items()
        }
        timed = round(max(at_most.values(), default=0.0))
        latencies = Latencies(timed, self.sum - before.sum, at_most)
        return Sample(self.count - before.count, self.failed - before.failed, latencies)


# What is done


async def look(connection: Connection, dials: Dials, *, interval: timedelta = INTERVAL) -> Sequence[Change]:
    """Turn what is to be turned, within the caller's transaction, unless it was looked less than `interval` ago or somebody else does.

    Returns the changes; they hold when the transaction has committed. Raises StoreUnavailable.
    """
    store = TuningStore(connection)
    kept = await store.claim_look(interval=interval)
    if kept is None:
        return []
    sums, at = await MeterStore(connection).list_sums(), await store.now()
    values = await store.list_values()
    changes, readings = list[Change](), dict[str, Any]()
    for name, dial in DIALS.items():
        totals, before = _Totals.of(_READS[name], sums, at), _Totals.read(kept.get(name))
        if before is None or before.count > totals.count or at - before.at > STALE_SECONDS:
            readings[name] = totals.as_kept()
            continue
        sample = totals.since(before)
        is_enough = sample.count >= dial.least
        readings[name] = (totals if is_enough else before).as_kept()
        change = decide(dial, dial.fit(values.get(name, dial.start)), sample)
        if change is not None and name not in dials.pinned:
            await store.change(change)
            changes.append(change)
    await store.save_look(readings)
    return changes


def tell(changes: Sequence[Change]) -> None:
    """An event for each, once they hold."""
    for each in changes:
        log.info("dial.changed", dial=each.dial, before=each.before, after=each.after, reason=each.reason)


async def reset(connection: Connection, dials: Dials, name: str) -> Change | None:
    """Put a dial back to where it starts, within the caller's transaction; None when it stands there.

    Raises InvalidInput for what is no dial, and for one that is pinned.
    """
    dial = get_dial(name)
    if dial.name in dials.pinned:
        raise InvalidInput("dial", name, "is pinned: take it out of ALEXANDRIA_PINNED to have it tuned")
    store = TuningStore(connection)
    await store.lock()
    before = dial.fit((await store.list_values()).get(dial.name, dial.start))
    if before == dial.start:
        return None
    change = Change(
        dial.name, before, dial.start, f"reset by a person: {before:g} to {dial.start:g} {dial.unit}"
    )
    await store.change(change)
    return change


@dataclass(frozen=True)
class Line:
    """A dial and how it stands, for a person."""

    dial: Dial
    value: float
    is_pinned: bool
    changes: Sequence[Changed]
    """The latest ones, newest first."""

    def as_json(self) -> dict[str, object]:
        """For the CLI and the API."""
        dial = self.dial
        return {
            "name": dial.name,
            "value": self.value,
            "unit": dial.unit,
            "low": dial.low,
            "high": dial.high,
            "start": dial.start,
            "pinned": self.is_pinned,
            "why": dial.why,
            "changes": [each.as_json() for each in self.changes],
        }


async def read(connection: Connection, dials: Dials) -> Mapping[str, float]:
    """Where every dial stands, for a process that pins what `dials` pins."""
    known = Dials(dials.pinned)
    known.learn(await TuningStore(connection).list_values())
    return {name: known.value(name) for name in DIALS}


async def show(connection: Connection, dials: Dials) -> Sequence[Line]:
    """Every dial, as this process would use it now, and what changed it."""
    values = await read(connection, dials)
    changes = await TuningStore(connection).list_changes(list(DIALS), limit=CHANGES_SHOWN)
    return [
        Line(dial, values[name], name in dials.pinned, [each for each in changes if each.name == name])
        for name, dial in DIALS.items()
    ]


@asynccontextmanager
async def tuning(database: Database, dials: Dials) -> AsyncIterator[None]:
    """Keep `dials` to what all processes share, and take part in turning them, beside the block. Raises StoreUnavailable."""
    async with database.connection() as connection:
        dials.learn(await TuningStore(connection).list_values())
    stop = asyncio.Event()
    task = asyncio.create_task(_keep_tuned(database, dials, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=2.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_tuned(database: Database, dials: Dials, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), REFRESH_SECONDS)
            return
        try:
            async with database.transaction() as connection:
                changes = await look(connection, dials)
                values = await TuningStore(connection).list_values()
        except StoreUnavailable as error:
            log.warning("dials.unread", reason=str(error))
            continue
        except Exception:
            # A deadlock, or a defect of ours: dials stay where they are until the next look, and are not left alone for good.
            log.exception("dials.crashed")
            continue
        tell(changes)
        dials.learn(values)
