"""Entries: the images that a regression fuzzer mutates again, by number, with their lineage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from temper.generators.regression.pixel_mutations import Pixels

Rows = NDArray[np.int64]


class Entries:
    """Images as one array, and their properties as columns.

    ``parent`` is the entry that an image was derived from, -1 for a seed; ``operator`` the last one used; ``source``
    the row of the seed; ``generation`` how often it was mutated; ``slot`` the row of its image. Subclasses add
    ``columns``.
    """

    columns: ClassVar[Mapping[str, type]] = {
        "parent": np.int32,
        "operator": np.int8,
        "source": np.int32,
        "generation": np.int16,
        "slot": np.int32,
    }

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.size = 0
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(0, kind) for name, kind in self.columns.items()}
        self._images: Pixels = np.zeros((0, *shape), np.uint8)
        self._slots = 0
        self._free: list[int] = []

    def __getitem__(self, column: str) -> NDArray[Any]:
        """Return a column, one value for each entry."""
        return self._columns[column][: self.size]

    def add(self, x: Pixels, **columns: Any) -> None:
        """Add entries with all columns but ``slot``."""
        first, self.size = self.size, self.size + len(x)
        for name, column in self._columns.items():
            self._columns[name] = grown(column, self.size)
        columns["slot"] = self._store(x)
        for name, values in columns.items():
            self[name][first:] = values

    def images(self, entries: Rows) -> Pixels:
        """Return the images of entries that still have one."""
        return np.asarray(self._images[self["slot"][entries]])

    def release(self, entries: Rows) -> None:
        """Release the images of entries."""
        self._free += self["slot"][entries].tolist()
        self["slot"][entries] = -1

    def trace(self, entries: Rows) -> NDArray[np.int8]:
        """Return the operators that produced entries, int8 (n, most generations), -1 after the last."""
        depth = self["generation"][entries]
        made = np.full((len(entries), int(depth.max(initial=0))), -1, np.int8)
        rows = np.flatnonzero(depth)
        while len(rows):
            made[rows, depth[rows] - 1] = self["operator"][entries[rows]]
            entries, depth = entries.copy(), depth.copy()
            entries[rows] = self["parent"][entries[rows]]
            depth[rows] -= 1
            rows = rows[depth[rows] > 0]
        return made

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what ``restore`` needs."""
        columns = {name: self[name] for name in self.columns}
        return columns | {"images": self._images[: self._slots], "free": np.array(self._free, np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Resume from a state."""
        self.size = len(state["parent"])
        self._columns = {name: state[name] for name in self.columns}
        self._images, self._free = state["images"], state["free"].tolist()
        self._slots = len(self._images)

    def _store(self, x: Pixels) -> Rows:
        """Store images in released slots and then in new ones; return the slots."""
        reused = self._free[len(self._free) - min(len(x), len(self._free)) :]
        del self._free[len(self._free) - len(reused) :]
        first, self._slots = self._slots, self._slots + len(x) - len(reused)
        slots = np.concatenate([np.array(reused, np.int64), np.arange(first, self._slots)])
        self._images = grown(self._images, self._slots)
        self._images[slots] = x
        return slots


def weighted_sample(weights: NDArray[np.float32], count: int, rng: np.random.Generator) -> Rows:
    """Return positions sampled without replacement in proportion to their weights, which are above 0.

    An exponential race: a position with a larger weight tends to arrive first.
    """
    arrival = rng.standard_exponential(len(weights), np.float32) / weights
    first = np.argpartition(arrival, count)[:count] if count < len(weights) else np.arange(len(weights))
    return first[np.argsort(arrival[first], kind="stable")]


def grown(column: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a column with room for ``size`` rows, enlarged by half if it must grow."""
    if size <= len(column):
        return column
    # Growing by half makes the cost of appending constant on average.
    larger = np.zeros((max(size, len(column) * 3 // 2), *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    return larger
