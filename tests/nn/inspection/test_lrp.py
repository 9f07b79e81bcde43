"""Relevance of hidden units: by hand, conserved layer by layer, and the gradient times the activation under LRP-0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.localisation.lrp_variants import AlphaBeta, Epsilon, Zero, ZPlus
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.gradients import value_and_gradient
from temper.nn.inspection.lrp import pixel_relevance, unit_relevance_batches
from temper.nn.inspection.lrp_rules import RelevanceRule
from temper.nn.inspection.units import Probe
from temper.system import backend
from tests.nn.inspection.relevance import unit_relevance

RULES = [Zero(), Epsilon(), AlphaBeta(), ZPlus()]
Y = np.arange(9) % 3


def network(bias: bool, pooling: str = "MaxPooling2D", seed: int = 3) -> Any:
    """Return a convolutional ReLU network of 8 x 8 images in 2 channels: hidden layers of 4, 5 and 6 units, 3 classes.

    The activations of the hidden layers are given by its layers 0, 3 and 6.
    """
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, activation="relu", use_bias=bias)]
    stack += [getattr(layers, pooling)(2), layers.Conv2D(5, 2, use_bias=bias, padding="same"), layers.LeakyReLU(0.0)]
    stack += [layers.Dropout(0.5), layers.Flatten(), layers.Dense(6, "relu", use_bias=bias)]
    model = keras.Sequential([*stack, layers.Dense(3, use_bias=bias)])
    rng = np.random.default_rng(seed)  # the same on every backend
    model.set_weights([rng.normal(scale=0.4, size=weights.shape) for weights in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(0).random((9, 8, 8, 2), np.float32)


def numpy(tensor: Any) -> Any:
    return backend.keras().ops.convert_to_numpy(tensor)


def by_hand() -> Any:
    """Two pixels, hidden layers of two units, two logits: h = relu(x W1 + b1), g = relu(h W2), z = g W3.

    With x = (1, 2): h = (1*1 + 2*2 - 1, 1*3 - 2*1) = (4, 1), g = (4*1 + 1*2, 4*-1 + 1*1)+ = (6, 0), and the first logit
    is 6*0.5 + 0*1 = 3.
    """
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((1, 2, 1)), layers.Flatten(), layers.Dense(2, "relu"), layers.Dense(2), layers.ReLU()]
    model = keras.Sequential([*stack, layers.Dense(2, use_bias=False)])
    first, second = np.array([[1.0, 3.0], [2.0, -1.0]]), np.array([[1.0, -1.0], [2.0, 1.0]])
    model.set_weights([first, np.array([-1.0, 0.0]), second, np.zeros(2), np.array([[0.5, 1.0], [1.0, 0.0]])])
    return model


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Zero(), [3 * 4 / 6, 3 * 2 / 6, 3, 0]),
        # The logit gives 3 of 3 + 1 parts of its 3, the first unit of g 4 and 2 of 6 + 1 parts of what it got.
        (Epsilon(epsilon=1), [2.25 * 4 / 7, 2.25 * 2 / 7, 2.25, 0]),
        (ZPlus(), [2, 1, 3, 0]),
        # The logit and the first unit of g have no negative contributions, so each propagates twice what it received.
        (AlphaBeta(), [12 * 4 / 6, 12 * 2 / 6, 6, 0]),
    ],
    ids=["zero", "epsilon", "z_plus", "alpha_beta"],
)
def test_a_network_worked_by_hand(rule: RelevanceRule, expected: list[float]) -> None:
    image = np.array([[[[1.0], [2.0]]]], np.float32)
    found = unit_relevance(Classifier(by_hand()), image, rule, np.array([0]))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


@pytest.mark.parametrize("rule", [Zero(), ZPlus()], ids=lambda rule: rule.tag)
@pytest.mark.parametrize("pooling", ["MaxPooling2D", "AveragePooling2D"])
def test_without_bias_the_units_of_every_layer_sum_to_the_logit(rule: RelevanceRule, pooling: str, x: Any) -> None:
    model = network(bias=False, pooling=pooling)
    logits = numpy(model(x))[np.arange(9), Y]
    found = unit_relevance(Classifier(model), x, rule, Y)
    # A negative logit may have no positive contributions for z+ to share it among.
    sound = logits > 0.01 if rule.tag == "z_plus" else np.full(9, True)
    assert sound.sum() >= 3
    assert [layer.units for layer in Probe(model).layers] == [4, 5, 6]
    for layer in np.split(found, [4, 9], axis=1):
        np.testing.assert_allclose(layer.sum(axis=1)[sound], logits[sound], rtol=1e-3, atol=1e-5)


def gradient_times_activation(model: Any, at: int, x: Any, y: Any) -> Any:
    """Return the output of a layer times the gradient of a logit with respect to it, summed over positions."""

    def rest(values: Any) -> Any:
        for layer in model.layers[at + 1 :]:
            values = layer(values)
        return backend.keras().ops.take_along_axis(values, y[:, None], axis=1)[:, 0]

    values = backend.keras().ops.convert_to_tensor(x)
    for layer in model.layers[: at + 1]:
        values = layer(values)
    each = numpy(values) * numpy(value_and_gradient(rest, values)[1])
    return each.reshape(len(x), -1, each.shape[-1]).sum(axis=1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rule", [Zero(), None])
def test_lrp_0_is_the_gradient_times_the_activation(rule: RelevanceRule | None, bias: bool, x: Any) -> None:
    model = network(bias)
    found = unit_relevance(Classifier(model), x, rule, Y)
    expected = np.concatenate([gradient_times_activation(model, at, x, Y) for at in (0, 3, 6)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (found == 0).any(), "some unit is off on some image, and nothing rests on it"


def test_a_normalised_unit_has_the_relevance_of_its_activation(x: Any) -> None:
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((8, 8, 2)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.Flatten()]
    model = keras.Sequential([*stack, layers.Dense(3)])
    rng = np.random.default_rng(2)
    model.set_weights([0.3 + 0.2 * rng.random(weights.shape) for weights in model.get_weights()])
    model.layers[-1].set_weights([rng.normal(size=(144, 3)), np.zeros(3)])
    found = unit_relevance(Classifier(model), x, Zero(), Y)
    np.testing.assert_allclose(found, gradient_times_activation(model, 2, x, Y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.tag)
def test_a_stored_model_may_have_names_that_keras_generates(rule: RelevanceRule, x: Any) -> None:
    keras = backend.keras()
    layers = keras.layers
    added = keras.Input((1,)) + keras.Input((1,))
    latest = {"dense": layers.Dense(1).name, "add": added._keras_history.operation.name}
    following = {kind: int(name.rpartition("_")[2]) if "_" in name else 0 for kind, name in latest.items()}
    inputs = keras.Input((8, 8, 2))
    flat = layers.Flatten()(inputs)
    sides = [layers.Dense(4, "relu", name=f"dense_{following['dense'] + i}")(flat) for i in range(1, 9)]
    for i in range(1, 9):
        sides = [layers.Add(name=f"add_{following['add'] + i}")(sides), *sides[1:]]
    model = keras.Model(inputs, layers.Dense(3, name="logits")(sides[0]))
    found = unit_relevance(Classifier(model), x, rule, Y)
    assert found.shape == (9, 32)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.tag)
def test_relevance_depends_on_the_model_and_not_on_the_batch_size(
    rule: RelevanceRule, x: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (Classifier(network(bias=True, seed=seed)) for seed in (3, 4))
    alone = unit_relevance(one, x, rule)
    other = unit_relevance(two, x, rule)
    assert np.abs(alone - other).max() > 0.01
    monkeypatch.setattr(compiled_programs, "BATCH", 4)
    np.testing.assert_allclose(unit_relevance(one, x, rule), alone, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(unit_relevance(one, x, rule, one.predict(x)), alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", [Zero(), AlphaBeta(), ZPlus()], ids=lambda rule: rule.tag)
def test_pixels_share_the_relevance_of_the_first_layer(rule: RelevanceRule, x: Any) -> None:
    model = Classifier(network(bias=False))
    pixels = np.concatenate([found for _, found in pixel_relevance(model, x, rule, Y)]).sum(axis=(1, 2, 3))
    units = unit_relevance(model, x, rule, Y)[:, :4].sum(axis=1)
    np.testing.assert_allclose(pixels, units, rtol=1e-3, atol=1e-5)


def test_a_model_without_hidden_units_has_relevant_pixels_only(x: Any) -> None:
    keras = backend.keras()
    model = Classifier(keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Flatten(), keras.layers.Dense(3)]))
    ((_, found),) = pixel_relevance(model, x, Zero())
    assert found.shape == x.shape
    with pytest.raises(StageError, match="hidden layer"):
        unit_relevance(model, x, Zero())


@pytest.mark.parametrize("rule", [None, Epsilon()])
def test_selected_layers_have_the_same_relevance_as_among_all(rule: RelevanceRule | None, x: Any) -> None:
    model = network(bias=True)
    classifier, names = Classifier(model), [layer.name for layer in Probe(model).layers]
    every = unit_relevance(classifier, x, rule, Y)
    for wanted, columns in (({names[1]}, slice(4, 9)), ({names[2]}, slice(9, 15)), (names[:2], slice(0, 9))):
        ((_, found),) = unit_relevance_batches(classifier, x, rule, Y, wanted)
        np.testing.assert_allclose(found, every[:, columns], rtol=1e-4, atol=1e-6)
