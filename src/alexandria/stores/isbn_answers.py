"""When each ISBN was last asked for at a provider, and what the catalogue still lacks: so that nothing is asked before its time."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from alexandria.domain.asking import ABSENT_FOR, Answered
from alexandria.domain.isbn import Isbn
from alexandria.stores.postgres import Connection, Queries

queries = Queries("isbn_answers.sql")


class IsbnAnswerStore:
    """Answers about ISBNs within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, provider: str, isbns: Collection[Isbn]) -> dict[Isbn, Answered]:
        """What the provider last said, of those ISBNs that it was ever asked for."""
        cursor = await self._connection.execute(
            queries.find_answers, {"provider": provider, "isbns": [str(each) for each in isbns]}
        )
        return {Isbn(row[0]): Answered(row[1], row[2]) for row in await cursor.fetchall()}

    async def save(
        self, provider: str, *, found: Collection[str], absent: Collection[str], asked_at: datetime
    ) -> None:
        """Write down what was found and what is definitely not there, in the transaction that stores the records."""
        isbns = [*found, *absent]
        if not isbns:
            return
        await self._connection.execute(
            queries.save_answers,
            {
                "provider": provider,
                "isbns": isbns,
                "absent": [False] * len(found) + [True] * len(absent),
                "asked_at": asked_at,
            },
        )

    async def list_outdated(self, provider: str, changes: Mapping[Isbn, datetime]) -> list[Isbn]:
        """Which of the ISBNs that changed then are in the catalogue and were last asked for before."""
        cursor = await self._connection.execute(
            queries.list_outdated,
            {
                "provider": provider,
                "isbns": [str(each) for each in changes],
                "changed": list(changes.values()),
            },
        )
        return [Isbn(row[0]) for row in await cursor.fetchall()]

    async def list_gaps(
        self,
        provider: str,
        *,
        only_covers: bool,
        fresh_since: datetime,
        now: datetime,
        limit: int,
    ) -> Sequence[Isbn]:
        """ISBNs of editions with unknown fields (or, with `only_covers`, without a cover's address) that may be asked for now."""
        cursor = await self._connection.execute(
            queries.list_missing_covers if only_covers else queries.list_gaps,
            {
                "provider": provider,
                "fresh_since": fresh_since,
                "now": now,
                "absent_for": list(ABSENT_FOR),
                "limit": limit,
            },
        )
        return [Isbn(row[0]) for row in await cursor.fetchall()]
