"""Wikidata: entities about authors, by id or by an identifier that both know, never by a name alone (contracts/wikidata.md).

Fifty entities come in one request. Who has no id yet is found by Open Library's key (P648), several in one search.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from alexandria.domain.catalogue import Dropped, SourceRecord
from alexandria.domain.errors import InvalidInput, ProviderRefused, ProviderUnavailable
from alexandria.domain.quota import Account, Lane, Policy
from alexandria.providers.calls import Answer, Call, Meaning, Sender, Source, Verdict
from alexandria.providers.isbndb_verdicts import decode, read_count
from alexandria.providers.openlibrary_members import read_key
from alexandria.providers.ratelimit import read_retry_after
from alexandria.providers.wikidata_entities import PROVIDER, author_facts, is_entity_id, read_record

__all__ = ["PROVIDER", "EntityAnswers", "WikidataProvider", "author_facts", "is_entity_id"]

ENTITIES_IN_A_REQUEST = 50
"""What `wbgetentities` takes (contracts/wikidata.md, section 3)."""
KEYS_IN_A_SEARCH = 15
"""A search may be 300 characters long (MediaWiki, CirrusSearch), and a condition takes up to 20."""
_HITS = 2 * KEYS_IN_A_SEARCH

LANGUAGES = (
    "mul", "en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs", "hu", "ro", "tr", "el", "ru", "uk", "bg",
    "sr", "he", "ar", "fa", "hi", "bn", "ta", "ja", "ko", "zh",
)  # fmt: skip
"""Of the names that are asked for: the scripts and languages in which most books name their authors."""

_NO_SUCH_ENTITY = "no-such-entity"
_THROTTLED = frozenset({"ratelimited", "maxlag"})
_MOST_WAIT_SECONDS = {Lane.INTERACTIVE: 5.0, Lane.SCHEDULED: 120.0, Lane.BULK: 120.0}


@dataclass(frozen=True, slots=True)
class EntityAnswers:
    """What asking for entities came to: each id asked for is found, absent or unclear."""

    records: tuple[SourceRecord, ...] = ()
    absent: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    def and_then(self, later: "EntityAnswers") -> "EntityAnswers":
        """These and later answers as one."""
        return EntityAnswers(
            self.records + later.records,
            self.absent + later.absent,
            self.unclear + later.unclear,
            self.dropped + later.dropped,
        )


class WikidataProvider:
    """Asks Wikidata, one request after the other (section 5). Every method raises what `Gateway.send` raises."""

    def __init__(self, gateway: Sender, *, base_url: str, policy: Policy) -> None:
        self._gateway = gateway
        self._base_url = base_url.rstrip("/")
        self.source = Source(Account.of(PROVIDER, ""), policy, read_answer)

    async def entities(
        self, ids: Iterable[str], *, lane: Lane, consumer: str, job: str | None = None
    ) -> EntityAnswers:
        """Entities by id. Raises InvalidInput, before anything is asked, for what is no entity's id."""
        wanted = list(dict.fromkeys(ids))
        for each in wanted:
            if not is_entity_id(each):
                raise InvalidInput("entity", each, "must have the form Q42")
        answers = EntityAnswers()
        chunks = deque(
            wanted[at : at + ENTITIES_IN_A_REQUEST] for at in range(0, len(wanted), ENTITIES_IN_A_REQUEST)
        )
        while chunks:  # ends: a chunk is answered, or halved until it is one id
            chunk = chunks.popleft()
            try:
                answers = answers.and_then(await self._entities(chunk, lane, consumer, job))
            except ProviderRefused as error:
                if _NO_SUCH_ENTITY not in error.reason:
                    raise
                # One id beyond all that were given out refuses the whole list.
                if len(chunk) == 1:
                    answers = answers.and_then(EntityAnswers(absent=tuple(chunk)))
                else:
                    middle = len(chunk) // 2
                    chunks.extendleft([chunk[middle:], chunk[:middle]])
        return answers

    async def _entities(
        self, ids: Sequence[str], lane: Lane, consumer: str, job: str | None
    ) -> EntityAnswers:
        parameters = {
            "action": "wbgetentities",
            "ids": "|".join(ids),
            "props": "labels|aliases|claims",
            "languages": "|".join(LANGUAGES),
        }
        answer = await self._send("entities", lane, consumer, job, parameters)
        content = decode(answer.body) or {}
        entities = content.get("entities")
        entities = entities if isinstance(entities, dict) else {}
        records, absent, unclear, dropped = [], [], [], []
        for asked in ids:
            entity = entities.get(asked)
            if isinstance(entity, dict) and "missing" in entity:
                absent.append(asked)
                continue
            read = read_record(entity, asked, answer.received_at)
            if isinstance(read, SourceRecord):
                records.append(read)
            else:
                unclear.append(asked)
                dropped.append(read)
        return EntityAnswers(tuple(records), tuple(absent), tuple(unclear), tuple(dropped))

    async def find_entities(
        self, author_keys: Iterable[str], *, lane: Lane, consumer: str, job: str | None = None
    ) -> tuple[str, ...]:
        """Ids of entities that bear one of these Open Library keys (P648), 15 keys to a request.

        Which entity bears which key stands in the entities themselves. Raises InvalidInput for what is no author's key, and
        ProviderUnavailable for a search that does not show all that it found.
        """
        keys = list(dict.fromkeys(author_keys))
        for each in keys:
            if read_key(each, "A") != each:
                raise InvalidInput("key", each, "must have the form OL1A")
        found: dict[str, None] = {}
        for at in range(0, len(keys), KEYS_IN_A_SEARCH):
            conditions = "|".join(f"P648={key}" for key in keys[at : at + KEYS_IN_A_SEARCH])
            parameters = {
                "action": "query",
                "list": "search",
                "srsearch": f"haswbstatement:{conditions}",
                "srnamespace": "0",
                "srlimit": str(_HITS),
                "srprop": "",
            }
            answer = await self._send("search", lane, consumer, job, parameters)
            found |= dict.fromkeys(_read_hits(decode(answer.body) or {}))
        return tuple(found)

    async def _send(
        self, endpoint: str, lane: Lane, consumer: str, job: str | None, parameters: Mapping[str, str]
    ) -> Answer:
        call = Call(
            "GET",
            f"{self._base_url}/w/api.php?{urlencode({**parameters, 'format': 'json'})}",
            1,
            lane,
            consumer,
            headers=(("Accept", "application/json"),),
            job=job,
            endpoint=endpoint,
            most_wait_seconds=_MOST_WAIT_SECONDS[lane],
        )
        return await self._gateway.send(call, source=self.source)


