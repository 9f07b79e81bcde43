"""The nearest of points found by matrix products is the nearest found by trying all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from temper.evaluation.surprise import neighbours
from temper.evaluation.surprise.neighbours import NO_POINT, Neighbours


def tried(queries: Any, points: Any, without: Any = None) -> tuple[Any, Any]:
    distances = cdist(queries.astype(np.float64), points.astype(np.float64))
    if without is not None:
        distances[without != NO_POINT, without[without != NO_POINT]] = np.inf
    return distances.argmin(axis=1), distances.min(axis=1)


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1.0, 1e25])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_against_all_distances(monkeypatch: pytest.MonkeyPatch, scale: float, offset: float) -> None:
    monkeypatch.setattr(neighbours, "ROWS", 64)
    monkeypatch.setattr(neighbours, "COLUMNS", 128)
    rng = np.random.default_rng(0)
    points = ((rng.normal(size=(700, 33)) + offset) * scale).astype(np.float32)
    queries = ((rng.normal(size=(300, 33)) + offset) * scale).astype(np.float32)
    found = Neighbours(points).nearest(queries, [slice(0, 700)])
    rows, distances = tried(queries.astype(float) / scale, points.astype(float) / scale)
    assert found.distances / scale == pytest.approx(distances, rel=1e-9)
    assert np.array_equal(found.rows, rows)


def test_near_duplicates_are_distinguished_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    points = (100 + rng.random((500, 64))).astype(np.float32)
    queries = points + rng.normal(0, 1e-5, points.shape).astype(np.float32)
    found = Neighbours(points).nearest(queries, [slice(0, 500)])
    rows, distances = tried(queries, points)
    assert np.array_equal(found.rows, rows)
    assert found.distances == pytest.approx(distances, rel=1e-12)


def test_only_some_rows_and_never_the_barred_one() -> None:
    rng = np.random.default_rng(2)
    points = rng.random((90, 5)).astype(np.float32)
    among = [slice(0, 30), slice(60, 90)]
    found = Neighbours(points).nearest(points, among, without=np.arange(90))
    kept = np.r_[0:30, 60:90]
    distances = cdist(points.astype(float), points.astype(float))
    np.fill_diagonal(distances, np.inf)
    assert np.array_equal(found.rows, kept[distances[:, kept].argmin(axis=1)])
    assert found.distances == pytest.approx(distances[:, kept].min(axis=1), rel=1e-12)


def test_of_equals_the_first() -> None:
    points = np.zeros((50, 3), np.float32)
    points[7:] = 1.0
    found = Neighbours(points).nearest(np.array([[1, 1, 1], [0.1, 0, 0]], np.float32), [slice(0, 50)])
    assert found.rows.tolist() == [7, 0]
    assert found.distances == pytest.approx([0.0, 0.1])


def test_without_candidates_there_is_no_neighbour() -> None:
    points = np.ones((2, 3), np.float32)
    found = Neighbours(points).nearest(points, [slice(0, 1)], without=np.array([0, NO_POINT]))
    assert found.rows.tolist() == [NO_POINT, 0]
    assert found.distances.tolist() == [np.inf, 0.0]
    assert Neighbours(points).nearest(points, []).rows.tolist() == [NO_POINT, NO_POINT]
    assert Neighbours(points).nearest(points[:0], [slice(0, 2)]).rows.tolist() == []


def test_a_query_may_be_as_far_away_as_a_number_can_be() -> None:
    points = np.array([[0.0, 1e-9], [0.0, 0.0], [1e-9, 0.0]], np.float32)
    far = np.array([[3e30, 0.0], [1e-9, 1e-10]], np.float32)
    assert Neighbours(points).nearest(far, [slice(0, 3)]).rows.tolist() == [0, 2]


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Neighbours(np.array([[1.0, np.nan]], np.float32))


def test_many_ties_are_resolved_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PAIRS", 500)
    monkeypatch.setattr(neighbours, "NUMBERS", 900)
    monkeypatch.setattr(neighbours, "COLUMNS", 64)
    points = np.zeros((1000, 3), np.float32)
    points[5], points[900:] = 9.0, 1e-3
    found = Neighbours(points).nearest(points, [slice(0, 1000)], without=np.arange(1000))
    assert found.rows.tolist() == [1, *[0] * 4, 900, *[0] * 894, 901, *[900] * 99]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_of_any_points(data: Any) -> None:
    numbers = st.floats(-1e4, 1e4, width=32)
    d = data.draw(st.integers(1, 4))
    points = data.draw(arrays(np.float32, (data.draw(st.integers(1, 12)), d), elements=numbers))
    queries = data.draw(arrays(np.float32, (data.draw(st.integers(1, 6)), d), elements=numbers))
    found = Neighbours(points).nearest(queries, [slice(0, len(points))])
    exact = ((queries[:, None].astype(float) - points[None]) ** 2).sum(axis=2)
    assert found.distances == pytest.approx(np.sqrt(exact.min(axis=1)), rel=1e-12, abs=1e-30)
