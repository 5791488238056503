"""Deciding that two are one: which edition a record speaks of, which work that is, who its people are.

Evidence is an ISBN whose titles agree, a key that the record itself names, a person and a normalised title together, or a person and
a related ISBN between two languages (`leads.py`); never a title alone (design.md, invariant 7). New keys are made from the evidence itself, so that two workers who find the same thing at
the same moment write the same key.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from alexandria.domain.catalogue import Contribution, EditionFacts, SourceRecord, WorkFacts
from alexandria.domain.folding import fold
from alexandria.domain.isbn import Isbn
from alexandria.domain.leads import Lead, Leads
from alexandria.domain.names import is_generic, name_key, read_statement
from alexandria.domain.titles import title_key, titles_agree


class Evidence(StrEnum):
    """Why a name in an edition is taken for an author, strongest first."""

    IDENTIFIER = "identifier"
    """The record names the author by a key."""
    TITLE = "title"
    """The author is known to have a work of this title."""
    BIBLIOGRAPHY = "bibliography"
    """The record came from the bibliography that we asked for, and no other author bears the name."""
    NAME = "name"
    """Nobody else we know bears the name. The weakest: it links, it never merges."""


@dataclass(frozen=True, slots=True)
class KnownEdition:
    """An edition of the catalogue as matching sees it."""

    key: str
    work_key: str
    title: str | None
    is_first: bool


@dataclass(frozen=True, slots=True)
class KnownAuthor:
    """An author of the catalogue who bears a name."""

    key: str
    is_identified: bool


@dataclass(frozen=True, slots=True)
class Person:
    """One contribution, resolved as far as the evidence goes.

    `handle` is what a work's title is claimed under: the author's key, or `name:` and the normalised name; empty when the
    statement names nobody.
    """

    contribution: Contribution
    handle: str
    author_key: str | None
    evidence: Evidence | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """A doubt that waits for a person."""

    kind: str
    subject: str
    other: str
    reason: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a record belongs in the catalogue."""

    record_key: str
    edition_key: str
    is_new_edition: bool
    work_key: str
    is_new_work: bool
    title_key: str
    claims_title: bool
    """Whether the work is to be found by its people and this title; False when another work of theirs is."""
    persons: tuple[Person, ...]
    first_isbns: tuple[Isbn, ...]
    """The ISBNs under which this edition is to be the first found."""


@dataclass
class Known:
    """What the catalogue knows that bears on a batch of records; grows as the batch is placed."""

    edition_of_record: dict[str, str] = field(default_factory=dict)
    editions: dict[str, KnownEdition] = field(default_factory=dict)
    editions_of_isbn: dict[Isbn, list[KnownEdition]] = field(default_factory=dict)
    authors_of_name: dict[str, list[KnownAuthor]] = field(default_factory=dict)
    work_of_title: dict[tuple[str, str], str] = field(default_factory=dict)
    works: set[str] = field(default_factory=set)
    title_of_claim: dict[tuple[str, str], str] = field(default_factory=dict)
    """Whole titles behind `work_of_title`: a title's key leaves out subtitles, so that two works may share one."""
    leads: Leads = field(default_factory=Leads)


def derived_key(kind: str, *evidence: str) -> str:
    """A key made of the evidence: 80 bits of its SHA-256, so that a chance collision needs a trillion keys."""
    digest = hashlib.sha256("\x1f".join(evidence).encode()).hexdigest()
    return f"{kind}-{digest[:20]}"


def named_author_key(name: str) -> str:
    """The key of an author who is known by a name only."""
    return derived_key("named", name_key(name))


def identities(facts: EditionFacts) -> tuple[Isbn, ...]:
    """The ISBNs that may identify this edition: junk numbers never do (hard-cases.md, A13)."""
    return tuple(isbn for isbn in facts.isbns if not isbn.is_reserved)


def handles_of(name: str, known: Known) -> list[str]:
    """Under which handles a work by somebody of this name may have been claimed."""
    key = name_key(name)
    return [*(author.key for author in known.authors_of_name.get(key, [])), f"name:{key}"]


def whole_title(facts: EditionFacts | WorkFacts) -> str:
    """The title with its subtitle."""
    return f"{facts.title}: {facts.subtitle}" if facts.subtitle else facts.title or ""


def writers(persons: Sequence[Person]) -> list[Person]:
    """The people a work is by: those without another role, or all of them when everybody has one."""
    people = [person for person in persons if person.handle]
    return [person for person in people if person.contribution.role is None] or people


