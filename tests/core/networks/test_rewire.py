from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core import backend
from core.faults import StageError
from core.networks.rewire import to_logits

X = np.random.default_rng(0).random((5, 4, 4, 1), np.float32)


def model(*ending: Any) -> Any:
    keras = backend.keras()
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), *ending])


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
def test_softmax_of_the_logits_is_what_the_model_gave(ending: str) -> None:
    original = model(*endings()[ending])
    before = original(X)
    logits = np.asarray(to_logits(original)(X))

    assert not np.allclose(logits.sum(axis=1), 1.0)
    np.testing.assert_allclose(softmax(logits), before, rtol=1e-5)
    np.testing.assert_array_equal(original(X), before)


def test_a_model_that_ends_in_logits_is_returned_as_it_is() -> None:
    original = model(backend.keras().layers.Dense(3))
    assert to_logits(original) is original


def test_rewired_models_keep_their_layers_and_can_be_saved(tmp_path: Any) -> None:
    original = model(backend.keras().layers.Dense(3, activation="softmax", name="predictions"))
    rewired = to_logits(original)
    rewired.save(tmp_path / "model.keras")
    again = backend.keras().models.load_model(tmp_path / "model.keras")

    assert [layer.name for layer in again.layers][-1] == "predictions"
    np.testing.assert_array_equal(again(X), rewired(X))


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (lambda layers: [layers.Dense(3, activation="sigmoid", name="d")], "'d' ends the model in sigmoid"),
        (lambda layers: [layers.Dense(3), layers.ReLU(name="r")], "'r' ends the model in ReLU"),
        (lambda layers: [layers.Dense(3), layers.Softmax(name="s"), layers.Reshape((3,))], "'s' .softmax. is followed"),
        (lambda layers: [layers.Reshape((4, 4, 1))], "one output .n, classes."),
        (lambda layers: [nested(layers)], "is a model that ends in softmax"),
    ],
)
def test_other_endings_are_refused(ending: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        to_logits(model(*ending(backend.keras().layers)))


def nested(layers: Any) -> Any:
    keras = backend.keras()
    return keras.Sequential([keras.Input((16,)), layers.Dense(3, activation="softmax")])
