"""Converts the operators of ONNX that join, cut, select and pad tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import arranged, merged_axis, single
from temper.nn.onnx.constant_folding import axes_of, slices_of, split_sizes
from temper.nn.onnx.model_builder import Converter
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value, place
from temper.nn.onnx_operators.affine import affine


def concat(at: NodeScope) -> Value:
    """Convert a concatenation; constants in front of and behind the values become padding and a sum."""
    given = [at.given(i) for i in range(len(at.node.inputs))]
    places = [i for i, value in enumerate(given) if isinstance(value, Value)]
    values = [value for value in given if isinstance(value, Value)]
    axis = place(at.node.integer("axis", 1), values[0].rank)
    value = _joined(at, values, axis)
    constants = {i: at.constant(i) for i in range(len(given)) if i not in places}
    if not constants:
        return value
    if places != list(range(places[0], places[0] + len(places))):
        raise at.node.refused("expected constants in front of and behind the other tensors, not between them")
    before, after = (
        sum(a.shape[axis] for i, a in constants.items() if (i < places[0]) == front) for front in (True, False)
    )
    addend = _addend(constants, places, axis, value.side(axis))
    value, keras_axis = merged_axis(at, value, axis)
    tensor = padded_axis(at, value.tensor, keras_axis, (before, after))
    return affine(at, value.with_tensor(tensor), (np.ones((), np.float32), addend))


def _addend(constants: dict[int, Array], places: Sequence[int], axis: int, side: int) -> Array:
    """Return constants along an axis with zeros in the place of the values between them."""
    sides = np.broadcast_shapes(*((*a.shape[:axis], 1, *a.shape[axis + 1 :]) for a in constants.values()))
    parts = [np.broadcast_to(a, (*sides[:axis], a.shape[axis], *sides[axis + 1 :])) for a in constants.values()]
    front = sum(i < places[0] for i in constants)
    zeros = np.zeros((*sides[:axis], side, *sides[axis + 1 :]), np.float32)
    return np.concatenate([*parts[:front], zeros, *parts[front:]], axis).astype(np.float32)


def _joined(at: NodeScope, values: Sequence[Value], axis: int) -> Value:
    if len(values) == 1:
        return values[0]
    merged = [merged_axis(at, value, axis)[0] for value in values]
    if len({(value.axes, _others(value, axis)) for value in merged}) == 1 and merged[0].axes[axis]:
        keras_axis = merged[0].axes[axis][0]
        last = len(merged[0].sides) - 1
        tensors = [value.tensor for value in merged]
        return merged[0].with_tensor(at.layer("Concatenate", tensors, axis=keras_axis if keras_axis < last else -1))
    if len({_structure(value, axis) for value in merged}) > 1:
        merged = [single(at, value) for value in merged]
        if len({_structure(value, axis) for value in merged}) > 1:
            raise at.node.refused(f"the shapes do not fit: {' and '.join(str(value.shape(1)) for value in values)}")
    groups = [_parts(value, axis) for value in merged]
    order = [
        (i, j) for _, i, j in sorted((part, i, j) for i, group in enumerate(groups[0]) for j, part in enumerate(group))
    ]
    tensors = [
        arranged(at, value, [(found[i][j],) for i, j in order]) for value, found in zip(merged, groups, strict=True)
    ]
    found = order.index((axis, 0))
    tensor = at.layer("Concatenate", tensors, axis=found if found < len(order) - 1 else -1)
    return Value(
        tensor, tuple(tuple(order.index((i, j)) for j in range(len(group))) for i, group in enumerate(groups[0]))
    )


def _parts(value: Value, axis: int) -> list[tuple[int, ...]]:
    """Return the Keras axes of each ONNX axis that are longer than 1, and the one of an axis whatever its length."""
    return [group if i == axis else value.essential(group) for i, group in enumerate(value.axes)]


def _others(value: Value, axis: int) -> tuple[int, ...]:
    """Return the lengths of all Keras axes but that of an ONNX axis."""
    return tuple(side for i, side in enumerate(value.sides) if i not in value.axes[axis])


def _structure(value: Value, axis: int) -> Any:
    return tuple(
        None if i == axis else tuple((part == 0, value.sides[part]) for part in group)
        for i, group in enumerate(_parts(value, axis))
    )


def padded_axis(at: NodeScope, tensor: Any, axis: int, pads: tuple[int, int]) -> Any:
    """Return a Keras tensor with zeros in front of and behind an axis."""
    if axis == 1 and len(tensor.shape) == 3:
        return at.layer("ZeroPadding1D", tensor, "padding", padding=pads)
    return at.ops.pad(tensor, [pads if i == axis else (0, 0) for i in range(len(tensor.shape))])


def split(at: NodeScope) -> list[Value]:
    """Convert a division along an axis."""
    value = at.value()
    axis = place(at.node.integer("axis", 0), value.rank)
    side = value.side(axis)
    sizes = split_sizes(at.node, at.optional(1), side)
    if sum(sizes) != side or min(sizes) < 1:
        raise at.node.refused(f"expected parts that add up to {side}, received {sizes}")
    value, keras_axis = merged_axis(at, value, axis)
    ends = np.cumsum(sizes).tolist()
    return [
        value.with_tensor(_cut(value, {keras_axis: slice(end - size, end)}))
        for end, size in zip(ends, sizes, strict=True)
    ]


def slice_(at: NodeScope) -> Value:
    """Convert a section along axes."""
    value = at.value()
    shape = value.shape(1)
    inputs = [None, *(at.optional(i) for i in range(1, 5))]
    for axis, part in enumerate(slices_of(at.node, inputs, shape)):
        kept = range(shape[axis])[part]
        if (len(kept) == shape[axis] and kept.step == 1) or part == slice(None):
            continue
        if 0 in value.axes[axis]:
            raise at.node.refused("selects images of a batch")
        if not len(kept):
            raise at.node.refused(f"selects nothing of {shape}")
        value, keras_axis = merged_axis(at, value, axis)
        if kept.step > 0:
            value = value.with_tensor(_cut(value, {keras_axis: slice(kept.start, kept.stop, kept.step)}))
        else:
            value = value.with_tensor(at.ops.take(value.tensor, list(kept), axis=keras_axis))
    return value


def gather(at: NodeScope) -> Value:
    """Convert a selection of positions of an axis."""
    value, index = at.value(), at.constant(1)
    axis = place(at.node.integer("axis", 0), value.rank)
    side = value.side(axis)
    if index.ndim > 1 or not index.size or index.min() < -side or index.max() >= side:
        raise at.node.refused(
            f"expected one position or a list of them from {-side} to {side - 1}, received {str(index)[:60]}"
        )
    value, keras_axis = merged_axis(at, value, axis)
    places = [int(i) % side for i in index.reshape(-1)]
    if index.ndim:
        return value.with_tensor(at.ops.take(value.tensor, places, axis=keras_axis))
    chosen = tuple(places[0] if i == keras_axis else slice(None) for i in range(len(value.sides)))
    left = (*value.axes[:axis], *value.axes[axis + 1 :])
    axes = tuple(tuple(part - (part > keras_axis) for part in group) for group in left)
    return Value(value.tensor[chosen], axes)


def _cut(value: Value, parts: dict[int, slice]) -> Any:
    return value.tensor[tuple(parts.get(axis, slice(None)) for axis in range(len(value.sides)))]


def pad(at: NodeScope) -> Value:
    """Convert a padding with a constant, by reflection, by repetition of the border or of the other side."""
    node, value = at.node, at.value()
    given = (
        node.integers("pads", ()) if "pads" in node.attributes else tuple(int(n) for n in at.constant(1).reshape(-1))
    )
    fill = at.optional(2)
    number = node.number("value", 0.0) if fill is None else float(fill.reshape(-1)[0])
    axes = [place(axis, value.rank) for axis in axes_of(node, at.optional(3), range(value.rank)) or ()]
    if len(given) != 2 * len(axes):
        raise node.refused(f"pads: expected {2 * len(axes)} integers, received {len(given)}")
    pads = {axis: (given[i], given[i + len(axes)]) for i, axis in enumerate(axes) if given[i] or given[i + len(axes)]}
    found: dict[int, tuple[int, int]] = {}
    for axis, (start, end) in pads.items():
        value, _ = merged_axis(at, value, axis)
        side = value.side(axis)
        if min(start, end) < 0:
            cut = slice(max(0, -start), side - max(0, -end))
            if not len(range(side)[cut]):
                raise node.refused(f"pads: nothing of {side} positions remains")
            value = value.with_tensor(_cut(value, {value.axes[axis][0]: cut}))
        found[axis] = max(0, start), max(0, end)
    mode = node.text("mode", "constant")
    if mode == "constant":
        return _padded_by(at, value, found, number)
    for axis, (start, end) in found.items():
        positions = np.arange(value.side(axis))
        modes: dict[str, Any] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
        if mode not in modes:
            raise node.refused(f"mode: expected constant, {', '.join(modes)}, received {mode}")
        places = np.pad(positions, (start, end), mode=modes[mode]).tolist()
        value, keras_axis = merged_axis(at, value, axis)
        value = value.with_tensor(at.ops.take(value.tensor, places, axis=keras_axis))
    return value


def _padded_by(at: NodeScope, value: Value, pads: dict[int, tuple[int, int]], number: float) -> Value:
    if not any(map(any, pads.values())):
        return value
    by_axis = {value.axes[axis][0]: amounts for axis, amounts in pads.items()}
    if number == 0 and len(value.sides) == 4 and by_axis.keys() <= {1, 2}:
        padding = by_axis.get(1, (0, 0)), by_axis.get(2, (0, 0))
        return value.with_tensor(at.layer("ZeroPadding2D", value.tensor, padding=padding))
    widths = [by_axis.get(axis, (0, 0)) for axis in range(len(value.sides))]
    return value.with_tensor(at.ops.pad(value.tensor, widths, constant_values=number))


CONVERTERS: Mapping[str, Converter] = {"Concat": concat, "Gather": gather, "Pad": pad, "Slice": slice_, "Split": split}
