"""Copies and program sharing of models whose layers keep state outside of weights and configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from temper.core.classifier import Classifier
from temper.core.errors import StageError
from temper.nn.editing import copies
from temper.nn.editing.unit_removal import without_units
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.lrp_rules import relevance_model
from temper.nn.inspection.units import with_separate_activations
from temper.nn.training.training import TrainingSettings, copied, fit
from temper.repair.quantisation import with_rounded_activations, with_rounded_weights
from temper.system import backend

RNG = np.random.default_rng(0)
X = RNG.random((24, 4, 4, 2), np.float32)
Y = RNG.integers(0, 3, 24).astype(np.int64)
IMAGES = {1: X, 2: (0.2 + 3 * X**2).astype(np.float32)}
"""The data that the layers of two models are adapted to."""


def adapted(layer: Any, number: int) -> Any:
    layer.adapt(IMAGES[number])
    return layer


def layers() -> Any:
    return backend.keras().layers


def nested(layer: Any) -> Any:
    return backend.keras().Sequential([backend.keras().Input((4, 4, 2)), layer])


def lookup(number: int) -> Any:
    layer = layers().IntegerLookup(output_mode="int")
    layer.adapt(np.array([[3], [1], [1]] if number == 1 else [[2], [0], [0]]))
    return layer


def numbers(layer: Any) -> Any:
    """Return a model that looks up each pixel's integer value."""
    keras = backend.keras()
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, keras.ops.cast(layer(keras.ops.cast(4 * inputs, "int64")), "float32"))


STATEFUL: dict[str, Callable[[int], Any]] = {
    "adapted normalisation": lambda k: adapted(layers().Normalization(), k),
    "adapted normalisation of every pixel": lambda k: adapted(layers().Normalization(axis=(1, 2, 3)), k),
    "inverse normalisation": lambda k: adapted(layers().Normalization(invert=True), k),
    "half precision": lambda k: adapted(layers().Normalization(dtype="mixed_float16"), k),
    "given normalisation": lambda k: layers().Normalization(mean=[0.1 * k, 0.2], variance=[k, 2.0]),
    "rescaling": lambda k: layers().Rescaling(np.array([1.0, k]), offset=[0.0, 0.1 * k]),
    "adapted discretisation": lambda k: adapted(layers().Discretization(num_bins=4, dtype="float32"), k),
    "given discretisation": lambda k: layers().Discretization([0.1 * k, 0.5], dtype="float32"),
    "nested": lambda k: nested(adapted(layers().Normalization(), k)),
    "nested twice": lambda k: nested(nested(adapted(layers().Normalization(), k))),
    "wrapped": lambda k: layers().TimeDistributed(adapted_rows(k)),
    "pipeline": lambda k: layers().Pipeline([layers().Rescaling(float(k))]),
    "constant of an operation": lambda k: multiplied(k),
    "augmentation": lambda k: nested(layers().RandomContrast(0.1 * k)),
}


def adapted_rows(number: int) -> Any:
    layer = layers().Normalization()
    layer.adapt(IMAGES[number].reshape(-1, 4, 2))
    return layer


def multiplied(number: int) -> Any:
    keras = backend.keras()
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, inputs * np.array([1.0, number], np.float32))


if backend.name() == "tensorflow":
    STATEFUL["adapted lookup"] = lambda k: numbers(lookup(k))
VARYING = [name for name in STATEFUL if name != "augmentation"]
"""Cases in which the two models predict differently."""


def network(first: Any) -> Any:
    """Return a small network behind a layer, whose weights are equal for equal shapes."""
    keras = backend.keras()
    backend.seed(3)
    inputs = keras.Input((4, 4, 2))
    hidden = layers().Dense(5, "relu", name="hidden")(layers().Flatten()(first(inputs)))
    return keras.Model(inputs, layers().Dense(3, name="logits", dtype="float32")(hidden))


def answers(model: Any) -> np.ndarray:
    return np.asarray(backend.keras().ops.convert_to_numpy(model(X, training=False)), np.float32)


@pytest.mark.parametrize("name", STATEFUL)
def test_programs_and_copies_keep_state_outside_of_weights(name: str) -> None:
    first, second = (network(STATEFUL[name](k)) for k in (1, 2))
    if name in VARYING:
        assert np.abs(answers(first) - answers(second)).max() > 1e-3
    for model in (second, first, second):
        np.testing.assert_allclose(Classifier(model).logits(X), answers(model), rtol=1e-3, atol=2e-5)
    for model in (first, second):
        for copy in (
            copies.copied(model),
            copied(model, 5, weights=True),
            with_separate_activations(model),
            with_rounded_weights(model, "float16"),
        ):
            np.testing.assert_allclose(answers(copy), answers(model), rtol=1e-2, atol=1e-2)
        outer = backend.keras().Input((4, 4, 2))
        behind = backend.keras().Model(outer, copies.connected(model, outer))
        np.testing.assert_array_equal(answers(behind), answers(model))


def test_a_copy_trains_as_its_original_would() -> None:
    """The closed form: one step on logits that are linear in the normalised image."""
    keras = backend.keras()
    for k in (2, 1):
        normalisation = adapted(layers().Normalization(), k)
        model = keras.Sequential([keras.Input((4, 4, 2)), normalisation, layers().Flatten(), layers().Dense(3)])
        kernel = model.get_weights()[-2]
        inputs = (X - IMAGES[k].mean(axis=(0, 1, 2))) / IMAGES[k].std(axis=(0, 1, 2))
        flat = inputs.reshape(24, -1)
        powers = np.exp(flat @ kernel)
        gradient = flat.T @ (powers / powers.sum(axis=1, keepdims=True) - np.eye(3)[Y]) / 24
        fit(
            model, X, Y, settings=TrainingSettings(epochs=1, batch_size=24, learning_rate=0.01, optimizer="sgd"), seed=0
        )
        # Nesterov momentum 0.9 makes the first step 1.9 times as long.
        np.testing.assert_allclose(model.get_weights()[-2], kernel - 0.019 * gradient, atol=1e-5)
        np.testing.assert_allclose(Classifier(model).logits(X), answers(model), rtol=1e-3, atol=1e-5)


