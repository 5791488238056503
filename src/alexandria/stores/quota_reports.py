"""Reading what was charged, and keeping old days in short; what is being spent is `stores/quota.py`'s."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from alexandria.clock import Clock
from alexandria.domain.errors import StoreUnavailable
from alexandria.domain.quota import Account, Lane
from alexandria.domain.quota_status import PACE_SPAN, Status
from alexandria.domain.quota_usage import By, LedgerKind, LedgerLine, Line, Span
from alexandria.stores.postgres import Connection, Database, Queries
from alexandria.stores.quota_rows import account_row, surely_utc, utc

queries = Queries("quota_reports.sql")

MOST_ROLLED_UP_AT_ONCE = 1000
"""Reservations of one transaction: it holds the account's row meanwhile, and nobody else should wait for that."""
MOST_DAYS_AT_ONCE = 1000
UPKEEP_LEASE = timedelta(minutes=1)
"""How long one process may be at the upkeep before another takes over; a part of it takes a few seconds."""
UPKEEP_DELAY = timedelta(hours=1)
"""After midnight UTC, when a new day has just begun, there are better things to do."""


@dataclass(frozen=True, slots=True)
class LineRow:
    """What `list_usage` gives."""

    day: date | None
    hour: datetime | None
    lane: str | None
    consumer: str | None
    requests: int
    settled: int
    reserved: int
    unresolved: int
    released: int
    foreign_units: int
    reconciled: int

    def line(self) -> Line:
        """The same as the domain sees it."""
        return Line(
            self.day,
            utc(self.hour),
            Lane(self.lane) if self.lane else None,
            self.consumer,
            self.requests,
            self.settled,
            self.reserved,
            self.unresolved,
            self.released,
            self.foreign_units,
            self.reconciled,
        )


@dataclass(frozen=True, slots=True)
class EntryRow:
    """What `list_newest_entries` and its like give."""

    entry: int
    day: date
    recorded_at: datetime
    kind: str
    units: int
    detail: str
    request_id: UUID | None
    lane: str | None
    consumer: str | None
    job: str | None

    def line(self) -> LedgerLine:
        """The same as the domain sees it."""
        return LedgerLine(
            self.entry,
            self.day,
            surely_utc(self.recorded_at),
            LedgerKind(self.kind),
            self.units,
            self.detail,
            self.request_id,
            Lane(self.lane) if self.lane else None,
            self.consumer,
            self.job,
        )


