"""The losses of data generator networks, worked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from temper.artefacts.class_generators import Batch, GeneratorLoss
from temper.artefacts.rankings import NeuronRanking, PixelRanking
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.generators.losses.lrp_loss import LRP
from temper.generators.losses.nce_loss import NCE
from temper.generators.losses.suspiciousness_loss import Suspiciousness
from temper.nn.inspection.gradients import value_and_gradient
from temper.nn.inspection.units import UnitLayer
from temper.system import backend

RANKING: Any = Ref("ranking")


def run(ranking: Any) -> Run:
    return Run("it", 0, None, {RANKING: ranking}.__getitem__, lambda _: {}, lambda *_: None)


def value(
    loss: GeneratorLoss, x: Any, generated: Any, constants: Mapping[str, Any], target: Any = None, y: Any = (0,)
) -> float:
    ops = backend.keras().ops
    tensors = [ops.convert_to_tensor(np.asarray(array, np.float32)) for array in (x, generated)]
    given = {name: ops.convert_to_tensor(array) for name, array in constants.items()}
    labels = ops.convert_to_tensor(np.asarray(y, np.int32))
    return float(ops.convert_to_numpy(loss.value(Batch(tensors[0], tensors[1], labels, 0.25, target, given))))


PIXELS = PixelRanking(np.array([[0.9, -1.0], [0.1, 0.5]]).reshape(1, 2, 2, 1))


def test_the_lrp_loss_decreases_relevant_pixels_and_increases_the_others() -> None:
    loss = LRP(pixels=RANKING, k=2, custom_loss_constant=0.75)
    constants = loss.constants(run(PIXELS), 0)
    assert constants["relevant"].ravel().tolist() == [1, 0, 0, 1]
    x = np.full((3, 2, 2, 1), 0.5)
    ideal = x + 0.25 * np.array([-1, 1, 1, -1]).reshape(2, 2, 1)
    assert value(loss, x, ideal, constants) == 0
    # Unchanged, every pixel is 0.25 off, and the weights add up to 1.
    assert value(loss, x, x, constants) == pytest.approx(0.25**2)
    off = ideal + np.array([0.1, 0, 0, 0]).reshape(2, 2, 1)
    assert value(loss, x, off, constants) == pytest.approx(0.75 * 0.1**2 / 2)
    off = ideal + np.array([0, 0, 0.1, 0]).reshape(2, 2, 1)
    assert value(loss, x, off, constants) == pytest.approx(0.25 * 0.1**2 / 2)


def test_the_lrp_loss_requires_a_relevance_and_other_pixels() -> None:
    with pytest.raises(StageError, match="fewer than the 4 values"):
        LRP(pixels=RANKING, k=4).constants(run(PIXELS), 0)
    with pytest.raises(StageError, match="class 0, since it had no image"):
        LRP(pixels=RANKING).constants(run(PixelRanking(np.full((1, 2, 2, 1), np.nan))), 0)


def test_nce_is_the_distance_less_the_cross_entropy() -> None:
    x, generated = np.zeros((2, 1, 1, 2)), np.array([[[[0.2, 0.0]]], [[[0.0, 0.4]]]])

    def target(images: Any) -> Any:  # the pixels are the logits
        return 10 * images[:, 0, 0, :]

    distance = (0.2**2 + 0.4**2) / 4
    entropies = [np.log(np.exp(2) + 1) - 2, np.log(np.exp(4) + 1)]
    assert value(NCE(), x, generated, {}, target, (0, 0)) == pytest.approx(distance - np.mean(entropies), rel=1e-5)
    weighed = NCE(custom_loss_constant=0.9)
    expected = 0.9 * distance - 0.1 * np.mean(entropies)
    assert value(weighed, x, generated, {}, target, (0, 0)) == pytest.approx(expected, rel=1e-4)


LAYERS = (UnitLayer("maps", 2, 1, 2), UnitLayer("dense", 3, 1, 1))


def neurons() -> NeuronRanking:
    chosen = np.array([[4, 0], [-1, -1]])  # the last map but one, and the last neuron but none; nobody
    return NeuronRanking(LAYERS, np.zeros((2, 5)), chosen, np.zeros((2, 5, 0), np.int64))


def test_the_suspiciousness_loss_increases_suspicious_units_and_holds_the_others() -> None:
    loss = Suspiciousness(neurons=RANKING, custom_loss_constant=0.5, theta=2, gamma=3, alpha=5, beta=7)
    constants = loss.constants(run(neurons()), 0)
    assert {name: mask.tolist() for name, mask in constants.items()} == {
        "suspicious_0": [1, 0],
        "suspicious_1": [0, 0, 1],
    }
    first = Suspiciousness(neurons=RANKING, top=1).constants(run(neurons()), 0)
    assert first["suspicious_0"].tolist() == [0, 0]
    assert first["suspicious_1"].tolist() == [0, 0, 1]
    x, generated = np.zeros((2, 1, 1, 1)), np.full((2, 1, 1, 1), 0.5)

    def target(images: Any) -> Any:
        """Before: all 0. After, for both images: map 0 is (1, 3), map 1 (-2, 2), the neurons 1, -1, 4."""
        scale = 2 * images
        maps = np.array([[[[1.0, -2.0], [3.0, 2.0]]]], np.float32)
        dense = np.array([[1.0, -1.0, 4.0]], np.float32)
        return [scale * maps, scale[:, 0, 0] * dense, None]

    maps = 5 * -2 + 7 * 2
    dense = 2 * -4 + 3 * (1 + 1)
    distance = 0.25
    assert value(loss, x, generated, constants, target) == pytest.approx(0.5 * (maps + dense) + 0.5 * distance)
    published = Suspiciousness(
        neurons=RANKING, custom_loss_constant=0.5, theta=2, gamma=3, alpha=5, beta=7, as_published=True
    )
    summed = 2 * maps + 2 * 2 * -4 + 3 * (1 + 1)  # over a batch of 2, but for the others of the dense layers
    assert value(published, x, generated, constants, target) == pytest.approx(0.5 * summed + 0.5 * distance)


def test_the_suspiciousness_loss_requires_suspicious_units() -> None:
    with pytest.raises(StageError, match="has no suspicious unit for class 1"):
        Suspiciousness(neurons=RANKING).constants(run(neurons()), 1)
    held = Suspiciousness(neurons=RANKING, no_suspicious_units="hold").constants(run(neurons()), 1)
    assert held
    assert not any(mask.any() for mask in held.values()), "all units are among the others, which are held"


def dense_judge(weights: Any) -> Any:
    """Return a target with one dense hidden layer without bias: its values, and no logits."""
    return lambda images: [backend.keras().ops.matmul(images[:, 0, 0, :], weights), None]


def descent(loss: GeneratorLoss, x: Any, generated: Any, constants: Mapping[str, Any], target: Any) -> Any:
    """Return the gradient of the loss with respect to the network's output."""
    ops = backend.keras().ops
    start, labels = ops.convert_to_tensor(x), ops.zeros(len(x), "int32")
    given = {name: ops.convert_to_tensor(array) for name, array in constants.items()}
    _, gradient = value_and_gradient(
        lambda images: loss.value(Batch(start, images, labels, 0.25, target, given)), ops.convert_to_tensor(generated)
    )
    return ops.convert_to_numpy(gradient)


