from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.nn.editing.logits import FLOOR, are_probabilities, to_logits, with_log_probabilities, with_reordered_outputs
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.gradients import margin, value_and_gradient
from temper.system import backend

RNG = np.random.default_rng(0)
X = RNG.random((5, 4, 4, 1), np.float32)


def model(*ending: Any) -> Any:
    keras = backend.keras()
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), *ending])


def given(model: Any, x: np.ndarray) -> Any:
    return np.array(backend.keras().ops.convert_to_numpy(model(x)))


def softmax(z: np.ndarray) -> Any:
    exp = np.exp(z - z.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def endings() -> dict[str, list[Any]]:
    layers = backend.keras().layers
    return {
        "fused": [layers.Dense(3, activation="softmax")],
        "activation": [layers.Dense(3), layers.Activation("softmax")],
        "layer": [layers.Dense(3), layers.Softmax()],
        "after pooling": [
            layers.Reshape((4, 4, 1)),
            layers.Conv2D(3, 3),
            layers.GlobalMaxPooling2D(),
            layers.Softmax(),
        ],
    }


@pytest.mark.parametrize("ending", ["fused", "activation", "layer", "after pooling"])
def test_softmax_of_the_logits_equals_the_models_output(ending: str) -> None:
    original = model(*endings()[ending])
    before = given(original, X)
    logits = given(to_logits(original), X)

    assert not np.allclose(logits.sum(axis=1), 1.0)
    np.testing.assert_allclose(softmax(logits), before, rtol=1e-5)
    np.testing.assert_array_equal(given(original, X), before)


def test_a_model_that_ends_in_logits_is_returned_unchanged() -> None:
    original = model(backend.keras().layers.Dense(3))
    assert to_logits(original) is original


def test_converted_models_keep_their_layers_and_can_be_saved(tmp_path: Any) -> None:
    original = model(backend.keras().layers.Dense(3, activation="softmax", name="predictions"))
    rewired = to_logits(original)
    rewired.save(tmp_path / "model.keras")
    again = backend.keras().models.load_model(tmp_path / "model.keras")

    assert [layer.name for layer in again.layers][-1] == "predictions"
    np.testing.assert_array_equal(given(again, X), given(rewired, X))


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (lambda layers: [layers.Dense(3, activation="sigmoid", name="d")], "'d' ends the model in sigmoid"),
        (lambda layers: [layers.Dense(3), layers.ReLU(name="r")], "'r' ends the model in ReLU"),
        (
            lambda layers: [layers.Dense(3, activation="sigmoid", name="d"), layers.Reshape((3,))],
            "'d' ends the model in",
        ),
        (
            lambda layers: [layers.Dense(3, activation="sigmoid", name="d"), layers.Rescaling(2.0)],
            "'d' ends the model in",
        ),
        (lambda layers: [layers.Reshape((4, 4, 1))], "one output .n, classes."),
        (lambda layers: [nested(layers, "sigmoid")], "'inner' ends the model in sigmoid"),
        (lambda layers: [average(layers, "sigmoid")], "ends the model in sigmoid"),
    ],
)
def test_other_final_activations_are_rejected(ending: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        to_logits(model(*ending(backend.keras().layers)))


def nested(layers: Any, activation: str) -> Any:
    keras = backend.keras()
    kernel = keras.initializers.RandomNormal(stddev=1.0, seed=7)
    dense = layers.Dense(3, activation=activation, kernel_initializer=kernel, name="inner")
    return keras.Sequential([keras.Input((16,)), dense])


def average(layers: Any, activation: str) -> Any:
    keras = backend.keras()
    inputs = keras.Input((16,))
    members = [layers.Dense(3, activation=activation)(inputs) for _ in range(3)]
    return keras.Model(inputs, layers.Average()(members))


def combinations() -> dict[str, Any]:
    """Return functions from a flat image to probabilities, or to increasing functions of them."""
    keras = backend.keras()
    layers, ops = keras.layers, keras.ops

    def p(x: Any, scale: float = 1.0) -> Any:
        """Return softmaxes of one direction, which agree at any confidence."""
        kernel = keras.initializers.RandomNormal(stddev=scale, seed=7)
        return layers.Dense(3, activation="softmax", kernel_initializer=kernel)(x)

    def wide(x: Any) -> Any:
        return layers.Dense(4, activation="softmax")(x)

    def maps(x: Any) -> Any:
        return layers.Conv2D(3, 2, activation="softmax")(layers.Reshape((4, 4, 1))(x))

    return {
        "average": lambda x: layers.Average()([p(x), p(x, 2), p(x, 3)]),
        "average of models": lambda x: layers.Average()([nested(layers, "softmax")(x), nested(layers, "softmax")(x)]),
        "mean by operations": lambda x: (p(x) + p(x, 2)) / 2,
        "weighted mean": lambda x: 0.25 * p(x) + 0.75 * p(x, 2),
        "mean of a stack": lambda x: ops.mean(ops.stack([p(x), p(x, 2)], axis=1), axis=1),
        "sum": lambda x: layers.Add()([p(x), p(x, 2)]),
        "rescaled average": lambda x: layers.Rescaling(100.0)(layers.Average()([p(x), p(x, 2)])),
        "product": lambda x: layers.Multiply()([p(x), p(x, 2)]),
        "pooled": lambda x: layers.GlobalAveragePooling2D()(maps(x)),
        "rescaled": lambda x: layers.Rescaling(2.0, offset=-1.0)(p(x)),
        "linear": lambda x: layers.Activation("linear")(p(x)),
        "dropped": lambda x: layers.Dropout(0.5)(p(x)),
        "reshaped": lambda x: layers.Flatten()(layers.Reshape((1, 3))(p(x))),
        "of a map": lambda x: layers.Flatten()(layers.Conv2D(3, 4, activation="softmax")(layers.Reshape((4, 4, 1))(x))),
        "operation": lambda x: ops.softmax(layers.Dense(3)(x)),
        "twice": lambda x: ops.softmax(p(x)),
        "nested": lambda x: nested(layers, "softmax")(x),
        "logarithm": lambda x: ops.log(p(x)),
        "logarithm with a floor": lambda x: ops.log(p(x) + 1e-7),
        "clipped logarithm": lambda x: ops.log(ops.clip(p(x), 1e-7, 1.0)),
        "logarithm of an average": lambda x: ops.log(layers.Average()([p(x), p(x, 2)])),
        "by hand": lambda x: by_hand(ops, layers.Dense(3)(x)),
        "without the last class": lambda x: wide(x)[:, :3],
        "without the first class": lambda x: wide(x)[:, 1:],
        "sorted": lambda x: ops.take(p(x), [2, 0, 1], axis=-1),
        "smallest": lambda x: layers.Minimum()([p(x), p(x, 2)]),
        "away from 1": lambda x: ops.minimum(p(x), 1 - 1e-6),
        "clipped and normalised": lambda x: normalised(ops, ops.clip(p(x), 1e-7, 1 - 1e-7)),
        "sharpened": lambda x: normalised(ops, ops.power(p(x), 2.0)),
        "squared": lambda x: ops.square(p(x)),
        "exponential": lambda x: ops.exp(ops.log_softmax(layers.Dense(3)(x))),
        "exponential by hand": lambda x: by_logsumexp(ops, layers.Dense(3)(x)),
        "softplus": lambda x: normalised(ops, layers.Dense(3, activation="softplus")(x)),
        "one against the rest": lambda x: normalised(ops, layers.Dense(3, activation="sigmoid")(x / 5)),
        "two classes": lambda x: both(layers, lambda s: 1 - s)(x),
        "two classes, rescaled": lambda x: both(layers, layers.Rescaling(-1.0, 1.0))(x),
        "gated": lambda x: gated(layers, p(x), p(x, 2))(x),
        "tree": lambda x: tree(layers)(x),
        "half precision": lambda x: layers.Dense(3, activation="softmax", dtype="mixed_float16")(x),
    }


def by_hand(ops: Any, z: Any) -> Any:
    powers = ops.exp(z)
    return powers / ops.sum(powers, axis=-1, keepdims=True)


def by_logsumexp(ops: Any, z: Any) -> Any:
    return ops.exp(z - ops.logsumexp(z, axis=-1, keepdims=True))


def normalised(ops: Any, values: Any) -> Any:
    return values / ops.sum(values, axis=-1, keepdims=True)


def both(layers: Any, complement: Any) -> Any:
    def probabilities(x: Any) -> Any:
        first = layers.Dense(1, activation="sigmoid")(x)
        return layers.Concatenate()([first, complement(first)])

    return probabilities


def gated(layers: Any, one: Any, other: Any) -> Any:
    def mixture(x: Any) -> Any:
        gate = layers.Dense(1, activation="sigmoid")(x)
        return gate * one + (1 - gate) * other

    return mixture


def tree(layers: Any) -> Any:
    def leaves(x: Any) -> Any:
        root, branch = (layers.Dense(2, activation="softmax")(x) for _ in range(2))
        return layers.Concatenate()([root[:, :1] * branch, root[:, 1:]])

    return leaves


CALM, FIERCE = RNG.random((40, 4, 4, 1), np.float32), RNG.random((40, 4, 4, 1), np.float32) * 100
"""Images whose probabilities float32 holds, and images most of whose probabilities it rounds to 0 and 1."""


@pytest.mark.parametrize("name", combinations())
def test_combinations_of_softmaxes_become_their_logarithm(name: str, tmp_path: Path) -> None:
    keras = backend.keras()
    inputs = keras.Input((4, 4, 1))
    backend.seed(1)
    original = keras.Model(inputs, combinations()[name](keras.layers.Flatten()(inputs)))
    rewired = to_logits(original)
    assert rewired is not original
    assert to_logits(rewired) is rewired
    for images in (CALM, FIERCE):
        before, logits = (given(m, images).astype(np.float64) for m in (original, rewired))
        assert np.isfinite(logits).all()
        order = np.sort(before, axis=1)
        clear = order[:, -1] - order[:, -2] > 1e-6
        np.testing.assert_array_equal(logits.argmax(axis=1)[clear], before.argmax(axis=1)[clear])
    # Where the probabilities are 1 and 0, the way out of the class is still known.
    probabilities = softmax(given(rewired, FIERCE).astype(np.float64))
    sure = probabilities.max(axis=1) > 0.999
    assert sure.sum() > 5 or name == "pooled"
    _, slope = compiled_programs.run_all(rewired, _margin_gradient, FIERCE, probabilities.argmax(axis=1))
    assert (np.abs(slope[sure]).max(axis=(1, 2, 3)) > 1e-3).all()
    classifier = Classifier(rewired)
    classifier.save(tmp_path)
    np.testing.assert_allclose(Classifier.load(tmp_path).logits(CALM), given(rewired, CALM), rtol=1e-3, atol=1e-3)


def _margin_gradient(call: Any, x: Any, y: Any) -> Any:
    return value_and_gradient(lambda images: margin(call(images), y), x)


@pytest.mark.parametrize(
    "name",
    [
        "average",
        "average of models",
        "weighted mean",
        "pooled",
        "product",
        "by hand",
        "softplus",
        "tree",
        "gated",
        "sharpened",
    ],
)
def test_the_logarithm_is_exact(name: str) -> None:
    keras = backend.keras()
    inputs = keras.Input((4, 4, 1))
    original = keras.Model(inputs, combinations()[name](keras.layers.Flatten()(inputs)))
    np.testing.assert_allclose(np.exp(given(to_logits(original), CALM)), given(original, CALM), rtol=1e-4)


def test_operations_on_logits_are_kept() -> None:
    layers, ops = backend.keras().layers, backend.keras().ops
    x = backend.keras().Input((4, 4, 1))
    z = layers.Dense(3)(layers.Flatten()(x))
    gate = layers.Dense(3, activation="sigmoid")(layers.Flatten()(x))
    for tensor in (
        layers.Rescaling(0.1)(z),
        ops.log_softmax(z),
        layers.Dense(3)(ops.softmax(z)),
        30 * ops.tanh(z / 30),
        z * gate,
        layers.Dropout(0.5)(z),
    ):
        original = backend.keras().Model(x, tensor)
        assert to_logits(original) is original
    tempered = to_logits(backend.keras().Model(x, ops.softmax(z / 10)))
    np.testing.assert_allclose(given(tempered, X), given(backend.keras().Model(x, z), X) / 10, rtol=1e-5)


def test_probabilities_are_recognised_by_their_sums() -> None:
    logits = RNG.normal(size=(50, 4))
    shares = softmax(logits).astype(np.float32)
    assert are_probabilities(shares)
    assert are_probabilities(shares[:1])
    assert are_probabilities(3 * shares)
    assert are_probabilities(shares.astype(np.float16).astype(np.float32))
    for other in (logits, np.log(shares), np.abs(logits), 1 / (1 + np.exp(-logits)), 3 * shares[:1], np.ones((50, 4))):
        assert not are_probabilities(other.astype(np.float32))


def test_the_logarithm_of_any_probabilities_is_finite() -> None:
    keras = backend.keras()
    probabilities = keras.Sequential([keras.Input((3,)), keras.layers.Softmax(), keras.layers.Lambda(lambda p: p)])
    z = np.array([[0, 1, 3], [0, 300, 100]], np.float32)
    logs = given(with_log_probabilities(probabilities), z)
    np.testing.assert_allclose(logs[0], np.log(softmax(z[:1])[0]), rtol=1e-5)
    np.testing.assert_allclose(logs[1], [np.log(FLOOR), 0, np.log(FLOOR)], rtol=1e-5)


@pytest.mark.parametrize("sorts", [False, True])
def test_outputs_can_be_reordered(sorts: bool) -> None:
    keras = backend.keras()
    stack = [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3, name="class_order")]
    original = keras.Sequential([*stack, keras.layers.ReLU()] if sorts else stack)
    x = np.random.default_rng(0).random((4, 2, 2, 1), np.float32)
    before = np.array(original(x))
    found = with_reordered_outputs(original, [2, 0, 1])
    np.testing.assert_allclose(np.array(found(x)), before[:, [2, 0, 1]], atol=1e-6)
