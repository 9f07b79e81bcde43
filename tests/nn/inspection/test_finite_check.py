"""Non-finite numbers are rejected in weights and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.nn.shared_stages.activation_readout import read_activations
from temper.system import backend

X = np.linspace(0, 1, 48, dtype=np.float32).reshape(12, 2, 2, 1)


def network(*hidden: Any, **options: Any) -> Any:
    keras = backend.keras()
    return keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), *hidden, keras.layers.Dense(2, **options)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["kernel", "bias", "moving_variance", "inner"])
def test_a_non_finite_weight_is_named(value: float, place: str) -> None:
    layers = backend.keras().layers
    inner = network(name="deep") if place == "inner" else layers.Dense(2, name="hidden")
    normalisation = layers.BatchNormalization(name="normal")
    model = (
        network(layers.Reshape((2, 2, 1)), inner, normalisation) if place == "inner" else network(inner, normalisation)
    )
    layer, name = {
        "kernel": (inner, "kernel"),
        "bias": (inner, "bias"),
        "moving_variance": (normalisation, "moving_variance"),
        "inner": (inner.layers[-1] if place == "inner" else None, "kernel"),
    }[place]
    variable = getattr(layer, name)
    values = np.array(backend.keras().ops.convert_to_numpy(variable))
    values.flat[1] = value
    variable.assign(values)
    said = f"layer '{layer.name}': 1 of {values.size} values of its weight '{name}' are not finite"
    with pytest.raises(StageError, match=said):
        Classifier(model)


def strange() -> Any:
    """Return a model that returns nan for images whose first pixel is below 0.3, four of the twelve."""
    keras = backend.keras()
    inputs = keras.Input((2, 2, 1))
    flat = keras.layers.Flatten()(inputs)
    hidden = keras.layers.Dense(3, name="hidden")(keras.ops.sqrt(flat - 0.3))
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(hidden))


def test_images_with_non_finite_logits_are_rejected() -> None:
    classifier = Classifier(strange())
    assert len(classifier.predict(X[4:])) == 8
    for ask in (classifier.predict, classifier.logits, lambda x: read_activations(classifier, x)):
        with pytest.raises(
            StageError, match=r"not finite .nan or inf. for 2 of 10 images, the first at position 6 counted"
        ):
            ask(np.concatenate([X[4:10], X[2:4], X[10:]]))


def test_infinite_logits_are_rejected() -> None:
    huge = Classifier(network(kernel_initializer=backend.keras().initializers.Constant(3e38)))
    with pytest.raises(StageError, match=r"the first at position 1 .*inf"):
        huge.predict(np.stack([X[0] * 0, X[-1]]))
