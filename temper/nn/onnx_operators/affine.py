"""Products and sums with constants, which become one layer for as many nodes as follow each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import spread
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value

_LETTERS = "abcdefghijklmnop"
_ONE, _ZERO = np.ones((), np.float32), np.zeros((), np.float32)
Factors = tuple[Array, Array]
"""A factor and an addend, which broadcast with the ONNX tensor."""


def step(op: str, constant: Array, place: int) -> Factors | None:
    """Return what an operator does to its other input, or ``None`` if that is no product and sum."""
    constant = np.asarray(constant, np.float32)
    match op, place:
        case "Add", _:
            return _ONE, constant
        case "Sub", 1:
            return _ONE, -constant
        case "Sub", 0:
            return -_ONE, constant
        case "Mul", _:
            return constant, _ZERO
        case "Div", 1:
            return (1 / constant).astype(np.float32), _ZERO
    return None


def affine(at: NodeScope, value: Value, factors: Factors) -> Value:
    """Return ``factor * value + addend``, with those of the nodes that follow."""
    factor, addend = factors
    for op in ("Mul", "Div", "Add", "Sub") * 2:
        following = at.next(op)
        operand = None if following is None else at.operand(following)
        more = None if operand is None else step(op, *operand)
        if following is None or more is None:
            continue
        at.take(following)
        factor, addend = factor * more[0], addend * more[0] + more[1]
    return _layer(at, value, factor, addend, trainable=True)


def fixed_factor(at: NodeScope, value: Value, factor: Array) -> Value:
    """Return a value times a constant that training does not change."""
    return _layer(at, value, factor, _ZERO, trainable=False)


def _layer(at: NodeScope, value: Value, factor: Array, addend: Array, trainable: bool) -> Value:
    if factor.size == addend.size == 1 and max(factor.ndim, addend.ndim) <= value.rank:
        scale, offset = float(factor.reshape(())), float(addend.reshape(()))
        if (scale, offset) == (1.0, 0.0):
            return value
        return value.with_tensor(at.layer("Rescaling", value.tensor, scale=scale, offset=offset))
    value, _ = spread(at, value, factor)
    value, addend = spread(at, value, addend)
    value, factor = spread(at, value, factor)
    longest = max(axis for array in (factor, addend) for axis, side in enumerate(array.shape) if side > 1 or axis == 0)
    if at.before_weights and max(factor[..., :1].size, addend[..., :1].size) == 1 and longest == len(value.sides) - 1:
        # The normalisation of the images, which training does not change.
        scales, offsets = (np.broadcast_to(a.reshape(-1), value.sides[-1:]).tolist() for a in (factor, addend))
        return value.with_tensor(at.layer("Rescaling", value.tensor, scale=scales, offset=offsets))
    return value.with_tensor(_weighted(at, value, factor, addend, trainable))


def _weighted(at: NodeScope, value: Value, factor: Array, addend: Array, trainable: bool) -> Any:
    """Return the output of Keras's one layer that multiplies by weights of any axes and adds weights of any axes."""
    sides = tuple(
        max(side, one, other) for side, one, other in zip(value.sides, factor.shape, addend.shape, strict=True)
    )
    for axis, (own, side) in enumerate(zip(value.sides, sides, strict=True)):
        if own != side:  # a constant is longer than the value
            value = value.with_tensor(at.ops.repeat(value.tensor, side, axis=axis))
    letters = _LETTERS[: len(sides)]
    scaled = [axis for axis in range(1, len(sides)) if factor.shape[axis] > 1] or [len(sides) - 1]
    shifted = _shifted(addend, sides)
    kernel = "".join(letters[axis] for axis in scaled)
    weights = [_kept(factor, sides, scaled)]
    bias = None
    if addend.any():
        bias = "".join(letters[axis] for axis in shifted)
        weights.append(_kept(addend, sides, shifted, bias=True))
    return at.layer(
        "EinsumDense", value.tensor, weights=weights, equation=f"{letters},{kernel}->{letters}",
        output_shape=sides[1:], bias_axes=bias, kernel_initializer="ones", trainable=trainable,
    )  # fmt: skip


def _shifted(addend: Array, sides: tuple[int, ...]) -> list[int]:
    """Return the axes of a bias: those of the addend, or all where it has only one that is not the last.

    Keras on TensorFlow adds a bias with one axis longer than 1 along the last axis or the first one of equal length.
    """
    axes = [axis for axis in range(1, len(sides)) if addend.shape[axis] > 1]
    last = len(sides) - 1
    return axes if len(axes) > 1 or axes == [last] else list(range(1, last + 1)) if axes else [last]


def _kept(array: Array, sides: tuple[int, ...], axes: list[int], bias: bool = False) -> Array:
    """Return a constant with these axes alone; as a bias, with every axis behind the first of them."""
    target = [sides[axis] if axis in axes else 1 for axis in range(len(sides))]
    found = np.broadcast_to(array, target)
    return found.reshape(found.shape[axes[0] :]) if bias else found.reshape([sides[axis] for axis in axes])


def product_or_sum(at: NodeScope, constant: Array, place: int, value: Value) -> Value | None:
    """Convert a node with one constant input at a place; ``None`` if it is no product and sum."""
    factors = step(at.node.op, constant, place)
    return None if factors is None else affine(at, value, factors)
