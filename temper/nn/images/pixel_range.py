"""Checks the pixels of images: values outside [0, 1], or scaled once too often or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_OPAQUE = 255


def pixel_problem(x: NDArray[Any], whole: bool = True) -> str:
    """Return what is wrong with the pixels of images (n, ...) and how to fix it; empty if nothing is.

    Bytes are divided by 255 and floats used unchanged, so bytes of 0 and 1 only, and floats up to 1/255, are nearly
    black. That is a problem of a ``whole`` set; single images may be dark.
    """
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        return f"pixels: expected uint8 or float in [0, 1], received {x.dtype}; convert them"
    if not x.size:
        return ""
    low, high = float(x.min()), float(x.max())
    if not np.isfinite([low, high]).all():
        image = int((~np.isfinite(x)).reshape(len(x), -1).any(axis=1).argmax())
        return (
            f"pixels: expected [0, 1], received [{low:g}, {high:g}], first in image {image}; replace or remove "
            "these images"
        )
    if x.dtype == np.uint8:
        if x.ndim == 4 and x.shape[-1] in (2, 4) and whole and bool((x[..., -1] == _OPAQUE).all()):
            return "pixels: the last channel is 255 everywhere, an opaque alpha; write x[..., :-1]"
        if high == 1 and whole:
            return "pixels: bytes of 0 and 1 only would be nearly black; write x * 255"
    elif low < 0 or high > 1:
        return f"pixels: expected [0, 1], received [{low:g}, {high:g}]; {_advice(low, high)}"
    # Bytes divided by 255 twice.
    elif 0 < high <= 1 / 255 and whole:
        return f"pixels: the largest is {high:g}, so all are nearly black; divide by 255 once only"
    if whole and len(x) > 1 and low == high:
        return f"pixels: all of them are {low:g}, so all images are equal; check the program that wrote them"
    return ""


def channels_seem_first(shape: tuple[int, ...]) -> bool:
    """Whether images (height, width, channels) appear to be (channels, height, width)."""
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        return False
    # An image of 3 x 32 x 32 is ambiguous only if its last side could be channels.
    return shape[2] not in (1, 3, 4) or (shape[0] < shape[1] == shape[2] and shape[0] != 4)


def _advice(low: float, high: float) -> str:
    if low >= 0 and high <= 255:
        return "write x / 255"
    if low >= -1 and high <= 1:
        return "write (x + 1) / 2"
    return "undo the normalisation, such as a subtracted mean, or write (x - x.min()) / (x.max() - x.min())"
