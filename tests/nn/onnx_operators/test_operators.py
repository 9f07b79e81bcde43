"""Each operator as onnxruntime computes it, on tensors with channels first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.nn.onnx.support import close, converted, graph_model, kinds, of_runtime, written

Case = tuple[str, dict[str, Any], list[Any], int]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(random(*shape)) + np.float32(0.1)


def case(op: str, *inputs: Any, opset: int = 17, **attributes: Any) -> Any:
    said = ", ".join(
        [f"{key}={value}" for key, value in attributes.items()] + [str(getattr(a, "shape", "")) for a in inputs]
    )
    return pytest.param(op, attributes, list(inputs), opset, id=f"{op}-{opset}({said})")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CONVOLUTIONS = [
    case("Conv", random(4, 3, 3, 3)),
    case("Conv", random(4, 3, 3, 3), random(4), pads=[1, 1, 1, 1]),
    case("Conv", random(4, 3, 3, 3), pads=[1, 0, 2, 1], strides=[2, 1]),
    case("Conv", random(4, 3, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", random(4, 3, 2, 4), auto_pad="SAME_LOWER"),
    case("Conv", random(4, 3, 3, 3), auto_pad="VALID"),
    case("Conv", random(4, 3, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2]),
    case("Conv", random(4, 3, 2, 2), dilations=[2, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("Conv", random(3, 1, 3, 3), random(3), group=3, pads=[1, 1, 1, 1], strides=[2, 2]),
    case("Conv", random(6, 1, 3, 3), group=3, dilations=[2, 2]),
    case("Conv", random(3, 1, 3, 3), group=3, strides=[1, 2]),
    case("ConvTranspose", random(3, 4, 3, 3), random(4)),
    case("ConvTranspose", random(3, 4, 2, 2), strides=[2, 2]),
    case("ConvTranspose", random(3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    case("ConvTranspose", random(3, 4, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", random(3, 2, 3, 3), random(6), group=3),
    case("ConvTranspose", random(3, 4, 3, 3), dilations=[2, 2]),
    case("ConvTranspose", random(3, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", random(3, 4, 3, 3), strides=[2, 2], output_shape=[12, 12]),
    case("ConvTranspose", random(3, 4, 1, 1), strides=[2, 2]),
]
POOLINGS = [
    case("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("MaxPool", kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
    case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    case("AveragePool", kernel_shape=[2, 3]),
    case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
    case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case(
        "AveragePool",
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        ceil_mode=1,
        count_include_pad=1,
        opset=21,
    ),
    case("GlobalAveragePool"),
    case("GlobalMaxPool"),
]
NORMALISATIONS = [
    case("BatchNormalization", random(3), random(3, seed=1), random(3, seed=2), positive(3), epsilon=1e-3),
    case("LayerNormalization", random(6), random(6, seed=1)),
    case("LayerNormalization", random(3, 6, 6), random(3, 6, 6, seed=1), axis=1, epsilon=1e-3),
    case("LayerNormalization", random(6), axis=3),
    case("InstanceNormalization", random(3), random(3, seed=1)),
    case("GroupNormalization", random(1), random(1, seed=1), num_groups=1, opset=18),
    case("GroupNormalization", random(3), random(3, seed=1), num_groups=3, opset=21),
    case("LpNormalization", axis=1),
]
ACTIVATIONS = [
    *(case(op) for op in ("Abs", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Neg",
                          "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "Celu")),
    case("Mish", opset=18),
    case("Elu", alpha=0.3),
    case("LeakyRelu", alpha=0.2),
    case("HardSigmoid", alpha=0.1, beta=0.4),
    case("HardSigmoid", alpha=1 / 6, beta=0.5),
    case("Gelu", opset=20),
    case("Gelu", opset=20, approximate="tanh"),
    case("PRelu", positive(3, 1, 1)),
    case("PRelu", positive(1)),
    case("PRelu", positive(3, 6, 6)),
    case("Clip", opset=9, min=0.0, max=0.5),
    case("Clip", np.float32(-0.2), np.float32(0.3)),
    case("Clip", np.float32(0)),
    case("Clip", None, np.float32(0.1)),
    case("Clip", np.float32(0), np.float32(6), opset=13),
    case("Softmax", axis=1),
    case("Softmax"),
    case("Softmax", axis=2, opset=11),
    case("Softmax", axis=1, opset=9),
    case("LogSoftmax", axis=-3),
    case("LogSoftmax", axis=2, opset=11),
    case("Dropout", opset=9, ratio=0.3),
    case("Dropout", np.float32(0.2)),
    case("Cast", to=1),
]  # fmt: skip
ARITHMETIC = [
    *(case(op, random(3, 1, 1)) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *(case(op, np.float32(0.7)) for op in ("Add", "Sub", "Mul", "Div")),
    case("Add", random(6)),
    case("Mul", random(3, 6, 6)),
    case("Add", random(1, 3, 1, 6)),
    case("Sub", random(1, 1, 6, 1)),
    case("Add", random(4, 1, 3, 6, 6)),
    case("Pow", np.float32(2)),
    case("Pow", np.float32(3)),
    *(case(op, axes=[1], opset=11) for op in ("ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceProd",
                                              "ReduceSumSquare", "ReduceLogSumExp", "ReduceMean")),
    case("ReduceMean", axes=[2, 3], keepdims=0),
    case("ReduceMean", axes=[-1, -2]),
    case("ReduceMean", ints(2, 3), opset=18),
    case("ReduceMax", ints(-1), opset=18, keepdims=0),
    case("ReduceMax", axes=[2, 3]),
    case("ReduceSum", ints(1, 3), keepdims=0),
]  # fmt: skip
SHAPES = [
    case("Flatten"),
    case("Flatten", axis=2),
    case("Flatten", axis=-1),
    case("Reshape", ints(0, -1)),
    case("Reshape", ints(-1, 108)),
    case("Reshape", ints(0, 3, 36)),
    case("Reshape", ints(0, 9, 2, -1)),
    case("Reshape", ints(0, 4, 27)),
    case("Reshape", ints(-1, 6)),
    case("Transpose", perm=[0, 2, 3, 1]),
    case("Transpose", perm=[1, 0, 3, 2]),
    case("Transpose"),
    case("Unsqueeze", axes=[1], opset=11),
    case("Unsqueeze", ints(2, -1)),
    case("Expand", ints(4, 1, 3, 6, 6)),
    case("Slice", starts=[1, 0], ends=[3, 4], axes=[1, 2], opset=9),
    case("Slice", ints(0, -2), ints(6, 100), ints(2, 3), ints(2, 1)),
    case("Slice", ints(-1), ints(-100), ints(3), ints(-1)),
    case("Gather", ints(2, 0, -1), axis=1),
    case("Gather", np.array(1, np.int64), axis=2),
    case("Pad", ints(0, 0, 1, 2, 0, 0, 0, 1)),
    case("Pad", ints(0, 1, 1, 0, 0, 0, 0, 0), np.float32(0.5)),
    case("Pad", ints(0, 0, 2, 2, 0, 0, 2, 2), mode="reflect"),
    case("Pad", ints(0, 0, 2, 0, 0, 0, 1, 2), mode="edge"),
    case("Pad", ints(0, 0, -1, 2, 0, 0, 0, -1)),
    case("Pad", ints(1, 2), np.float32(0), ints(3), opset=18),
    case("Pad", ints(0, 0, 2, 0, 0, 0, 1, 2), mode="wrap", opset=19),
    case("Pad", opset=9, pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant", value=0.25),
    case("SpaceToDepth", blocksize=2),
    case("Tile", ints(1, 2, 1, 3)),
]
EMPTY = np.zeros(0, np.float32)
SCALES = np.array([1, 1, 2, 2], np.float32)
RESIZES = [
    case("Resize", EMPTY, SCALES),
    case("Resize", EMPTY, SCALES, mode="linear"),
    case("Resize", EMPTY, SCALES, mode="cubic"),
    case("Resize", EMPTY, SCALES, coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    case(
        "Resize",
        None,
        None,
        ints(9, 4),
        axes=[2, 3],
        opset=18,
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    case(
        "Resize",
        None,
        None,
        ints(4, 3),
        axes=[2, 3],
        opset=18,
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
    case("Resize", None, None, ints(4, 9), axes=[2, 3], opset=18, nearest_mode="ceil"),
    case("Resize", None, None, ints(3, 4), mode="linear", antialias=1, axes=[2, 3], opset=18),
    case("Resize", SCALES, mode="linear", opset=10),
    case("Upsample", SCALES, mode="nearest", opset=9),
]


@pytest.mark.parametrize(
    ("op", "attributes", "inputs", "opset"),
    [*CONVOLUTIONS, *POOLINGS, *NORMALISATIONS, *ACTIVATIONS, *ARITHMETIC, *SHAPES, *RESIZES],
)
def test_an_operator_is_onnxruntimes(
    op: str, attributes: dict[str, Any], inputs: list[Any], opset: int, tmp_path: Path
) -> None:
    """With an operator before it that leaves no doubt of the channels, and one behind it that is no identity."""
    names = [f"w{i}" if array is not None else "" for i, array in enumerate(inputs)]
    weights = {name: array for name, array in zip(names, inputs, strict=True) if name}
    nodes = [
        helper.make_node("BatchNormalization", ["x", "one", "zero", "zero", "one"], ["b"], epsilon=0.0),
        helper.make_node(op, ["b", *names], ["y"], **attributes),
    ]
    weights |= {"one": np.ones(3, np.float32), "zero": np.zeros(3, np.float32)}
    path = written(graph_model(nodes, weights, opset=opset), tmp_path)
    x = random(2, 3, 6, 6, seed=5)
    expected = of_runtime(path, x)
    model, found = converted(path, x)
    assert kinds(model)[0] == "BatchNormalization"
    if 2 in expected.shape[1:]:  # the batch comes first in Keras
        expected = np.moveaxis(expected, expected.shape.index(2), 0)
    close(found.reshape(expected.shape), expected)