class Matcher:
    """Places the records of one batch, one after the other, against what is known."""

    def __init__(self, known: Known, *, bibliography_of: str | None = None) -> None:
        """`bibliography_of` is the key of the author whose bibliography the records came from."""
        self._known = known
        self._bibliography_of = bibliography_of
        self.reviews: list[Review] = []
        self.twins: list[tuple[str, str]] = []
        """Pairs of works that are one: an edition is in the first, and what it names as related leads to the other."""

    def place(self, record: SourceRecord, facts: EditionFacts) -> Placement:
        """Find the record's edition and work, or name new ones. The caller has checked that it has an identity."""
        edition = self._find_edition(record, facts)
        edition_key = edition.key if edition else self._new_edition_key(record, facts)
        work_title = title_key(facts.title, facts.subtitle) if facts.title else ""
        persons = self.resolve(facts)
        led = self._follow_leads(facts, writers(persons))
        if edition:
            work_key, claims_title = edition.work_key, True
        else:
            work_key, claims_title = self._find_work(facts, persons, work_title, edition_key, led)
        placement = Placement(
            record_key=record.key,
            edition_key=edition_key,
            is_new_edition=edition is None,
            work_key=work_key,
            is_new_work=work_key not in self._known.works,
            title_key=work_title,
            claims_title=claims_title,
            persons=persons,
            first_isbns=tuple(
                isbn for isbn in identities(facts) if not self._known.editions_of_isbn.get(isbn)
            ),
        )
        if len(led) == 1 and led[0] != work_key:
            # The translation came first and made a work of its own.
            self.twins.append((work_key, led[0]))
        self._learn(placement, facts)
        return placement

    def resolve(self, facts: EditionFacts) -> tuple[Person, ...]:
        """Who the people named in an edition are, as far as the evidence goes."""
        return self._resolve(
            facts.contributions, title_key(facts.title, facts.subtitle) if facts.title else ""
        )

    def _find_edition(self, record: SourceRecord, facts: EditionFacts) -> KnownEdition | None:
        if key := self._known.edition_of_record.get(record.key):
            return self._known.editions[key]
        for isbn in identities(facts):
            sharing = sorted(
                self._known.editions_of_isbn.get(isbn, []), key=lambda each: (not each.is_first, each.key)
            )
            for edition in sharing:
                if not edition.title or not facts.title or titles_agree(edition.title, facts.title):
                    return edition
            if sharing:
                self.reviews.append(
                    Review(
                        "isbn_shared",
                        str(isbn),
                        sharing[0].key,
                        f"{record.provider} gives it to {facts.title!r}",
                    )
                )
        return None

    def _new_edition_key(self, record: SourceRecord, facts: EditionFacts) -> str:
        if record.provider == "openlibrary":
            return record.key.rpartition("/")[2]
        isbn = identities(facts)[0]
        if self._known.editions_of_isbn.get(isbn):
            # The number was given to another title already: a second edition under the same ISBN (hard-cases.md, B4).
            return derived_key(f"isbn-{isbn}", title_key(facts.title or ""))
        return f"isbn-{isbn}"

    def _resolve(self, contributions: Iterable[Contribution], work_title: str) -> tuple[Person, ...]:
        return tuple(self._resolve_one(each, work_title) for each in contributions)

    def _resolve_one(self, contribution: Contribution, work_title: str) -> Person:
        if contribution.author_key:
            return Person(contribution, contribution.author_key, contribution.author_key, Evidence.IDENTIFIER)
        key = name_key(contribution.name)
        if not key:
            # A statement in which no person could be read: kept as stated, nobody is made of it (hard-cases.md, C1).
            return Person(contribution, "", None, None)
        bearers = self._known.authors_of_name.get(key, [])
        # Somebody known by the name only is nobody in particular beside an author with a key.
        bearers = [each for each in bearers if each.is_identified] or bearers
        of_this_title = [each for each in bearers if (each.key, work_title) in self._known.work_of_title]
        if len(of_this_title) == 1 and work_title:
            return Person(contribution, of_this_title[0].key, of_this_title[0].key, Evidence.TITLE)
        if len(bearers) == 1:
            asked_for = bearers[0].key == self._bibliography_of
            return Person(
                contribution,
                bearers[0].key,
                bearers[0].key,
                Evidence.BIBLIOGRAPHY if asked_for else Evidence.NAME,
            )
        handle = f"name:{key}"
        if bearers:
            self.reviews.append(
                Review("name_shared", key, "", f"{len(bearers)} authors are called {contribution.name!r}")
            )
            return Person(contribution, handle, None, None)
        if is_generic(contribution.name) or read_statement(contribution.statement).doubtful:
            return Person(contribution, handle, None, None)
        author = named_author_key(contribution.name)
        return Person(contribution, author, author, Evidence.NAME, is_new=True)

    def _find_work(
        self,
        facts: EditionFacts,
        persons: tuple[Person, ...],
        work_title: str,
        edition_key: str,
        led: Sequence[str],
    ) -> tuple[str, bool]:
        """The work's key, and whether it is the one to be found by these people and this title. `led` are works that leads show."""
        for key in facts.work_keys:
            if key in self._known.works:
                return key, True
        people = writers(persons)
        if not work_title or not people:
            # A title alone proves nothing: without an author the edition is a work of its own.
            return derived_key("matched", edition_key), True
        claims = [(handle, work_title) for each in people for handle in self._handles(each)]
        found = [claim for claim in claims if claim in self._known.work_of_title]
        called = [
            claim for claim in found if titles_agree(self._known.title_of_claim[claim], whole_title(facts))
        ]
        same = list(dict.fromkeys(self._known.work_of_title[claim] for claim in called))
        for other in same[1:]:
            reason = f"both are {facts.title!r} by people of {edition_key}"
            self.reviews.append(Review("work_twins", same[0], other, reason))
        if same:
            return same[0], True
        if len(led) == 1:
            return led[0], not found
        for other in led[1:]:
            reason = f"ISBNs related to {edition_key} lead to both"
            self.reviews.append(Review("work_twins", led[0], other, reason))
        # Where another work of these people has the same main title, this one leaves the title to it.
        return derived_key("matched", people[0].handle, fold(whole_title(facts))), not found

    def _follow_leads(self, facts: EditionFacts, people: Sequence[Person]) -> list[str]:
        """The works of these people that this may be a translation of, as far as related ISBNs tell."""
        if facts.language is None or not self._known.leads.of_isbn:
            return []
        handles = [handle for each in people for handle in self._handles(each)]
        isbns = (*identities(facts), *facts.related)
        return self._known.leads.works_of(handles, isbns, facts.language, whole_title(facts))

    def _handles(self, person: Person) -> list[str]:
        """The person's handle and, where no other author with a key bears the name, those it went by before."""
        name = person.contribution.name
        bearers = self._known.authors_of_name.get(name_key(name), [])
        is_shared = any(each.is_identified and each.key != person.author_key for each in bearers)
        if person.author_key is None or is_shared or not name_key(name):
            return [person.handle]
        return [person.handle, *(each for each in handles_of(name, self._known) if each != person.handle)]

    def knew_title(self, handle: str, key: str, work: str) -> bool:
        """Whether it was known that this person and title lead to the work."""
        return self._known.work_of_title.get((handle, key)) == work

    def knew_lead(self, handle: str, isbn: Isbn, lead: Lead) -> bool:
        """Whether it was known that this person and ISBN lead there."""
        return lead in self._known.leads.of_isbn.get((handle, isbn), ())

    def _learn(self, placement: Placement, facts: EditionFacts) -> None:
        known = self._known
        edition = KnownEdition(
            placement.edition_key, placement.work_key, facts.title, bool(placement.first_isbns)
        )
        known.edition_of_record[placement.record_key] = placement.edition_key
        known.editions.setdefault(placement.edition_key, edition)
        known.works.add(placement.work_key)
        for isbn in identities(facts):
            sharing = known.editions_of_isbn.setdefault(isbn, [])
            if all(each.key != placement.edition_key for each in sharing):
                sharing.append(edition)
        for person in placement.persons:
            if person.is_new and person.author_key:
                bearers = known.authors_of_name.setdefault(name_key(person.contribution.name), [])
                if all(each.key != person.author_key for each in bearers):
                    bearers.append(KnownAuthor(person.author_key, is_identified=False))
        known.leads.add(
            [each.handle for each in writers(placement.persons)[:1]],
            (*identities(facts), *facts.related),
            placement.work_key,
            facts.language,
            whole_title(facts),
        )
        for person in writers(placement.persons) if placement.title_key and placement.claims_title else ():
            claim = person.handle, placement.title_key
            if claim not in known.work_of_title:
                known.work_of_title[claim] = placement.work_key
                known.title_of_claim[claim] = whole_title(facts)