def _read_hits(content: Mapping[str, object]) -> list[str]:
    query = content.get("query")
    query = query if isinstance(query, dict) else {}
    hits = query.get("search")
    titles = [hit.get("title") for hit in hits if isinstance(hit, dict)] if isinstance(hits, list) else []
    info = query.get("searchinfo")
    total = read_count(info.get("totalhits")) if isinstance(info, dict) else None
    if total is None or total > len(titles):
        raise ProviderUnavailable(PROVIDER, "the search did not show all that it found", status=200)
    return [title for title in titles if isinstance(title, str) and is_entity_id(title)]


def read_answer(call: Call, answer: Answer) -> Verdict:
    """What an answer means (contracts/wikidata.md, sections 3 and 5): errors of this interface come with 200, bodies of others are not read."""
    wait = read_retry_after(answer.line("retry-after"), answer.received_at)
    status = answer.status
    if status == 200:
        content = decode(answer.body)
        member = {"entities": "entities", "search": "query"}[call.endpoint]
        if content is not None and isinstance(error := content.get("error"), dict):
            return _read_error(error, answer)
        if content is None or not isinstance(content.get(member), dict):
            return Verdict(Meaning.FAILED, f"answered with 200, but without {member!r}", most_retries=1)
        return Verdict(Meaning.DELIVERED, is_certain=True)
    if status == 403:
        return Verdict(
            Meaning.SUSPENDED,
            "this caller is refused (403): see that ALEXANDRIA_CONTACT names you, wait a day, then `alexandria quota resume --provider wikidata`",
        )
    if status == 429:
        return Verdict(Meaning.PAUSED, "too many requests", wait=wait)
    if 300 <= status < 500 and status != 408:
        return Verdict(Meaning.REFUSED, f"refused the request with {status}")
    return Verdict(Meaning.FAILED, f"answered with {status}", wait=wait)


def _read_error(error: Mapping[str, object], answer: Answer) -> Verdict:
    code = str(error.get("code"))[:80]
    if code in _THROTTLED:
        wait = read_retry_after(answer.line("retry-after"), answer.received_at)
        return Verdict(Meaning.PAUSED, f"too busy ({code})", wait=wait)
    if code.startswith(("internal_api_error", "search-error", "readonly")):
        return Verdict(Meaning.FAILED, f"answered with the error {code}")
    return Verdict(Meaning.REFUSED, f"refused the request ({code})")
