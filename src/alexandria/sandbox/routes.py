"""The names of what can be asked (contracts/isbndb.md, section 3)."""

from enum import StrEnum


class Endpoint(StrEnum):
    """What can be asked; the values name endpoints in faults and counts."""

    BOOK = "book"
    BULK = "bulk"
    BOOKS = "books"
    AUTHOR = "author"
    AUTHORS = "authors"
    PUBLISHER = "publisher"
    PUBLISHERS = "publishers"
    SUBJECT = "subject"
    SUBJECTS = "subjects"
    SEARCH_BOOKS = "search/books"
    SEARCH_AUTHORS = "search/authors"
    SEARCH_PUBLISHERS = "search/publishers"
    SEARCH_SUBJECTS = "search/subjects"
    FEED = "feeds/books/updates"
    KEY = "key"
    STATS = "stats"
    THEMA = "thema"
    UNKNOWN = "unknown"


class Free(StrEnum):
    """The stand-ins for sources without paid units; the values name them in faults and counts, and are their paths."""

    OPENLIBRARY = "openlibrary"
    GOOGLE_BOOKS = "google-books"
    WIKIDATA = "wikidata"
