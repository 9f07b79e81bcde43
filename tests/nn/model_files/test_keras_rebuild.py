from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from temper.core.errors import StageError
from temper.nn.model_files import keras_rebuild
from temper.nn.model_files.keras_config import parse
from temper.nn.model_files.model_file import ModelFile
from tests.targets.models.support import given, write_legacy

RNG = np.random.default_rng(0)
X = RNG.random((2, 4, 4, 1), np.float32)
KERNEL, BIAS = RNG.normal(size=(3, 3, 1, 2)).astype(np.float32), RNG.normal(size=2).astype(np.float32)
DENSE = RNG.normal(size=(8, 3)).astype(np.float32)


def raw(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": list(layers)}


CONV_1 = raw("Convolution2D", "c", nb_filter=2, nb_row=3, nb_col=3, border_mode="valid", subsample=[1, 1], bias=True,
             dim_ordering="tf", activation="linear", init="glorot_uniform", W_regularizer=None,
             batch_input_shape=[None, 4, 4, 1])  # fmt: skip
DENSE_1 = raw("Dense", "d", output_dim=3, bias=False, activation="softmax", input_dim=None)
CONV_2 = raw("Conv2D", "c", filters=2, kernel_size=[3, 3], strides=[1, 1], padding="valid", use_bias=True,
             data_format="channels_last", dilation_rate=[1, 1], activation="linear", batch_input_shape=[None, 4, 4, 1],
             kernel_initializer={"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}})  # fmt: skip
DENSE_2 = raw("Dense", "d", units=3, use_bias=False, activation="softmax")
LEAKY = raw("LeakyReLU", "r", alpha=0.25)
WEIGHTS: list[tuple[str, list[np.ndarray]]] = [("c", [KERNEL, BIAS]), ("r", []), ("f", []), ("d", [DENSE])]


def probabilities() -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(X[..., 0], (3, 3), axis=(1, 2))
    z = np.einsum("nijab,abo->nijo", windows, KERNEL[:, :, 0]) + BIAS
    logits = np.where(z > 0, z, 0.25 * z).reshape(2, 8) @ DENSE
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("conv", "dense"), [(CONV_1, DENSE_1), (CONV_2, DENSE_2)], ids=["keras 1", "keras 2"])
@pytest.mark.parametrize("whole", [True, False])
def test_old_models_compute_what_their_configuration_says(tmp_path: Path, conv: Any, dense: Any, whole: bool) -> None:
    config = sequential(conv, LEAKY, raw("Flatten", "f"), dense)
    path = write_legacy(tmp_path / "m.h5", WEIGHTS, config if whole else None)
    architecture = None
    if not whole:
        architecture = tmp_path / "m.json"
        architecture.write_text(json.dumps(config))
    file = ModelFile(path, architecture)

    assert list(file.faults()) == []
    assert (file.graph.input_shape, file.graph.num_outputs) == ((4, 4, 1), 3)
    np.testing.assert_allclose(given(file.load(), X), probabilities(), rtol=1e-4)


def test_functional_models_keep_their_branches(tmp_path: Path) -> None:
    layers = [
        raw("InputLayer", "i", batch_input_shape=[None, 2]) | {"inbound_nodes": []},
        raw("Dense", "a", units=2, use_bias=False) | {"inbound_nodes": [[["i", 0, 0, {}]]]},
        raw("Dense", "b", units=2, use_bias=False) | {"inbound_nodes": [[["a", 0, 0, {}]]]},
        raw("Add", "s") | {"inbound_nodes": [[["a", 0, 0, {}], ["b", 0, 0, {}]]]},
        raw("Activation", "p", activation="softmax") | {"inbound_nodes": [[["s", 0, 0, {}]]]},
    ]
    config = {
        "class_name": "Model",
        "config": {"layers": layers, "input_layers": [["i", 0, 0]], "output_layers": [["s", 0, 0]]},
    }
    a, b = RNG.normal(size=(2, 2, 2))
    path = write_legacy(tmp_path / "m.hdf5", [("a", [a]), ("b", [b])], config)
    x = RNG.random((3, 2), np.float32)

    np.testing.assert_allclose(given(ModelFile(path).load(), x), x @ a + x @ a @ b, rtol=1e-5)


FIRST = raw("Dense", "d", units=3, batch_input_shape=[None, 2])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (raw("Lambda", "l", function=["code"]), "layer 'l': cannot rebuild a Lambda"),
        (raw("Maxpooling2D", "l"), r"cannot rebuild a Maxpooling2D; did you mean 'MaxPooling2D'\?"),
        (raw("Dense", "l", units=3, activation="cube"), "activation 'cube' is unknown; expected linear"),
        (raw("LSTM", "l", units=3, recurrent_activation="hard_sigmoid"), "Keras 3 computes another hard_sigmoid"),
        (raw("Dense", "l", units=3, activation="mine>cube"), r"package='mine', name='cube'"),
        (raw("mine>Layer", "l"), r"package='mine', name='Layer'"),
        (raw("Dense", "l", units=3, activation={"class_name": "function"}), "activation .* is unknown"),
        (raw("Dense", "l", units=3, gain=2.0), "option gain=2.0 is unknown; expected units"),
        (raw("GroupNormalization", "l", groups=1, data_format="channels_first"), "expected channels_last"),
        (raw("BatchNormalization", "l", mode=1), "expected mode 0"),
    ],
)
def test_layers_outside_the_closed_list_are_named(layer: dict[str, Any], message: str) -> None:
    graph = parse(sequential(FIRST, layer))
    with pytest.raises(StageError, match=message):
        keras_rebuild.layer(graph.nodes[1])
    (fault,) = keras_rebuild.faults(graph)
    assert "'l'" in fault


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            raw("TFOpLambda", "l", function="io.read_file"),
            "layer 'l' calls the function tf.io.read_file; known are abs",
        ),
        (raw("TFOpLambda", "l", function="py_function"), "calls the function tf.py_function"),
        (raw("TFOpLambda", "l", function="nn.reluu"), "did you mean 'relu'?"),
        (raw("TFOpLambda", "l", function="math.add"), "calls tf.math.add in a way that is not supported"),
        (raw("TimeDistributed", "l", layer=raw("Lambda", "x", function="code")), "cannot rebuild a Lambda"),
        (raw("TimeDistributed", "l", layer=raw("ThresholdedReLU", "x")), "unwrap it"),
        (raw("TimeDistributed", "l", layer="code"), "expected the layer it wraps"),
    ],
)
def test_functions_and_wrapped_layers_are_checked_without_a_framework(layer: dict[str, Any], message: str) -> None:
    (fault,) = keras_rebuild.faults(parse(sequential(FIRST, layer)))
    assert message in fault


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_name": "MyModel", "config": {}}, "expected a Sequential or Functional model, received 'MyModel'"),
        ({"class_name": "Sequential"}, "received 'Sequential'"),
        (sequential(raw("Dense", "d", units=3)), r"first layer \(Dense\) states no input shape"),
        ({"class_name": "Model", "config": {"layers": []}}, "not as Keras writes them .KeyError"),
        (
            {"class_name": "Model", "config": {"layers": [], "input_layers": [["a", 0, 0]] * 2, "output_layers": [["b", 0, 0]]}},
            r"expected one input and one output, received inputs \['a', 'a'\]",
        ),
    ],
)  # fmt: skip
def test_models_that_are_no_graph_of_one_input_and_output_are_refused(config: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        parse(config)


def test_a_layer_that_is_called_twice_is_called_twice() -> None:
    layers = [
        raw("InputLayer", "i", batch_input_shape=[None, 2]) | {"inbound_nodes": []},
        raw("Dense", "a", units=2) | {"inbound_nodes": [[["i", 0, 0, {}]], [["a", 0, 0, {}]]]},
    ]
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["a", 1, 0]]}
    graph = parse({"class_name": "Model", "config": {"layers": layers, **ends}})
    assert graph.connect(1, lambda node: lambda value: 3 * value + 1) == 13


