from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.nn.inspection.units import Probe
from temper.repair.quantisation import (
    Quantisation,
    rounded_to_float16,
    rounded_to_int8,
    value_ranges,
    with_rounded_activations,
    with_rounded_weights,
)
from temper.system import backend
from tests.repair.support import DATA, MODEL, examples, run, small_model, weights


def quantise(**fields: Any) -> Quantisation:
    return Quantisation(**{"model": MODEL, "data": DATA} | fields)


def produced(component: Quantisation, model: Any) -> Classifier:
    return component.produce(run(component, {MODEL: Classifier(model), DATA: examples()}))


def test_a_kernel_is_rounded_to_127_steps_of_each_unit() -> None:
    kernel = np.array([[1.27, 12.7, 0.0], [-0.014, 0.34, 0.0], [0.016, -0.06, 0.0]], np.float32)
    # Steps of 0.01 and 0.1; a unit without weights keeps none.
    wanted = [[1.27, 12.7, 0.0], [-0.01, 0.3, 0.0], [0.02, -0.1, 0.0]]
    np.testing.assert_allclose(rounded_to_int8(kernel), wanted, atol=1e-6)


def test_rounding_is_symmetric_and_idempotent() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(rounded_to_int8(-kernel), -rounded_to_int8(kernel))
    np.testing.assert_allclose(rounded_to_int8(rounded_to_int8(kernel)), rounded_to_int8(kernel), atol=1e-7)
    steps = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    assert (np.abs(rounded_to_int8(kernel) - kernel) <= steps / 2 * 1.001).all()
    for unit in range(5):
        whole = rounded_to_int8(kernel)[..., unit] / steps[unit]
        np.testing.assert_allclose(whole, np.round(whole), atol=1e-3)


def test_float16_keeps_eleven_bits_of_precision() -> None:
    found = rounded_to_float16(np.array([1.0, 1 + 2**-10, 1 + 2**-11, 0.1, -65504.0], np.float32))
    assert found.tolist() == [1.0, 1 + 2**-10, 1.0, 0.0999755859375, -65504.0]
    with pytest.raises(StageError, match=r"a weight of 70000 is too large for 16 bits"):
        rounded_to_float16(np.array([70_000.0]))


def test_float16_rounds_every_weight_and_int8_only_kernels() -> None:
    model = small_model()
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(np.full(layer.bias.shape, 0.1))
    v2 = produced(quantise(precision="float16"), model)
    for old, new in zip(model.get_weights(), v2.model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old.astype(np.float16).astype(np.float32))

    v2 = produced(quantise(), model)
    for old, new in zip(model.get_weights(), v2.model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, rounded_to_int8(old) if old.ndim > 1 else old)
    assert not np.array_equal(weights(v2), weights(Classifier(model)))


def linear(weight: float) -> Any:
    """Return a model of one hidden unit, relu(weight * pixel), and two logits: its value and 0."""
    keras = backend.keras()
    layers = keras.layers
    stack = [
        keras.Input((1, 1, 1)),
        layers.Flatten(),
        layers.Dense(1, "relu", name="hidden"),
        layers.Dense(2, name="logits"),
    ]
    model = keras.Sequential(stack)
    model.set_weights([np.array([[weight]]), np.zeros(1), np.array([[1.0, 0.0]]), np.zeros(2)])
    return model


def pixels(*values: float) -> Any:
    return np.array(values, np.float32).reshape(-1, 1, 1, 1)


def test_activations_are_rounded_to_256_steps_of_the_observed_range_and_clipped() -> None:
    model = linear(2.55)
    seen = value_ranges(with_rounded_weights(model, "int8"), pixels(0.0, 0.2, 0.4))
    assert list(seen) == ["hidden"], "the logits are not among them"
    np.testing.assert_allclose(seen["hidden"], [0.0, 1.02], rtol=1e-6)
    v2 = Classifier(with_rounded_activations(model, {"hidden": (0.0, 2.55)}))
    # The image in steps of 1/255, the hidden unit in steps of 0.01.
    np.testing.assert_allclose(
        v2.logits(pixels(0.0, 100 / 255, 100.4 / 255, 1.0))[:, 0], [0, 1.0, 1.0, 2.55], atol=1e-6
    )
    v2 = Classifier(with_rounded_activations(model, {"hidden": (0.0, 1.02)}))
    np.testing.assert_allclose(v2.logits(pixels(0.5, 1.0))[:, 0], [1.02, 1.02], atol=1e-6)
    # 51 / 255 * 2.55 = 0.51, in steps of 0.004: 127.5 of them.
    assert v2.logits(pixels(51 / 255))[0, 0] in (pytest.approx(0.508), pytest.approx(0.512))


def test_the_gradient_passes_through_the_rounding() -> None:
    model = linear(2.55)
    v2 = Classifier(with_rounded_activations(model, {"hidden": (0.0, 2.55)}))
    x, y = pixels(100 / 255), np.array([1])
    np.testing.assert_allclose(v2.loss_gradient(x, y), Classifier(model).loss_gradient(x, y), rtol=1e-4)


def test_a_quantised_model_can_be_saved_loaded_and_inspected(tmp_path: Path) -> None:
    x = examples().x
    v2 = produced(quantise(activations=True), small_model())
    v2.save(tmp_path)
    np.testing.assert_array_equal(Classifier.load(tmp_path).logits(x), v2.logits(x))
    assert [layer.name for layer in Probe(v2.model, "post").layers] == ["conv1", "conv2", "dense"]
    plain = produced(quantise(), small_model())
    assert 0 < np.abs(v2.logits(x) - plain.logits(x)).max() < 0.05


def test_layers_fused_with_normalisation_and_activation_are_rounded_once() -> None:
    keras = backend.keras()
    layers = keras.layers
    image = keras.Input((4, 4, 1))
    tensor = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(layers.Conv2D(2, 3, name="conv")(image)))
    added = layers.Add(name="add")([tensor, layers.Conv2D(2, 1, name="side")(tensor)])
    model = keras.Model(image, layers.Dense(2, name="logits")(layers.Flatten(name="flat")(added)))
    assert list(value_ranges(model, np.zeros((1, 4, 4, 1), np.float32))) == ["relu", "side", "add"]


def test_contradictory_settings_are_reported_before_anything_runs() -> None:
    assert [field for field, _ in quantise(precision="float16", activations=True).check()] == ["activations"]
    assert [field for field, _ in quantise(data=Ref("data", part="test")).check()] == ["data"]
    assert list(quantise(data=None).check()) == []


def test_layers_without_a_known_unit_axis_are_rejected() -> None:
    layers = backend.keras().layers
    model = backend.keras().Sequential(
        [backend.keras().Input((4, 4, 2)), layers.DepthwiseConv2D(3, name="deep"), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(StageError, match=r"layer 'deep' \(DepthwiseConv2D\): int8 is for .*precision: float16"):
        with_rounded_weights(model, "int8")
    with_rounded_weights(model, "float16")
