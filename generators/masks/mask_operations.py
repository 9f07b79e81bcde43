"""Operations on masks: the largest piece, dilation, erosion, the bounding box."""

from __future__ import annotations

import numpy as np

from temper.core.artefacts import Masks


def largest_piece(mask: Masks) -> Masks:
    """Return the largest connected piece of a mask (h, w), diagonals counted, with its holes filled."""
    from scipy import ndimage

    pieces, count = ndimage.label(ndimage.binary_fill_holes(mask), structure=np.ones((3, 3)))
    if not count:
        return np.zeros_like(mask)
    piece: Masks = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return piece


def dilated(masks: Masks, reach: int) -> Masks:
    """Return masks (n, h, w) with every pixel at most ``reach`` away, diagonally too, from one that is set."""
    from scipy import ndimage

    size = 2 * reach + 1
    # A maximum filter dilates a whole batch at once.
    grown: Masks = ndimage.maximum_filter(masks, (1, size, size), mode="constant")
    return grown


def inner(masks: Masks) -> Masks:
    """Return masks (n, h, w) without the pixels that touch an unset one; the outside of the image counts as set."""
    return ~dilated(~masks, 1)


def boxes(masks: Masks) -> Masks:
    """Return the bounding box of each mask (n, h, w); of an empty one none."""
    rows, columns = (_between(np.any(masks, axis=axis)) for axis in (2, 1))
    return rows[:, :, None] & columns[:, None, :]


def _between(lines: Masks) -> Masks:
    """Return lines (n, length) set from their first to their last set position."""
    # Set from the first set line on, and up to the last one: their intersection is the box.
    begun = np.logical_or.accumulate(lines, axis=1)
    not_over = np.logical_or.accumulate(lines[:, ::-1], axis=1)[:, ::-1]
    both: Masks = begun & not_over
    return both
