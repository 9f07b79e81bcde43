"""Where blamed units lie and whether they are excited, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from temper.artefacts.rankings import NO_UNIT, NeuronRanking
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.evaluation.suspicious_units import SuspiciousActivations, SuspiciousLayers
from temper.nn.inspection.units import UnitLayer
from temper.system import backend
from tests.evaluation.test_evaluations import measured, ref

LAYERS = (UnitLayer("a", 3, 1, 1), UnitLayer("b", 2, 1, 1))


def ranking(selected: list[list[int]]) -> NeuronRanking:
    classes = len(selected)
    return NeuronRanking(LAYERS, np.zeros((classes, 5)), np.array(selected), np.zeros((classes, 5, 0), np.int64))


def test_the_share_of_each_layer() -> None:
    cell = SuspiciousLayers(models=(Ref("m"),), neurons=(Ref("n"),))
    rows = measured(cell, {"n": ranking([[0, 4, 3], [2, NO_UNIT, NO_UNIT], [NO_UNIT] * 3])})
    assert rows["localised", ""].value == pytest.approx(2 / 3)
    shares = [rows["layer_share", f"layer {i}"] for i in (1, 2)]
    assert [(row.value, row.n) for row in shares] == [(0.5, 4), (0.5, 4)]


def test_only_the_first_units_are_evaluated() -> None:
    cell = SuspiciousLayers(models=(Ref("m"),), neurons=(Ref("n"),), top=1)
    rows = measured(cell, {"n": ranking([[0, 4, 3], [2, NO_UNIT, NO_UNIT], [NO_UNIT] * 3])})
    assert [(rows["layer_share", f"layer {i}"].value, rows["layer_share", f"layer {i}"].n) for i in (1, 2)] == [
        (1.0, 2), (0.0, 2)
    ]  # fmt: skip


def test_nothing_localised_has_no_shares() -> None:
    cell = SuspiciousLayers(models=(Ref("m"),), neurons=(Ref("n"),))
    rows = measured(cell, {"n": ranking([[NO_UNIT], [NO_UNIT]])})
    assert {metric: row.value for (metric, _), row in rows.items()} == {"localised": 0.0}


def model() -> Classifier:
    """Return a model whose first layer has the two pixels and their sum, and whose second has the first pixel twice."""
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((1, 2, 1)), layers.Flatten(), layers.Dense(3, "relu"), layers.Dense(2), layers.Dense(3)]
    net = keras.Sequential(stack)
    first, second = np.array([[1.0, 0, 1], [0, 1, 1]]), np.array([[1.0, -1], [0, 0], [0, 0]])
    net.set_weights([first, np.zeros(3), second, np.zeros(2), np.zeros((2, 3)), np.zeros(3)])
    return Classifier(net)


def pixels(values: list[list[float]], y: list[int], index: list[int]) -> Examples:
    x = np.array(values, np.float32).reshape(-1, 1, 2, 1)
    return Examples(x=x, y=np.array(y), index=np.array(index))


def test_the_excitation_of_suspicious_units() -> None:
    clean = pixels([[0.1, 0.1], [0.5, 0.5], [0.2, 0.8]], [0, 1, 2], [4, 5, 6])
    made = pixels([[0.1, 0.9], [0.6, 0.3], [0.3, 0.1]], [2, 1, 0], [6, 5, 4])
    cell = SuspiciousActivations(models=(Ref("m"),), examples=(ref("e"),), neurons=(Ref("n"),))
    artefacts: dict[str, Any] = {"m": model(), "e.test": made, "e.test!clean": clean}
    # Class 0: unit 0 rises by 0.2, unit 2 (the sum) by 0.2, unit 4 (minus the first pixel) falls by 0.2.
    # Class 1: unit 1 falls by 0.2. Class 2 has none.
    rows = measured(cell, artefacts | {"n": ranking([[0, 2, 4], [1, NO_UNIT, NO_UNIT], [NO_UNIT] * 3])})
    assert rows["judged", ""].value == pytest.approx(2 / 3)
    assert (rows["raised", ""].value, rows["raised", ""].n) == (0.5, 4)
    assert rows["increase", ""].value == pytest.approx(0.0, abs=1e-6)
    rows = measured(cell, artefacts | {"n": ranking([[0, 2], [NO_UNIT] * 2, [NO_UNIT] * 2])})
    assert rows["increase", ""].value == pytest.approx(0.2, rel=1e-5)
    first = replace(cell, top=1)
    rows = measured(first, artefacts | {"n": ranking([[0, 2, 4], [1, NO_UNIT, NO_UNIT], [NO_UNIT] * 3])})
    assert (rows["raised", ""].value, rows["raised", ""].n) == (0.5, 2)
    rows = measured(cell, artefacts | {"n": ranking([[NO_UNIT]] * 3)})
    assert set(rows) == {("judged", "")}


def test_each_generator_has_its_localiser() -> None:
    common: dict[str, Any] = {"models": (Ref("a"), Ref("b")), "examples": (ref("e"), ref("f"))}
    pairs = [
        (str(cell.examples[0]), str(cell.neurons[0]))
        for cell in SuspiciousActivations(**common, neurons=(Ref("n"), Ref("o"))).expand()
    ]
    assert pairs == [("e.test@a", "n@a"), ("f.test@a", "o@a"), ("e.test@b", "n@b"), ("f.test@b", "o@b")]
    shared = SuspiciousActivations(**common, neurons=(Ref("n"),), protocol="transfer")
    assert [str(cell.neurons[0]) for cell in shared.expand()] == ["n"] * 4
    wrong = SuspiciousActivations(**common, neurons=(Ref("n"), Ref("o"), Ref("p")))
    assert list(shared.check()) == []
    assert list(wrong.check()) == [("neurons", "expected one localiser, or 2, one for each of `examples`, received 3")]
