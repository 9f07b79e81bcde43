"""Converts the operators of ONNX that rearrange the axes of a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from temper.nn.onnx.arrangement import spread
from temper.nn.onnx.constant_folding import Constant, axes_of
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.regrouping import Target, regrouped, target_of
from temper.nn.onnx.tensor_layout import Value, batch_multiple, place


def flatten(at: NodeScope) -> Value:
    """Convert a flattening to two axes."""
    value = at.value()
    axis = at.node.integer("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    return regrouped(at, value, [_side(value, range(axis)), _side(value, range(axis, value.rank))])


def reshape(at: NodeScope) -> Value:
    """Convert a reshaping."""
    value = at.value()
    return regrouped(at, value, target_of(at, value, *_shapes(at)))


def squeeze(at: NodeScope) -> Value:
    """Convert the removal of axes of length 1."""
    value = at.value()
    axes = axes_of(at.node, at.optional(1))
    if axes is None:
        axes = tuple(i for i, group in enumerate(value.axes) if 0 not in group and value.side(i) == 1)
    axes = tuple(place(axis, value.rank) for axis in axes)
    if any(value.side(axis) != 1 or 0 in value.axes[axis] for axis in axes):
        raise at.node.refused(f"expected sides of 1 at {list(axes)}, received {value.shape(1)}")
    return Value(value.tensor, tuple(group for i, group in enumerate(value.axes) if i not in axes))


def unsqueeze(at: NodeScope) -> Value:
    """Convert the insertion of axes of length 1."""
    value = at.value()
    axes = axes_of(at.node, at.optional(1), ()) or ()
    rank = value.rank + len(axes)
    added = {place(axis, rank) for axis in axes}
    groups = iter(value.axes)
    return Value(value.tensor, tuple(() if i in added else next(groups) for i in range(rank)))


def transpose(at: NodeScope) -> Value:
    """Convert a transposition."""
    value = at.value()
    order = at.node.integers("perm", range(value.rank)[::-1])
    if sorted(order) != list(range(value.rank)):
        raise at.node.refused(f"perm: expected each of {value.rank} axes once, received {list(order)}")
    return Value(value.tensor, tuple(value.axes[axis] for axis in order))


def expand(at: NodeScope) -> Value:
    """Convert a repetition along axes of length 1."""
    value = at.value()
    sides = [batch_multiple(one, other)[0] for one, other in zip(*_shapes(at), strict=True)]
    rank = max(value.rank, len(sides))
    sides = [1] * (rank - len(sides)) + sides
    fixed = [axis for axis, group in enumerate(((),) * (rank - value.rank) + value.axes) if 0 in group]
    sides = [1 if axis in fixed else side for axis, side in enumerate(sides)]
    value, array = spread(at, value, np.broadcast_to(np.float32(1), sides))
    tensor = value.tensor
    for axis, (own, side) in enumerate(zip(value.sides, array.shape, strict=True)):
        if side > own:
            tensor = at.ops.repeat(tensor, side, axis=axis)
    return Value(tensor, value.axes)


def tile(at: NodeScope) -> Value:
    """Convert a repetition of a tensor along its axes: each becomes the product of the copies and itself."""
    value = at.value()
    repeats = [batch_multiple(one, other)[0] for one, other in zip(*_shapes(at), strict=True)]
    if (
        len(repeats) != value.rank
        or min(repeats) < 1
        or any(repeats[i] > 1 and 0 in value.axes[i] for i in range(value.rank))
    ):
        raise at.node.refused(f"cannot repeat {value.shape(1)} {repeats} times; or it repeats the images of a batch")
    for axis, count in enumerate(repeats):
        if count > 1:
            last = len(value.sides)
            tensor = at.ops.repeat(at.ops.expand_dims(value.tensor, -1), count, axis=last)
            axes = tuple((last, *group) if i == axis else group for i, group in enumerate(value.axes))
            value = Value(tensor, axes)
    return value


def depth_to_space(at: NodeScope) -> Value:
    """Convert a move of channels to positions."""
    block, mode = at.node.integer("blocksize", 1), at.node.text("mode", "DCR")
    value = at.value()
    channels, height, width = _image(at, value, block * block, 1)
    depth = channels // block**2
    inner = (block, block, depth) if mode == "DCR" else (depth, block, block)
    value = regrouped(at, value, _with_images(*inner, height, width))
    order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    value = Value(value.tensor, tuple(value.axes[axis] for axis in order))
    return regrouped(at, value, _with_images(depth, height * block, width * block))


def space_to_depth(at: NodeScope) -> Value:
    """Convert a move of positions to channels."""
    block, value = at.node.integer("blocksize", 1), at.value()
    channels, height, width = _image(at, value, 1, block)
    value = regrouped(at, value, _with_images(channels, height // block, block, width // block, block))
    value = Value(value.tensor, tuple(value.axes[axis] for axis in (0, 3, 5, 1, 2, 4)))
    return regrouped(at, value, _with_images(channels * block**2, height // block, width // block))


def _image(at: NodeScope, value: Value, channels: int, side: int) -> tuple[int, int, int]:
    if (
        value.rank != 4
        or channels < 1
        or side < 1
        or value.side(1) % channels
        or value.side(2) % side
        or value.side(3) % side
    ):
        raise at.node.refused(f"blocksize does not divide the sides of {value.shape(1)}")
    return value.side(1), value.side(2), value.side(3)


def _with_images(*sides: int) -> Target:
    return [(1, True), *((side, False) for side in sides)]


def _side(value: Value, axes: Sequence[int]) -> tuple[int, bool]:
    return math.prod(value.side(axis) for axis in axes), any(0 in value.axes[axis] for axis in axes)


def _shapes(at: NodeScope) -> tuple[list[int], list[int]]:
    """Return a shape that is the second input for both numbers of images."""
    shape = at.given(1)
    if not isinstance(shape, Constant) or shape.array.size > 16:
        raise at.node.refused("expected a constant shape of at most 16 sides")
    first, second = ([int(side) for side in array.reshape(-1)] for array in shape.both)
    return first, second


CONVERTERS = {
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Reshape": reshape,
    "SpaceToDepth": space_to_depth,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
