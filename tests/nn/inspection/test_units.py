"""The probe: separating activations changes no output, and the values equal those of the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.nn.inspection.units import Probe, UnitLayer, unit_means, with_separate_activations
from temper.system import backend


def network() -> Any:
    keras = backend.keras()
    backend.seed(0)
    layers = keras.layers
    stack = [keras.Input((8, 8, 2)), layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D()]
    stack += [layers.Conv2D(4, 2), layers.BatchNormalization(), layers.LeakyReLU(0.1), layers.Flatten()]
    return keras.Sequential([*stack, layers.Dense(5, "tanh"), layers.Dense(3)])


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(0).random((7, 8, 8, 2), np.float32)


def test_separating_activations_does_not_change_outputs(x: Any) -> None:
    model = network()
    np.testing.assert_allclose(np.array(with_separate_activations(model)(x)), np.array(model(x)), atol=1e-6)
    assert not any(
        getattr(layer, "activation", None) and layer.activation.__name__ in ("relu", "tanh") and layer.weights
        for layer in with_separate_activations(model).layers
    )


def test_values_before_and_after_the_activation(x: Any) -> None:
    model = network()
    pre, post = Probe(model), Probe(model, "post")
    assert [(layer.units, layer.height, layer.width) for layer in pre.layers] == [(3, 6, 6), (4, 2, 2), (5, 1, 1)]
    before, after = (list(map(np.array, probe.model(x))) for probe in (pre, post))
    np.testing.assert_allclose(after[0], np.maximum(before[0], 0), atol=1e-6)
    np.testing.assert_allclose(after[2], np.tanh(before[2]), atol=1e-6)
    normalised = before[1] / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(after[1], np.where(normalised > 0, normalised, 0.1 * normalised), atol=1e-5)
    np.testing.assert_allclose(after[3], np.array(model(x)), atol=1e-6)


def test_units_are_counted_through_all_layers(x: Any) -> None:
    probe = Probe(network())
    assert len(probe.units) == 12
    assert probe.units[7] == (2, 0)
    *values, _ = probe.model(x)
    means = np.array(unit_means(values))
    assert means.shape == (7, 12)
    np.testing.assert_allclose(means[:, 1], np.array(values[0])[..., 1].mean(axis=(1, 2)), atol=1e-6)
    assert UnitLayer("a", 3, 1, 1).is_map is False
    assert probe.layers[0].is_map


def test_layer_names_that_collide_with_activations_are_kept(x: Any) -> None:
    keras = backend.keras()
    layers = keras.layers
    stack = [
        keras.Input((8, 8, 2)),
        layers.Flatten(),
        layers.Dense(3, "relu", name="a"),
        layers.ReLU(name="a_activation_"),
    ]
    model = keras.Sequential([*stack, layers.Dense(4, "relu", name="a_activation"), layers.Dense(2, name="end")])
    np.testing.assert_allclose(np.array(with_separate_activations(model)(x)), np.array(model(x)), atol=1e-6)
    assert [layer.name for layer in Probe(model).layers] == ["a", "a_activation"]


def test_a_model_without_hidden_units_is_rejected() -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(StageError, match="hidden layer"):
        Probe(model)
