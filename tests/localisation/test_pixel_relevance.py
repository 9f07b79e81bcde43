"""Relevance: conservation, a net worked by hand, the gradient times the input, and DeepCustom's published pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.artefacts.rankings import PixelRanking
from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.localisation.lrp_variants import AlphaBeta, Epsilon, Zero, ZPlus
from temper.localisation.pixel_relevance import Relevance
from temper.nn.inspection.lrp import pixel_relevance
from temper.nn.inspection.lrp_rules import RelevanceRule, relevance_model
from temper.system import backend
from tests.generators.models import mnist_test, published

MODEL: Any = Ref("model")
DATA: Any = Ref("data")


def network(bias: bool, pooling: str = "MaxPooling2D", extra: bool = False) -> Any:
    """Return a convolutional ReLU network of 8 x 8 images in 2 channels and 3 classes."""
    keras = backend.keras()
    backend.seed(3)
    layers = keras.layers
    stack = [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, activation="relu", use_bias=bias, bias_initializer="normal")]
    stack += [getattr(layers, pooling)(2), layers.Conv2D(5, 2, use_bias=bias, padding="same"), layers.ReLU()]
    stack += [layers.Dropout(0.5), layers.Flatten()] if extra else [layers.Flatten()]
    stack += [layers.Dense(6, "relu", use_bias=bias), layers.Dense(3, use_bias=bias, bias_initializer="normal")]
    return keras.Sequential(stack)


def outputs(model: Any, x: Any) -> Any:
    return backend.keras().ops.convert_to_numpy(model(x))


def relevance(model: Any, rule: RelevanceRule, x: Any, y: Any) -> Any:
    ((rows, found),) = pixel_relevance(Classifier(model), x, rule, y)
    assert rows == slice(0, len(x))
    return found


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(0).random((9, 8, 8, 2), np.float32)


Y = np.arange(9) % 3
RULES = [Zero(), Epsilon(), AlphaBeta(), AlphaBeta(alpha=1.5, beta=0.5), ZPlus()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.tag)
@pytest.mark.parametrize("pooling", ["MaxPooling2D", "AveragePooling2D"])
def test_the_outputs_are_unchanged(rule: RelevanceRule, pooling: str, x: Any) -> None:
    model = network(bias=True, pooling=pooling, extra=True)
    np.testing.assert_allclose(outputs(relevance_model(model, rule), x), outputs(model, x), atol=1e-5)


@pytest.mark.parametrize("rule", [Zero(), ZPlus()], ids=lambda rule: rule.tag)
@pytest.mark.parametrize("pooling", ["MaxPooling2D", "AveragePooling2D"])
def test_without_bias_the_relevance_of_all_pixels_is_the_logit(rule: RelevanceRule, pooling: str, x: Any) -> None:
    model = network(bias=False, pooling=pooling, extra=True)
    logits = outputs(model, x)[np.arange(9), Y]
    sums = relevance(model, rule, x, Y).sum(axis=(1, 2, 3))
    # A negative logit may have no positive contributions for z+ to share it among.
    sound = logits > 0.01
    assert sound.sum() >= 3
    np.testing.assert_allclose(sums[sound], logits[sound], rtol=1e-3)
    if rule.tag == "zero":
        np.testing.assert_allclose(sums, logits, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_lrp_0_of_a_relu_network_is_the_gradient_times_the_input(bias: bool, x: Any) -> None:
    model = network(bias)

    rng = np.random.default_rng(1)
    step = 1e-2 * rng.standard_normal((1, 8, 8, 2)).astype(np.float32)
    found = relevance(model, Zero(), x, Y)
    gradient = found / np.where(x == 0, 1, x)
    # The network is linear near each image, so its change along a step is the gradient's.
    small = 1e-3 * step
    change = (outputs(model, x + small) - outputs(model, x - small))[np.arange(9), Y] / 2e-3
    np.testing.assert_allclose((gradient * step).sum(axis=(1, 2, 3)), change, rtol=0.05, atol=2e-3)


def test_a_small_epsilon_comes_near_lrp_0_and_a_large_one_swallows_relevance(x: Any) -> None:
    model = network(bias=False)
    exact = relevance(model, Zero(), x, Y)
    np.testing.assert_allclose(relevance(model, Epsilon(epsilon=1e-7), x, Y), exact, rtol=1e-2, atol=1e-5)
    assert np.abs(relevance(model, Epsilon(epsilon=10), x, Y)).sum() < 0.1 * np.abs(exact).sum()


def by_hand() -> Any:
    """Two pixels, two hidden units, one logit of two: h = relu(x W1 + b1), z = h W2.

    With x = (1, 2): z1 = 1*1 + 2*2 - 1 = 4 and z2 = 1*3 - 2*1 = 1; the logit is 2*4 - 3*1 = 5.
    """
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((1, 2, 1)), layers.Flatten(), layers.Dense(2, "relu"), layers.Dense(2)])
    first, second = np.array([[1.0, 3.0], [2.0, -1.0]]), np.array([[2.0, 0.0], [-3.0, 1.0]])
    model.set_weights([first, np.array([-1.0, 0.0]), second, np.zeros(2)])
    return model


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # Hidden units get 8 and -3; the first gives 1/4 and 4/4 of it to the pixels (-1/4 is the bias's), the second 3 and -2.
        (Zero(), [8 / 4 - 9, 32 / 4 + 6]),
        # The same with sums raised by 1: 5 -> 6, 4 -> 5, 1 -> 2.
        (Epsilon(epsilon=1), [(8 * 5 / 6) / 5 - (3 * 5 / 6) * 3 / 2, (8 * 5 / 6) * 4 / 5 + (3 * 5 / 6) * 2 / 2]),
        # The logit gives its 5 to the first hidden unit, which shares it 1 : 4.
        (ZPlus(), [1.0, 4.0]),
        # 2 * 5 to the first, which shares its 10: 2/5 and 8/5 of it, nothing back (the bias alone is negative);
        # -1 * 5 to the second: 2 * -5 to the pixel for it, +5 to the one against it.
        (AlphaBeta(), [2 * 10 / 5 - 10, 2 * 40 / 5 + 5]),
    ],
    ids=["zero", "epsilon", "z_plus", "alpha_beta"],
)
def test_a_network_worked_by_hand(rule: RelevanceRule, expected: list[float]) -> None:
    image = np.array([[[[1.0], [2.0]]]], np.float32)
    found = relevance(by_hand(), rule, image, np.array([0]))
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)


def test_an_activation_preserves_the_relevance_of_each_unit() -> None:
    keras = backend.keras()
    layers = keras.layers
    model = keras.Sequential([keras.Input((1, 1, 1)), layers.Flatten(), layers.Dense(1, "tanh"), layers.Dense(2)])
    model.set_weights([np.array([[2.0]]), np.zeros(1), np.array([[3.0, 0.0]]), np.zeros(2)])
    found = relevance(model, Zero(), np.full((1, 1, 1, 1), 0.7, np.float32), np.array([0]))
    np.testing.assert_allclose(found.item(), 3 * np.tanh(1.4), rtol=1e-5)


def test_batch_normalisation_shares_by_lrp_0() -> None:
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((1, 2, 1)), layers.Flatten(), layers.BatchNormalization(epsilon=0.0), layers.Dense(2)]
    model = keras.Sequential(stack)
    scale, shift, mean, variance = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2), np.full(2, 4.0)
    model.set_weights([scale, shift, mean, variance, np.array([[1.0, 0.0], [5.0, 0.0]]), np.zeros(2)])
    found = relevance(model, Zero(), np.array([[[[0.5], [0.25]]]], np.float32), np.array([0]))
    np.testing.assert_allclose(found.ravel(), [0.5 / 2 * 1, 0.25 * 2 / 2 * 5], rtol=1e-5)


def test_invalid_parameters_are_reported() -> None:
    assert [field for field, _ in AlphaBeta(alpha=2, beta=2).check()] == ["alpha"]
    keras = backend.keras()
    odd = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.LayerNormalization(), keras.layers.Flatten()])
    odd.add(keras.layers.Dense(2))
    with pytest.raises(StageError, match=r"LayerNormalization.*no rule"):
        relevance_model(odd, Zero())
    split = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.DepthwiseConv2D(2), keras.layers.Flatten()])
    split.add(keras.layers.Dense(2))
    assert relevance(split, Epsilon(), np.ones((1, 4, 4, 1), np.float32), np.array([0])).shape == (1, 4, 4, 1)
    with pytest.raises(StageError, match=r"DepthwiseConv2D.*another rule"):
        relevance_model(split, ZPlus())


def localise(model: Classifier, images: Examples, **fields: Any) -> PixelRanking:
    run = Run("it", 0, None, {MODEL: model, DATA: images}.__getitem__, lambda _: {}, lambda *_: None)
    return Relevance(model=MODEL, data=DATA, **fields).produce(run)


def test_relevance_is_averaged_over_the_images_of_a_class(x: Any) -> None:
    model = Classifier(network(bias=True))
    y = np.array([0, 0, 2, 0, 2, 0, 0, 2, 2])
    ranking = localise(model, Examples(x, y, np.arange(9)), rule=Zero(), start="true")
    each = relevance(model.model, Zero(), x, y)
    np.testing.assert_allclose(ranking.relevance[2], each[y == 2].mean(axis=0), atol=1e-6)
    assert np.isnan(ranking.relevance[1]).all()
    assert ranking.info == {"rule": "zero", "start": "true", "images": [5, 0, 4]}
    predicted = localise(model, Examples(x, y, np.arange(9)), rule=Zero())
    own = relevance(model.model, Zero(), x, model.predict(x))
    np.testing.assert_allclose(predicted.relevance[2], own[y == 2].mean(axis=0), atol=1e-6)


@pytest.mark.shared
def test_deepcustoms_relevant_pixels(shared: Path) -> None:
    """The pixels that DeepCustom published for mnist_5x30, identified by measurements made with them.

    Source: of the 200 published pixels, LRP-epsilon (0.01) from the predicted class over the test images gives 200,
    from the true class 199, and the gradient times the input 196 or 197; the network is right on 1,542 test images
    whose 20 published pixels are lowered and whose others are raised by 0.3.
    """
    model, (x, y) = published(shared, "mnist_5x30"), mnist_test(shared)
    images = Examples(x, y, np.arange(len(y)))
    found = localise(model, images)
    pixels = [set(found.pixels_of(label, 20).tolist()) for label in range(10)]

    def shared_with(other: PixelRanking) -> int:
        return sum(len(mine & set(other.pixels_of(label, 20).tolist())) for label, mine in enumerate(pixels))

    assert shared_with(localise(model, images, start="true")) == 199
    assert shared_with(localise(model, images, rule=Zero())) in (196, 197)
    signs = np.ones((10, 784), np.float32)
    for label in range(10):
        signs[label, found.pixels_of(label, 20)] = -1
    pushed = np.clip(x + np.float32(0.3) * signs[y].reshape(x.shape), 0, 1)
    assert (model.predict(pushed) == y).sum() == 1542
