"""ONNX files as Keras models: equal to onnxruntime, of native layers, and usable like any other classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.nn.editing.logits import to_logits
from temper.nn.editing.unit_removal import removal_obstacles, without_units
from temper.nn.inspection.lrp import pixel_relevance
from temper.nn.inspection.units import Probe
from temper.nn.onnx.onnx_model import OnnxModel
from temper.nn.training.training import TrainingSettings, copied, fit
from temper.system import packages
from temper.targets.models.saved import Saved
from tests.nn.onnx.support import (
    NEWEST,
    RUNTIME,
    close,
    converted,
    graph_model,
    kinds,
    of_runtime,
    small_classifier,
    written,
)
from tests.targets.models.support import DATASET, blank, run

FILES = Path(__file__).parent / "files"
RNG = np.random.default_rng(0)
X = RNG.random((4, 3, 6, 6), np.float32)
IMAGES = np.moveaxis(X, 1, -1)
node = helper.make_node


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def classifier(path: Path, **fields: Any) -> Classifier:
    target = Saved(dataset=DATASET, path=str(path), **fields)
    assert list(target.check()) == []
    assert list(target.fits(DataInfo((6, 6, 3), tuple("abcde")))) == []
    return target.produce(run({DATASET: blank((6, 6, 3), 5)}))


@pytest.mark.parametrize("opset", [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, RUNTIME])
def test_a_file_of_any_opset_gives_onnxruntimes_logits(opset: int, tmp_path: Path) -> None:
    model = small_classifier(opset)
    if opset < 13:  # axes were attributes
        unsqueeze = next(node for node in model.graph.node if node.op_type == "Unsqueeze")
        del unsqueeze.input[1]
        unsqueeze.attribute.append(helper.make_attribute("axes", [0]))
    path = written(model, tmp_path)
    close(classifier(path).logits(IMAGES), of_runtime(path, X))


def test_a_classifier_consists_of_native_layers_named_after_its_modules(tmp_path: Path) -> None:
    model = OnnxModel(written(small_classifier(), tmp_path)).load()
    assert [(layer.name, type(layer).__name__) for layer in model.layers[1:]] == [
        ("conv", "Conv2D"), ("bn", "BatchNormalization"), ("relu", "ReLU"), ("gain", "EinsumDense"),
        ("pool", "MaxPooling2D"), ("fc.flatten", "Flatten"), ("fc", "Dense"),
    ]  # fmt: skip
    assert [layer.name for layer in Probe(model).layers] == ["conv"]


@pytest.mark.parametrize("path", sorted(FILES.glob("*.onnx")), ids=lambda path: path.stem)
def test_files_of_other_programs_give_onnxruntimes_outputs(path: Path) -> None:
    """Made by torch 2.13 (both exporters), tf2onnx 1.17 (with channels last and first) and ``model.export`` of Keras 3.15."""
    file = OnnxModel(path)
    assert file.input_shape == (8, 8, 3)
    model = file.load()
    file.check(model, RNG.random((3, 8, 8, 3), np.float32))
    # Transpositions around convolutions vanish.
    assert {"Permute", "Transpose"} & {*kinds(model)[:8]} == set()


@pytest.mark.parametrize(
    "path", sorted({*FILES.glob("torch*.onnx"), *FILES.glob("tf2onnx_13*")}), ids=lambda path: path.stem
)
def test_a_stored_classifier_comes_back(path: Path, tmp_path: Path) -> None:
    file = OnnxModel(path)
    found = Classifier(to_logits(file.load()))
    found.save(tmp_path)
    images = RNG.random((3, 8, 8, 3), np.float32)
    assert (Classifier.load(tmp_path).logits(images) == found.logits(images)).all()


def test_training_updates_batch_normalisation_and_inference_does_not(tmp_path: Path) -> None:
    model = copied(classifier(written(small_classifier(), tmp_path)).model, 0, weights=True)
    before = [weights.copy() for weights in model.get_layer("bn").get_weights()]
    Classifier(model).logits(IMAGES)
    assert all((a == b).all() for a, b in zip(before, model.get_layer("bn").get_weights(), strict=True))
    fit(model, IMAGES, np.arange(4), TrainingSettings(epochs=1, batch_size=4, learning_rate=1e-3), seed=0)
    assert all((a != b).any() for a, b in zip(before, model.get_layer("bn").get_weights(), strict=True))


def lenet(biased: bool = True) -> Any:
    """Return two convolutions with pooling and two dense layers."""
    shapes = {"c1": (4, 3, 3, 3), "c2": (5, 4, 3, 3), "f1": (7, 5), "f2": (5, 7)}
    weights = {f"{name}.weight": normal(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    weights |= {f"{name}.bias": normal(shape[0]) * biased for name, shape in shapes.items()}
    nodes = [
        node("Conv", ["x", "c1.weight", "c1.bias"], ["a"], "c1", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"], "r1"),
        node("MaxPool", ["b"], ["c"], "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["c", "c2.weight", "c2.bias"], ["d"], "c2"),
        node("Relu", ["d"], ["e"], "r2"),
        node("Flatten", ["e"], ["f"], "flatten"),
        node("Gemm", ["f", "f1.weight", "f1.bias"], ["g"], "f1", transB=1),
        node("Relu", ["g"], ["h"], "r3"),
        node("Gemm", ["h", "f2.weight", "f2.bias"], ["y"], "f2", transB=1),
    ]
    return graph_model(nodes, weights)


def test_relevance_of_pixels_adds_up_to_the_logit(tmp_path: Path) -> None:
    """LRP-0 conserves relevance where nothing has a bias."""
    found = classifier(written(lenet(biased=False), tmp_path))
    ((_, relevance),) = pixel_relevance(found, IMAGES)
    close(relevance.sum(axis=(1, 2, 3)), found.logits(IMAGES).max(1))


def test_relevance_passes_operations_that_are_no_layers(tmp_path: Path) -> None:
    """Half of the channels go through a slice."""
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Slice", ["c", "zero", "two", "axis"], ["s"]),
        node("GlobalAveragePool", ["s"], ["m"]),
        node("Flatten", ["m"], ["f"]),
        node("Gemm", ["f", "fc"], ["y"]),
    ]
    numbers = {"zero": np.array([0]), "two": np.array([2]), "axis": np.array([1])}
    path = written(graph_model(nodes, {"w": normal(4, 3, 3, 3), "fc": normal(2, 5), **numbers}), tmp_path)
    found = classifier(path)
    assert "GetItem" in kinds(found.model)
    ((_, relevance),) = pixel_relevance(found, IMAGES)
    close(relevance.sum(axis=(1, 2, 3)), found.logits(IMAGES).max(1))


def test_units_that_are_always_0_can_be_removed(tmp_path: Path) -> None:
    model = lenet()
    for tensor in model.graph.initializer:
        if tensor.name in ("c1.weight", "c1.bias", "f1.weight", "f1.bias"):
            array = numpy_helper.to_array(tensor).copy()
            array[1] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    keras_model = classifier(written(model, tmp_path)).model
    assert {name for name, why in removal_obstacles(keras_model).items() if not why} == {"c1", "c2", "f1"}
    smaller = without_units(keras_model, {"c1": np.array([0, 2, 3]), "f1": np.array([0, 2, 3, 4, 5, 6])})
    close(Classifier(smaller).logits(IMAGES), Classifier(keras_model).logits(IMAGES), 1e-6)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_final_softmax_is_no_part_of_the_logits(op: str, tmp_path: Path) -> None:
    model = small_classifier()
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(node(op, ["z"], ["y"], "out", axis=1))
    found = classifier(written(model, tmp_path, "a.onnx")).logits(IMAGES)
    logits = of_runtime(written(small_classifier(), tmp_path), X)
    if op == "LogSoftmax":  # a shift of all logits alike
        found, logits = (z - z.max(1, keepdims=True) for z in (found, logits))
    close(found, logits)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_file_for_a_fixed_number_of_images_takes_any(batch: int, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Reshape", ["c", "merged"], ["m"]),
        node("Transpose", ["m"], ["t"], perm=[0, 2, 1]),
        node("Reshape", ["t", "flat"], ["f"]),
        node("Gemm", ["f", "fc"], ["y"]),
    ]
    weights = {
        "w": normal(2, 3, 3, 3), "fc": normal(32, 5),
        "merged": np.array([batch, 2, -1], np.int64), "flat": np.array([batch, 32], np.int64),
    }  # fmt: skip
    path = written(graph_model(nodes, weights, shape=(batch, 3, 6, 6), sides=(batch, 5)), tmp_path)
    expected = np.concatenate([of_runtime(path, np.repeat(x[None], batch, 0))[:1] for x in X])
    close(classifier(path).logits(IMAGES), expected)


@pytest.mark.parametrize("batch", ["n", 1])
def test_attention_that_puts_the_positions_first_is_understood(batch: Any, tmp_path: Path) -> None:
    """As torch.nn.MultiheadAttention: (positions, images, values), with images and heads merged in the product."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        node("Reshape", ["c", "tokens"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[2, 0, 1]),  # (9, n, 8)
        *(node("MatMul", ["t", f"w{i}"], [i]) for i in "qkv"),
        node("Shape", ["t"], ["shape"]),
        node("Gather", ["shape", "one"], ["images"], axis=0),
        node("Mul", ["images", "heads"], ["both"]),
        node("Concat", ["nine", "both", "four"], ["split"], axis=0),
        *(node("Reshape", [i, "split"], [f"{i}1"]) for i in "qkv"),
        *(node("Transpose", [f"{i}1"], [f"{i}2"], perm=[1, 2, 0] if i == "k" else [1, 0, 2]) for i in "qkv"),
        node("MatMul", ["q2", "k2"], ["scores"]),
        node("Softmax", ["scores"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v2"], ["a"]),  # (n * heads, 9, 4)
        node("Transpose", ["a"], ["a1"], perm=[1, 0, 2]),
        node("Mul", ["images", "nine"], ["rows"]),
        node("Concat", ["rows", "eight"], ["joined"], axis=0),
        node("Reshape", ["a1", "joined"], ["a2"]),  # (9 * n, 8)
        node("Gemm", ["a2", "wo"], ["a3"]),
        node("Concat", ["nine", "images", "eight"], ["back"], axis=0),
        node("Reshape", ["a3", "back"], ["a4"]),
        node("Gather", ["a4", "first"], ["y"], axis=0),
    ]  # fmt: skip
    weights = {
        "w": normal(8, 3, 2, 2), **{f"w{i}": normal(8, 8, seed=ord(i)) for i in "qkv"}, "wo": normal(8, 5),
        "tokens": np.array([0, 8, 9], np.int64), "one": np.array([1], np.int64), "first": np.array(2, np.int64),
        "heads": np.array([2], np.int64), "nine": np.array([9], np.int64), "four": np.array([4], np.int64),
        "eight": np.array([8], np.int64),
    }  # fmt: skip
    weights["wo"] = normal(8, 8)
    nodes.append(node("Gemm", ["y", "head"], ["z"]))
    weights["head"] = normal(8, 5)
    path = written(graph_model(nodes, weights, shape=(batch, 3, 6, 6), output="z"), tmp_path)
    expected = of_runtime(path, X) if batch == "n" else np.concatenate([of_runtime(path, x[None]) for x in X])
    close(classifier(path).logits(IMAGES), expected)


GELUS = {
    "x * (1 + erf) * 0.5": [("Mul", ["x0", "plus"], "p"), ("Mul", ["p", "half"], "g")],
    "x * 0.5 * (1 + erf)": [("Mul", ["x0", "half"], "p"), ("Mul", ["p", "plus"], "g")],
    "0.5 * (1 + erf) * x": [("Mul", ["half", "plus"], "p"), ("Mul", ["x0", "p"], "g")],
}


@pytest.mark.parametrize("name", GELUS)
def test_a_gelu_that_is_spelt_out_becomes_one_activation(name: str, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["x0"]),
        node("Div", ["x0", "root"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "one"], ["plus"]),
        *(node(op, inputs, [output]) for op, inputs, output in GELUS[name]),
        node("GlobalAveragePool", ["g"], ["m"]),
        node("Flatten", ["m"], ["y"]),
    ]
    weights = {"w": normal(5, 3, 3, 3), "root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    path = written(graph_model(nodes, weights), tmp_path)
    model, found = converted(path, X)
    assert kinds(model) == ["Conv2D", "Activation", "GlobalAveragePooling2D"]
    close(found, of_runtime(path, X))


def test_a_normalisation_of_the_images_is_one_layer_that_training_does_not_change(tmp_path: Path) -> None:
    nodes = [
        node("Sub", ["x", "mean"], ["a"]), node("Div", ["a", "std"], ["b"]), node("Conv", ["b", "w"], ["c"]),
        node("GlobalMaxPool", ["c"], ["m"]), node("Flatten", ["m"], ["y"]),
    ]  # fmt: skip
    weights = {"mean": normal(1, 3, 1, 1), "std": np.abs(normal(1, 3, 1, 1)) + 1, "w": normal(5, 3, 3, 3)}
    path = written(graph_model(nodes, weights), tmp_path)
    model, found = converted(path, X)
    assert kinds(model) == ["Rescaling", "Conv2D", "GlobalMaxPooling2D"]
    close(found, of_runtime(path, X))


def test_a_class_token_and_positions_are_one_sum(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        node("Reshape", ["c", "flat"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "one"], ["n"]),
        node("Concat", ["n", "sides"], ["shape"], axis=0),
        node("Expand", ["token", "shape"], ["tokens"]),
        node("Concat", ["tokens", "t"], ["all"], axis=1),
        node("Add", ["all", "positions"], ["p"]),
        node("LayerNormalization", ["p", "gamma", "beta"], ["l"]),
        node("ReduceMean", ["l"], ["y"], axes=[1], keepdims=0),
    ]
    weights = {
        "w": normal(5, 3, 2, 2), "flat": np.array([0, 5, 9], np.int64), "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64), "sides": np.array([1, 5], np.int64), "token": normal(1, 1, 5),
        "positions": normal(1, 10, 5), "gamma": normal(5), "beta": normal(5),
    }  # fmt: skip
    path = written(graph_model(nodes, weights), tmp_path)
    model, found = converted(path, X)
    assert kinds(model) == ["Conv2D", "Reshape", "ZeroPadding1D", "EinsumDense", "LayerNormalization", "Mean"]
    close(found, of_runtime(path, X))


def test_half_precision_is_computed_in_single(tmp_path: Path) -> None:
    model = lenet()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    path = written(model, tmp_path)
    found = classifier(path)
    assert {str(weights.dtype) for weights in found.model.weights} == {"float32"}
    close(found.logits(IMAGES), of_runtime(path, X.astype(np.float16)).astype(np.float32), 2e-2)


def test_an_input_with_channels_last_is_told_by_its_transposition(tmp_path: Path) -> None:
    """6x3x3 images, whose shape does not tell."""
    weights = {"w": normal(5, 3, 3, 3)}
    last = [node("Conv", ["t", "w"], ["c"]), node("GlobalAveragePool", ["c"], ["m"]), node("Flatten", ["m"], ["y"])]
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), *last]
    path = written(graph_model(nodes, weights, shape=("n", 3, 6, 3)), tmp_path)
    x = RNG.random((2, 3, 6, 3), np.float32)
    file = OnnxModel(path)
    assert file.input_shape == (3, 6, 3)
    file.check(file.load(), x)
    flat = written(graph_model([node("Flatten", ["x"], ["y"])], {}, shape=("n", 3, 6, 3)), tmp_path, "flat.onnx")
    assert "cannot tell the axis of channels" in next(OnnxModel(flat).faults())[1]


def test_a_conversion_that_differs_from_onnxruntime_is_refused(tmp_path: Path) -> None:
    file = OnnxModel(written(small_classifier(), tmp_path))
    model = file.load()
    weights = model.get_layer("fc").get_weights()
    weights[0][0, 0] += 1
    model.get_layer("fc").set_weights(weights)
    with pytest.raises(StageError, match="differs from onnxruntime by"):
        file.check(model, IMAGES)


def test_missing_packages_are_reported_at_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = written(small_classifier(), tmp_path)
    monkeypatch.setattr(packages, "missing", lambda names: tuple(name for name in names if name == "onnxruntime"))
    ((field, message),) = Saved(dataset=Ref("d"), path=str(path)).check()
    assert field == "path"
    assert "onnxruntime is not installed; pip install" in message or "[onnx]" in message


def test_the_newest_opset_of_the_package_is_accepted(tmp_path: Path) -> None:
    assert list(OnnxModel(written(small_classifier(NEWEST), tmp_path)).faults()) == []
    assert onnx.defs.onnx_opset_version() == NEWEST
