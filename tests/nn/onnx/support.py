"""ONNX files of few nodes, what onnxruntime makes of them, and what their conversion does."""

from __future__ import annotations

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
