"""Spans of time that were counted in buckets, as Prometheus does it: how long most took, from how many took at most how long."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Latencies:
    """How long things took, in seconds."""

    count: int = 0
    sum: float = 0.0
    at_most: Mapping[float, float] = field(default_factory=dict)
    """Seconds -> how many took no longer; infinity among them."""

    @property
    def mean(self) -> float | None:
        """None when nothing was counted."""
        return self.sum / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """What the `share` (0 to 1) that was fastest took at most, evenly spread within its bucket (Prometheus, histogram_quantile).

        None when nothing was counted. What lies beyond the last finite bucket is told as that bucket's bound.
        """
        bounds = sorted(self.at_most)
        total = self.at_most[bounds[-1]] if bounds else 0
        if not total:
            return None
        rank, below, lower = share * total, 0.0, 0.0
        for bound in bounds:
            within = self.at_most[bound]
            if within >= rank:
                if math.isinf(bound):
                    return lower
                return lower + (bound - lower) * ((rank - below) / (within - below) if within > below else 1)
            below, lower = within, bound
        return lower
