"""Converts the pooling operators of ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import channels_first_axes, channels_last
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value
from temper.nn.onnx_operators.affine import fixed_factor
from temper.nn.onnx_operators.convolution_nodes import Pads, padded, pads_of, positive, same_pads

_LOWEST = float(np.finfo(np.float32).min)
"""Padding of a maximum: finite, so that no derivative is not a number."""


def max_pool(at: NodeScope) -> Value:
    """Convert a maximum over windows."""
    tensor, kernel, strides, pads, same = _windows(at)
    if not same and any(map(any, pads)):
        # Zeros change no maximum of values that are not negative.
        if at.not_negative(at.node.inputs[0]):
            tensor = padded(at, tensor, pads)
        else:
            tensor = at.ops.pad(tensor, [(0, 0), *pads, (0, 0)], constant_values=_LOWEST)
    return _pooled(at, "Max", tensor, kernel, strides, same)


def average_pool(at: NodeScope) -> Value:
    """Convert a mean over windows; padding counts as zeros only where the file says so."""
    node = at.node
    tensor, kernel, strides, pads, same = _windows(at)
    sides = tensor.shape[1:-1]
    if same:
        return _pooled(at, "Average", tensor, kernel, strides, bool(any(map(any, pads))))
    value = _pooled(at, "Average", padded(at, tensor, pads), kernel, strides, False)
    counted = [[0] * start + [1] * side + [0] * end for side, (start, end) in zip(sides, pads, strict=True)]
    if node.integer("count_include_pad", 0):
        # What a window covers beyond the stated padding, as its last position may, does not count.
        stated = pads_of(node, sides, kernel, strides)
        counted = [
            [1] * (start + side + stated_end) + [0] * (end - stated_end)
            for side, (start, end), (_, stated_end) in zip(sides, pads, stated, strict=True)
        ]
    shares = [_shares(*arguments) for arguments in zip(counted, kernel, strides, strict=True)]
    factor: Array = np.asarray(1 / math.prod(np.ix_(*shares)), np.float32)
    return value if (factor == 1).all() else fixed_factor(at, value, factor[None, None])


def _shares(counted: Sequence[int], extent: int, stride: int) -> Array:
    """Return the share of each window that counts, along one side."""
    return np.array(
        [sum(counted[i : i + extent]) / extent for i in range(0, len(counted) - extent + 1, stride)], np.float32
    )


def global_average_pool(at: NodeScope) -> Value:
    """Convert a mean over all positions."""
    return _global(at, "Average")


def global_max_pool(at: NodeScope) -> Value:
    """Convert a maximum over all positions."""
    return _global(at, "Max")


def _global(at: NodeScope, kind: str) -> Value:
    value = at.value()
    tensor = channels_last(at, value)
    count = len(tensor.shape) - 2
    if count not in (1, 2, 3):
        raise at.node.refused(f"expected images of 1 to 3 sides, received {count}")
    # A convolution of the means, as in squeeze and excitation, needs the sides again.
    keepdims = at.read_by("Conv")
    axes = channels_first_axes(count + 2) if keepdims else ((0,), (1,), *[()] * count)
    return Value(at.layer(f"Global{kind}Pooling{count}D", tensor, keepdims=keepdims), axes)


def _windows(at: NodeScope) -> tuple[Any, tuple[int, ...], tuple[int, ...], Pads, bool]:
    """Return images, windows, strides, padding, and whether it is the one that Keras calls "same"."""
    node, value = at.node, at.value()
    count = value.rank - 2
    if count not in (1, 2, 3):
        raise node.refused(f"expected images of 1 to 3 sides, received {count}")
    kernel, strides = positive(node, "kernel_shape", [], count), positive(node, "strides", [1] * count, count)
    if max(positive(node, "dilations", [1] * count, count)) > 1:
        raise node.refused("expected windows without dilation")
    tensor = channels_last(at, value)
    sides = tensor.shape[1:-1]
    pads = pads_of(node, sides, kernel, strides)
    if node.integer("ceil_mode", 0):
        pads = tuple(_up(*arguments) for arguments in zip(sides, kernel, strides, pads, strict=True))
    same = pads == same_pads(sides, kernel, strides)
    if node.op == "AveragePool" and any(map(any, pads)):
        # On torch, Keras counts the padding in where it is not the same on both sides.
        same = same and not node.integer("count_include_pad", 0) and all(start == end for start, end in pads)
    return tensor, kernel, strides, pads, same


def _up(side: int, extent: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Return the padding with which the number of windows is rounded up; no window starts in the padding at the end."""
    start, end = pads
    count = -(-(side + start + end - extent) // stride) + 1
    if (count - 1) * stride >= side + start:
        count -= 1
    return start, max(end, (count - 1) * stride + extent - side - start)


def _pooled(
    at: NodeScope, kind: str, tensor: Any, kernel: tuple[int, ...], strides: tuple[int, ...], same: bool
) -> Value:
    padding = "same" if same else "valid"
    layer = f"{kind}Pooling{len(kernel)}D"
    found = at.layer(layer, tensor, pool_size=kernel, strides=strides, padding=padding)
    return Value(found, channels_first_axes(len(kernel) + 2))


CONVERTERS = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
}