def test_the_gradient_of_suspiciousness_is_the_closed_form() -> None:
    """On a layer z = x w it is A (-theta sum_S w + gamma sum_M sign(z(g) - z(x)) w) / n + 2 (1 - A) (g - x) / (n pixels)."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(4, 6)).astype(np.float32)
    x, generated = rng.random((2, 5, 1, 1, 4), np.float32)
    suspicious = np.array([1, 0, 0, 1, 0, 0], np.float32)
    loss = Suspiciousness(neurons=RANKING, custom_loss_constant=0.7, theta=0.4, gamma=0.3)
    direction = np.sign((generated - x)[:, 0, 0] @ weights) * (1 - suspicious)
    neurons = (-0.4 * weights @ suspicious + 0.3 * direction @ weights.T) / 5
    expected = 0.7 * neurons + 0.3 * 2 * (generated - x)[:, 0, 0] / 20
    received = descent(loss, x, generated, {"suspicious_0": suspicious}, dense_judge(weights))
    np.testing.assert_allclose(received[:, 0, 0], expected, rtol=1e-4)


@pytest.mark.parametrize(("gamma", "moves"), [(0.5, False), (0.2, True)])
def test_many_held_neurons_outweigh_a_suspicious_one(gamma: float, moves: bool) -> None:
    """One pixel lifts a suspicious neuron and two others alike: with theta 0.5, moving gains 0.5 and costs 2 gamma."""
    loss = Suspiciousness(neurons=RANKING, custom_loss_constant=1, theta=0.5, gamma=gamma)
    x = np.full((1, 1, 1, 1), 0.5, np.float32)
    weights = np.ones((1, 3), np.float32)
    constants = {"suspicious_0": np.array([1, 0, 0], np.float32)}
    uphill = descent(loss, x, x + np.float32(0.1), constants, dense_judge(weights))
    assert uphill.item() == pytest.approx(2 * gamma - 0.5)
    assert (uphill.item() < 0) == moves
