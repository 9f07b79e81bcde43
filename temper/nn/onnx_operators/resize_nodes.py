"""Converts the resizing of images: by any coordinates and interpolation of ONNX, as products with matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from temper.nn.onnx.arrangement import merged_axis
from temper.nn.onnx.node_scope import NodeScope
from temper.nn.onnx.onnx_node import OnnxNode
from temper.nn.onnx.onnx_tensors import Array
from temper.nn.onnx.tensor_layout import Value, place


def resize(at: NodeScope) -> Value:
    """Convert a resizing along axes other than that of the images."""
    node, value = at.node, at.value()
    sizes = at.optional(3)
    axes = [place(axis, value.rank) for axis in node.integers("axes", range(value.rank))]
    before = [value.side(axis) for axis in axes]
    scales = _scales(at)
    if sizes is not None and sizes.size:
        after = [int(n) for n in sizes.reshape(-1)]
        policy = node.text("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            choose = min if policy == "not_larger" else max
            factor = choose(new / old for new, old in zip(after, before, strict=True))
            after = [round(factor * old) for old in before]
        factors = [new / old for new, old in zip(after, before, strict=True)]
    elif scales is not None and scales.size:
        factors = [float(n) for n in scales.reshape(-1)]
        after = [math.floor(old * factor) for old, factor in zip(before, factors, strict=True)]
    else:
        raise node.refused("expected sizes or scales")
    for axis, old, new, factor in zip(axes, before, after, factors, strict=True):
        if 0 in value.axes[axis]:
            if factor != 1 and new != at.batch:
                raise node.refused("resizes the axis of the images")
            continue
        if old != new or factor != 1:
            value = _along(at, value, axis, old, new, factor)
    return value


def _scales(at: NodeScope) -> Array | None:
    if at.node.op == "Upsample":
        return np.array(at.node.attributes["scales"]) if "scales" in at.node.attributes else at.constant(1)
    return at.optional(1) if at.node.version < 11 else at.optional(2)


def _along(at: NodeScope, value: Value, axis: int, old: int, new: int, factor: float) -> Value:
    if new < 1:
        raise at.node.refused(f"expected a side of at least 1, received {new}")
    value, keras_axis = merged_axis(at, value, axis)
    matrix = resize_matrix(at.node, old, new, factor)
    if ((matrix == 0) | (matrix == 1)).all():
        chosen = matrix.argmax(1).tolist()
        repeats = new // old
        if chosen == [i // repeats for i in range(new)] if repeats else False:
            return value.with_tensor(at.ops.repeat(value.tensor, repeats, axis=keras_axis))
        return value.with_tensor(at.ops.take(value.tensor, chosen, axis=keras_axis))
    letters = "abcdefgh"[: len(value.sides)]
    changed = letters.replace(letters[keras_axis], "z")
    shape = tuple(new if i == keras_axis else side for i, side in enumerate(value.sides))[1:]
    tensor = at.layer(
        "EinsumDense", value.tensor, weights=[matrix.T], equation=f"{letters},{letters[keras_axis]}z->{changed}",
        output_shape=shape, trainable=False,
    )  # fmt: skip
    return value.with_tensor(tensor)


def resize_matrix(node: OnnxNode, old: int, new: int, factor: float) -> Array:
    """Return the weights (new, old) of the old positions in each new one."""
    mode = node.text("mode", "nearest")
    coordinates = _coordinates(node, old, new, factor)
    if mode == "nearest":
        places = _nearest(node, coordinates, factor)
        chosen: Array = np.eye(old, dtype=np.float32)[np.clip(places, 0, old - 1)]
        return chosen
    if mode not in ("linear", "cubic"):
        raise node.refused(f"mode: expected nearest, linear or cubic, received {mode}")
    if node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise node.refused("coordinate_transformation_mode: expected another than tf_crop_and_resize")
    stretch = min(1.0, factor) if node.integer("antialias", 0) else 1.0
    reach = 1 if mode == "linear" else 2
    matrix = np.zeros((new, old))
    for row, x in enumerate(coordinates):
        support = reach / stretch
        places = np.arange(math.floor(x - support) + (stretch == 1.0), math.ceil(x + support) + 1)
        weights = np.array([_kernel(node, mode, abs(p - x) * stretch) for p in places])
        inside = (places >= 0) & (places < old)
        if node.integer("exclude_outside", 0):
            weights, places = weights[inside], places[inside]
        np.add.at(matrix[row], np.clip(places, 0, old - 1), weights / weights.sum())
    found: Array = matrix.astype(np.float32)
    return found


def _kernel(node: OnnxNode, mode: str, distance: float) -> float:
    if mode == "linear":
        return max(0.0, 1 - distance)
    a = node.number("cubic_coeff_a", -0.75)
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    return (((distance - 5) * distance + 8) * distance - 4) * a if distance < 2 else 0.0


def _coordinates(node: OnnxNode, old: int, new: int, factor: float) -> Any:
    x = np.arange(new, dtype=np.float64)
    default = "asymmetric" if node.op == "Upsample" or node.version < 11 else "half_pixel"
    match node.text("coordinate_transformation_mode", default):
        case "half_pixel":
            return (x + 0.5) / factor - 0.5
        case "half_pixel_symmetric":
            adjusted = new / (factor * old)
            return old / 2 * (1 - adjusted) + (x + 0.5) / factor - 0.5
        case "pytorch_half_pixel":
            return (x + 0.5) / factor - 0.5 if new > 1 else 0 * x
        case "align_corners":
            return x * (old - 1) / (new - 1) if new > 1 else 0 * x
        case "asymmetric":
            return x / factor
        case other:
            raise node.refused(f"coordinate_transformation_mode {other} is not supported")


def _nearest(node: OnnxNode, x: Any, factor: float) -> Any:
    default = "floor" if node.op == "Upsample" or node.version < 11 else "round_prefer_floor"
    # Divisions by a factor leave crumbs that decide between two positions.
    x = np.round(x, 9)
    match node.text("nearest_mode", default):
        case "floor":
            return np.floor(x).astype(int)
        case "ceil":
            return np.ceil(x).astype(int)
        case "round_prefer_floor":
            return np.ceil(x - 0.5).astype(int)
        case "round_prefer_ceil":
            return np.floor(x + 0.5).astype(int)
        case other:
            raise node.refused(f"nearest_mode {other} is not supported")


CONVERTERS = {"Resize": resize, "Upsample": resize}
