"""How long most took, read off buckets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria.domain.latencies import Latencies


def counted(seconds: list[float], bounds: tuple[float, ...] = (0.1, 0.5, 1.0, math.inf)) -> Latencies:
    return Latencies(
        len(seconds), sum(seconds), {bound: sum(each <= bound for each in seconds) for bound in bounds}
    )


def test_nothing_counted_says_nothing() -> None:
    assert Latencies().mean is None
    assert Latencies().quantile(0.5) is None
    assert counted([]).quantile(0.5) is None


def test_a_share_lies_evenly_within_its_bucket() -> None:
    latencies = counted([0.05, 0.2, 0.3, 0.4, 0.8])
    assert latencies.mean == pytest.approx(0.35)
    assert latencies.quantile(0.2) == pytest.approx(0.1)
    assert latencies.quantile(0.5) == pytest.approx(0.1 + 0.4 * 0.5)
    assert latencies.quantile(1.0) == pytest.approx(1.0)


def test_what_took_longer_than_the_last_bucket_is_told_as_its_bound() -> None:
    assert counted([3.0, 4.0]).quantile(0.5) == 1.0


@given(st.lists(st.floats(0, 5), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_greater_share_never_took_less(seconds: list[float], one: float, other: float) -> None:
    low, high = sorted([one, other])
    found = [counted(seconds).quantile(share) for share in (low, high)]
    assert None not in found
    assert found[0] <= found[1]  # type: ignore[operator]
