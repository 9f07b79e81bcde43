"""Puts stored arrays into the variables of a Keras layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from temper.core.errors import StageError


def assign(variables: Sequence[Any], arrays: Sequence[Any], where: str, rotated: Collection[int] = ()) -> None:
    """Assign arrays, read one at a time, to variables of equal shapes; kernels whose ``id`` is ``rotated`` by 180 degrees.

    Raises:
        StageError: number or shapes differ.
    """
    expected, received = [tuple(v.shape) for v in variables], [tuple(a.shape) for a in arrays]
    if expected != received:
        raise StageError(
            f"{where}: expected weights {expected}, received {received}; the file belongs to another network"
        )
    for variable, array in zip(variables, arrays, strict=True):
        value = np.asarray(array)
        value = value.astype(np.float32, copy=False) if "float" in str(variable.dtype) else value
        variable.assign(value[::-1, ::-1] if id(variable) in rotated else value)
