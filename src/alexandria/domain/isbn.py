"""International Standard Book Numbers: every way they are written, and the thirteen digits they come down to.

The hard cases are numbered as in contracts/hard-cases.md, section A. Whatever is refused says why, and what is accepted is
kept as thirteen digits: the text it came from belongs to the source record, as evidence.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from alexandria.domain.errors import InvalidInput


class IsbnFault(StrEnum):
    """Why a text is no ISBN: a closed set, so that what was dropped can be counted by reason."""

    BLANK = "blank"
    TYPE = "not a text"
    CHARACTERS = "characters"
    LENGTH = "length"
    CHECK_DIGIT = "check digit"
    PREFIX = "prefix"
    ISMN = "ismn"
    ROUNDED = "rounded number"
    RESERVED = "reserved"


_EXPLANATIONS = {
    IsbnFault.BLANK: "nothing is written; give 13 digits, or 10 with their check digit",
    IsbnFault.TYPE: "is not a text; give the number in quotes",
    IsbnFault.CHARACTERS: "characters that an ISBN cannot hold; give digits, hyphens and a final X only",
    IsbnFault.LENGTH: "wrong length; an ISBN has 13 digits, or 10 (9 before 1970)",
    IsbnFault.CHECK_DIGIT: "the check digit does not fit the others; compare it with the printed number",
    IsbnFault.PREFIX: "13 digits that do not begin with 978 or 979: another article number, not an ISBN",
    IsbnFault.ISMN: "ismn: a number for printed music (979-0 or M), not an ISBN",
    IsbnFault.ROUNDED: "a number rounded by a spreadsheet; its digits are lost, export the column as text",
    IsbnFault.RESERVED: "reserved or junk number that unrelated books share; it identifies nothing",
}


class InvalidIsbn(InvalidInput):
    """A text that is no ISBN; `fault` says which of the closed reasons, `reason` says it in words."""

    def __init__(self, value: object, fault: IsbnFault) -> None:
        self.fault = fault
        super().__init__("isbn", value, _EXPLANATIONS[fault])


@dataclass(frozen=True, slots=True, order=True)
class Isbn:
    """A valid ISBN as 13 digits, whichever form it was written in; equal numbers are equal values."""

    digits: str

    def __post_init__(self) -> None:
        fault = _fault_of_13(self.digits)
        if fault is not None:
            raise InvalidIsbn(self.digits, fault)

    @classmethod
    def parse(cls, text: str) -> "Isbn":
        """Read one ISBN in any of its written forms; raises InvalidIsbn and never takes a part of a longer number.

        Read: hyphens, blanks, dashes and low lines between digits, "ISBN-13:" before it, a qualifier after it, ISBN-10 and
        the nine digits of an SBN, a price add-on set apart by a blank. Decimal digits of any script count as digits (A10).
        """
        if len(text) == 13 and text.isascii() and text.isdigit():
            return cls(text)
        return read_printed(text)[0]

    def to_10(self) -> str | None:
        """The ten-character form; None for 979, which never had one (A4)."""
        if not self.digits.startswith("978"):
            return None
        body = self.digits[3:12]
        return body + _check_character_10(body)

    @property
    def is_reserved(self) -> bool:
        """Whether unrelated books share this number, so that it must never be an identity (A13)."""
        return self.digits.startswith(_RESERVED_PREFIX) or self.digits in _JUNK

    def __str__(self) -> str:
        return self.digits


_RESERVED_PREFIX = "978000000"
"""978-0-00-000xxxx carries unrelated titles in ISBNdb (contracts/isbndb.md, section 9; hard-cases.md, A13)."""

_JUNK = frozenset({"9781234567897", "9780123456786"})
"""The digits in order, which stand in for a number in templates and test orders."""

_MOST_CHARACTERS = 200
"""No printed form is longer; anything longer is refused before it is looked at (design.md, invariant 10)."""

_DASHES = dict.fromkeys(map(ord, "\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d_"), "-")
_LETTERS = dict.fromkeys(map(ord, "ＸｘХхΧχ"), "X")
"""Full-width, Cyrillic and Greek letters that look like the check character."""

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"), None)

_WRAPPERS = " =\"'[](){}<>"
_LABEL = re.compile(r"(?:urn\s*:\s*)?(?:[ep]-?)?isbn(?:[\s-]*1[03](?=[^0-9a-z]))?[\s:.#-]*", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9](?:[\s-]*[0-9])*(?:[\s-]*[Xx](?![a-z]))?", re.IGNORECASE)
_ADD_ON = re.compile(r"((?:[0-9][\s-]*){12}[0-9])\s+(?:[0-9]{5}|[0-9]{2})")
_QUALIFIER = re.compile(
    r"[\s.,;-]*(?:\(([^()]*)\)|\[([^\[\]]*)\]|(?<=\s)([a-z][^\d]*))?[\s.,;]*(?::\D*\d{0,4}(?:[.,]\d{1,2})?\D*)?",
    re.IGNORECASE,
)
_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE][+]?[0-9]+")
_ISMN = re.compile(r"(?:ismn[\s:]*)?m(?:[\s-]*[0-9]){9}", re.IGNORECASE)


def read_printed(text: str) -> tuple[Isbn, str | None]:
    """The ISBN of a printed form and its qualifier: "9780060723804 (hardcover)" also says "hardcover" (A2).

    The qualifier is evidence for the binding. Raises InvalidIsbn as `Isbn.parse` does.
    """
    if len(text) > _MOST_CHARACTERS:
        raise InvalidIsbn(text, IsbnFault.LENGTH)
    plain = _to_ascii_digits(text).strip()
    if plain[:1] in _WRAPPERS:  # ="0670034827" of a spreadsheet, [0670034827] of a library's export
        plain = plain.strip(_WRAPPERS)
    if not plain:
        raise InvalidIsbn(text, IsbnFault.BLANK)
    if _ROUNDED.fullmatch(plain):
        raise InvalidIsbn(text, IsbnFault.ROUNDED)
    if _ISMN.fullmatch(plain):
        raise InvalidIsbn(text, IsbnFault.ISMN)
    label = _LABEL.match(plain)
    number = _NUMBER.match(plain, label.end() if label else 0)
    if number is None:
        raise InvalidIsbn(text, IsbnFault.CHARACTERS)
    qualifier = _QUALIFIER.fullmatch(plain, number.end())
    if qualifier is None:
        raise InvalidIsbn(text, IsbnFault.CHARACTERS)
    add_on = _ADD_ON.fullmatch(number[0])
    isbn = _from_characters(re.sub(r"[\s-]", "", add_on[1] if add_on else number[0]).upper(), text)
    words = next((group.strip() for group in qualifier.groups() if group and group.strip()), None)
    return isbn, words


def pad_lost_zeros(text: str) -> Isbn | None:
    """A candidate for a number that lost leading zeros in a spreadsheet: 7 to 9 characters, check digit included (A7).

    One in eleven wrong numbers fits by chance, so the caller must confirm the candidate by title or author before using it.
    None when the length is another, or when the check digit does not fit.
    """
    characters = re.sub(r"[\s-]", "", _to_ascii_digits(text)).upper()
    if not re.fullmatch(r"[1-9][0-9]{5,7}[0-9X]", characters):
        return None
    try:
        return _from_characters(characters.zfill(10), text)
    except InvalidIsbn:
        return None


def read_isbns(texts: Iterable[object]) -> tuple[tuple[Isbn, ...], tuple[tuple[str, str], ...]]:
    """Every ISBN of a record's lists, once each and in order, and what was refused as (text, reason) (A14, A15).

    The field's name is not believed: ten and thirteen digits may stand in either. None and blanks say nothing and are not
    reported; reserved numbers are refused here, because the result serves as identity (A13).
    """
    found: dict[Isbn, None] = {}
    refused = []
    for value in texts:
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if not isinstance(value, str) and type(value) is not int:
            refused.append((repr(value)[:_MOST_CHARACTERS], str(IsbnFault.TYPE)))
            continue
        text = str(value)
        try:
            isbn = Isbn.parse(text)
        except InvalidIsbn as error:
            refused.append((text[:_MOST_CHARACTERS], str(error.fault)))
            continue
        if isbn.is_reserved:
            refused.append((text[:_MOST_CHARACTERS], str(IsbnFault.RESERVED)))
        else:
            found[isbn] = None
    return tuple(found), tuple(refused)


def parse_each(texts: Iterable[str]) -> tuple[list[Isbn], dict[str, str]]:
    """The valid ones of what a person sent, once each and in order, and text -> explanation of each that is none."""
    valid: dict[Isbn, None] = {}
    invalid: dict[str, str] = {}
    for text in texts:
        try:
            isbn = Isbn.parse(text)
        except InvalidIsbn as error:
            invalid[text[:_MOST_CHARACTERS]] = error.reason
            continue
        if isbn.is_reserved:
            invalid[text[:_MOST_CHARACTERS]] = _EXPLANATIONS[IsbnFault.RESERVED]
        else:
            valid[isbn] = None
    return list(valid), invalid


def _from_characters(characters: str, text: str) -> Isbn:
    """The ISBN of 9, 10 or 13 bare characters; `text` is what the error shows."""
    match len(characters):
        case 13:
            fault = _fault_of_13(characters)
            if fault is not None:
                raise InvalidIsbn(text, fault)
            return Isbn(characters)
        case 9 | 10:
            ten = characters.zfill(10)  # an SBN of nine is an ISBN-10 without its 0 (A9)
            if ten[9] != _check_character_10(ten[:9]):
                raise InvalidIsbn(text, IsbnFault.CHECK_DIGIT)
            body = "978" + ten[:9]
            return Isbn(body + _check_digit_13(body))
        case _:
            raise InvalidIsbn(text, IsbnFault.LENGTH)


def _fault_of_13(digits: str) -> IsbnFault | None:
    if len(digits) != 13:
        return IsbnFault.LENGTH
    if not (digits.isascii() and digits.isdigit()):
        return IsbnFault.CHARACTERS
    if digits.startswith("9790"):
        return IsbnFault.ISMN
    if not digits.startswith(("978", "979")):
        return IsbnFault.PREFIX
    return None if digits[12] == _check_digit_13(digits) else IsbnFault.CHECK_DIGIT


def _check_digit_13(digits: str) -> str:
    """The thirteenth digit for the first twelve: weights 1 and 3, modulus 10 (ISO 2108)."""
    total = sum(map(int, digits[0:12:2])) + 3 * sum(map(int, digits[1:12:2]))
    return str(-total % 10)


def _check_character_10(body: str) -> str:
    """The tenth character for nine digits: weights 10 to 2, modulus 11, X for ten (ISO 2108 before 2007)."""
    total = sum(weight * int(digit) for weight, digit in zip(range(10, 1, -1), body, strict=True))
    return "0123456789X"[-total % 11]


def _to_ascii_digits(text: str) -> str:
    """The text with dashes, look-alike X and decimal digits of every script in ASCII, invisible marks removed (A1, A10).

    Superscripts and circled digits are no decimals: they stay and are refused.
    """
    if text.isascii():
        return text.replace("_", "-")
    plain = text.translate(_DASHES).translate(_LETTERS).translate(_INVISIBLE)
    return "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in plain)
