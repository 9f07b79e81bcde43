"""Where the axes of an ONNX tensor are in a Keras tensor, so that transposing and reshaping cost nothing.

A Keras tensor has the batch first and its channels last; an ONNX tensor has any order. Each ONNX axis is the product,
in row-major order, of some axes of the Keras tensor. So a transposition only exchanges entries, a flattening merges
them, and a dense layer behind it permutes the rows of its kernel instead of the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from temper.core.errors import StageError

Axes = tuple[tuple[int, ...], ...]
BATCHES = (10_007, 10_009)
"""Two numbers of images with which shape arithmetic is computed: what is proportional to them is a number of images."""


@dataclass(frozen=True, eq=False)
class Value:
    """A Keras tensor with the batch first, and for each axis of the ONNX tensor the Keras axes it consists of.

    Keras axes of length 1 may be absent from ``axes``.
    """

    tensor: Any
    axes: Axes

    @property
    def sides(self) -> tuple[int, ...]:
        """Lengths of the Keras axes; 1 for the batch."""
        return (1, *self.tensor.shape[1:])

    @property
    def rank(self) -> int:
        """Number of ONNX axes."""
        return len(self.axes)

    @property
    def batch_axis(self) -> int:
        """The ONNX axis that the batch is part of."""
        return next(i for i, group in enumerate(self.axes) if 0 in group)

    def side(self, axis: int) -> int:
        """Return the length of an ONNX axis for one image."""
        return self.product(self.axes[axis])

    def product(self, group: Iterable[int]) -> int:
        """Return the product of the lengths of some Keras axes."""
        sides = self.sides
        return math.prod(sides[axis] for axis in group)

    def shape(self, batch: int) -> list[int]:
        """Return the ONNX shape for a number of images."""
        return [self.side(i) * (batch if 0 in group else 1) for i, group in enumerate(self.axes)]

    def essential(self, group: Iterable[int]) -> tuple[int, ...]:
        """Return the Keras axes of a group that are the batch or longer than 1."""
        sides = self.sides
        return tuple(axis for axis in group if axis == 0 or sides[axis] != 1)

    def with_tensor(self, tensor: Any) -> Value:
        """Return the same axes of another Keras tensor."""
        return Value(tensor, self.axes)


def place(axis: int, rank: int) -> int:
    """Return an axis that may count from the end as one from the start.

    Raises:
        StageError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise StageError(f"expected an axis from {-rank} to {rank - 1}, received {axis}")
    return axis % rank


def batch_multiple(first: int, second: int) -> tuple[int, bool]:
    """Return a side of a shape computed for both ``BATCHES``, for one image, and whether the batch is part of it.

    Raises:
        StageError: it depends on the number of images in another way.
    """
    if first == second:
        return first, False
    factor, rest = divmod(first, BATCHES[0])
    if rest or factor * BATCHES[1] != second:
        raise StageError("a shape depends on the number of images in a way other than proportionally")
    return factor, True