TURNED: list[tuple[str, list[np.ndarray]]] = [("c", [KERNEL[::-1, ::-1], BIAS]), ("r", []), ("f", []), ("d", [DENSE])]


@pytest.mark.parametrize("conv", [CONV_1, CONV_2], ids=["keras 1", "keras 2"])
@pytest.mark.parametrize("whole", [True, False])
def test_kernels_that_theano_saved_are_turned(tmp_path: Path, conv: Any, whole: bool) -> None:
    """True convolution with a kernel is correlation with the kernel turned by half a turn."""
    dense = DENSE_1 if conv is CONV_1 else DENSE_2
    config = sequential(conv, LEAKY, raw("Flatten", "f"), dense) | {"backend": "theano"}
    path = write_legacy(tmp_path / "m.h5", TURNED, config if whole else None, saved_on="theano")
    architecture = None if whole else tmp_path / "m.json"
    if architecture:
        architecture.write_text(json.dumps(config))
    np.testing.assert_allclose(given(ModelFile(path, architecture).load(), X), probabilities(), rtol=1e-4)


@pytest.mark.parametrize("stated", ["tensorflow", "cntk", "jax", "plaidml"])
def test_kernels_of_other_backends_stay(tmp_path: Path, stated: str) -> None:
    """The backend of the weights counts, and not the one that their architecture was written with."""
    config = sequential(CONV_2, LEAKY, raw("Flatten", "f"), DENSE_2) | {"backend": "theano"}
    path = write_legacy(tmp_path / "m.h5", WEIGHTS, config, saved_on=stated)
    np.testing.assert_allclose(given(ModelFile(path).load(), X), probabilities(), rtol=1e-4)


