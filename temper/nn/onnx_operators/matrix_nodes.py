"""Converts the matrix products of ONNX: with weights to dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import arranged, one_for_all, single
from temper.nn.onnx.constant_folding import Constant
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value


def dense(at: NodeScope, value: Value, axis: int, kernel: Array, bias: Array | None) -> Value:
    """Return a value whose ONNX axis is multiplied by a kernel (inputs, units).

    A merged axis stays in the order of the Keras tensor: the rows of the kernel are permuted instead.
    """
    group = value.essential(value.axes[axis])
    if 0 in group:
        raise at.node.refused("multiplies along the axis of the images; it mixes the images of a batch")
    if kernel.shape[0] != value.product(group):
        raise at.node.refused(f"the shapes do not fit: {value.shape(1)} and a kernel of {list(kernel.shape)}")
    units = kernel.shape[1]
    rows = kernel.reshape([*(value.sides[part] for part in group), units])
    kernel = rows.transpose(*np.argsort(group), len(group)).reshape(kernel.shape)
    rest = [part for part in range(len(value.sides)) if part not in group and part in value.essential([part])]
    tensor = arranged(at, value, [*((part,) for part in rest), tuple(sorted(group))])
    weights = [kernel, *([] if bias is None else [bias])]
    options = {"units": units, "use_bias": bias is not None}
    numbers = {part: number for number, part in enumerate(rest)}
    axes = tuple(
        (len(rest),) if i == axis else tuple(numbers[part] for part in value.essential(parts))
        for i, parts in enumerate(value.axes)
    )
    return Value(at.layer("Dense", tensor, weights=weights, **options), axes)


def gemm(at: NodeScope) -> Value:
    """Convert a dense layer."""
    node, value, kernel = at.node, at.value(), at.constant(1)
    if node.integer("transA", 0) or kernel.ndim != 2 or value.rank != 2:
        raise node.refused("expected images (n, values) and a kernel of two axes, not transposed images")
    weights = kernel.T if node.integer("transB", 0) else kernel
    if (alpha := node.number("alpha", 1.0)) != 1:
        weights = np.float32(alpha) * weights
    bias = at.optional(2)
    if bias is not None:
        bias = bias if bias.ndim < 2 else one_for_all(at, bias, 0)
        bias = np.broadcast_to(bias.reshape(-1) * node.number("beta", 1.0), [weights.shape[1]])
    else:
        bias = _added(at, weights.shape[1])
    return dense(at, value, 1, weights, bias)


def matmul(at: NodeScope) -> Value:
    """Convert a matrix product of two tensors, or of one with weights."""
    one, other = at.given(0), at.given(1)
    if isinstance(one, Value) and isinstance(other, Value):
        return _product(at, one, other)
    if isinstance(one, Value):
        kernel = _matrix(at, at.constant(1))
        return dense(at, one, one.rank - 1, kernel, _added(at, kernel.shape[1]))
    value, kernel = at.value(1), _matrix(at, at.constant(0))
    return dense(at, value, value.rank - 2, kernel.T, None)


def _matrix(at: NodeScope, kernel: Array) -> Array:
    if kernel.ndim < 2 or kernel.size != kernel.shape[-1] * kernel.shape[-2]:
        raise at.node.refused(f"expected one matrix of weights, received weights of shape {list(kernel.shape)}")
    return kernel.reshape(kernel.shape[-2:])


def _added(at: NodeScope, units: int) -> Array | None:
    """Return the bias that is added behind a product."""
    following = at.next("Add")
    operand = None if following is None else at.operand(following)
    if following is None or operand is None or operand[0].size != units or operand[0].shape[-1:] != (units,):
        return None
    at.take(following)
    return operand[0].reshape(-1)


def _product(at: NodeScope, one: Value, other: Value) -> Value:
    if min(one.rank, other.rank) < 2:
        raise at.node.refused("expected tensors of at least two axes")
    if not _fit(one, other):
        one, other = single(at, one), single(at, other)
        if not _fit(one, other):
            raise at.node.refused(
                f"the shapes do not fit: {one.shape(1)} and {other.shape(1)}; or it mixes the images of a batch"
            )
    count = max(one.rank, other.rank) - 2
    groups = [_leading(value, count) for value in (one, other)]
    longest = [max((found[i] for found in groups), key=len) for i in range(count)]
    order = [(i, j) for i, group in enumerate(longest) for j in range(len(group))]
    first = next(part for part in order if 0 in (groups[0][part[0]] or [None])[part[1] : part[1] + 1])
    order.remove(first)
    order.insert(0, first)
    tensors = []
    for value, found in zip((one, other), groups, strict=True):
        leading: list[Sequence[int]] = [(found[i][j],) if found[i] else () for i, j in order]
        tensors.append(arranged(at, value, [*leading, *value.axes[-2:]]))
    numbers = {part: number for number, part in enumerate(order)}
    axes = tuple(tuple(numbers[i, j] for j in range(len(group))) for i, group in enumerate(longest))
    return Value(at.ops.matmul(*tensors), (*axes, (len(order),), (len(order) + 1,)))


def _leading(value: Value, count: int) -> list[tuple[int, ...]]:
    own = [value.essential(group) for group in value.axes[:-2]]
    return [()] * (count - len(own)) + own


def _fit(one: Value, other: Value) -> bool:
    """Return whether the leading axes of two values consist of equal parts, and the batch is among them."""
    count = max(one.rank, other.rank) - 2
    pairs = list(zip(_leading(one, count), _leading(other, count), strict=True))
    for mine, others in pairs:
        sizes = (
            [None if part == 0 else value.sides[part] for part in group]
            for value, group in ((one, mine), (other, others))
        )
        a, b = sizes
        if a and b and a != b:
            return False
    return any(0 in mine and 0 in others for mine, others in pairs)


def einsum(at: NodeScope) -> Value:
    """Convert a sum of products of one tensor or two, written as an equation."""
    node = at.node
    inputs, arrow, output = node.text("equation", "").replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or "." in inputs or len(terms) != len(node.inputs) or len(terms) > 2:
        raise node.refused(
            f"equation: expected one or two terms and an output without dots, received {inputs + arrow + output}"
        )
    given = [at.given(i) for i in range(len(terms))]
    values = [(single(at, value), term) for value, term in zip(given, terms, strict=True) if isinstance(value, Value)]
    if any(len(group) != 1 for value, _ in values for group in value.axes):
        raise node.refused("reshape the images of a batch before; it mixes them")
    batch = {term[value.axes.index((0,))] for value, term in values}
    if len(batch) != 1 or not batch <= set(output) or any(len(set(term)) != len(term) for term in (*terms, output)):
        raise node.refused(f"equation {inputs}->{output}: mixes the images of a batch, or repeats a letter")
    found = sorted(output, key=lambda letter: letter not in batch)
    letters = ["".join(term[value.axes.index((axis,))] for axis in range(len(value.sides))) for value, term in values]
    axes = tuple((found.index(letter),) for letter in output)
    tensors: list[Any] = [value.tensor for value, _ in values]
    constants = [(value.array, term) for value, term in zip(given, terms, strict=True) if isinstance(value, Constant)]
    if not constants:
        return Value(at.ops.einsum(f"{','.join(letters)}->{''.join(found)}", *tensors), axes)
    (array, term), sides = constants[0], dict(zip(letters[0], values[0][0].sides, strict=True))
    sides |= dict(zip(term, array.shape, strict=True))
    equation = f"{letters[0]},{term}->{''.join(found)}"
    shape = tuple(sides[letter] for letter in found[1:])
    return Value(at.layer("EinsumDense", tensors[0], weights=[array], equation=equation, output_shape=shape), axes)


CONVERTERS = {"Einsum": einsum, "Gemm": gemm, "MatMul": matmul}
