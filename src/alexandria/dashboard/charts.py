"""Charts: the numbers of one, for the table that everybody gets and for the drawing that `static/charts.js` makes of them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal


@dataclass(frozen=True)
class Series:
    """One line, or the bars of one colour."""

    name: str
    values: Sequence[float | None]
    """One for each place of the chart; None where nothing is known."""
    colour: int = 1
    """From 1 to 6, the colours of the style sheet that can be told apart in both schemes."""
    is_dashed: bool = False
    """For what is only expected."""
    is_filled: bool = False


@dataclass(frozen=True)
class Chart:
    """A picture of some series over moments, or over anything else that has names."""

    id: str
    """Of the element on the page; unique there."""
    title: str
    x_name: str
    x: Sequence[datetime | str]
    """Moments, which are drawn in the viewer's zone, or names in their order."""
    unit: str
    """What the values count, as the axis says it."""
    series: Sequence[Series]
    kind: Literal["line", "bars", "stacked"] = "line"
    """`stacked`: bars upon each other, the first series at the bottom."""

    @property
    def json(self) -> str:
        """For `static/charts.js`, which says what the names mean."""
        moments = [each.timestamp() for each in self.x if isinstance(each, datetime)]
        return json.dumps(
            {
                "kind": self.kind,
                "unit": self.unit,
                "x": moments or list(range(len(self.x))),
                "names": None if moments else list(self.x),
                "series": [
                    {
                        "name": each.name,
                        "values": list(each.values),
                        "colour": each.colour,
                        "dashed": each.is_dashed,
                        "filled": each.is_filled,
                    }
                    for each in self.series
                ],
            },
            separators=(",", ":"),
        )

    def rows(self) -> Iterator[tuple[str, Sequence[float | None]]]:
        """The same as lines of a table: a place and a value for each series."""
        for n, place in enumerate(self.x):
            name = f"{place.astimezone(UTC):%Y-%m-%d %H:%M}" if isinstance(place, datetime) else place
            yield name, [each.values[n] for each in self.series]
