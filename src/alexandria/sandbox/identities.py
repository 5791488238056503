"""What the sources without paid units know of a world, and under which numbers: each a part of it, always the same one."""

from zlib import crc32

from alexandria.sandbox.truth import Author, CoverKind, Edition, EditionKind

_LETTERS = "BCDFGHJKLM"


def _draw(purpose: str, key: str, of: int) -> int:
    """A number below `of` that belongs to a key for ever."""
    return crc32(f"{purpose} {key}".encode()) % of


def is_in_openlibrary(edition: Edition) -> bool:
    """Whether Open Library has it today: everything in its dump that has an ISBN, and some of what came since."""
    is_book = edition.isbn is not None and edition.kind is not EditionKind.JUNK
    return is_book and (edition.in_dump or _draw("openlibrary", edition.key, 4) == 0)


def openlibrary_cover(edition: Edition) -> int | None:
    """The number of its cover at Open Library, for about two thirds of those that have a picture at all."""
    has_one = edition.cover is CoverKind.PICTURE and _draw("cover", edition.key, 3) > 0
    return int(edition.key[2:-1]) if has_one else None


def edition_of_cover(number: int) -> str:
    """The key of the edition that a cover's number belongs to."""
    return f"OL{number}M"


def is_in_google(edition: Edition) -> bool:
    """Whether Google Books has it: about 60 in 100."""
    return (
        edition.isbn is not None
        and edition.kind is not EditionKind.JUNK
        and _draw("google", edition.key, 10) < 6
    )


def google_quirk(isbn: str) -> int:
    """Of a hundred ISBNs: 0 and 1 are answered with another book, 2 and 3 without identifiers, 4 without `items`."""
    return _draw("quirk", isbn, 100)


def google_id(edition: Edition) -> str:
    """The volume's id: twelve letters and digits."""
    digits = "".join(_LETTERS[int(each)] for each in edition.key[2:-1])
    return f"{digits:A>8}AAAJ"


def edition_of_volume(volume_id: str) -> str:
    """The key of the edition that a volume's id belongs to; a key of nothing for another id."""
    digits = volume_id.removesuffix("AAAJ").lstrip("A")
    return f"OL{''.join(str(_LETTERS.find(each)) for each in digits)}M"


def wikidata_entity(author: Author) -> str | None:
    """The author's entity, for about 80 in 100."""
    return f"Q{90_000_000 + int(author.key[2:-1])}" if _draw("entity", author.key, 10) < 8 else None


def viaf(author: Author) -> str:
    """The author's number at VIAF."""
    return str(100_000_000 + _draw("viaf", author.key, 90_000_000))


def isni(author: Author) -> str:
    """The author's ISNI, without blanks; its check character is not computed."""
    return f"00000001{_draw('isni', author.key, 100_000_000):08d}"


def is_named_at_openlibrary(author: Author) -> bool:
    """Whether Open Library's record of the author has `remote_ids`: about half of them."""
    return _draw("remote", author.key, 2) == 0


def is_wrong_at_openlibrary(author: Author) -> bool:
    """Whether those lead to somebody else: about 3 in 100 (hard-cases.md, C9)."""
    return _draw("wrong", author.key, 33) == 0


def is_vague_at_wikidata(author: Author) -> bool:
    """Whether the entity knows the birth by its century only: about 10 in 100 (hard-cases.md, E18)."""
    return _draw("vague", author.key, 10) == 0
