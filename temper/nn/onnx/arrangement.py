"""Rearranges Keras tensors of imported models: axes in another order, merged or split, aligned with other tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Axes, Value

Layout = Sequence[Sequence[int]]


def arranged(at: NodeScope, value: Value, layout: Layout) -> Any:
    """Return a Keras tensor whose axes are these groups of the Keras axes of a value; an empty group has length 1.

    The first group is the batch alone; Keras axes that are in no group have length 1.
    """
    used = [axis for group in layout for axis in group]
    essential = value.essential(used)
    tensor = value.tensor
    if list(essential) != sorted(essential):
        rest = [axis for axis in range(len(value.sides)) if axis not in used]
        tensor = at.once("Permute", tensor, "permute", dims=tuple([*used, *rest][1:]))
    target = tuple(value.product(group) for group in layout[1:])
    if tuple(tensor.shape[1:]) == target:
        return tensor
    if len(target) == 1:
        return at.once("Flatten", tensor, "flatten")
    return at.once("Reshape", tensor, "reshape", target_shape=target)


def channels_last(at: NodeScope, value: Value) -> Any:
    """Return a Keras tensor (n, sides..., channels) of an ONNX tensor (n, channels, sides...)."""
    axes = value.axes
    check_batch(at, value)
    return arranged(at, value, [axes[0], *axes[2:], axes[1]])


def channels_first_axes(rank: int) -> Axes:
    """Return the axes of a Keras tensor (n, sides..., channels) as an ONNX tensor (n, channels, sides...)."""
    return ((0,), (rank - 1,), *((axis,) for axis in range(1, rank - 1)))


def check_batch(at: NodeScope, value: Value) -> None:
    """Refuse a value whose first axis is not the batch alone."""
    if value.essential(value.axes[0]) != (0,):
        raise at.node.refused("expected the images on the first axis of its input; it mixes the images of a batch")


def single(at: NodeScope, value: Value) -> Value:
    """Return a value in which every ONNX axis is one Keras axis, in order; the batch is a Keras axis of its own."""
    layout: list[tuple[int, ...]] = [(0,)]
    axes: list[tuple[int, ...]] = []
    for group in value.axes:
        parts = [group]
        if 0 in group:
            cut = group.index(0)
            parts = [group[:cut], (0,), group[cut + 1 :]]
        found: list[int] = []
        for part in parts:
            if part == (0,):
                found.append(0)
            elif 0 not in group or part:
                found.append(len(layout))
                layout.append(part)
        axes.append(tuple(found))
    return Value(arranged(at, value, layout), tuple(axes))


def aligned(at: NodeScope, values: Sequence[Value]) -> tuple[list[Any], Axes]:
    """Return the Keras tensors of several values with equal axes, for an operation with broadcasting, and those axes.

    Raises:
        StageError: the shapes do not fit.
    """
    first = values[0]
    if all(value.axes == first.axes and value.sides == first.sides for value in values):
        return [value.tensor for value in values], first.axes
    if not _agree(values):
        values = [single(at, value) for value in values]
        if not _agree(values):
            raise at.node.refused(f"the shapes do not fit: {' and '.join(str(value.shape(1)) for value in values)}")
    rank = max(value.rank for value in values)
    groups = [_essential_axes(value, rank) for value in values]
    lead = max(groups, key=lambda axes: sum(map(len, axes)))
    found = sorted((axis, i, j) for i, group in enumerate(lead) for j, axis in enumerate(group))
    order = [(i, j) for _, i, j in found]
    longest = [max((axes[i] for axes in groups), key=len) for i in range(rank)]
    order += [(i, j) for i, group in enumerate(longest) if not lead[i] for j in range(len(group))]
    tensors = [
        arranged(at, value, [(axes[i][j],) if axes[i] else () for i, j in order])
        for value, axes in zip(values, groups, strict=True)
    ]
    return tensors, tuple(tuple(order.index((i, j)) for j in range(len(group))) for i, group in enumerate(longest))


def _essential_axes(value: Value, rank: int) -> Axes:
    return ((),) * (rank - value.rank) + tuple(map(value.essential, value.axes))


def _agree(values: Sequence[Value]) -> bool:
    """Return whether the axes of values consist of equal parts, wherever they are longer than 1."""
    rank = max(value.rank for value in values)
    for axis in range(rank):
        parts = set()
        for value in values:
            group = _essential_axes(value, rank)[axis]
            parts.add(tuple(None if part == 0 else value.sides[part] for part in group))
        if len(parts - {()}) > 1:
            return False
    return True


def spread(at: NodeScope, value: Value, array: Array) -> tuple[Value, Array]:
    """Return a constant so that it can be combined with the Keras tensor of a value, which may get axes of length 1.

    The constant has the axes of the Keras tensor, the batch with length 1.
    """
    rank = max(value.rank, array.ndim)
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    axes = ((),) * (rank - value.rank) + value.axes
    widened = [i for i in range(rank) if array.shape[i] > 1 and value.product(axes[i]) == 1 and 0 not in axes[i]]
    if widened:
        layout: list[tuple[int, ...]] = [(axis,) for axis in range(len(value.sides)) if axis in value.essential([axis])]
        numbers = {group[0]: number for number, group in enumerate(layout)}
        axes = tuple(tuple(numbers[axis] for axis in value.essential(group)) for group in axes)
        axes = tuple((len(layout) + widened.index(i),) if i in widened else group for i, group in enumerate(axes))
        value = Value(arranged(at, value, [*layout, *[()] * len(widened)]), axes)
    value = Value(value.tensor, axes)
    sides = value.sides
    parts: list[int] = []
    for i, group in enumerate(axes):
        if 0 in group and array.shape[i] > 1 and len(group) == 1:
            array = one_for_all(at, array, i)
        expected = value.product(group)
        if array.shape[i] not in (1, expected) and i not in widened:
            raise at.node.refused(f"the shapes do not fit: {value.shape(1)} and {list(array.shape)}")
        if array.shape[i] > 1 and len(group) > 1:
            parts += [sides[axis] for axis in group]
        else:
            parts += [array.shape[i], *[1] * (len(group) - 1)] if group else []
    flat = [axis for group in axes for axis in group]
    array = array.reshape(parts)
    array = array.transpose([flat.index(axis) for axis in sorted(flat)])
    missing = [axis for axis in range(len(sides)) if axis not in flat]
    for axis in missing:
        array = array[(slice(None),) * axis + (None,)]
    return value, array


def one_for_all(at: NodeScope, array: Array, axis: int) -> Array:
    """Return the part of a constant for one image, which must be the same for all."""
    one = array.take([0], axis)
    if not (array == one).all():
        raise at.node.refused(
            "a constant differs between the images of a batch; export the model with a free batch axis"
        )
    return one


def merged_axis(at: NodeScope, value: Value, axis: int) -> tuple[Value, int]:
    """Return a value in which an ONNX axis is one Keras axis, and that Keras axis."""
    group = value.axes[axis]
    if 0 in group:
        raise at.node.refused("works along the axis of the images; it mixes the images of a batch")
    if len(group) == 1:
        return value, group[0]
    rest = [axis for axis in range(len(value.sides)) if axis not in group and axis in value.essential([axis])]
    # Where it comes first, or last if it has the last axis, so that channels stay last.
    where = len(rest) if not group or max(group) == len(value.sides) - 1 else sum(axis < min(group) for axis in rest)
    layout: list[tuple[int, ...]] = [(part,) for part in rest]
    layout.insert(where, group)
    numbers = {part: number + (number >= where) for number, part in enumerate(rest)}
    axes = tuple(
        (where,) if i == axis else tuple(numbers[part] for part in value.essential(parts))
        for i, parts in enumerate(value.axes)
    )
    return Value(arranged(at, value, layout), axes), where
