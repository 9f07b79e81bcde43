"""The graph of an ONNX file: checked against limits and the list of operators, without computing anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.nn.onnx.onnx_node import OnnxNode, node_of
from temper.nn.onnx.onnx_tensors import declared_bytes, external_file, is_half
from temper.system.files import opened, unpacks_to_too_much

MAX_FILE = 2**31 - 1
"""Maximum size of an ONNX file in bytes, which is that of a protocol buffer; external data is not counted."""
MAX_NODES = 20_000
OLDEST = 9
"""The oldest supported opset."""

Side = int | None


@dataclass(frozen=True)
class OnnxGraph:
    """A graph with one input and one output; ``nodes`` are in the order of computation.

    The first entry of ``input_shape`` and ``output_shape`` is the batch; ``None`` is a side of any length.
    """

    path: Path
    nodes: tuple[OnnxNode, ...]
    tensors: Mapping[str, Any]
    input_name: str
    input_shape: tuple[Side, ...]
    output_name: str
    output_shape: tuple[Side, ...]
    half: bool

    @property
    def data_files(self) -> tuple[Path, ...]:
        """The files with external data."""
        found = (external_file(tensor, self.path) for tensor in self.tensors.values())
        return tuple(dict.fromkeys(path for path in found if path is not None))


def read_graph(path: Path, operators: Collection[str]) -> OnnxGraph:
    """Return the graph of an ONNX file, all of whose nodes are among ``operators``.

    Raises:
        StageError: the file cannot be read, is corrupted or outside the limits, or is no classifier of images.
    """
    model = _parsed(path)
    try:
        return _graph(path, model, operators)
    except StageError as error:
        raise StageError(f"{path}: {error}") from None
    except (TypeError, ValueError) as error:  # a name that is not UTF-8 is bytes
        raise StageError(
            f"{path}: its names or values are not as ONNX states them ({error}); the file is corrupted"
        ) from error


def _parsed(path: Path) -> Any:
    import google.protobuf.message
    import onnx

    with opened(path, MAX_FILE) as stream:
        try:
            model = onnx.ModelProto.FromString(stream.read())
        except google.protobuf.message.DecodeError as error:
            raise StageError(
                f"{path}: cannot be read as ONNX ({error}); the file is corrupted or of another kind"
            ) from None
    if not model.HasField("graph") or not model.graph.node:
        raise StageError(f"{path}: expected an ONNX model, received a file without a graph; is it truncated?")
    return model


def _graph(path: Path, model: Any, operators: Collection[str]) -> OnnxGraph:
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    _check_size(path, tensors)
    nodes = tuple(_nodes(graph, _opset(model), operators))
    if graph.sparse_initializer:
        raise StageError("expected dense weights, received sparse ones; export the model with dense ones")
    inputs = [value for value in graph.input if value.name not in tensors]
    input_ = _only(inputs, "input")
    output = _only(graph.output, "output")
    _check_order(nodes, {"", input_.name, *tensors}, output.name)
    half = any(map(is_half, tensors.values()))
    return OnnxGraph(path, nodes, tensors, input_.name, _shape(input_), output.name, _shape(output), half)


def _check_size(path: Path, tensors: Mapping[str, Any]) -> None:
    files = {file for tensor in tensors.values() if (file := external_file(tensor, path)) is not None}
    stored = sum(file.stat().st_size for file in {path, *files})
    if fault := unpacks_to_too_much(stored, sum(map(declared_bytes, tensors.values()))):
        raise StageError(fault)


def _opset(model: Any) -> int:
    import onnx

    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if not versions or not OLDEST <= versions[0] <= newest:
        raise StageError(f"expected opset {OLDEST} to {newest}, received {versions or 'none'}; export it with another")
    return int(versions[0])


def _nodes(graph: Any, version: int, operators: Collection[str]) -> Iterator[OnnxNode]:
    if len(graph.node) > MAX_NODES:
        raise StageError(f"expected at most {MAX_NODES:,} nodes, received {len(graph.node):,}")
    for number, proto in enumerate(graph.node):
        name = proto.name or next(filter(None, proto.output), "")
        where = f"node '{name}' ({proto.op_type})"
        if "Quantize" in proto.op_type or proto.op_type.startswith("QLinear") or proto.op_type.endswith("Integer"):
            raise StageError(f"{where}: the model is quantised; export the model before its quantisation")
        if proto.domain not in ("", "ai.onnx"):
            raise StageError(
                f"{where}: operators of domain '{proto.domain}' are not supported; export the model without graph "
                "optimisation, and with its functions inlined (onnx.inliner.inline_local_functions)"
            )
        if proto.op_type not in operators:
            raise StageError(f"{where}: the operator is not supported; known are {', '.join(sorted(operators))}")
        yield node_of(proto, number, version)


def _only(values: Any, role: str) -> Any:
    if len(values) != 1:
        names = ", ".join(value.name for value in values) or "none"
        raise StageError(f"expected one {role}, received {len(values)} ({names}); export a model with the images as only "
                         "input and the logits as only output")  # fmt: skip
    return values[0]


def _shape(value: Any) -> tuple[Side, ...]:
    import onnx

    kind, floats = value.type.tensor_type, onnx.TensorProto
    if kind.elem_type not in (floats.FLOAT, floats.FLOAT16, floats.BFLOAT16, floats.DOUBLE):
        raise StageError(f"'{value.name}': expected floating-point values, received the ONNX type {kind.elem_type}")
    sides = tuple(int(side.dim_value) if side.dim_value else None for side in kind.shape.dim)
    if any(side is not None and side < 1 for side in sides):
        raise StageError(f"'{value.name}': expected sides of at least 1, received {sides}")
    return sides


def _check_order(nodes: tuple[OnnxNode, ...], known: set[str], output: str) -> None:
    for node in nodes:
        if missing := [name for name in node.inputs if name not in known]:
            raise node.refused(f"reads '{missing[0]}', which nothing computes before; the file is corrupted")
        if again := [name for name in node.outputs if name and name in known]:
            raise node.refused(f"computes '{again[0]}' again; the file is corrupted")
        known.update(node.outputs)
    if output not in known:
        raise StageError(f"nothing computes the output '{output}'; the file is corrupted")
