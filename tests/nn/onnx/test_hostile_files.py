"""ONNX files of others: only the file and its folder are read, within limits, and what is wrong is said with its path."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from temper.core.errors import StageError
from temper.nn.onnx import onnx_graph
from temper.nn.onnx.onnx_model import OnnxModel
from tests.nn.onnx.support import altered_graph, close, converted, graph_model, of_runtime, small_classifier, written

node = helper.make_node
X = np.random.default_rng(0).random((2, 3, 6, 6), np.float32)


def said(path: Path) -> str:
    """Return what the plan says of a file, which loading says too."""
    ((_, message),) = OnnxModel(path).faults()
    with pytest.raises(StageError) as caught:
        OnnxModel(path).load()
    assert str(caught.value) == message
    assert str(path) in message
    assert "\n" not in message
    return message


def changed(folder: Path, change: Callable[[Any], object]) -> Path:
    model = small_classifier()
    change(model)
    return written(model, folder)


def with_external(folder: Path, location: str, content: bytes | None = None, **entries: str) -> Path:
    """Write a model whose first weights are in another file."""
    model = small_classifier()
    tensor = model.graph.initializer[0]
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    if content is not None or ".." not in location:
        (folder / Path(location).name).write_bytes(raw if content is None else content)
    return written(model, folder)


def test_external_data_of_the_folder_are_read_and_count_as_files(tmp_path: Path) -> None:
    path = with_external(tmp_path, "weights.bin", offset="0", length="432")
    close(converted(path, X)[1], of_runtime(path, X))
    assert list(OnnxModel(path).own_sources()) == [tmp_path / "weights.bin"]


@pytest.mark.parametrize(
    ("location", "entries", "content", "message"),
    [
        ("../secret", {}, None, "in the model's folder, received the path '../secret'"),
        ("/etc/passwd", {}, None, "received the path '/etc/passwd'"),
        ("a/../../b", {}, None, "received the path"),
        ("", {}, None, "received the path ''"),
        ("missing/x.bin", {}, None, "cannot be read"),
        ("x.bin", {}, b"short", "which has 5 bytes"),
        ("x.bin", {"offset": "-4"}, None, "at -4"),
        ("x.bin", {"length": "10"}, None, "stated: 10"),
        ("x.bin", {"offset": "x"}, None, "no number"),
    ],
)
def test_external_data_elsewhere_or_of_other_sizes_are_refused(
    location: str, entries: dict[str, str], content: bytes | None, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = (
        with_external(folder, location, content, **entries) if location[:1] not in ("/", "") else _raw(folder, location)
    )
    with pytest.raises(StageError, match=re.escape(message)):
        OnnxModel(path).load()


def _raw(folder: Path, location: str) -> Path:
    model = small_classifier()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value=location)
    return written(model, folder)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(432))
    folder = tmp_path / "folder"
    folder.mkdir()
    path = with_external(folder, "x.bin")
    (folder / "x.bin").unlink()
    (folder / "x.bin").symlink_to(tmp_path / "secret.bin")
    assert "is a link out of the model's folder, which is never followed" in said(path)


def test_weights_that_share_bytes_count_each(tmp_path: Path) -> None:
    """A small file must not fill the memory: 200 tensors of the same 4 MiB."""
    (tmp_path / "x.bin").write_bytes(bytes(2**22))
    model = small_classifier()
    for i in range(200):
        tensor = model.graph.initializer.add(name=f"t{i}", dims=[2**20], data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="x.bin")
    assert "bytes unpack to" in said(written(model, tmp_path))


def op(model: Any, kind: str, domain: str = "") -> None:
    model.graph.node[2].op_type, model.graph.node[2].domain = kind, domain


def two(model: Any, ends: Any, name: str) -> None:
    ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]))


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "operator": (lambda m: op(m, "LSTM"), "node 'relu' (LSTM): the operator is not supported; known are Abs, Add,"),
    "If": (lambda m: op(m, "If"), "node 'relu' (If): the operator is not supported"),
    "Loop": (lambda m: op(m, "Loop"), "node 'relu' (Loop): the operator is not supported"),
    "sequence": (lambda m: op(m, "SequenceAt"), "node 'relu' (SequenceAt): the operator is not supported"),
    "quantised": (lambda m: op(m, "QuantizeLinear"), "node 'relu' (QuantizeLinear): the model is quantised"),
    "integer": (lambda m: op(m, "ConvInteger"), "the model is quantised"),
    "domain": (lambda m: op(m, "Gelu", "com.microsoft"), "operators of domain 'com.microsoft' are not supported"),
    "outputs": (lambda m: two(m, m.graph.output, "r"), "expected one output, received 2 (y, r)"),
    "inputs": (lambda m: two(m, m.graph.input, "z"), "expected one input, received 2 (x, z)"),
    "old": (lambda m: setattr(m.opset_import[0], "version", 7), "expected opset 9 to"),
    "new": (lambda m: setattr(m.opset_import[0], "version", 999), "expected opset 9 to"),
    "cycle": (lambda m: m.graph.node[0].input.__setitem__(0, "y"), "reads 'y', which nothing computes before"),
    "twice": (lambda m: m.graph.node[2].output.__setitem__(0, "c"), "computes 'c' again"),
    "free": (lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].Clear(), "export the model with only the batch free"),
    "integers": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 7), "expected floating-point values"),
    "huge": (lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**40), "expected at most 2,147,483,648"),
    "graph": (lambda m: m.graph.node[2].attribute.append(helper.make_attribute("then_branch", m.graph)), "holds a graph"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_named(name: str, tmp_path: Path) -> None:
    change, message = REFUSED[name]
    assert message in said(changed(tmp_path, change))


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"not onnx", bytes(1000), b"PK\x03\x04", small_classifier().SerializeToString()[:700]]
)
def test_foreign_and_truncated_files_are_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert said(path)


def test_files_beyond_the_limits_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = written(small_classifier(), tmp_path)
    monkeypatch.setattr(onnx_graph, "MAX_NODES", 3)
    assert "expected at most 3 nodes, received 11" in said(path)
    monkeypatch.setattr(onnx_graph, "MAX_FILE", 100)
    assert "expected at most 100" in said(path)


@pytest.mark.parametrize(
    ("nodes", "weights", "message"),
    [
        ([node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])], {"s": [2**20, 2**20]}, "constant of shape"),
        ([node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"])], {"a": 0, "b": 2**40, "c": 1}, "constant of shape"),
        ([node("Expand", ["a", "s"], ["c"]), node("Add", ["x", "c"], ["y"])], {"a": 1.0, "s": [2**30, 2]}, "constant of shape"),
        ([node("Tile", ["a", "s"], ["c"]), node("Add", ["x", "c"], ["y"])], {"a": [1.0], "s": [2**40]}, "constant of shape"),
        ([node("Pad", ["x", "p"], ["y"])], {"p": [0, 0, 2**20, 2**20, 0, 0, 0, 0]}, "values for one image"),
        ([node("Expand", ["x", "s"], ["y"])], {"s": [2**22, 1, 1, 1, 1, 6, 6]}, "values for one image"),
    ],
)  # fmt: skip
def test_small_files_of_large_tensors_allocate_nothing(
    nodes: list[Any], weights: dict[str, Any], message: str, tmp_path: Path
) -> None:
    arrays = {name: np.array(value, np.float32 if "." in str(value) else np.int64) for name, value in weights.items()}
    path = written(graph_model([node("Relu", ["x"], ["unused"]), *nodes], arrays), tmp_path)
    with pytest.raises(StageError, match=message):
        OnnxModel(path).load()


@pytest.mark.parametrize("start", [0, pytest.param(1000, marks=pytest.mark.long)])
def test_an_altered_graph_is_a_model_or_one_sentence(start: int, tmp_path: Path) -> None:
    model, path, said = small_classifier(), tmp_path / "model.onnx", []
    rounds = 100 if start == 0 else 1500
    for number in range(start, start + rounds):
        path.write_bytes(altered_graph(model, random.Random(number)).SerializeToString())
        try:
            OnnxModel(path).load()
        except StageError as error:
            said.append(str(error))
    assert rounds / 2 < len(said) < rounds
    assert [message for message in said if not message.startswith(str(path)) or "\n" in message] == []
