"""Suspiciousness-guided synthesis: closed forms on linear units, and DeepFault's own results of October 2018."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.rankings import NO_UNIT, NeuronRanking
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.generators.synthesis import Combine, Synthesis
from temper.localisation.suspiciousness import DStar, Ochiai, Tarantula
from temper.nn.inspection.units import Probe
from temper.system import backend
from tests.generators.models import mnist_test
from tests.localisation.published import NETWORKS, SYNTHESISED, held_out, logs, network
from tests.localisation.test_hit_spectrum import made as localised

UNITS = 4
COMMON: dict[str, Any] = {"model": Ref("model"), "neurons": Ref("neurons"), "data": Ref("data"), "eps": 0.1}


def model() -> tuple[Classifier, Any]:
    """Return a model of four linear units over six pixels, and their weights (6, 4): the units' exact gradients."""
    keras = backend.keras()
    layers = keras.layers
    weights = np.random.default_rng(5).normal(size=(6, UNITS)).astype(np.float32)
    stack = [keras.Input((2, 3, 1)), layers.Flatten(), layers.Dense(UNITS), layers.LeakyReLU(0.01), layers.Dense(3)]
    net = keras.Sequential(stack)
    net.set_weights([weights, np.zeros(UNITS), np.zeros((UNITS, 3)), np.array([0.0, 1.0, 0.5])])
    return Classifier(net), weights


def examples(n: int = 30) -> Examples:
    rng = np.random.default_rng(0)
    x = rng.random((n, 2, 3, 1), np.float32)
    return Examples(x=x, y=np.arange(n) % 3, index=np.arange(n) + 100)


def ranking(probe: Probe, selected: list[list[int]]) -> NeuronRanking:
    units, classes = len(probe.units), len(selected)
    return NeuronRanking(
        probe.layers, np.zeros((classes, units)), np.array(selected), np.zeros((classes, units, 0), np.int64)
    )


def made(
    synthesis: Synthesis, victim: Classifier, data: Examples, selected: list[list[int]], seed: int = 0
) -> Examples:
    artefacts = {"model": victim, "data": data, "neurons": ranking(Probe(victim.model), selected)}
    return synthesis.produce(Run("it", seed, "test", lambda ref: artefacts[str(ref)], lambda ref: {}, lambda *_: None))


SELECTED = [[0, 2, 3], [1, NO_UNIT, NO_UNIT], [3, 2, NO_UNIT]]


def step_of(weights: Any, units: list[int], combine: Combine, step: float, eps: float) -> Any:
    """Return the perturbation of an image, by a plain loop over units."""
    gradients = [weights[:, unit].astype(np.float64) for unit in units]
    if combine == "sign_agreement":
        signs = np.sign(gradients)
        return eps * np.where((signs == signs[0]).all(axis=0), signs[0], 0)
    if combine == "rms_mean":
        gradients = [g / (np.sqrt(np.mean(g**2)) + 1e-5) for g in gradients]
    return np.clip(step * np.mean(gradients, axis=0), -eps, eps)


@pytest.mark.parametrize("combine", ["rms_mean", "raw_mean", "sign_agreement"])
@pytest.mark.parametrize("step", [0.05, 10.0])
@pytest.mark.parametrize("batch_size", [5000, 7])
def test_linear_units(combine: Combine, step: float, batch_size: int) -> None:
    victim, weights = model()
    data = examples()
    found = made(
        Synthesis(**COMMON, combine=combine, step=step, inputs="all", batch_size=batch_size), victim, data, SELECTED
    )
    for image, start, label in zip(found.x, data.x, data.y, strict=True):
        units = [unit for unit in SELECTED[label] if unit != NO_UNIT]
        delta = step_of(weights, units, combine, step, 0.1).reshape(2, 3, 1)
        np.testing.assert_allclose(image, np.clip(start + delta, 0, 1), atol=2e-6)
    assert np.array_equal(found.y, data.y)
    assert np.array_equal(found.index, data.index)


def test_only_the_first_units_of_each_class() -> None:
    victim, weights = model()
    found = made(Synthesis(**COMMON, top=1, inputs="all"), victim, examples(), SELECTED)
    expected = step_of(weights, [0], "rms_mean", 1.0, 0.1).reshape(2, 3, 1)
    np.testing.assert_allclose(found.x[0], np.clip(examples().x[0] + expected, 0, 1), atol=2e-6)


def test_pre_activation_units_are_excited_where_post_activation_ones_saturate() -> None:
    victim, weights = model()
    data = examples()
    before, after = (
        made(Synthesis(**COMMON, combine="raw_mean", step=0.02, values=v, inputs="all"), victim, data, SELECTED)
        for v in ("pre", "post")
    )
    value = data.x.reshape(-1, 6) @ weights[:, 1]
    off = (value < 0) & (data.y == 1)
    assert off.any()
    np.testing.assert_allclose(after.x[off] - data.x[off], 0.01 * (before.x[off] - data.x[off]), atol=1e-4)


