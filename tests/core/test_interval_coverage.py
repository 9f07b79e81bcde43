"""Simulations: coverage of confidence intervals and false-positive rates of tests match their nominal values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt

import numpy as np
import pytest

from temper.core import significance_tests
from temper.core.confidence_intervals import difference_interval, mean_interval, wilson
from temper.engine.tables.cells import Cell

pytestmark = pytest.mark.long
RUNS = 4000
SLACK = 4 * sqrt(0.05 * 0.95 / RUNS)
Rng = np.random.Generator


def share(holds: Callable[[Rng], bool]) -> float:
    rng = np.random.default_rng(0)
    return sum(holds(rng) for _ in range(RUNS)) / RUNS


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_interval_of_a_mean_has_its_coverage(n: int) -> None:
    def holds(rng: Rng) -> bool:
        low, high = mean_interval(rng.normal(0.3, 0.1, n).tolist())
        return low <= 0.3 <= high

    assert share(holds) == pytest.approx(0.95, abs=SLACK)


@pytest.mark.parametrize("sizes", [(3, 3), (3, 10), (5, 5), (10, 10)])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_interval_of_a_difference_has_its_coverage(sizes: tuple[int, int], spread: float) -> None:
    def holds(rng: Rng) -> bool:
        low, high = difference_interval(rng.normal(1, 1, sizes[0]).tolist(), rng.normal(0, spread, sizes[1]).tolist())
        return low <= 1 <= high

    # Welch's is a little wide where few are equally spread, and a little narrow where three decide.
    assert 0.92 < share(holds) < 0.985


@pytest.mark.parametrize("n", [5, 20, 200])
def test_interval_of_a_proportion_has_its_coverage(n: int) -> None:
    def holds(rng: Rng) -> bool:
        p = rng.uniform()
        low, high = wilson(int(rng.binomial(n, p)), n)
        return low <= p <= high

    assert share(holds) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("p", [0.9, 0.98])
@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_interval_of_a_proportion_over_seeds_has_its_coverage(seeds: int, p: float) -> None:
    def holds(rng: Rng) -> bool:
        bounds, values = [], []
        for hits in rng.binomial(200, p, seeds).tolist():
            bounds.append(wilson(hits, 200))
            values.append(hits / 200)
        cell = Cell(unit="proportion", values=tuple(values), bounds=tuple(bounds), n=(200,) * seeds)
        assert cell.interval is not None
        return cell.interval[0] <= p <= cell.interval[1]

    assert share(holds) > 0.95 - SLACK


def of_equals() -> Iterator[tuple[str, Callable[[Rng], float]]]:
    for n, m in ((3, 4), (5, 5), (10, 7), (60, 60)):
        yield (
            f"mann_whitney {n} {m}",
            lambda rng, n=n, m=m: significance_tests.mann_whitney(rng.normal(size=n), rng.normal(size=m)),
        )
        yield (
            f"mann_whitney tied {n} {m}",
            lambda rng, n=n, m=m: significance_tests.mann_whitney(rng.integers(0, 4, n), rng.integers(0, 4, m)),
        )
        yield f"wilcoxon {n}", lambda rng, n=n: significance_tests.wilcoxon(rng.normal(size=n), rng.normal(size=n))
        yield (
            f"wilcoxon tied {n}",
            lambda rng, n=n: significance_tests.wilcoxon(rng.integers(0, 4, n), rng.integers(0, 4, n)),
        )
        yield (
            f"mcnemar {n}",
            lambda rng, n=n: significance_tests.mcnemar(*np.bincount(rng.integers(0, 2, n), minlength=2).tolist()),
        )
    yield (
        "holm",
        lambda rng: min(
            significance_tests.holm(
                [significance_tests.mann_whitney(rng.normal(size=6), rng.normal(size=6)) for _ in range(3)]
            )
        ),
    )


@pytest.mark.parametrize("p", [pytest.param(p, id=name) for name, p in of_equals()])
def test_p_values_are_uniform_under_the_null_hypothesis(p: Callable[[Rng], float]) -> None:
    # What is discrete rejects less often than it may, never more.
    rng = np.random.default_rng(1)
    found = np.array([p(rng) for _ in range(RUNS)])
    for level in (0.01, 0.05, 0.2):
        assert (found <= level).mean() < level + 4 * sqrt(level * (1 - level) / RUNS)
