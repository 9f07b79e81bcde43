from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.nn.editing.unit_removal import removal_obstacles, without_units
from temper.system import backend

X = np.random.default_rng(0).random((5, 8, 8, 2), np.float32)


def logits(model: Any) -> np.ndarray:
    return np.asarray(model(X))


def sequential(*layers: Any) -> Any:
    keras = backend.keras()
    backend.seed(3)
    return keras.Sequential([keras.Input((8, 8, 2)), *layers])


def conv(maps: int, name: str, **options: Any) -> Any:
    return backend.keras().layers.Conv2D(maps, 3, **{"activation": "relu", "name": name} | options)


def kill(model: Any, name: str, places: list[int]) -> None:
    """Make units of a layer output 0 after their ReLU for any input."""
    layer = model.get_layer(name)
    kernel, bias = layer.get_weights()
    kernel[..., places], bias[places] = 0.0, -1.0
    layer.set_weights([kernel, bias])


def chain() -> Any:
    layers = backend.keras().layers
    return sequential(
        conv(6, "first", padding="same"),
        layers.MaxPooling2D(name="pool"),
        conv(5, "second"),
        layers.Flatten(name="flat"),
        layers.Dense(7, "relu", name="dense"),
        layers.Dense(3, name="logits"),
    )


def test_removed_units_and_the_weights_reading_them_are_gone_and_the_rest_is_unchanged() -> None:
    model = chain()
    reduced = without_units(model, {"first": np.array([0, 2, 5]), "second": np.array([1, 4]), "dense": np.array([3])})
    shapes = [w.shape for w in reduced.get_weights()]
    # The second convolution gives 2x2 positions.
    assert shapes == [(3, 3, 2, 3), (3,), (3, 3, 3, 2), (2,), (8, 1), (1,), (1, 3), (3,)]

    (k1, b1), (k2, b2), (k3, b3), (k4, b4) = (
        model.get_layer(n).get_weights() for n in ("first", "second", "dense", "logits")
    )
    rows = [5 * position + place for position in range(4) for place in (1, 4)]
    wanted = [
        k1[..., [0, 2, 5]], b1[[0, 2, 5]],
        k2[:, :, [0, 2, 5]][..., [1, 4]], b2[[1, 4]],
        k3[rows][:, [3]], b3[[3]],
        k4[[3]], b4,
    ]  # fmt: skip
    for found, expected in zip(reduced.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_removing_dead_units_does_not_change_the_logits() -> None:
    model = chain()
    kill(model, "first", [1, 3])
    kill(model, "second", [0, 2])
    kill(model, "dense", [6])
    reduced = without_units(
        model, {"first": np.array([0, 2, 4, 5]), "second": np.array([1, 3, 4]), "dense": np.arange(6)}
    )
    assert reduced.count_params() < model.count_params()
    np.testing.assert_allclose(logits(reduced), logits(model), atol=1e-5)


def test_the_original_model_is_unchanged() -> None:
    model = chain()
    before = [np.array(w) for w in model.get_weights()]
    without_units(model, {"first": np.array([0])})
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert len(model.layers) == 6


def test_normalisation_and_depthwise_convolutions_lose_the_weights_of_removed_units() -> None:
    layers = backend.keras().layers
    model = sequential(
        conv(4, "first", activation=None),
        layers.BatchNormalization(name="bn"),
        layers.ReLU(name="relu"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        conv(3, "second"),
        layers.GlobalAveragePooling2D(name="mean"),
        layers.Dense(3, name="logits"),
    )
    rng = np.random.default_rng(1)
    bn = model.get_layer("bn")
    bn.set_weights([rng.random(4) + 0.5 for _ in bn.get_weights()])
    gamma, beta, mean, variance = bn.get_weights()
    gamma[2], beta[2] = 0.0, 0.0  # dead behind the ReLU, and so 0 for the depthwise convolution
    bn.set_weights([gamma, beta, mean, variance])

    reduced = without_units(model, {"first": np.array([0, 1, 3])})
    assert [w.shape for w in reduced.get_layer("bn").get_weights()] == [(3,)] * 4
    np.testing.assert_array_equal(reduced.get_layer("bn").get_weights()[3], variance[[0, 1, 3]])
    assert reduced.get_layer("depthwise").get_weights()[0].shape == (3, 3, 3, 1)
    np.testing.assert_allclose(logits(reduced), logits(model), atol=1e-5)


def residual() -> Any:
    keras = backend.keras()
    layers = keras.layers
    backend.seed(3)
    image = keras.Input((8, 8, 2))
    stem = conv(4, "stem", padding="same")(image)
    inner = conv(4, "inner", padding="same")(stem)
    outer = conv(4, "outer", padding="same", activation=None)(inner)
    tensor = layers.ReLU(name="relu")(layers.Add(name="add")([stem, outer]))
    return keras.Model(image, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D(name="mean")(tensor)))


def test_only_the_inner_convolution_of_a_residual_block_can_be_pruned() -> None:
    model = residual()
    found = removal_obstacles(model)
    assert list(found) == ["stem", "inner", "outer", "logits"]
    assert found["inner"] == ""
    for name in ("stem", "outer"):
        assert found[name].startswith("its units are combined with those of other layers in 'add' (Add)")
    assert "the logits" in found["logits"]

    kill(model, "inner", [0])
    np.testing.assert_allclose(logits(without_units(model, {"inner": np.array([1, 2, 3])})), logits(model), atol=1e-5)
    with pytest.raises(StageError, match=r"'add' \(Add\)"):
        without_units(model, {"outer": np.array([0])})


def test_concatenated_branches_keep_their_positions() -> None:
    keras = backend.keras()
    layers = keras.layers
    backend.seed(3)
    image = keras.Input((8, 8, 2))
    branches = [conv(3, "left", padding="same")(image), conv(4, "right", padding="same")(image)]
    after = conv(2, "after")(layers.Concatenate(name="both")(branches))
    model = keras.Model(image, layers.Dense(3, name="logits")(layers.Flatten()(after)))
    kill(model, "right", [1])
    reduced = without_units(model, {"right": np.array([0, 2, 3])})
    wanted = model.get_layer("after").get_weights()[0][:, :, [0, 1, 2, 3, 5, 6]]
    np.testing.assert_array_equal(reduced.get_layer("after").get_weights()[0], wanted)
    np.testing.assert_allclose(logits(reduced), logits(model), atol=1e-5)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"first": np.array([], np.int64)}, "layer 'first': no unit would remain"),
        ({"frist": np.array([0])}, "no layer is called 'frist'; expected one of "),
        ({"pool": np.array([0])}, r"layer 'pool' \(MaxPooling2D\) has no units"),
        ({"logits": np.array([0])}, "the logits of 'logits'"),
    ],
)
def test_obstacles_to_removal_are_reported(kept: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        without_units(chain(), kept)
