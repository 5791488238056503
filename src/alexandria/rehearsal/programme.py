"""What people and scripts ask the server for during a rehearsal, and when.

All that harvests by the clock is not here but in the schedule (`Scenario.schedule`), which the workers fire. Covers are fetched whenever
one is wanted. The programs outside have their own hours (`others.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec

from alexandria.app import App
from alexandria.domain.errors import AlexandriaError
from alexandria.planning import MOST_ISBNS
from alexandria.rehearsal.scenario import API_TOKEN, Scenario
from alexandria.sandbox.world import World

_TIMEOUT = 60.0


@dataclass
class Stage:
    """What somebody needs who starts a harvest."""

    app: App
    scenario: Scenario
    world: World
    server_url: str
    runs: dict[str, list[str]] = field(default_factory=dict)
    """Name of an entry of the programme to the ids of its runs."""

    async def post(self, path: str, body: dict[str, Any]) -> str:
        """Ask the server for a harvest, as a person or a script would; returns the run's id.

        An answer that the quota has no room names the run too, which goes on by itself.
        """
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {API_TOKEN}"}
        request = Request(f"{self.server_url}{path}", msgspec.json.encode(body), headers)  # noqa: S310 - our own server

        def ask() -> dict[str, Any]:
            try:
                with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - the same
                    return msgspec.json.decode(answer.read(), type=dict[str, Any])
            except HTTPError as error:
                with error:
                    problem = msgspec.json.decode(error.read(), type=dict[str, Any])
                if "done" not in problem:
                    raise AlexandriaError(f"{path} answered {error.code}: {problem.get('detail')}") from error
                return dict(problem["done"])

        said = await asyncio.to_thread(ask)
        return str(said.get("run") or said["id"])


async def start_isbns(stage: Stage) -> list[str]:
    """Lists of ISBNs that somebody has: of books that the provider lists, in its arbitrary order."""
    wanted = [each.isbn.digits for each in stage.world.listed if each.isbn][: stage.scenario.isbns]
    lists = [wanted[at : at + MOST_ISBNS] for at in range(0, len(wanted), MOST_ISBNS)]
    return [
        await stage.post("/api/enrich/batch-direct", {"isbns": each, "source": "rehearsal"}) for each in lists
    ]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that is started: its name, when (`Scenario.at`), and how; it returns the ids of its runs."""

    name: str
    at: float
    start: Callable[[Stage], Awaitable[list[str]]]


PROGRAMME = (Entry("ISBNs", 0.14, start_isbns),)
"""In order."""
