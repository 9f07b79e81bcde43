"""OpenCV's grey conversion and resizing of bytes, in integer arithmetic, bit for bit."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_GREY_BITS = 15
_GREY = np.array([9798, 19235, 3735], np.int32)  # weights of red, green and blue: ITU-R 601 luma in units of 2**-15
# Fixed-point bits of OpenCV's interpolation weights.
_TAP_BITS = 11


def to_bytes(x: NDArray[np.float32]) -> Bytes:
    """Return pixels in [0, 1] as bytes: times 255 and rounded."""
    return np.rint(x * 255).astype(np.uint8)


def grey(x: Bytes, *, bgr: bool = False) -> Bytes:
    """Return RGB images (..., 3) as (..., 1), as ``cvtColor`` does; ``bgr`` swaps the weights of red and blue.

    Source: OpenCV 4 and 5, ``COLOR_RGB2GRAY`` and ``COLOR_BGR2GRAY`` of 8-bit images.
    """
    weighted = x.astype(np.int32) @ (_GREY[::-1] if bgr else _GREY)
    # Adding half a unit before the shift rounds to nearest, as OpenCV does.
    return ((weighted + (1 << (_GREY_BITS - 1))) >> _GREY_BITS).astype(np.uint8)[..., None]


def resize(x: Bytes, size: int) -> Bytes:
    """Return images (n, h, w, c) scaled to (n, size, size, c), as ``resize`` with ``INTER_LINEAR`` does.

    Each pixel is interpolated from the four nearest at any scale: images that shrink are not smoothed first.

    Source: OpenCV 4 and 5, ``resize`` of 8-bit images.
    """
    left, right, low, high = _taps(x.shape[2], size)
    rows = x[:, :, left] * low[:, None] + x[:, :, right] * high[:, None]
    # As in OpenCV's vector code: without 4 of the 11 fractional bits a row fits into 16 bits.
    rows >>= 4
    upper, lower, low, high = _taps(x.shape[1], size)
    above, below = rows[:, upper] * low[:, None, None], rows[:, lower] * high[:, None, None]
    # Each term is truncated on its own, as in OpenCV's vector code.
    return (((above >> 16) + (below >> 16) + 2) >> 2).astype(np.uint8)


@cache
def _taps(
    source: int, target: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the two source pixels of each target pixel, and the weight of each in 2**-11."""
    places = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    share = places - first.astype(np.float32)
    low, high = (np.rint(part * (1 << _TAP_BITS)).astype(np.int32) for part in (1 - share, share))
    return np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1), low, high
