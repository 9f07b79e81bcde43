"""ONNX files of few nodes, what onnxruntime makes of them, and what their conversion does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from temper.nn.onnx.onnx_model import OnnxModel
from temper.system import backend

NEWEST = onnx.defs.onnx_opset_version()
RUNTIME = min(NEWEST, 24)
"""The newest opset of the tests that onnxruntime knows."""


def graph_model(
    nodes: Sequence[Any],
    weights: Mapping[str, np.ndarray],
    shape: Sequence[Any] = ("n", 3, 6, 6),
    opset: int = 17,
    output: str = "y",
    sides: Sequence[Any] | None = None,
) -> Any:
    """Return a model of nodes from the input ``x`` to an output."""
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None if sides is None else list(sides))],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10 if opset < 24 else 11,
    )


def written(model: Any, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def of_runtime(path: Path, x: np.ndarray) -> np.ndarray:
    """Return what onnxruntime computes for an ONNX tensor."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def converted(path: Path, x: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the Keras model of a file, and what it computes for an ONNX tensor."""
    file = OnnxModel(path)
    model = file.load()
    given = np.moveaxis(x, 1, -1) if x.ndim == 4 and file.input_shape != x.shape[1:] else x
    return model, np.asarray(backend.keras().ops.convert_to_numpy(model(given, training=False)))


def kinds(model: Any) -> list[str]:
    """Return the classes of a model's layers and operations but its input, in order."""
    return [type(operation).__name__ for operation in model.operations][1:]


def close(found: np.ndarray, expected: np.ndarray, relative: float = 1e-4) -> None:
    """Check that values agree relative to the largest one."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= relative * max(np.abs(expected).max(), 1e-30)


def small_classifier(opset: int = 17) -> Any:
    """Return a model with a convolution, normalisation, pooling, arithmetic of shapes, constants and a dense layer."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    weights = {
        "conv.weight": normal(4, 3, 3, 3), "conv.bias": normal(4),
        "bn.weight": normal(4), "bn.bias": normal(4), "bn.mean": normal(4), "bn.var": np.abs(normal(4)) + 1,
        "first": np.array(0, np.int64), "axis": np.array([0], np.int64), "rest": np.array([-1], np.int64),
        "fc.weight": normal(5, 36), "fc.bias": normal(5), "gain": normal(4, 1, 1),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "bn.weight", "bn.bias", "bn.mean", "bn.var"], ["b"], "bn"),
        node("Relu", ["b"], ["r"], "relu"),
        node("Mul", ["r", "gain"], ["g"], "gain"),
        node("MaxPool", ["g"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["p"], ["s"], "shape"),
        node("Gather", ["s", "first"], ["n"], "gather"),
        node("Unsqueeze", ["n", "axis"], ["u"], "unsqueeze"),
        node("Concat", ["u", "rest"], ["t"], "concat", axis=0),
        node("Reshape", ["p", "t"], ["f"], "flatten"),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    return graph_model(nodes, weights, opset=opset, sides=("n", 5))


_STRANGE = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 7, 2**20, 2**31, 2**40, 2**63 - 1)


def altered_graph(model: Any, rng: random.Random) -> Any:
    """Return a model with one to three strange attributes, names, operators, sides or values."""
    model = type(model).FromString(model.SerializeToString())
    graph = model.graph
    for _ in range(rng.randint(1, 3)):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        match rng.randrange(8):
            case 0 if node.attribute:
                attribute = rng.choice(node.attribute)
                attribute.i = rng.choice(_STRANGE)
                attribute.ints[:] = [rng.choice(_STRANGE) for _ in range(rng.randint(0, 5))]
            case 1:
                node.input[rng.randrange(len(node.input))] = rng.choice(graph.node).output[0]
            case 2:
                node.op_type = rng.choice(
                    [other.op_type for other in graph.node] + ["If", "Loop", "Softmax", "Expand", "Tile"]
                )
            case 3 if tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_STRANGE)
            case 4:
                tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]
            case 5:
                side = rng.choice(graph.input[0].type.tensor_type.shape.dim)
                side.dim_value = rng.choice(_STRANGE)
            case 6:
                tensor.data_type = rng.randrange(-1, 25)
            case _:
                node.input[rng.randrange(len(node.input))] = rng.choice(graph.initializer).name
    return model
