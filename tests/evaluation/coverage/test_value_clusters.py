"""Clusters on a line against all partitions there are, and against scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from temper.evaluation.coverage.value_clusters import Line, centroids, nearest
from tests.evaluation.coverage.support import PATIENT


def line(values: np.ndarray) -> Line:
    return Line(*np.unique(values, return_counts=True))


def squares(values: np.ndarray, ends: np.ndarray) -> float:
    x = np.unique(values)
    parts = [values[(values >= x[a]) & (values <= x[b - 1])] for a, b in itertools.pairwise(ends)]
    return float(sum(((part - part.mean()) ** 2).sum() for part in parts))


@PATIENT
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 4))
def test_no_partition_is_better(seed: int, n: int, k: int) -> None:
    values = np.random.default_rng(seed).integers(0, 30, n) / 7
    x = np.unique(values)
    if len(x) < k:
        return
    found = line(values).partitions(k)[-1]
    assert list(found[[0, -1]]) == [0, len(x)]
    assert len(found) == k + 1
    least = min(squares(values, np.array([0, *c, len(x)])) for c in itertools.combinations(range(1, len(x)), k - 1))
    assert squares(values, found) == pytest.approx(least, abs=1e-9)


@PATIENT
@given(st.integers(0, 2**32 - 1))
def test_silhouettes_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(np.concatenate([rng.normal(0, 1, 30), rng.normal(4, 0.5, 20), [20.0]]), 1)
    for ends in line(values).partitions(5):
        x = np.unique(values)
        labels = np.searchsorted(ends, np.searchsorted(x, values), side="right")
        assert line(values).silhouette(ends) == pytest.approx(silhouette_score(values[:, None], labels), abs=1e-12)


def test_as_many_clusters_as_there_are() -> None:
    rng = np.random.default_rng(0)
    three = np.concatenate([rng.normal(centre, 0.05, 2000) for centre in (1, 3, 7)])
    np.testing.assert_allclose(centroids(three, 4), [1, 3, 7], atol=0.01)
    two = np.concatenate([rng.normal(centre, 0.05, 2000) for centre in (-5, 2)])
    np.testing.assert_allclose(centroids(two.astype(np.float32), 4), [-5, 2], atol=0.01)


def test_a_unit_that_is_off_is_a_cluster() -> None:
    values = np.array([0.0] * 5 + [1.0] * 10 + [2.0] * 10)
    assert centroids(values, 4).tolist() == [0, 1, 2]
    assert centroids(np.zeros(20), 4).tolist() == [0]
    assert centroids(np.array([0, 0, 1.0, 3.0]), 4).tolist() == [0, 2]  # too few to part
    assert centroids(np.full(30, 4.0), 4).tolist() == [4]
    assert centroids(np.zeros(0), 4).tolist() == []


def test_the_nearest_centre() -> None:
    centres = np.array([0.0, 1.0, 4.0])
    assert nearest(np.array([-9, 0.4, 0.5, 0.6, 2.4, 2.6, 99]), centres).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert nearest(np.array([3.0, -3.0]), np.array([1.0])).tolist() == [0, 0]
