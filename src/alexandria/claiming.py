"""Claiming works for the editions of a batch: by title and by leads, against other workers at the same moment, and merging twins.

A claim is a row that one worker alone can be the first to write: a person with a title, or a person with an ISBN that an edition
bears or names. Whoever comes second waits for the first one's transaction and then finds its work.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import structlog

from alexandria.domain import matching
from alexandria.domain.catalogue import EditionFacts
from alexandria.domain.isbn import Isbn
from alexandria.domain.leads import Lead, are_told_apart, strongest
from alexandria.domain.matching import Matcher, Person, Placement, Review
from alexandria.domain.merging import Merged
from alexandria.domain.titles import title_key, titles_agree
from alexandria.stores.catalogue import CatalogueStore, Claim
from alexandria.stores.leads import LeadClaim, LeadStore

log = structlog.get_logger()


class Claiming:
    """The works of one batch: written down, claimed, and merged where two turn out to be one."""

    def __init__(self, store: CatalogueStore, leads: LeadStore, matcher: Matcher) -> None:
        self._store = store
        self._leads = leads
        self._matcher = matcher
        self._new: set[str] = set()
        self._moves: dict[str, str] = {}
        """Works that are now another one: taken back, or merged into it."""

    @property
    def works_new(self) -> int:
        """How many works there are that there were not before."""
        return len(self._new)

    async def save(
        self,
        placements: Collection[Placement],
        merged: Mapping[str, Merged],
        persons: Mapping[str, tuple[Person, ...]],
    ) -> dict[str, str]:
        """Write down new works and claim their titles and leads; returns edition key -> work key.

        Another worker may have claimed one since we looked: its claim stands, and our new work is taken back.
        """
        works = {each.edition_key: each.work_key for each in placements}
        new_works = {each.work_key for each in placements if each.is_new_work}
        claiming = {each.edition_key for each in placements if each.claims_title}
        rows = {key: merged[key].facts for key in sorted(works) if works[key] in new_works}
        self._new = await self._store.save_matched_works(
            {"key": works[key], "title": facts.title, "subtitle": facts.subtitle}
            for key, facts in rows.items()
        )

        def titles() -> list[Claim]:
            return [
                Claim(person.handle, key, works[edition], matching.whole_title(facts))
                for edition in sorted(claiming)
                for facts in (merged[edition].facts,)
                if (key := title_key(facts.title or "", facts.subtitle))
                for person in matching.writers(persons[edition])
            ]

        def leads() -> dict[str, list[LeadClaim]]:
            # Under the first writer alone: whoever looks for them looks under each of an edition's writers.
            return {
                edition: [
                    LeadClaim(person.handle, isbn, Lead(works[edition], facts.language))
                    for person in matching.writers(persons[edition])[:1]
                    for isbn in (*matching.identities(facts), *facts.related)
                ]
                for edition in sorted(works)
                if (facts := merged[edition].facts).language and may_lead(facts)
            }

        await self._store.save_work_titles(titles())
        await self._leads.save(chain.from_iterable(leads().values()))
        by_title = await self._find_earlier_titles(titles())
        self._moves = await self._find_earlier_leads(leads(), self._new - by_title.keys()) | by_title
        moved = {key for key, work in works.items() if work in self._moves}
        works.update({key: self._now_of(works[key]) for key in moved})
        self._new -= await self._store.delete_works_without_editions(sorted(self._moves))
        if moved:
            # The claims of a work that was taken back went with it.
            await self._store.save_work_titles(titles())
            await self._leads.save(
                claim for key, claims in leads().items() if key in moved for claim in claims
            )
        await self._store.save_work_authors(
            {
                "work_key": works[key],
                "author_key": person.author_key,
                "position": position,
                "evidence": person.evidence,
            }
            for key in sorted(works)
            if works[key].startswith("matched-")
            for position, person in enumerate(matching.writers(persons[key]), start=1)
            if person.author_key
        )
        return works

    async def _find_earlier_titles(self, claims: Sequence[Claim]) -> dict[str, str]:
        """Our new works that another worker was first to claim under one of their people -> its work.

        Where our work is not new, the two are twins.
        """
        found = await self._store.find_claims(
            sorted({each.person for each in claims}), sorted({each.title_key for each in claims})
        )
        standing = {(each.person, each.title_key): each for each in found}
        moves: dict[str, str] = {}
        for ours in claims:
            other = standing.get((ours.person, ours.title_key))
            if other is None or other.work_key == ours.work_key or not titles_agree(other.title, ours.title):
                continue
            if ours.work_key in self._new:
                # Two of our own new works must not each give way to the other.
                if other.work_key not in moves:
                    moves.setdefault(ours.work_key, other.work_key)
            elif not self._matcher.knew_title(ours.person, ours.title_key, other.work_key):
                self._matcher.twins.append((ours.work_key, other.work_key))
        return moves

    async def _find_earlier_leads(
        self, claims: Mapping[str, Sequence[LeadClaim]], new: Collection[str]
    ) -> dict[str, str]:
        """Those of our new works to which another worker's edition in another language led at the same moment -> its work.

        Where our work is not new, the two are twins.
        """
        ours = [each for said in claims.values() for each in said]
        found = await self._leads.find({each.person for each in ours}, {each.isbn for each in ours}, ())
        standing: dict[tuple[str, Isbn], Lead] = {(each.person, each.isbn): each.lead for each in found}
        moves: dict[str, str] = {}
        for said in claims.values():
            leading: dict[str, set[Isbn]] = {}
            unknown: set[str] = set()
            for each in said:
                lead = standing.get((each.person, each.isbn))
                if lead and lead.language != each.lead.language and lead.work_key != each.lead.work_key:
                    leading.setdefault(lead.work_key, set()).add(each.isbn)
                    if not self._matcher.knew_lead(each.person, each.isbn, lead):
                        unknown.add(lead.work_key)
            led = strongest(leading)
            # What was known before, or is of this batch, was weighed when the edition was placed.
            if len(led) == 1 and led[0] in unknown and led[0] not in self._new:
                work = said[0].lead.work_key
                if work in new:
                    moves.setdefault(work, led[0])
                else:
                    self._matcher.twins.append((work, led[0]))
        return moves

    async def merge_twins(self) -> None:
        """Merge works that turned out to be one, unless they have different titles in one language."""
        for pair in dict.fromkeys(self._matcher.twins):
            # A key that a provider gave stays; of two of ours, the one that any order of events would choose.
            into, work = sorted(map(self._now_of, pair), key=lambda key: (key.startswith("matched-"), key))
            if into == work:
                continue
            if not work.startswith("matched-"):
                reason = "related ISBNs lead from one to the other"
                self._matcher.reviews.append(Review("work_twins", into, work, reason))
                continue
            if not await self._leads.lock(work):
                continue  # merged by somebody else at this moment
            titles = await self._leads.find_titles(into, work)
            if not are_told_apart(titles[into], titles[work]):
                editions = await self._leads.merge(work, into)
                log.info("works.merged", work=work, into=into, editions=editions)
                self._moves[work] = into
                self._new.discard(work)

    def _now_of(self, work: str) -> str:
        while work in self._moves:
            work = self._moves[work]
        return work


def may_lead(facts: EditionFacts) -> bool:
    """Whether related ISBNs say something of the edition's work: not where a record names it and none names relatives."""
    return facts.language is not None and bool(facts.related or not facts.work_keys)
