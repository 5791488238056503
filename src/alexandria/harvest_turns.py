"""A turn at an item of a run: what the work on one item is handed."""

from collections.abc import Callable
from dataclasses import dataclass

from alexandria.clock import Clock
from alexandria.domain.quota import Lane
from alexandria.domain.targets import Target
from alexandria.stores.harvests import Item, Run
from alexandria.stores.postgres import Database


@dataclass(frozen=True)
class Turn:
    """One item in one worker's hands. `stopping` is asked between two calls."""

    run: Run
    item: Item
    database: Database
    clock: Clock
    stopping: Callable[[], bool]

    @property
    def target(self) -> Target:
        """What to ask for."""
        return self.item.asks

    @property
    def lane(self) -> Lane:
        """How urgent it is."""
        return Lane(self.run.lane)

    @property
    def job(self) -> str:
        """Under which name its calls stand in the ledger."""
        return f"{self.run.id}/{self.item.position}"

    @property
    def free_job(self) -> str:
        """The same for calls that cost none of the units that the run is charged for."""
        return f"{self.job}/free"

    @property
    def asks_anew(self) -> bool:
        """Whether ISBNs are asked for however fresh their answers are, but for those of this very run."""
        return bool(self.run.parameters.get("anew"))
