"""Activations against the layers' own outputs, and their storage."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.evaluation.coverage.nc import NC
from temper.evaluation.coverage.ssc import SSC
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.activations import SOFTMAX, Activations, joined
from temper.nn.shared_stages.activation_readout import ActivationReadout, read_activations
from temper.system import backend
from tests.evaluation.coverage.support import activations

NAMES = ("fused", "pool", "plain", "norm", "leaky", "hidden", "pre", "tanh", "end", SOFTMAX)


def network() -> Any:
    """Return a network with every kind of layer that counts, and some that do not."""
    keras = backend.keras()
    backend.seed(0)
    layers = keras.layers
    stack = [
        keras.Input((8, 8, 2)), layers.Rescaling(2.0), layers.Conv2D(3, 3, activation="relu", name="fused"),
        layers.MaxPooling2D(name="pool"), layers.Conv2D(4, 2, name="plain"), layers.BatchNormalization(name="norm"),
        layers.LeakyReLU(0.1, name="leaky"), layers.Flatten(), layers.Dense(5, "tanh", name="hidden"),
        layers.Dropout(0.5), layers.Dense(4, name="pre"), layers.Activation("tanh", name="tanh"),
        layers.Dense(3, name="end"),
    ]  # fmt: skip
    return keras.Sequential(stack)


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(0).random((7, 8, 8, 2), np.float32)


@pytest.fixture(scope="module")
def outputs(x: Any) -> list[Any]:
    """Every layer's values, each from a separate model."""
    keras, model = backend.keras(), network()
    values = [
        keras.ops.convert_to_numpy(keras.Model(model.inputs[0], model.get_layer(name).output)(x)) for name in NAMES[:-1]
    ]
    odds = np.exp(values[-1])
    return [*values, odds / odds.sum(axis=1, keepdims=True)]


def test_every_value_equals_the_layers_output(x: Any, outputs: list[Any]) -> None:
    seen = read_activations(Classifier(network()), x)
    assert [layer.name for layer in seen.layers] == list(NAMES)
    assert [(layer.units, layer.height, layer.width) for layer in seen.layers[:3]] == [(3, 6, 6), (3, 3, 3), (4, 2, 2)]
    for i, (place, values) in enumerate(zip(seen.columns(NAMES), outputs, strict=True)):
        spatial = tuple(range(1, values.ndim - 1))
        flat = values.reshape(len(x), -1)
        np.testing.assert_allclose(seen.means[:, place], values.mean(axis=spatial), atol=1e-5)
        np.testing.assert_array_equal(seen.positive[:, place], (values > 0).any(axis=spatial))
        np.testing.assert_allclose(seen.low[:, i], flat.min(axis=1), atol=1e-5)
        np.testing.assert_allclose(seen.high[:, i], flat.max(axis=1), atol=1e-5)
        np.testing.assert_allclose(flat[np.arange(len(x)), seen.peak[:, i]], flat.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(seen.logits, outputs[-2], atol=1e-5)
    np.testing.assert_array_equal(seen.predicted, outputs[-2].argmax(axis=1))


def test_batches_change_nothing(x: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, said = Classifier(network()), []
    whole = read_activations(classifier, x)
    monkeypatch.setattr(compiled_programs, "BATCH", 3)
    parts = read_activations(classifier, x, lambda *progress: said.append(progress))
    np.testing.assert_allclose(parts.means, whole.means, atol=1e-6)
    assert said == [(3, 7, "images"), (6, 7, "images"), (7, 7, "images")]


def test_no_images_have_no_activations() -> None:
    seen = read_activations(Classifier(network()), np.zeros((0, 8, 8, 2), np.float32))
    assert len(seen) == 0
    assert seen.means.shape == (0, sum(layer.units for layer in seen.layers))


def test_a_preparation_computes_and_stores_activations(x: Any, tmp_path: Path) -> None:
    examples = Examples(x=x, y=np.zeros(7, np.int64), index=np.arange(7))
    artefacts: dict[str, Any] = {"m": Classifier(network()), "e": examples}
    run = Run("s", 0, None, lambda ref: artefacts[str(ref)], lambda ref: {}, lambda *_: None)
    made = ActivationReadout(model=Ref("m"), examples=Ref("e")).produce(run)
    assert run.images == 7
    made.save(tmp_path)
    kept = Activations.load(tmp_path)
    assert kept.layers == made.layers
    for name in ("means", "positive", "low", "high", "peak", "logits"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(made, name))
        assert getattr(kept, name).dtype == getattr(made, name).dtype
        assert not getattr(kept, name).flags.writeable


def named(*names: str) -> Any:
    """Return a model of dense layers of 2, 3, ... units with these names, the last one's softmax removed."""
    keras = backend.keras()
    backend.seed(0)
    stack = [keras.layers.Dense(2 + i, name=name) for i, name in enumerate(names)]
    return keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Flatten(name="flat"), *stack])