def test_a_backend_beside_the_whole_model_counts_too(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "m.h5", TURNED, sequential(CONV_1, LEAKY, raw("Flatten", "f"), DENSE_1))
    with h5py.File(path, "a") as file:
        file.attrs["backend"] = "theano"
    np.testing.assert_allclose(given(ModelFile(path).load(), X), probabilities(), rtol=1e-4)


def test_a_backend_that_only_the_architecture_states_is_asked_for(tmp_path: Path) -> None:
    config = sequential(CONV_1, LEAKY, raw("Flatten", "f"), DENSE_1) | {"backend": "theano"}
    path = write_legacy(tmp_path / "m.h5", WEIGHTS, config)
    with pytest.raises(StageError, match="set the file's attribute `backend`"):
        ModelFile(path).load()


@pytest.mark.parametrize("kind", ["DepthwiseConv2D", "SeparableConv2D"])
def test_depthwise_kernels_are_stored_alike_by_all(tmp_path: Path, kind: str) -> None:
    options = {"depth_multiplier": 1, "kernel_size": [2, 2], "use_bias": False, "batch_input_shape": [None, 4, 4, 1]}
    options |= {"filters": 1} if kind == "SeparableConv2D" else {}
    kernel = RNG.normal(size=(2, 2, 1, 1)).astype(np.float32)
    arrays = [kernel, np.ones((1, 1, 1, 1), np.float32)][: 1 + (kind == "SeparableConv2D")]
    for stated in ("theano", "tensorflow"):
        path = write_legacy(tmp_path / f"{stated}.h5", [("s", arrays)], sequential(raw(kind, "s", **options)), stated)
        windows = np.lib.stride_tricks.sliding_window_view(X[..., 0], (2, 2), axis=(1, 2))
        expected = np.einsum("nijab,ab->nij", windows, kernel[..., 0, 0])
        np.testing.assert_allclose(given(ModelFile(path).load(), X)[..., 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "refused"),
    [
        (raw("Conv2D", "p", filters=1, kernel_size=[3, 3], padding="same"), False),
        (raw("Conv2D", "p", filters=1, kernel_size=[2, 2], padding="same"), True),
        (raw("Conv2D", "p", filters=1, kernel_size=[3, 3], strides=[2, 2], padding="same"), True),
        (raw("Conv2D", "p", filters=1, kernel_size=[3, 3], strides=[3, 3], padding="same"), False),  # 4 = 3 + 1
        (raw("Conv2D", "p", filters=1, kernel_size=[3, 3], strides=[2, 2], padding="valid"), False),
        (raw("Conv2D", "p", filters=1, kernel_size=[2, 2], dilation_rate=[2, 2], padding="same"), False),
        (raw("DepthwiseConv2D", "p", kernel_size=[3, 3], strides=[2, 2], padding="same"), True),
        (raw("Convolution2D", "p", nb_filter=1, nb_row=4, nb_col=3, border_mode="same"), True),
        (raw("MaxPooling2D", "p", pool_size=[2, 2], strides=[2, 2], padding="same"), True),
        (raw("MaxPooling2D", "p", pool_size=[3, 3], strides=[1, 1], padding="same"), False),
        (raw("AveragePooling2D", "p", pool_size=[3, 3], strides=[2, 2], padding="same"), True),
    ],
)
def test_padding_that_theano_does_otherwise_is_refused(tmp_path: Path, layer: dict[str, Any], refused: bool) -> None:
    layer["config"] |= {"use_bias": False, "batch_input_shape": [None, 4, 4, 1]}
    kind = layer["class_name"]
    sides = layer["config"].get("kernel_size", [4, 3])
    weights = [np.ones((*sides, 1, 1), np.float32)] if "Conv" in kind else []
    files = {
        stated: ModelFile(write_legacy(tmp_path / f"{stated}.h5", [("p", weights)], sequential(layer), stated))
        for stated in ("theano", "tensorflow")
    }
    files["tensorflow"].load()
    if refused:
        with pytest.raises(StageError, match=r"theano.h5: layer 'p': Theano, .* rebuild the model with ZeroPadding2D"):
            files["theano"].load()
    else:
        files["theano"].load()
