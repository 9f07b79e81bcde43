"""Computes the nodes of an ONNX graph that depend on constants alone, as the arithmetic of shapes does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import MAX_TENSOR, Array
from temper.nn.onnx.tensor_layout import batch_multiple, place

Arrays = Sequence[Array]


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that depends on no image; ``other`` is what it is for the second of ``BATCHES`` where that differs."""

    array: Array
    other: Array | None = None

    @property
    def both(self) -> tuple[Array, Array]:
        """The array for each of ``BATCHES``."""
        return self.array, self.array if self.other is None else self.other

    @property
    def is_scalar(self) -> bool:
        """Whether it has one element."""
        return self.array.size == 1


def constant_of(pair: Sequence[Array]) -> Constant:
    """Return the constant of an array for each of ``BATCHES``."""
    first, second = pair
    same = first.shape == second.shape and np.array_equal(first, second)
    return Constant(first, None if same else second)


def folded(node: OnnxNode, inputs: Sequence[Constant | None]) -> list[Constant]:
    """Return the outputs of a node whose inputs are all constant; ``None`` is an omitted input.

    Raises:
        StageError: the operator is not in the list, or its output is too large.
    """
    if node.op in _OF_SHAPES:
        shape = inputs[_OF_SHAPES[node.op][0]]
        if shape is None:
            raise node.refused("a shape is missing")
        if shape.array.size > 16:
            raise node.refused(f"expected at most 16 sides, received {shape.array.size}")
        pairs = zip(*(array.reshape(-1).tolist() for array in shape.both), strict=True)
        # The side of the batch is 1, which broadcasts to any number of images.
        target = [1 if batch else int(side) for side, batch in (batch_multiple(int(a), int(b)) for a, b in pairs)]
        _check(node, target)
        return [Constant(_OF_SHAPES[node.op][1](node, None if inputs[0] is None else inputs[0].array, target))]
    if node.op not in _FOLDED:
        raise node.refused("computes a constant in a way that is not supported; export the model with constant folding")
    varied = any(value is not None and value.other is not None for value in inputs)
    results = []
    for sample in range(2 if varied else 1):
        arrays = [None if value is None else value.both[sample] for value in inputs]
        try:
            outcome = _FOLDED[node.op](node, arrays)
        except (ArithmeticError, IndexError, TypeError, ValueError) as error:
            raise node.refused(f"its constants do not fit: {error}") from error
        results.append(outcome if isinstance(outcome, list) else [outcome])
    for array in results[0]:
        _check(node, array.shape)
    return [constant_of((first, second)) for first, second in zip(results[0], results[-1], strict=True)]


def shape_constant(shapes: Sequence[Sequence[int]]) -> Constant:
    """Return the constant of a tensor's shape for each of ``BATCHES``."""
    return constant_of([np.array(shape, np.int64) for shape in shapes])


def part_of_shape(node: OnnxNode, shape: Sequence[int]) -> Sequence[int]:
    """Return the sides of a shape that a Shape node asks for."""
    return shape[node.integer("start", 0) : node.integer("end", len(shape))]


def _check(node: OnnxNode, shape: Sequence[int]) -> None:
    if any(side < 0 for side in shape) or math.prod(shape) * 8 > MAX_TENSOR:
        raise node.refused(f"computes a constant of shape {list(shape)}; expected at most {MAX_TENSOR // 8:,} values")


def numpy_dtype(node: OnnxNode, number: int) -> np.dtype[Any]:
    """Return the NumPy type of an ONNX type; half precision is float32."""
    import onnx

    kinds = onnx.TensorProto
    if number in (kinds.FLOAT16, kinds.BFLOAT16):
        return np.dtype(np.float32)
    known = (kinds.FLOAT, kinds.DOUBLE, kinds.INT8, kinds.INT16, kinds.INT32, kinds.INT64,
             kinds.UINT8, kinds.UINT16, kinds.UINT32, kinds.UINT64, kinds.BOOL)  # fmt: skip
    if number not in known:
        raise node.refused(f"expected a type of numbers, received ONNX type {number}")
    found: np.dtype[Any] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
    return found


