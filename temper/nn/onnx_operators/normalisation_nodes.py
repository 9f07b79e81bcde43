"""Converts the normalisations of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import arranged, channels_first_axes, channels_last, merged_axis
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value, place


def batch_normalisation(at: NodeScope) -> Value:
    """Convert a batch normalisation, which takes its statistics from the file in inference."""
    node, value = at.node, at.value()
    if node.integer("training_mode", 0):
        raise node.refused("is in training mode; export the model in inference mode (model.eval())")
    scale, bias, mean, variance = (at.constant(i) for i in range(1, 5))
    sides = value.side(1)
    if any(array.shape != (sides,) for array in (scale, bias, mean, variance)):
        raise node.refused(f"expected {sides} values of each parameter, received {scale.shape}")
    options: dict[str, Any] = {"momentum": node.number("momentum", 0.9), "epsilon": node.number("epsilon", 1e-5)}
    weights = [scale, bias, mean, variance]
    value, axis = merged_axis(at, value, 1)
    axis = axis if axis < len(value.sides) - 1 else -1
    return value.with_tensor(at.layer("BatchNormalization", value.tensor, weights=weights, axis=axis, **options))


def layer_normalisation(at: NodeScope) -> Value:
    """Convert a layer normalisation over the last axes."""
    node, value = at.node, at.value()
    axis = place(node.integer("axis", -1), value.rank)
    axes = [part for group in value.axes[axis:] for part in group]
    if 0 in axes:
        raise node.refused("normalises over the images of a batch")
    # Axes of length 1 have no weights in Keras, and on torch it normalises the last axes whatever axes are set.
    kept = [part for part in range(len(value.sides)) if part in value.essential([part])]
    kept = sorted(kept, key=lambda part: (part in axes, part))
    if kept != list(range(len(value.sides))):
        numbers = {part: number for number, part in enumerate(kept)}
        groups = tuple(tuple(numbers[part] for part in value.essential(group)) for group in value.axes)
        value = Value(arranged(at, value, [(part,) for part in kept]), groups)
        axes = [part for group in value.axes[axis:] for part in group]
    sides, order = [value.sides[part] for part in axes], np.argsort(axes)
    wanted = [value.side(i) for i in range(axis, value.rank)]

    def weights(array: Array) -> Array:
        return np.broadcast_to(array, wanted).reshape(sides).transpose(order)

    bias = at.optional(2)
    arrays = [weights(at.constant(1)), *([] if bias is None else [weights(bias)])]
    found = at.layer(
        "LayerNormalization", value.tensor, weights=arrays, axis=sorted(axes) if len(axes) > 1 else axes[0] - len(value.sides),
        epsilon=node.number("epsilon", 1e-5), center=bias is not None,
    )  # fmt: skip
    return value.with_tensor(found)


def instance_normalisation(at: NodeScope) -> Value:
    """Convert a normalisation of every channel of every image."""
    value, scale, bias = at.value(), at.constant(1), at.constant(2)
    return _of_groups(at, value, value.side(1), scale, bias)


def group_normalisation(at: NodeScope) -> Value:
    """Convert a normalisation of groups of channels of every image; before opset 21 with parameters for each group."""
    node, value, scale, bias = at.node, at.value(), at.constant(1), at.constant(2)
    groups, channels = node.integer("num_groups", 0), value.side(1)
    if groups < 1 or channels % groups:
        raise node.refused(f"num_groups: expected a divisor of the {channels} channels, received {groups}")
    if node.version < 21:
        scale, bias = (np.repeat(array, channels // groups) for array in (scale, bias))
    return _of_groups(at, value, groups, scale, bias)


def _of_groups(at: NodeScope, value: Value, groups: int, scale: Array, bias: Array) -> Value:
    tensor = channels_last(at, value)
    found = at.layer(
        "GroupNormalization", tensor, weights=[scale, bias], groups=groups, epsilon=at.node.number("epsilon", 1e-5)
    )
    return Value(found, channels_first_axes(value.rank))


def lp_normalisation(at: NodeScope) -> Value:
    """Convert a division by the Euclidean norm along an axis."""
    node = at.node
    if node.integer("p", 2) != 2:
        raise node.refused("p: expected 2")
    value, axis = merged_axis(at, at.value(), place(node.integer("axis", -1), at.value().rank))
    length = at.ops.sqrt(at.ops.sum(at.ops.square(value.tensor), axis=axis, keepdims=True))
    return value.with_tensor(value.tensor / at.ops.maximum(length, 1e-12))


CONVERTERS = {
    "BatchNormalization": batch_normalisation,
    "GroupNormalization": group_normalisation,
    "InstanceNormalization": instance_normalisation,
    "LayerNormalization": layer_normalisation,
    "LpNormalization": lp_normalisation,
}
