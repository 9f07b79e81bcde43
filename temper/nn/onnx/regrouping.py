"""Reshapes values of imported models: axes are merged and split without moving anything, wherever that is possible."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from temper.nn.onnx.arrangement import arranged
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.tensor_layout import Axes, Value, batch_multiple

Target = Sequence[tuple[int, bool]]
"""The sides of a shape for one image, and whether the batch is part of each."""


def regrouped(at: NodeScope, value: Value, target: Target) -> Value:
    """Return a value of another ONNX shape with the same elements in row-major order.

    Raises:
        StageError: it mixes the images of a batch, or has another number of elements.
    """
    found = _split(at, value, target)
    if found is None:
        # Parts that neither divide nor contain each other are merged first.
        flat = [axis for group in value.axes for axis in value.essential(group)]
        if flat[0] != 0:
            raise at.node.refused(
                f"reshapes {value.shape(1)} to {[side for side, _ in target]}; it mixes the images of a batch"
            )
        whole = Value(arranged(at, value, [(0,), tuple(flat[1:])]), ((0,), (1,)))
        found = _split(at, whole, target)
    if found is None:
        raise at.node.refused(f"cannot reshape {value.shape(1)} to {[side for side, _ in target]}")
    return found


def _split(at: NodeScope, value: Value, target: Target) -> Value | None:
    """Return the reshaped value, or ``None`` where a part of it would have to be moved."""
    sides = value.sides
    left = deque((axis, sides[axis]) for group in value.axes for axis in value.essential(group))
    parts: dict[int, list[int]] = {axis: [] for axis, _ in left}
    groups: list[list[tuple[int, int]]] = []
    for side, batch in target:
        group: list[tuple[int, int]] = []
        while side != 1 or batch:
            if not left:
                return None
            axis, length = left.popleft()
            if axis == 0:
                if not batch:
                    return None
                batch = False
            elif side == 1 or (side % length and length % side):
                return None
            elif side % length:
                left.appendleft((axis, length // side))
                length = side
            group.append((axis, len(parts[axis])))
            parts[axis].append(length)
            side //= length
        groups.append(group)
    if left:
        return None
    order = [(axis, part) for axis in sorted(parts) for part in range(len(parts[axis]))]
    shape = tuple(parts[axis][part] for axis, part in order)
    tensor = value.tensor
    if any(len(found) > 1 for found in parts.values()):
        tensor = at.once(
            "Reshape", arranged(at, value, [(axis,) for axis in sorted(parts)]), "reshape", target_shape=shape[1:]
        )
        numbers = {part: number for number, part in enumerate(order)}
    else:
        numbers = {(axis, 0): axis for axis in parts}
    axes: Axes = tuple(tuple(numbers[part] for part in group) for group in groups)
    return Value(tensor, axes)


def target_of(at: NodeScope, value: Value, first: Sequence[int], second: Sequence[int]) -> Target:
    """Return the shape that a reshaping asks for, computed for both ``BATCHES``."""
    node = at.node
    if value.rank < sum(side == 0 for side in first):
        raise node.refused(f"cannot copy sides of {value.shape(1)} to {list(first)}")
    sides: list[tuple[int, bool] | None] = []
    for i, (one, other) in enumerate(zip(first, second, strict=True)):
        if one == other == 0 and not node.integer("allowzero", 0):
            sides.append((value.side(i), 0 in value.axes[i]))
        else:
            sides.append(None if one == other == -1 else batch_multiple(one, other))
    stated = [side for side in sides if side is not None]
    elements = value.product(range(len(value.sides)))
    if any(batch for _, batch in stated):
        return _completed(at, sides, elements, batch=False)
    if at.batch is None:
        return _completed(at, sides, elements, batch=True)
    # A file for a fixed number of images states it as a number.
    whole = _completed(at, sides, elements * at.batch, batch=False)
    return _with_batch(at, value, [side for side, _ in whole], at.batch)


def _completed(
    at: NodeScope, sides: Sequence[tuple[int, bool] | None], elements: int, batch: bool
) -> list[tuple[int, bool]]:
    """Return a shape with its one side that is not stated, of which the batch may be a part."""
    product = math.prod(side[0] for side in sides if side is not None)
    missing, rest = divmod(elements, product) if product else (0, 1)
    if rest or sides.count(None) > 1 or (None not in sides and missing != 1):
        raise at.node.refused(f"cannot give {elements:,} values of an image the shape {[s and s[0] for s in sides]}")
    return [(missing, batch) if side is None else side for side in sides]


def _with_batch(at: NodeScope, value: Value, sides: list[int], batch: int) -> Target:
    """Return a shape for a fixed number of images with the side that the batch is part of."""
    flat = [axis for group in value.axes for axis in value.essential(group)]
    place = flat.index(0)
    before = value.product(flat[:place])
    following = value.sides[flat[place + 1]] if place + 1 < len(flat) else 1
    product, chosen = 1, None
    for i, side in enumerate(sides):
        product *= side
        if batch > 1 and product > before:
            chosen = i
            break
        if batch == 1 and product == before:
            behind = sides[i + 1] if i + 1 < len(sides) else None
            # Where one image leaves it open, the batch goes with what is split off: (length, batch * heads, size).
            chosen = i if before > 1 and (behind is None or behind == following) else i + (before > 1)
            break
        if batch == 1 and before == 1:
            chosen = 0
            break
    if chosen is None or chosen >= len(sides) or sides[chosen] % batch:
        raise at.node.refused(
            f"cannot tell which side of {sides} the images are; export the model with a free batch axis"
        )
    return [(side // batch if i == chosen else side, i == chosen) for i, side in enumerate(sides)]
