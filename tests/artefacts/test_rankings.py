"""Rankings: storage, and the arithmetic from units to layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from temper.artefacts.rankings import NeuronRanking, PixelRanking
from temper.core.errors import StageError
from temper.nn.inspection.units import UnitLayer

LAYERS = (UnitLayer("conv", 2, 3, 3), UnitLayer("dense", 3, 1, 1))


def ranking() -> NeuronRanking:
    return NeuronRanking(
        layers=LAYERS,
        scores=np.array([[0.1, 0.9, 0.5, 0.0, 0.9], [np.nan] * 5]),
        selected=np.array([[1, 4, 2], [-1, -1, -1]]),
        spectrum=np.zeros((2, 5, 4), np.int64),
        info={"measure": "tarantula"},
    )


def test_units_have_a_position_in_their_layer() -> None:
    assert ranking().units_of(0).tolist() == [1, 4, 2]
    assert list(ranking().positions_of(0)) == [(0, 1), (1, 2), (1, 0)]
    assert list(ranking().positions_of(1)) == []


def test_the_first_units_of_each_class() -> None:
    two = ranking().first(2)
    assert [two.units_of(label).tolist() for label in (0, 1)] == [[1, 4], []]
    np.testing.assert_array_equal(two.scores, ranking().scores)
    np.testing.assert_array_equal(ranking().first(None).selected, ranking().selected)
    with pytest.raises(StageError, match=r"at least 4 suspicious units .* received 3; raise the localiser's `top`"):
        ranking().first(4)
    nobody = replace(ranking(), selected=np.zeros((2, 0), np.int64))
    assert nobody.first(4).units_of(0).tolist() == []


def test_a_stored_neuron_ranking_is_restored(tmp_path: Path) -> None:
    ranking().save(tmp_path)
    again = NeuronRanking.load(tmp_path)
    assert (again.layers, again.info) == (ranking().layers, ranking().info)
    for name in ("scores", "selected", "spectrum"):
        np.testing.assert_array_equal(getattr(again, name), getattr(ranking(), name))


def test_arrays_of_mismatched_shapes_are_rejected() -> None:
    with pytest.raises(ValueError, match="5 units of 1 classes"):
        NeuronRanking(LAYERS, np.zeros((1, 4)), np.zeros((1, 1), np.int64), np.zeros((1, 5, 4), np.int64))
    with pytest.raises(ValueError, match="below 5"):
        NeuronRanking(LAYERS, np.zeros((1, 5)), np.full((1, 1), 5), np.zeros((1, 5, 4), np.int64))
    with pytest.raises(ValueError, match="h, w, c"):
        PixelRanking(np.zeros((2, 4)))


def test_pixels_come_most_relevant_first_and_ties_in_order(tmp_path: Path) -> None:
    relevance = np.array([[0.0, 2.0], [2.0, -1.0]]).reshape(1, 2, 2, 1)
    PixelRanking(relevance).save(tmp_path)
    assert PixelRanking.load(tmp_path).pixels_of(0, 3).tolist() == [1, 2, 0]
