"""What each provider grants, as data: the coordinator knows nothing else about a provider's limits.

A new provider is a line here. What a user may set replaces a figure (`app.py`); what a provider says of itself replaces it further
while it runs (`domain/settling.py`, `reconciling.py`).
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from alexandria.domain.quota import UNLIMITED, Policy

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        # contracts/isbndb.md, section 5: Premium. Its `/key` tells what was counted, for nothing.
        "isbndb": Policy(has_counter=True),
        # contracts/openlibrary.md, sections 5 and 6: three requests a second for callers that name a contact, none for others; no
        # limit for a day. The fence is short, since every second is a window.
        "openlibrary": Policy(
            hard_limit=UNLIMITED,
            safe_limit=UNLIMITED,
            requests_per_window=3,
            window=timedelta(seconds=1),
            fence_span=timedelta(milliseconds=200),
            guard_span=timedelta(0),
            needs_contact=True,
        ),
        # contracts/google-books.md, section 4: an own key has 1,000 requests a day, reset at midnight Pacific as is commonly
        # assumed. Some are left for the user's other programs, which no counter of theirs would show us.
        "google-books": Policy(
            hard_limit=1_000,
            safe_limit=900,
            requests_per_window=60,
            reset_zone="America/Los_Angeles",
            guard_span=timedelta(minutes=1),
        ),
        # contracts/wikidata.md, section 4: 60 seconds of processing in 60 seconds. What its window counts is seconds: a query reserves
        # as many as it may take and gives back what it did not (`Verdict.requests_spent`).
        "wikidata": Policy(
            hard_limit=UNLIMITED,
            safe_limit=UNLIMITED,
            requests_per_window=60,
            window=timedelta(seconds=60),
            guard_span=timedelta(0),
            longest_wait=timedelta(minutes=2),
            needs_contact=True,
        ),
    }
)
