"""Where related ISBNs lead: claims on works that translations are found by."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from alexandria.domain.isbn import Isbn
from alexandria.domain.leads import Lead, Leads
from alexandria.stores.postgres import Connection, Queries

queries = Queries("leads.sql")


@dataclass(frozen=True, slots=True)
class LeadClaim:
    """An edition of a work by this person bears this ISBN, or names it as related."""

    person: str
    isbn: Isbn
    lead: Lead


class LeadStore:
    """Leads within one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(
        self, persons: Collection[str], own: Collection[Isbn], related: Collection[Isbn]
    ) -> list[LeadClaim]:
        """What leads from the ISBNs that editions bear themselves, and from those they name, to works of these people."""
        if not persons or not (own or related):
            return []
        asked = {
            "persons": sorted(persons),
            "isbns": sorted({str(isbn) for isbn in (*own, *related)}),
            "related": sorted(map(str, related)),
        }
        cursor = await self._connection.execute(queries.find_leads, asked)
        return [
            LeadClaim(person, Isbn(isbn), Lead(work, language))
            for person, isbn, work, language in await cursor.fetchall()
        ]

    async def learn(
        self,
        leads: Leads,
        persons: Collection[str],
        own: Collection[Isbn],
        related: Collection[Isbn],
        languages: Collection[str],
    ) -> None:
        """Add what leads from these ISBNs to works of these people, and what those works are called in these languages."""
        for claim in await self.find(persons, own, related):
            leads.of_isbn.setdefault((claim.person, claim.isbn), set()).add(claim.lead)
        works = sorted({lead.work_key for each in leads.of_isbn.values() for lead in each})
        if not works:
            return
        cursor = await self._connection.execute(
            queries.find_titles_in_languages, {"work_keys": works, "languages": sorted(languages)}
        )
        for work, language, title in await cursor.fetchall():
            leads.titles.setdefault((work, language), []).append(title)

    async def save(self, claims: Iterable[LeadClaim]) -> None:
        """Write claims down; who came first stays."""
        rows: Sequence[dict[str, str]] = [
            {
                "person": each.person,
                "isbn": str(each.isbn),
                "work_key": each.lead.work_key,
                "language": each.lead.language,
            }
            for each in claims
        ]
        if rows:
            await self._connection.execute(queries.save_leads, {"rows": Jsonb(rows)})

    async def lock(self, work: str) -> bool:
        """Let nobody put an edition into a work until the transaction ends; False when the work is gone."""
        cursor = await self._connection.execute(queries.lock_work, {"key": work})
        return await cursor.fetchone() is not None

    async def find_titles(self, *works: str) -> dict[str, dict[str, list[str]]]:
        """What the editions of each of these works are called, by language."""
        found: dict[str, dict[str, list[str]]] = {key: {} for key in works}
        cursor = await self._connection.execute(queries.find_titles, {"work_keys": list(works)})
        for work, language, title in await cursor.fetchall():
            found[work].setdefault(language, []).append(title)
        return found

    async def merge(self, work: str, into: str) -> list[str]:
        """Put a work's editions and claims into another work, to which its key leads from now on. The caller has locked the work.

        Returns the keys of the editions.
        """
        cursor = await self._connection.execute(queries.merge_work, {"key": work, "into": into})
        row = await cursor.fetchone()
        await self._connection.execute(queries.delete_merged_work, {"key": work})
        return list(row[0]) if row else []
