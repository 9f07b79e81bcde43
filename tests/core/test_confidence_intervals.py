"""Intervals against tables and an independent library."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from temper.core.confidence_intervals import difference_interval, mean_interval, wilson


def test_students_interval_by_hand() -> None:
    # mean 2, sd 1, t(0.975; 2) = 4.302653
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.sampled_from([0.9, 0.95, 0.99]))
def test_students_interval_agrees_with_scipy(values: list[float], confidence: float) -> None:
    lower, upper = mean_interval(values, confidence)
    scale = float(stats.sem(values))
    if scale > 1e-9:
        theirs = stats.t.interval(confidence, len(values) - 1, loc=sum(values) / len(values), scale=scale)
        assert (lower, upper) == pytest.approx(theirs, rel=1e-6, abs=1e-6)
    assert lower <= upper


@pytest.mark.parametrize("runs", [2, 3, 4, 5, 30, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_student_t_is_accurate_to_the_last_digits(runs: int, confidence: float) -> None:
    values = [0.0] * (runs - 1) + [1.0]
    _, theirs = stats.t.interval(confidence, runs - 1, loc=1 / runs, scale=stats.sem(values))
    assert mean_interval(values, confidence)[1] == pytest.approx(theirs, rel=1e-13)


def test_the_interval_of_two_values_is_the_widest() -> None:
    # One degree of freedom: t(0.975; 1) = tan(0.475 pi); the sd of 0.4 and 0.6 over sqrt(2) is 0.1.
    half = math.tan(0.475 * math.pi)
    assert mean_interval([0.4, 0.6]) == pytest.approx((0.5 - 0.1 * half, 0.5 + 0.1 * half))
    # Equal spreads and sizes: two degrees of freedom, t(0.975; 2) = 4.302653, and sqrt(2) times the error.
    low, high = difference_interval([0.4, 0.6], [0.1, 0.3])
    assert (low, high) == pytest.approx((0.3 - 0.141421 * 4.302653, 0.3 + 0.141421 * 4.302653), abs=1e-5)


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="expected at least 2 values, received 1"):
        mean_interval([1.0])


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(pair: tuple[int, int]) -> None:
    hits, n = pair
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_welchs_interval_by_hand() -> None:
    # Means 2 and 6; squared errors 1/3 and 4; (13/3)^2 / (1/9/2 + 16/1) degrees of freedom.
    first, second = [1.0, 2.0, 3.0], [4.0, 8.0]
    half = float(stats.t.ppf(0.975, (13 / 3) ** 2 / (1 / 18 + 16))) * (13 / 3) ** 0.5
    assert difference_interval(first, second) == pytest.approx((-4 - half, -4 + half))


@pytest.mark.parametrize(
    ("first", "second"), [([0.5] * 3, [0.2] * 3), ([0.5] * 3, [0.1, 0.3]), ([0.1 + 0.2, 0.3], [0.3, 0.3])]
)
def test_samples_without_spread_have_an_interval_of_no_width(first: list[float], second: list[float]) -> None:
    low, high = difference_interval(first, second)
    difference = sum(first) / len(first) - sum(second) / len(second)
    assert low - 1e-12 <= difference <= high + 1e-12
    assert (high - low > 1) == (second == [0.1, 0.3])  # one degree of freedom, 12.7 times a standard error of 0.1


def test_one_value_on_a_side_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2 values on each side, received 1"):
        difference_interval([1.0], [2.0, 3.0])


def test_a_proportion_lies_in_its_own_interval() -> None:
    for n in range(1, 200):
        for hits in {0, 1, n // 2, n - 1, n}:
            low, high = wilson(hits, n)
            assert 0 <= low <= hits / n <= high <= 1
            assert (low == 0, high == 1) == (hits == 0, hits == n)
