"""Converts sums, products and other functions of several tensors, and reductions over axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import aligned, single, spread
from temper.nn.onnx.constant_folding import Constant, axes_of
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.tensor_layout import Value, place
from temper.nn.onnx_operators.affine import product_or_sum

_LAYERS = {"Add": "Add", "Sub": "Subtract", "Mul": "Multiply", "Max": "Maximum", "Min": "Minimum", "Sum": "Add",
           "Mean": "Average"}  # fmt: skip


def binary(at: NodeScope) -> Value:
    """Convert an operator of two tensors, one of which may be constant."""
    one, other = at.given(0), at.given(1)
    if isinstance(one, Value) and isinstance(other, Value):
        return several(at)
    value, place_of_constant = (one, 1) if isinstance(one, Value) else (at.value(1), 0)
    constant = at.constant(place_of_constant)
    found = product_or_sum(at, constant, place_of_constant, value)
    if found is not None:
        return found
    value, array = spread(at, value, np.asarray(constant, np.float32))
    operand = float(array.reshape(())) if array.size == 1 else array
    operands = (value.tensor, operand) if place_of_constant else (operand, value.tensor)
    return value.with_tensor(_FUNCTIONS[at.node.op](at.ops, *operands))


def several(at: NodeScope) -> Value:
    """Convert an operator of two or more tensors that depend on the images."""
    values = [at.value(i) for i in range(len(at.node.inputs))]
    if len(values) == 1:
        return values[0]
    tensors, axes = aligned(at, values)
    if at.node.op in _LAYERS:
        return Value(at.layer(_LAYERS[at.node.op], tensors), axes)
    return Value(_FUNCTIONS[at.node.op](at.ops, *tensors), axes)


def extremum(at: NodeScope) -> Value:
    """Convert the largest or smallest of tensors, some of which may be constant."""
    if all(isinstance(at.given(i), Value) for i in range(len(at.node.inputs))):
        return several(at)
    if len(at.node.inputs) != 2:
        raise at.node.refused("expected two inputs where one is constant")
    return binary(at)


def reduction(at: NodeScope) -> Value:
    """Convert a mean, sum, maximum, ... over axes."""
    node, value = at.node, at.value()
    given = axes_of(node, at.optional(1)) or ()
    if not given and node.integer("noop_with_empty_axes", 0):
        return value
    axes = [place(axis, value.rank) for axis in given or range(value.rank)]
    if any(0 in value.axes[axis] for axis in axes):
        raise node.refused("reduces over the images of a batch")
    return reduced(at, value, axes, bool(node.integer("keepdims", 1)))


def reduced(at: NodeScope, value: Value, axes: Sequence[int], keepdims: bool) -> Value:
    """Return a value reduced over some ONNX axes."""
    over = sorted(part for axis in axes for part in value.axes[axis])
    rank = len(value.sides)
    if at.node.op in _OF_ONE and value.product(over) == 1:
        kept = (() if axis in axes else group for axis, group in enumerate(value.axes) if keepdims or axis not in axes)
        return Value(value.tensor, tuple(kept))
    if at.node.op in ("ReduceMean", "ReduceMax") and rank == 4 and over == [1, 2]:
        kind = "Average" if at.node.op == "ReduceMean" else "Max"
        tensor = at.layer(f"Global{kind}Pooling2D", value.tensor, keepdims=keepdims and at.read_by("Conv"))
        if len(tensor.shape) == 4:
            return value.with_tensor(tensor)
    elif over:
        tensor = _REDUCTIONS[at.node.op](at.ops, value.tensor, tuple(over))
    else:
        value = single(at, value)
        tensor = _REDUCTIONS[at.node.op](at.ops, at.ops.expand_dims(value.tensor, -1), (-1,))
    left = [axis for axis in range(len(value.sides)) if axis not in over]
    numbers = {axis: number for number, axis in enumerate(left)}
    found = (
        () if axis in axes else tuple(numbers[part] for part in group)
        for axis, group in enumerate(value.axes)
        if keepdims or axis not in axes
    )
    return Value(tensor, tuple(found))


def power(at: NodeScope) -> Value:
    """Convert a power; of a square and a root the derivatives are simpler."""
    exponent = at.given(1)
    if isinstance(exponent, Constant) and exponent.is_scalar and isinstance(value := at.given(0), Value):
        number = float(at.constant(1).reshape(-1)[0])
        if number in (1.0, 2.0, 0.5):
            function = {1.0: lambda x: x, 2.0: at.ops.square, 0.5: at.ops.sqrt}[number]
            return value.with_tensor(function(value.tensor))
    return binary(at)


def _reduce(name: str) -> Callable[[Any, Any, tuple[int, ...]], Any]:
    return lambda ops, tensor, axes: getattr(ops, name)(tensor, axis=axes)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "Div": lambda ops, one, other: one / other,
    "Max": lambda ops, one, other: ops.maximum(one, other),
    "Min": lambda ops, one, other: ops.minimum(one, other),
    "Pow": lambda ops, one, other: ops.power(one, other),
}

_REDUCTIONS: Mapping[str, Callable[[Any, Any, tuple[int, ...]], Any]] = {
    "ReduceL1": lambda ops, x, axes: ops.sum(ops.absolute(x), axis=axes),
    "ReduceL2": lambda ops, x, axes: ops.sqrt(ops.sum(ops.square(x), axis=axes)),
    "ReduceLogSumExp": _reduce("logsumexp"),
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("min"),
    "ReduceProd": _reduce("prod"),
    "ReduceSum": _reduce("sum"),
    "ReduceSumSquare": lambda ops, x, axes: ops.sum(ops.square(x), axis=axes),
}

_OF_ONE = ("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
"""The reductions that leave one value as it is."""

CONVERTERS: Mapping[str, Callable[[NodeScope], Value]] = {
    "Add": binary,
    "Div": binary,
    "Max": extremum,
    "Mean": several,
    "Min": extremum,
    "Mul": binary,
    "Pow": power,
    "Sub": binary,
    "Sum": several,
    **dict.fromkeys(_REDUCTIONS, reduction),
}