def test_feature_maps_count_with_their_mean() -> None:
    keras = backend.keras()
    layers = keras.layers
    backend.seed(0)
    net = keras.Sequential([keras.Input((3, 3, 1)), layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(2)])
    rng = np.random.default_rng(0)
    data = Examples(x=0.5 * rng.random((4, 3, 3, 1), np.float32) + 0.2, y=np.zeros(4, np.int64), index=np.arange(4))
    found = made(Synthesis(**COMMON, combine="raw_mean", step=0.1, inputs="all"), Classifier(net), data, [[1], [0]])
    kernel = net.get_weights()[0][:, :, 0, 1]
    mean = np.zeros((3, 3))
    for i in range(2):
        for j in range(2):
            mean[i : i + 2, j : j + 2] += kernel / 4
    np.testing.assert_allclose(found.x[:, :, :, 0] - data.x[:, :, :, 0], np.tile(0.1 * mean, (4, 1, 1)), atol=1e-6)


def test_the_settings_select_the_images_to_start_from() -> None:
    victim, _ = model()  # it says class 1 of every image
    data = examples()
    assert set(made(Synthesis(**COMMON), victim, data, SELECTED).y) == {1}
    three = made(Synthesis(**COMMON, inputs="all", per_class=3), victim, data, SELECTED)
    assert three.index.tolist() == list(range(100, 109))
    drawn = [
        made(Synthesis(**COMMON, inputs="all", per_class=3, choice="random"), victim, data, SELECTED, seed)
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0].index, drawn[1].index)
    assert not np.array_equal(drawn[0].index, drawn[2].index)
    for found in drawn:
        assert np.bincount(found.y).tolist() == [3, 3, 3]
        assert len(set(found.index)) == 9
        assert (found.y == (found.index - 100) % 3).all()


def test_classes_that_were_not_localised_are_skipped() -> None:
    victim, _ = model()
    found = made(Synthesis(**COMMON, inputs="all"), victim, examples(), [[0], [NO_UNIT], [2]])
    assert set(found.y) == {0, 2}
    assert found.info["skipped"] == 10
    with pytest.raises(StageError, match=r"received none of 30; train the model longer"):
        made(Synthesis(**COMMON), victim, examples(), [[0], [NO_UNIT], [2]])


def test_units_of_another_network_are_rejected() -> None:
    victim, _ = model()
    keras = backend.keras()
    layers = keras.layers
    other = keras.Sequential([keras.Input((2, 3, 1)), layers.Flatten(), layers.Dense(9), layers.Dense(3)])
    artefacts = {"model": victim, "data": examples(), "neurons": ranking(Probe(other), SELECTED)}
    run = Run("it", 0, "test", lambda ref: artefacts[str(ref)], lambda ref: {}, lambda *_: None)
    with pytest.raises(StageError, match=r"expected units of layers of \[4\] .* received \[9\]"):
        Synthesis(**COMMON, inputs="all").produce(run)


def clipped_loss(logits: Any, y: Any) -> Any:
    """Return Keras's cross-entropy of probabilities, which are clipped at 1e-7."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return -np.log(np.clip((odds / odds.sum(axis=1, keepdims=True))[np.arange(len(y)), y], 1e-7, 1 - 1e-7))


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_and_accuracies_equal_those_of_the_logs(shared: Path, name: str) -> None:
    found = logs(shared)
    found = found[found.model.str.contains(name)]
    victim, data = network(shared, name), held_out(shared)
    starts = np.cumsum([0, *(layer.units for layer in Probe(victim.model).layers)])
    checked = 0
    for (_, k, eps, _), rows in found.groupby(["measure", "k", "d", "repeat"]):
        selected = np.full((10, 2 * k + 10), NO_UNIT)
        for row in rows.itertuples():
            units = [starts[int(layer)] + int(unit) for layer, unit in (u.split(":") for u in row[7].split())]
            selected[row[2], : len(units)] = units
        settings = COMMON | {"eps": eps, "combine": "sign_agreement", "per_class": 10}
        moved = made(Synthesis(**settings), victim, data, selected.tolist())
        logits = victim.logits(moved.x)
        for row in rows.itertuples():
            of_class = moved.y == row[2]
            assert of_class.sum() == 10
            assert (logits[of_class].argmax(axis=1) == row[2]).mean() == pytest.approx(row.accuracy, abs=1e-6)
            assert clipped_loss(logits[of_class], moved.y[of_class]).mean() == pytest.approx(row.loss, abs=5e-5)
            checked += 1
    assert checked == 820


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("measure", [Tarantula, Ochiai, DStar])
def test_another_program_found_the_same_accuracies(shared: Path, name: str, measure: Any) -> None:
    victim = network(shared, name)
    x, y = mnist_test(shared)
    data = Examples(x=x, y=y, index=np.arange(len(y)))
    found = localised(measure(model=Ref("model"), data=Ref("data"), top=10), victim, data)
    artefacts = {"model": victim, "data": data, "neurons": found}
    run = Run("it", 0, "test", lambda ref: artefacts[str(ref)], lambda ref: {}, lambda *_: None)
    for top, expected in zip((1, 2, 3, 5, 10), SYNTHESISED[name][measure.tag], strict=True):
        moved = Synthesis(**COMMON, top=top).produce(run)
        right = victim.predict(moved.x) == moved.y
        accuracy = np.mean([right[moved.y == label].mean() for label in range(10)])
        assert accuracy == pytest.approx(expected, abs=0.002), top
