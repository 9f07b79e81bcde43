"""Checks labels, with advice on how to fix them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_CLASSES = 100_000
"""Maximum number of classes of a data set; full ImageNet has 21,841."""


def label_problem(y: NDArray[Any], names: Sequence[str] = ()) -> str:
    """Return what is wrong with integer labels (n,) of both parts; empty if nothing is.

    Labels must be 0 to the number of ``names`` minus one; without names, 0 to the largest label, each with an image.
    """
    found = np.unique(y)
    low, high = int(found[0]), int(found[-1])
    if low < 0:
        return f"the smallest label is {low}; expected labels from 0"
    # Labels that count from 1.
    if low == 1 and (len(found) == high or high == len(names)) and high >= max(len(names), 1):
        return f"the labels are 1 to {high}; expected 0 to {high - 1}: write y - 1"
    if names and high >= len(names):
        return f"{len(names)} names for labels up to {high}; expected a name for each"
    if not names and len(found) <= high:
        missing = int(np.setdiff1d(np.arange(len(found)), found)[0])
        return (
            f"the labels are {len(found)} numbers from {low} to {high}, and none is {missing}; expected 0 to "
            f"{len(found) - 1}: "
            "write np.unique(y, return_inverse=True)[1] for both parts together, or list all existing classes in "
            "class_names"
        )
    if high >= MAX_CLASSES:
        return f"the labels are 0 to {high}; expected at most {MAX_CLASSES:,} classes"
    return ""