@pytest.mark.parametrize(
    ("names", "observed"),
    [
        (("a", "softmax"), ("a", "logits", "softmax")),
        (("logits", "softmax"), ("logits", "logits_", "softmax")),
        (("softmax", "b"), ("softmax", "b", "softmax_")),
        (("softmax", "softmax_"), ("softmax", "logits", "softmax_")),
        (("softmax", "softmax_", "logits"), ("softmax", "softmax_", "logits", "softmax__")),
    ],
)
def test_users_layer_names_do_not_collide_with_generated_ones(
    x: Any, names: tuple[str, ...], observed: tuple[str, ...]
) -> None:
    seen = read_activations(Classifier(named(*names)), x)
    neutral = read_activations(Classifier(named(*"abc"[: len(names)])), x)
    assert tuple(layer.name for layer in seen.layers) == observed
    assert seen.counted == (*observed[:-2], observed[-1])
    np.testing.assert_array_equal(seen.units(seen.counted), neutral.units(neutral.counted))
    for criterion in (NC(threshold=0.3), SSC(sign="mean")):
        values = []
        for of in (seen, neutral):
            coverage = criterion.coverage({}, of)
            coverage.update(of)
            values.append((coverage.covered, coverage.total))
        assert values[0] == values[1]


def test_layers_of_equal_names_are_rejected() -> None:
    seen = activations(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="different names"):
        dataclasses.replace(seen, layers=(seen.layers[0], seen.layers[2], seen.layers[2]))


# On a table.


def test_units_are_counted_through_the_layers() -> None:
    seen = activations(np.zeros((4, 2, 2, 3)), np.zeros((4, 5)))
    assert seen.counted == ("a", "b", SOFTMAX)
    assert seen.last_hidden == ("b",)
    assert seen.places(["b", "a"]) == [0, 1]
    assert seen.columns(["b", "logits"]) == [slice(3, 8), slice(8, 10)]
    assert seen.units(["a", SOFTMAX]).tolist() == [0, 1, 2, 10, 11]
    assert seen.units([]).tolist() == []


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(StageError, match=r"no layer is called 'logit'.*did you mean 'logits'"):
        activations(np.zeros((4, 2))).units(["logit"])


def test_a_model_without_a_hidden_layer_has_no_last_hidden_layer() -> None:
    bare = activations(np.zeros((4, 2)))
    with pytest.raises(StageError, match="hidden layer"):
        _ = Activations(
            bare.layers[1:], *(getattr(bare, name) for name in ("means", "positive", "low", "high", "peak", "logits"))
        ).last_hidden


def test_sets_are_split_and_joined() -> None:
    values = np.arange(10.0).reshape(5, 2)
    seen = activations(values)
    parts = joined([seen.take(slice(0, 2)), seen.take(np.array([2, 3, 4]))])
    np.testing.assert_array_equal(parts.means, seen.means)
    assert len(parts) == 5
    with pytest.raises(ValueError, match="one model"):
        joined([seen, activations(np.zeros((5, 3)))])


def test_every_position_may_be_a_unit(x: Any, outputs: list[Any], tmp_path: Path) -> None:
    classifier = Classifier(network())
    plain, seen = read_activations(classifier, x), read_activations(classifier, x, positions=True)
    flat = np.concatenate([values.reshape(len(x), -1) for values in outputs], axis=1)
    assert seen.positions is not None
    np.testing.assert_allclose(seen.positions, flat, atol=1e-5)
    np.testing.assert_array_equal(seen.means, plain.means)
    seen.save(tmp_path)
    for kept in (seen, seen.take(slice(0, 7)), Activations.load(tmp_path), next(seen.blocks())):
        units = kept.by_position()
        assert [layer.units for layer in units.layers[:4]] == [108, 27, 16, 16]
        np.testing.assert_allclose(units.means, flat, atol=1e-5)
        np.testing.assert_array_equal(units.positive, units.means > 0)
        best = flat[:, units.columns(["fused"])[0]].argmax(axis=1)
        np.testing.assert_array_equal(units.peak[:, 0], best)
    with pytest.raises(StageError, match="read out positions"):
        plain.by_position()
