"""Comparing two samples: numbers worked by hand, and agreement with SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from temper.core import significance_tests


def test_a12_counts_wins_and_half_of_the_ties() -> None:
    # 3 > 1, 3 > 2, 3 = 3; 2 > 1, 2 = 2, 2 < 3: three wins and two ties of six.
    assert significance_tests.vargha_delaney([3, 2], [1, 2, 3]) == pytest.approx((3 + 2 / 2) / 6)
    assert significance_tests.vargha_delaney([1, 2], [3, 4]) == 0.0
    assert significance_tests.vargha_delaney([3, 4], [1, 2]) == 1.0
    assert significance_tests.vargha_delaney([5, 5], [5]) == 0.5


def test_a12_is_the_share_of_the_u_statistic() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, 12), rng.integers(2, 11, 7)
    u = stats.mannwhitneyu(first, second).statistic
    assert significance_tests.vargha_delaney(first, second) == pytest.approx(u / (12 * 7))


@pytest.mark.parametrize(
    ("a12", "word"),
    [
        (0.5, "negligible"), (0.559, "negligible"), (0.56, "small"), (0.639, "small"), (0.64, "medium"),
        (0.709, "medium"), (0.71, "large"), (1.0, "large"), (0.44, "small"), (0.36, "medium"), (0.29, "large"),
        (0.441, "negligible"),
    ],
)  # fmt: skip
def test_the_effect_size_is_symmetric(a12: float, word: str) -> None:
    assert significance_tests.magnitude(a12) == word


def test_separated_samples_have_the_smallest_p() -> None:
    # One of the 20 ways to choose 3 of 6, on either side.
    assert significance_tests.mann_whitney([1, 2, 3], [4, 5, 6]) == pytest.approx(0.1)
    assert significance_tests.smallest_p(3, 3, paired=False) == pytest.approx(0.1)
    assert significance_tests.smallest_p(4, 4, paired=False) == pytest.approx(2 / 70)
    # One of the 2^5 ways to choose the signs of 5 differences, on either side.
    assert significance_tests.wilcoxon([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]) == pytest.approx(2 / 32)
    assert significance_tests.smallest_p(5, 5, paired=True) == pytest.approx(2 / 32)
    assert significance_tests.smallest_p(1, 1, paired=False) == 1.0


def test_tied_samples_are_counted_exactly() -> None:
    # Of the 20 ways to deal out 1 2 2 2 3 4, U is at most 1 in 3 of them (1 2 2): twice that.
    assert significance_tests.mann_whitney([1, 2, 2], [2, 3, 4]) == pytest.approx(0.3)
    assert significance_tests.mann_whitney([1, 1, 1], [1, 1, 1]) == 1.0
    first, second = [1, 2, 2, 5, 5, 6], [2, 3, 5, 5, 7]
    exact = stats.mannwhitneyu(first, second, method=stats.PermutationMethod(n_resamples=np.inf)).pvalue
    assert significance_tests.mann_whitney(first, second) == pytest.approx(exact)
    assert significance_tests.mann_whitney([1], [1, 2]) == 1.0
    assert significance_tests.wilcoxon([1, 2], [1, 2]) == 1.0


PERMUTED = stats.PermutationMethod(n_resamples=np.inf)


@pytest.mark.parametrize("sizes", [(2, 3), (2, 2), (3, 5), (6, 4), (7, 7)])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_p_is_exact_with_ties(sizes: tuple[int, int], levels: int) -> None:
    rng = np.random.default_rng(levels)
    for _ in range(3):
        first, second = (rng.integers(0, levels, size) / 10 for size in sizes)
        theirs = stats.mannwhitneyu(first, second, method=PERMUTED).pvalue
        assert significance_tests.mann_whitney(first, second) == pytest.approx(theirs)
        paired = rng.integers(0, levels, (2, max(sizes))) / 10
        differences = np.round(paired[0] - paired[1], 9)
        if np.count_nonzero(differences) > 1:
            # Pairs without a difference do not count.
            theirs = stats.wilcoxon(differences[differences != 0], method=PERMUTED).pvalue
            assert significance_tests.wilcoxon(*paired) == pytest.approx(theirs)


@pytest.mark.parametrize("n", [9, 20, 50])
def test_p_of_larger_samples_is_exact(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(0, 1, n), rng.normal(0.4, 1, n)
    assert significance_tests.mann_whitney(first, second) == pytest.approx(
        stats.mannwhitneyu(first, second, method="exact").pvalue
    )
    assert significance_tests.wilcoxon(first, second) == pytest.approx(
        stats.wilcoxon(first, second, method="exact").pvalue
    )


def test_larger_samples_agree_with_scipy() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, 110), rng.normal(0.4, 1, 110)
    assert significance_tests.mann_whitney(first, second) == pytest.approx(stats.mannwhitneyu(first, second).pvalue)
    assert significance_tests.wilcoxon(first, second) == pytest.approx(stats.wilcoxon(first, second).pvalue)


def test_rounding_errors_do_not_break_ties() -> None:
    # All pairs differ by 0.1, in binary by three numbers: the sum of ranks is that of ties.
    first, second = [0.3, 0.2, 0.8, 0.4], [0.2, 0.1, 0.7, 0.5]
    assert len({round(a - b, 17) for a, b in zip(first[:3], second[:3], strict=True)}) > 1
    assert significance_tests.wilcoxon(first, second) == significance_tests.wilcoxon([1, 1, 1, 0], [0, 0, 0, 1])
    assert significance_tests.wilcoxon([0.1 + 0.2, 1.0], [0.3, 1.0]) == 1.0
    assert significance_tests.mann_whitney([0.1 + 0.2, 1], [0.3, 2]) == significance_tests.mann_whitney(
        [3, 10], [3, 20]
    )
    assert (
        significance_tests.vargha_delaney(significance_tests.rounded([0.1 + 0.2]), significance_tests.rounded([0.3]))
        == 0.5
    )
    # 10.3 - 10.2 has the same two digits less of 0.1 that count.
    assert significance_tests.wilcoxon([10.3, 0.2, 0.5], [10.2, 0.1, 0.6]) == significance_tests.wilcoxon(
        [1, 1, 0], [0, 0, 1]
    )


def test_small_numbers_next_to_large_ones_keep_their_order() -> None:
    assert significance_tests.mann_whitney([1, 2, 3], [1e20, 4, 5]) == pytest.approx(0.1)
    assert significance_tests.wilcoxon([1, 2, 3, 1e20], [2, 4, 6, 0]) == significance_tests.wilcoxon(
        [1, 2, 3, 10], [2, 4, 6, 0]
    )
    tiny = np.array([1.0, 2.0, 3.0]) * 1e-30
    assert significance_tests.mann_whitney(tiny, tiny + 5e-30) == pytest.approx(0.1)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (0, 1), (5, 0), (1, 4), (30, 12), (7, 7)])
def test_mcnemar_equals_a_fair_coin_test(fixed: int, broken: int) -> None:
    n, most = fixed + broken, max(fixed, broken)
    tail = sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n
    assert significance_tests.mcnemar(fixed, broken) == pytest.approx(min(1.0, 2 * tail))


def test_holm_by_hand() -> None:
    # Smallest first: 4 x 0.01, 3 x 0.02, 2 x 0.03 = 0.06 again, 1 x 0.5.
    assert significance_tests.holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert significance_tests.holm([0.9, 0.8]) == [1.0, 1.0]
    assert significance_tests.holm([]) == []


def test_infinite_numbers_are_the_largest_and_tie() -> None:
    inf = float("inf")
    assert significance_tests.mann_whitney([1, 2, inf], [inf, 8, 9]) == significance_tests.mann_whitney(
        [1, 2, 10], [10, 8, 9]
    )
    assert significance_tests.wilcoxon([1, 2, inf], [2, 4, inf]) == significance_tests.wilcoxon([1, 2], [2, 4])
    assert significance_tests.wilcoxon([inf, 1, 2], [3, 2, 4]) == significance_tests.wilcoxon([9, 1, 2], [3, 2, 4])