def test_models_share_a_program_only_if_their_constants_are_equal() -> None:
    first, second, third = (network(adapted(layers().Normalization(), k)) for k in (1, 1, 2))
    assert compiled_programs.architecture(first) == compiled_programs.architecture(second)
    assert compiled_programs.architecture(first) != compiled_programs.architecture(third)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: relevance_model(model, None),
        lambda model: without_units(model, {"hidden": np.arange(5)}),
        lambda model: with_rounded_activations(model, {}),
    ],
)
def test_rebuilt_models_normalise_like_the_original(change: Any) -> None:
    model = network(adapted(layers().Normalization(), 2))
    np.testing.assert_allclose(answers(change(model)), answers(model), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("mode", ["int8", "float8", "int4"])
def test_quantised_layers_are_copied(mode: str) -> None:
    model = network(adapted(layers().Normalization(), 2))
    try:
        model.get_layer("hidden").quantize(mode)
    except (NotImplementedError, ValueError) as error:
        pytest.skip(f"this Keras cannot quantise to {mode}: {error}")
    np.testing.assert_allclose(answers(copies.copied(model)), answers(model), rtol=1e-5, atol=1e-6)
    assert compiled_programs.architecture(model) != compiled_programs.architecture(
        network(adapted(layers().Normalization(), 2))
    )


def test_a_layer_that_inner_and_outer_models_share_stays_shared() -> None:
    keras = backend.keras()
    dense = layers().Dense(2, name="shared")
    inner = nested(dense)
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, layers().Dense(3)(layers().Flatten()(layers().Add()([inner(inputs), dense(inputs)]))))
    copy = copies.copied(model)
    assert len(copy.weights) == len(model.weights) == 4
    np.testing.assert_array_equal(answers(copy), answers(model))


def value(variable: Any) -> np.ndarray:
    return np.array(backend.keras().ops.convert_to_numpy(variable))


def test_reinitialising_resets_trainable_state_and_keeps_the_rest() -> None:
    keras = backend.keras()
    base = keras.Sequential(
        [keras.Input((4, 4, 2)), layers().Conv2D(3, 2, name="frozen"), layers().BatchNormalization(name="frozen_norm")]
    )
    base.trainable = False
    constant = keras.initializers.Constant(0.5)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers().Conv2D(2, 1, use_bias=False, kernel_initializer=constant, trainable=False, name="conversion"),
            adapted(layers().Normalization(name="constants"), 2),
            base,
            layers().BatchNormalization(name="moving"),
            layers().SpectralNormalization(layers().Conv2D(3, 2), name="spectral"),
            layers().Flatten(),
            layers().Dense(4, name="quantised"),
            layers().Dense(3, name="logits"),
        ]
    )
    rng = np.random.default_rng(1)
    for layer in copies.all_layers(model):
        if layer.name not in ("constants", "conversion"):
            for variable in layer._trainable_variables + layer._non_trainable_variables:
                variable.assign(rng.uniform(1, 2, variable.shape))
    model.get_layer("quantised").quantize("int8")

    said: list[str] = []
    fresh = copied(model, 7, weights=False, remark=said.append)
    (sentence,) = said
    assert "except frozen, frozen_norm, quantised:" in sentence
    old, new = ({layer.name: layer for layer in copies.all_layers(m)} for m in (model, fresh))
    for name in ("conversion", "constants", "frozen", "frozen_norm"):
        for before, after in zip(old[name].weights, new[name].weights, strict=True):
            np.testing.assert_array_equal(value(before), value(after))
    np.testing.assert_array_equal(value(new["quantised"]._kernel), value(old["quantised"]._kernel))
    np.testing.assert_array_equal(value(new["constants"].mean), value(old["constants"].mean))
    for name, fixed in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
        np.testing.assert_array_equal(value(getattr(new["moving"], name)), fixed)
    assert np.abs(value(new["logits"].kernel)).max() < 1
    assert np.abs(value(new["spectral"].vector_u)).max() < 1
    assert (value(new["quantised"].bias) == 0).all()


def test_no_layer_is_reported_if_all_are_trainable_or_only_convert_the_input() -> None:
    said: list[str] = []
    copied(network(adapted(layers().Normalization(), 2)), 7, weights=False, remark=said.append)
    assert said == []


@pytest.mark.parametrize("nests", [False, True])
def test_reinitialised_weights_depend_on_the_seed_even_if_initialisers_have_seeds(nests: bool) -> None:
    kernel = backend.keras().initializers.GlorotUniform(seed=42)
    dense = layers().Dense(3, kernel_initializer=kernel, bias_initializer=backend.keras().initializers.Constant(0.5))
    inner = backend.keras().Sequential([backend.keras().Input((32,)), dense]) if nests else dense
    model = backend.keras().Sequential([backend.keras().Input((4, 4, 2)), layers().Flatten(), inner])
    first, second, again = (copied(model, seed, weights=False).get_weights() for seed in (1, 2, 1))
    assert np.abs(first[0] - second[0]).max() > 0.01
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], 0.5)


@pytest.mark.parametrize("weights", [False, True])
def test_a_model_without_trainable_layers_is_rejected(weights: bool) -> None:
    model = network(nested(layers().Rescaling(1.0)))
    model.trainable = False
    with pytest.raises(StageError, match="all layers of the model are frozen"):
        copied(model, 1, weights=weights)
