"""Converts the convolutions of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import channels_first_axes, channels_last
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value

Pads = tuple[tuple[int, int], ...]
"""For each side of the images the padding in front of it and behind it."""


def pads_of(node: OnnxNode, sides: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> Pads:
    """Return the padding of a convolution or pooling; ``kernel`` are its extents, gaps of a dilation included."""
    count = len(sides)
    pads = node.integers("pads", [0] * 2 * count)
    match node.text("auto_pad", "NOTSET"):
        case "VALID":
            pads = (0,) * 2 * count
        case "SAME_UPPER":
            return same_pads(sides, kernel, strides)
        case "SAME_LOWER":
            return tuple((end, start) for start, end in same_pads(sides, kernel, strides))
        case "NOTSET":
            pass
        case other:
            raise node.refused(f"auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, received {other}")
    if len(pads) != 2 * count or min(pads) < 0:
        raise node.refused(f"pads: expected {2 * count} integers of at least 0, received {list(pads)}")
    return tuple(zip(pads[:count], pads[count:], strict=True))


def same_pads(sides: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> Pads:
    """Return the padding that Keras calls "same"."""
    found = []
    for side, extent, stride in zip(sides, kernel, strides, strict=True):
        missing = max(0, (-(-side // stride) - 1) * stride + extent - side)
        found.append((missing // 2, missing - missing // 2))
    return tuple(found)


def padded(at: NodeScope, tensor: Any, pads: Pads) -> Any:
    """Return a Keras tensor (n, sides..., channels) with zeros around it."""
    if not any(map(any, pads)):
        return tensor
    return at.once(f"ZeroPadding{len(pads)}D", tensor, "padding", padding=pads if len(pads) > 1 else pads[0])


def positive(node: OnnxNode, key: str, values: Sequence[int], count: int) -> tuple[int, ...]:
    """Return an attribute that has an integer of at least 1 for each side of the images."""
    found = node.integers(key, values)
    if len(found) != count or min(found) < 1:
        raise node.refused(f"{key}: expected {count} integers of at least 1, received {list(found)}")
    return found


def conv(at: NodeScope) -> Value:
    """Convert a convolution: to a depthwise one where each group has one channel."""
    node, value, kernel = at.node, at.value(), at.constant(1)
    count = kernel.ndim - 2
    if count not in (1, 2, 3) or value.rank != kernel.ndim:
        raise node.refused(f"expected images and kernel of 1 to 3 sides, received {value.rank - 2} and {count}")
    strides = positive(node, "strides", [1] * count, count)
    dilations = positive(node, "dilations", [1] * count, count)
    groups = node.integer("group", 1)
    channels, filters = value.side(1), kernel.shape[0]
    if groups < 1 or channels != groups * kernel.shape[1] or filters % groups:
        raise node.refused(f"{channels} channels and {groups} groups do not fit a kernel of shape {kernel.shape}")
    if max(strides) > 1 and max(dilations) > 1:
        kernel, dilations = _with_gaps(kernel, dilations), (1,) * count
    bias = _bias(at, filters, count)
    tensor = channels_last(at, value)
    extents = [(side - 1) * gap + 1 for side, gap in zip(kernel.shape[2:], dilations, strict=True)]
    sides = tensor.shape[1:-1]
    pads = pads_of(node, sides, extents, strides)
    same = pads == same_pads(sides, extents, strides)
    options: dict[str, Any] = {
        "kernel_size": kernel.shape[2:], "strides": strides, "dilation_rate": dilations, "use_bias": bias is not None,
        "padding": "same" if same and any(map(any, pads)) else "valid",
    }  # fmt: skip
    if options["padding"] == "valid":
        tensor = padded(at, tensor, pads)
    biases = [] if bias is None else [bias]
    last = tuple(range(2, kernel.ndim))
    if count == 2 and 1 < groups == channels and len(set(strides)) == 1:
        weights = kernel.reshape(channels, filters // channels, *kernel.shape[2:]).transpose(*last, 0, 1)
        options |= {"depth_multiplier": filters // channels}
        return Value(at.layer("DepthwiseConv2D", tensor, weights=[weights, *biases], **options), channels_first_axes(4))
    options |= {"filters": filters, "groups": groups}
    found = at.layer(f"Conv{count}D", tensor, weights=[kernel.transpose(*last, 1, 0), *biases], **options)
    return Value(found, channels_first_axes(kernel.ndim))


def conv_transpose(at: NodeScope) -> Value:
    """Convert a transposed convolution: its full output, cropped."""
    node, value, kernel = at.node, at.value(), at.constant(1)
    if kernel.ndim != 4 or value.rank != 4:
        raise node.refused(f"expected images and kernel of 2 sides, received {value.rank - 2} and {kernel.ndim - 2}")
    strides, dilations = positive(node, "strides", [1, 1], 2), positive(node, "dilations", [1, 1], 2)
    groups = node.integer("group", 1)
    channels = value.side(1)
    if groups < 1 or channels != kernel.shape[0] or channels % groups:
        raise node.refused(f"{channels} channels and {groups} groups do not fit a kernel of shape {kernel.shape}")
    if max(dilations) > 1:
        kernel, dilations = _with_gaps(kernel, dilations), (1, 1)
    bias = _bias(at, kernel.shape[1] * groups, 2)
    tensor = channels_last(at, value)
    kernel = _ungrouped(kernel, groups)
    full = [
        (side - 1) * s + extent for side, s, extent in zip(tensor.shape[1:-1], strides, kernel.shape[2:], strict=True)
    ]
    crops, more = _crops(node, tensor.shape[1:-1], full, strides)
    found = at.layer(
        "Conv2DTranspose", tensor, weights=[kernel.transpose(2, 3, 1, 0), *([] if bias is None else [bias])],
        filters=kernel.shape[1], kernel_size=kernel.shape[2:], strides=strides, padding="valid",
        use_bias=bias is not None,
    )  # fmt: skip
    if max(max(pair) for pair in more) and bias is not None and bias.any():
        raise node.refused("output_padding: expected at most the padding at the end")
    if any(map(any, crops)):
        found = at.layer("Cropping2D", found, "cropping", cropping=crops)
    # Keras makes the output longer where strides exceed the kernel.
    return Value(padded(at, found, more), channels_first_axes(4))


def _crops(node: OnnxNode, sides: Sequence[int], full: Sequence[int], strides: Sequence[int]) -> tuple[Pads, Pads]:
    """Return what to crop of the full output of a transposed convolution, and what to append to it."""
    count = len(sides)
    extra = node.integers("output_padding", [0] * count)
    shape = node.integers("output_shape", [])
    auto = node.text("auto_pad", "NOTSET")
    if shape or auto.startswith("SAME"):
        wanted = shape[-count:] if shape else [side * stride for side, stride in zip(sides, strides, strict=True)]
        totals = [side + more - want for side, more, want in zip(full, extra, wanted, strict=True)]
        halves = [total // 2 if auto != "SAME_LOWER" and auto != "NOTSET" else total - total // 2 for total in totals]
        pads = [(half, total - half) for half, total in zip(halves, totals, strict=True)]
    else:
        given = (0,) * 2 * count if auto == "VALID" else node.integers("pads", [0] * 2 * count)
        pads = list(zip(given[:count], given[count:], strict=True))
    # Keras appends max(0, stride - kernel) to a valid transposed convolution itself.
    own = [
        max(0, stride - (total - (side - 1) * stride)) for side, total, stride in zip(sides, full, strides, strict=True)
    ]
    ends = [end + mine - more for (_, end), mine, more in zip(pads, own, extra, strict=True)]
    if any(start < 0 for start, _ in pads):
        raise node.refused("expected pads of at least 0")
    crops = tuple((start, max(0, end)) for (start, _), end in zip(pads, ends, strict=True))
    return crops, tuple((0, max(0, -end)) for end in ends)


def _bias(at: NodeScope, filters: int, count: int) -> Array | None:
    """Return the bias of a convolution, which may be an addition behind it."""
    bias = at.optional(2)
    if bias is None and (following := at.next("Add")) is not None and (operand := at.operand(following)) is not None:
        array, _ = operand
        if array.shape[-count - 1 :] == (filters, *[1] * count) and array.size == filters:
            at.take(following)
            return array.reshape(-1)
    if bias is not None and bias.shape != (filters,):
        raise at.node.refused(f"expected {filters} biases, received {bias.shape}")
    return bias


def _with_gaps(kernel: Array, dilations: Sequence[int]) -> Array:
    """Return a kernel with the zeros of a dilation, for strides with dilations, which Keras does not combine."""
    sides = [(side - 1) * gap + 1 for side, gap in zip(kernel.shape[2:], dilations, strict=True)]
    found = np.zeros((*kernel.shape[:2], *sides), kernel.dtype)
    places = ..., *(slice(None, None, gap) for gap in dilations)
    found[places] = kernel  # type: ignore[index]
    return found


def _ungrouped(kernel: Array, groups: int) -> Array:
    """Return the kernel of a transposed convolution of one group, with zeros between the groups."""
    if groups == 1:
        return kernel
    inputs, outputs = kernel.shape[0] // groups, kernel.shape[1]
    found = np.zeros((kernel.shape[0], outputs * groups, *kernel.shape[2:]), kernel.dtype)
    for group in range(groups):
        rows = slice(group * inputs, (group + 1) * inputs)
        found[rows, group * outputs : (group + 1) * outputs] = kernel[rows]
    return found


CONVERTERS = {"Conv": conv, "ConvTranspose": conv_transpose}