class QuotaReports:
    """The quota's past. Every method is one transaction; any trouble with the database raises StoreUnavailable."""

    def __init__(
        self, database: Database, clock: Clock | None = None, *, timeout_seconds: float = 30.0
    ) -> None:
        """Without a clock the database server's is used, as in `QuotaStore`. `timeout_seconds` bounds each call here."""
        self._database = database
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    async def list_usage(self, account: Account, span: Span, by: By) -> list[Line]:
        """What was charged on some days, with a line for each hour, day, lane or consumer."""
        parameters = {
            **account_row(account),
            "first_day": span.first_day,
            "last_day": span.last_day,
            "by": by.value,
        }
        async with self._answering() as connection:
            cursor = connection.cursor(row_factory=class_row(LineRow))
            await cursor.execute(queries.list_usage, parameters)
            return [row.line() for row in await cursor.fetchall()]

    async def list_entries(
        self,
        account: Account,
        *,
        limit: int,
        day: date | None = None,
        kind: LedgerKind | None = None,
        consumer: str | None = None,
        after: int | None = None,
        oldest_first: bool = False,
    ) -> list[LedgerLine]:
        """Entries of the ledger, the newest first unless asked otherwise; `after` is the number of the last one that was seen."""
        parameters = {
            **account_row(account),
            "day": day,
            "kind": kind and kind.value,
            "consumer": consumer,
            "after": after,
            "most": limit,
            "direction": 1 if oldest_first else -1,
        }
        if day is not None:
            query = queries.list_entries_of_day
        else:
            query = queries.list_oldest_entries if oldest_first else queries.list_newest_entries
        async with self._answering() as connection:
            cursor = connection.cursor(row_factory=class_row(EntryRow))
            await cursor.execute(query, parameters)
            return [row.line() for row in await cursor.fetchall()]

    async def find_last_rolled_up_day(self, account: Account) -> date | None:
        """The last day that is no longer kept entry by entry, wholly or in part; None when every one is."""
        async with self._answering() as connection:
            cursor = await connection.execute(queries.find_last_rolled_up_day, account_row(account))
            row = await cursor.fetchone()
        return row[0] if row else None

    async def sum_recently_charged(self, status: Status) -> int:
        """Units of ours that were charged to the status's day within the last `PACE_SPAN`, for its forecast."""
        parameters = {
            **account_row(status.account),
            "day": status.day,
            "since": status.read_at - PACE_SPAN,
        }
        async with self._answering() as connection:
            row = await (await connection.execute(queries.sum_recently_charged, parameters)).fetchone()
        return int(row[0]) if row else 0

    # Upkeep

    async def claim_upkeep(self) -> bool:
        """Whether the daily upkeep is due and the caller is the one to do it, for at most `UPKEEP_LEASE`."""
        parameters = {"now": self._set_now(), "lease": UPKEEP_LEASE}
        async with self._answering() as connection:
            return await (await connection.execute(queries.claim_upkeep, parameters)).fetchone() is not None

    async def finish_upkeep(self, *, is_complete: bool) -> None:
        """The upkeep is done for today; or, not `is_complete`, done in part, and whoever asks next goes on."""
        parameters = {"now": self._set_now(), "is_complete": is_complete, "delay": UPKEEP_DELAY}
        async with self._answering() as connection:
            await connection.execute(queries.finish_upkeep, parameters)

    @staticmethod
    async def ask_for_upkeep(connection: Connection) -> None:
        """Make the daily upkeep due now, within the caller's transaction; a worker does it."""
        await connection.execute(queries.ask_for_upkeep)

    async def list_days_to_roll_up(self, *, keep: timedelta) -> list[tuple[Account, date]]:
        """Accounts' days that began longer than `keep` ago and are not wholly rolled up, the oldest first."""
        async with self._answering() as connection:
            before = (await self._today(connection)) - keep
            cursor = await connection.execute(
                queries.list_days_to_roll_up, {"before": before, "most": MOST_DAYS_AT_ONCE}
            )
            return [(Account(provider, key_hash), day) for provider, key_hash, day in await cursor.fetchall()]

    async def roll_up(self, account: Account, day: date) -> int | None:
        """Replace a part of an old day by its hourly sums. Returns how many reservations or entries that were; 0 when nothing is left,
        None when the day has to stay as it is: something is open, or its ledger and its reservations differ.

        A kill at any moment leaves the part as it was or rolled up, never in between.
        """
        async with self._answering() as connection:
            parameters = {
                **account_row(account),
                "day": day,
                "today": await self._today(connection),
                "most": MOST_ROLLED_UP_AT_ONCE,
            }
            row = await (await connection.execute(queries.roll_up, parameters)).fetchone()
        return row[0] if row else None

    async def _today(self, connection: Connection) -> date:
        """The store's day by UTC."""
        row = await (await connection.execute(queries.read_clock, {"now": self._set_now()})).fetchone()
        if row is None:
            raise StoreUnavailable("the database did not tell its time")
        now: datetime = row[0]
        return now.astimezone(UTC).date()

    def _set_now(self) -> datetime | None:
        """The time that was passed in; None: the database server's."""
        return self._clock.now() if self._clock else None

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[Connection]:
        """A connection whose every trouble, slowness included, is StoreUnavailable."""
        try:
            async with asyncio.timeout(self._timeout_seconds), self._database.connection() as connection:
                yield connection
        except TimeoutError as error:
            raise StoreUnavailable(
                f"the quota's past did not answer within {self._timeout_seconds:g} s"
            ) from error
        except psycopg.Error as error:
            raise StoreUnavailable(f"the quota's past can't be read or rolled up: {error}") from error
