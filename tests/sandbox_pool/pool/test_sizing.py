"""The pool's target size: bounds and monotonicity for any traffic, single cases, and comparison with fixed sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sizing import TRAFFIC, compare
from sandbox_pool.pool.sizing import REMEMBERED_S, target_size

NOW = 10_000.0

ages = st.lists(st.floats(min_value=0, max_value=2 * REMEMBERED_S), max_size=200)
durations = st.floats(min_value=0.001, max_value=120)
sizes = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: (pair[0], max(1, sum(pair))))


def target(ages_s: list[float], refill_s: float, sizes: tuple[int, int] = (0, 1000), starts: int = 100) -> int:
    arrivals = sorted(NOW - age_s for age_s in ages_s)
    return target_size(
        arrivals, now=NOW, refill_s=refill_s, concurrent_starts=starts, min_size=sizes[0], max_size=sizes[1]
    )


@given(ages, durations, sizes)
def test_the_target_stays_within_its_bounds(ages_s: list[float], refill_s: float, sizes: tuple[int, int]) -> None:
    assert sizes[0] <= target(ages_s, refill_s, sizes) <= sizes[1]


@given(ages, st.floats(min_value=0, max_value=2 * REMEMBERED_S), durations, sizes)
def test_one_more_acquire_never_lowers_it(
    ages_s: list[float], age_s: float, refill_s: float, sizes: tuple[int, int]
) -> None:
    assert target([*ages_s, age_s], refill_s, sizes) >= target(ages_s, refill_s, sizes)


@given(ages, durations, durations, sizes)
def test_slower_starts_never_lower_it(
    ages_s: list[float], refill_s: float, more_s: float, sizes: tuple[int, int]
) -> None:
    assert target(ages_s, refill_s + more_s, sizes) >= target(ages_s, refill_s, sizes)


@given(ages, durations, st.floats(min_value=0, max_value=REMEMBERED_S))
def test_without_new_acquires_it_only_falls(ages_s: list[float], refill_s: float, later_s: float) -> None:
    assert target([age_s + later_s for age_s in ages_s], refill_s) <= target(ages_s, refill_s)


def test_without_recent_acquires_it_is_the_minimum() -> None:
    assert target([], 1.0, (0, 8)) == 0
    assert target([], 1.0, (2, 8)) == 2
    assert target([REMEMBERED_S + 1] * 50, 1.0, (0, 8)) == 0


def test_one_recent_acquire_keeps_one_warm() -> None:
    assert target([REMEMBERED_S - 1], 0.3) == 1


def test_steady_demand_is_covered_for_the_length_of_a_start() -> None:
    two_a_second = [index / 2 for index in range(600)]
    assert target(two_a_second, 1.0) == 6  # 2 expected and 2.33 deviations of √2


def test_where_starts_have_to_queue_more_are_kept() -> None:
    two_a_second = [index / 2 for index in range(600)]
    assert target(two_a_second, 1.0, starts=2) > target(two_a_second, 1.0, starts=8) >= 6
    assert target(two_a_second, 1.0, starts=1) < 30  # even where they cannot be started as fast


def test_a_burst_counts_at_once() -> None:
    assert target([1.0] * 20, 1.0) > target([100.0] * 20, 1.0)


@pytest.mark.parametrize(
    ("traffic", "hits", "cost"), [("steady", 0.95, 1.1), ("bursty", 0.85, 0.7), ("daily", 0.95, 0.7)]
)
def test_for_the_same_hits_it_keeps_no_more_idle_than_the_best_fixed_size(
    traffic: str, hits: float, cost: float
) -> None:
    """By a margin if traffic varies. If it does not, no size can be better than the best fixed one."""
    result = compare(TRAFFIC[traffic], seed=1)
    assert result.hit_rate >= hits
    assert result.idle <= cost * result.fixed_idle
