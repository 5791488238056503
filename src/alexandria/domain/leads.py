"""Translations: other ISBNs that a record names as related lead to its work, where title and language differ.

A provider's list of related ISBNs is a lead, no proof (contracts/isbndb.md, section 9): a box, a companion or a mistake stands in it as
well. So two ISBNs have to lead to the work, as two records that name each other do; together with a person in common, between two
languages that are both known, when the work bears no other title in the edition's own language, and fewer lead to any other work.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alexandria.domain.isbn import Isbn
from alexandria.domain.titles import titles_agree

MOST_LEADS = 8
"""That are read of one record, the least ISBNs: a popular book has hundreds of editions, and all of them then name the same ones."""

LEAST_LEADS = 2
"""One may be a mistake."""


@dataclass(frozen=True, slots=True)
class Lead:
    """A work that an ISBN leads to, and the language of the edition that says so."""

    work_key: str
    language: str


@dataclass
class Leads:
    """What is known of where ISBNs lead; grows as a batch is placed."""

    of_isbn: dict[tuple[str, Isbn], set[Lead]] = field(default_factory=dict)
    """By a person's handle and an ISBN that an edition of the person's work bears or names."""
    titles: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """By work and language: what its editions are called."""

    def works_of(
        self, handles: Iterable[str], isbns: Sequence[Isbn], language: str | None, title: str
    ) -> list[str]:
        """The works of these people that an edition of this language and title may be a translation of.

        Those to which most of the ISBNs lead, in order: one, none, or several between which nothing decides.
        """
        if language is None:
            return []
        leading: dict[str, set[Isbn]] = {}
        for handle in handles:
            for isbn in isbns:
                for lead in self.of_isbn.get((handle, isbn), ()):
                    if lead.language != language:
                        leading.setdefault(lead.work_key, set()).add(isbn)
        return strongest(
            {work: found for work, found in leading.items() if self._may_be_called(work, language, title)}
        )

    def _may_be_called(self, work: str, language: str, title: str) -> bool:
        return all(titles_agree(each, title) for each in self.titles.get((work, language), ()))

    def add(
        self, handles: Iterable[str], isbns: Sequence[Isbn], work_key: str, language: str | None, title: str
    ) -> None:
        """Remember an edition that was placed in a work."""
        if language is None:
            return
        for handle in handles:
            for isbn in isbns:
                self.of_isbn.setdefault((handle, isbn), set()).add(Lead(work_key, language))
        self.titles.setdefault((work_key, language), []).append(title)


def strongest(leading: Mapping[str, Collection[Isbn]]) -> list[str]:
    """Of works and the ISBNs that lead to each: those to which most lead, if enough do."""
    most = max(map(len, leading.values()), default=0)
    return sorted(work for work, found in leading.items() if len(found) == most >= LEAST_LEADS)


def are_told_apart(one: Mapping[str, Sequence[str]], other: Mapping[str, Sequence[str]]) -> bool:
    """Whether two works, each as titles by language, have different titles in a language that both appeared in."""
    return any(
        not any(titles_agree(a, b) for a in one[language] for b in other[language])
        for language in one.keys() & other.keys()
    )
