"""The Frechet distance against its closed form and SciPy's matrix root."""

from __future__ import annotations

import numpy as np
import pytest

from temper.evaluation.set_realism import frechet


def test_equal_samples_are_no_distance_apart() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)


def test_on_a_line_it_is_the_distance_of_means_and_deviations() -> None:
    x = np.array([[-1.0], [1.0]])
    first, second = 3 + 2 * x, 1 + 5 * x
    root = np.sqrt(2)  # the sample deviation of -1 and 1
    assert frechet(first, second) == pytest.approx((3 - 1) ** 2 + (2 * root - 5 * root) ** 2)


def test_it_is_that_of_scipy_s_matrix_root() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(40, 5)), rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 0.3
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    means = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    assert frechet(first, second) == pytest.approx(means + np.trace(a + b - 2 * sqrtm(a @ b).real))