def axes_of(node: OnnxNode, second: Array | None, default: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """Return the axes of a node, an attribute in old opsets and its second input in new ones; ``None``: not given."""
    if second is not None:
        return tuple(int(axis) for axis in second.reshape(-1))
    return node.integers("axes", ()) if "axes" in node.attributes else (None if default is None else tuple(default))


def slices_of(node: OnnxNode, inputs: Sequence[Array | None], shape: Sequence[int]) -> list[slice]:
    """Return the slices of a Slice node, one for each axis of a tensor of a shape."""
    if "starts" in node.attributes:  # opset 9
        starts, ends = node.integers("starts", ()), node.integers("ends", ())
        axes: Sequence[int] = node.integers("axes", range(len(starts)))
        steps: Sequence[int] = [1] * len(starts)
    else:
        given = [None if array is None else [int(n) for n in array.reshape(-1)] for array in inputs[1:]]
        given += [None] * (4 - len(given))
        starts, ends = tuple(given[0] or ()), tuple(given[1] or ())
        axes = given[2] if given[2] is not None else range(len(starts))
        steps = given[3] if given[3] is not None else [1] * len(starts)
    slices = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise node.refused("expected steps other than 0")
        stop: int | None = end
        if step < 0 and end < -shape[place(axis, len(shape))]:
            stop = None
        slices[place(axis, len(shape))] = slice(start, stop, step)
    return slices


def split_sizes(node: OnnxNode, second: Array | None, side: int) -> list[int]:
    """Return the lengths of the parts of a Split node along an axis of a length."""
    if second is not None:
        return [int(n) for n in second.reshape(-1)]
    if "split" in node.attributes:
        return list(node.integers("split", ()))
    count = node.integer("num_outputs", len(node.outputs))
    size = -(-side // max(1, count))
    return [min(size, side - start) for start in range(0, side, size)]


def _gather(node: OnnxNode, inputs: Any) -> Array:
    array, index = inputs
    _check(
        node, (*index.shape, math.prod(array.shape) // max(1, array.shape[place(node.integer("axis", 0), array.ndim)]))
    )
    return np.asarray(np.take(array, index, axis=node.integer("axis", 0)))


def _divided(node: OnnxNode, inputs: Any) -> Array:
    one, other = inputs
    if one.dtype.kind not in "iu":
        return np.asarray(one / other)
    # Integers are divided towards 0.
    return np.asarray(np.sign(one) * np.sign(other) * (np.abs(one) // np.abs(other))).astype(one.dtype)


def _squeezed(node: OnnxNode, inputs: Any) -> Array:
    axes = axes_of(node, inputs[1] if len(inputs) > 1 else None)
    return np.asarray(np.squeeze(inputs[0], axis=axes))


def _unsqueezed(node: OnnxNode, inputs: Any) -> Array:
    axes = axes_of(node, inputs[1] if len(inputs) > 1 else None, ())
    return np.expand_dims(inputs[0], tuple(axes or ()))


def _reshaped(node: OnnxNode, inputs: Any) -> Array:
    array, target = inputs[0], [int(side) for side in inputs[1].reshape(-1)]
    if not node.integer("allowzero", 0):
        target = [array.shape[i] if side == 0 else side for i, side in enumerate(target)]
    return np.asarray(array.reshape(target))


def _reduced(function: Callable[..., Any]) -> Callable[[OnnxNode, Any], Array]:
    def reduce(node: OnnxNode, inputs: Any) -> Array:
        axes = axes_of(node, inputs[1] if len(inputs) > 1 else None)
        keepdims = bool(node.integer("keepdims", 1))
        return np.asarray(function(inputs[0], axis=axes, keepdims=keepdims)).astype(inputs[0].dtype)

    return reduce


def _range(node: OnnxNode, inputs: Any) -> Array:
    start, limit, step = (array.reshape(-1)[0] for array in inputs)
    _check(node, (max(0, math.ceil((float(limit) - float(start)) / float(step))),))
    return np.arange(start, limit, step)


def _constant(node: OnnxNode, inputs: Any) -> Array:
    for key, kind in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                      ("value_ints", np.int64)):  # fmt: skip
        if key in node.attributes:
            return np.array(node.attributes[key], kind)
    raise node.refused("expected numbers as its value")


def _filled(node: OnnxNode, array: Array | None, target: list[int]) -> Array:
    import onnx

    value = node.attributes.get("value")
    fill = np.float32(0) if value is None else onnx.numpy_helper.to_array(value).reshape(-1)[0]
    return np.full(target, fill)


def _expanded(node: OnnxNode, array: Array | None, target: list[int]) -> Array:
    assert array is not None
    return np.array(np.broadcast_to(array, np.broadcast_shapes(array.shape, tuple(target))))


def _tiled(node: OnnxNode, array: Array | None, target: list[int]) -> Array:
    assert array is not None
    _check(node, [side * repeats for side, repeats in zip(array.shape, target, strict=True)])
    return np.tile(array, target)


def _elementwise(function: Callable[..., Any]) -> Callable[[OnnxNode, Any], Array]:
    def compute(node: OnnxNode, inputs: Any) -> Array:
        _check(node, np.broadcast_shapes(*(array.shape for array in inputs)))
        return np.asarray(function(*inputs))

    return compute


_OF_SHAPES: Mapping[str, tuple[int, Callable[[OnnxNode, Array | None, list[int]], Array]]] = {
    "ConstantOfShape": (0, _filled),
    "Expand": (1, _expanded),
    "Tile": (1, _tiled),
}
"""Operators that enlarge constants, with the input that says how much."""

_FOLDED: Mapping[str, Callable[[OnnxNode, Any], Any]] = {
    "Abs": _elementwise(np.abs),
    "Add": _elementwise(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": lambda node, inputs: inputs[0].astype(numpy_dtype(node, node.integer("to", 1))),
    "CastLike": lambda node, inputs: inputs[0].astype(inputs[1].dtype),
    "Ceil": _elementwise(np.ceil),
    "Concat": lambda node, inputs: np.concatenate(inputs, axis=node.integer("axis", 0)),
    "Constant": _constant,
    "Div": _divided,
    "Equal": _elementwise(np.equal),
    "Exp": _elementwise(np.exp),
    "Floor": _elementwise(np.floor),
    "Gather": _gather,
    "Greater": _elementwise(np.greater),
    "Identity": lambda node, inputs: inputs[0],
    "Less": _elementwise(np.less),
    "Max": _elementwise(lambda *arrays: np.maximum.reduce(arrays)),
    "Min": _elementwise(lambda *arrays: np.minimum.reduce(arrays)),
    "Mod": _elementwise(np.mod),
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative),
    "Not": _elementwise(np.logical_not),
    "Or": _elementwise(np.logical_or),
    "Pow": _elementwise(lambda x, y: np.power(x, y).astype(x.dtype)),
    "Range": _range,
    "Reciprocal": _elementwise(lambda x: (1 / x).astype(x.dtype)),
    "ReduceMax": _reduced(np.max),
    "ReduceMean": _reduced(np.mean),
    "ReduceMin": _reduced(np.min),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "Reshape": _reshaped,
    "Shape": lambda node, inputs: np.array(part_of_shape(node, inputs[0].shape), np.int64),
    "Size": lambda node, inputs: np.array(inputs[0].size, np.int64),
    "Slice": lambda node, inputs: inputs[0][tuple(slices_of(node, inputs, inputs[0].shape))],
    "Split": lambda node, inputs: np.split(
        inputs[0],
        np.cumsum(split_sizes(node, inputs[1] if len(inputs) > 1 else None, inputs[0].shape[node.integer("axis", 0)]))[
            :-1
        ],
        axis=node.integer("axis", 0),
    ),
    "Sqrt": _elementwise(np.sqrt),
    "Squeeze": _squeezed,
    "Sub": _elementwise(np.subtract),
    "Transpose": lambda node, inputs: inputs[0].transpose(node.integers("perm", range(inputs[0].ndim)[::-1])),
    "Unsqueeze": _unsqueezed,
    "Where": _elementwise(np.where),
}

FOLDABLE = frozenset({*_FOLDED, *_OF_SHAPES})
"""The operators that can be computed from constants."""
