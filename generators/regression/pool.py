"""The pool of a regression fuzzer: images that wait to be mutated again, and where each came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.regression.pixels import Pixels

Rows = NDArray[np.int64]
_DECAY = math.log(1 / 0.05) / 20
_MOST_SELECTIONS = 10
_COLUMNS: Mapping[str, type] = {
    "parent": np.int32,
    "operator": np.int8,
    "source": np.int32,
    "generation": np.int16,
    "selected": np.int16,
    "strongest": np.int16,
    "right": np.float32,
    "drop": np.float32,
    "weight": np.float32,
    "slot": np.int32,
}


def weight(generation: NDArray[Any], selected: NDArray[Any]) -> NDArray[np.float32]:
    """Return how likely entries are chosen, but for a factor: exp(-a (g + s / 2)), a = ln(20) / 20; 0 for s > 10."""
    decayed = np.exp(-_DECAY * (generation + selected / 2))
    return np.where(selected > _MOST_SELECTIONS, 0, decayed).astype(np.float32)


class Pool:
    """Entries as columns, by number; an entry whose weight is 0 is dead, gives its image up and is never chosen again.

    ``parent`` is -1 for a seed; ``operator`` the last one used; ``source`` the row of the seed; ``right`` the probability that
    the new version gives the true label, ``drop`` by how much that is below the old version's; ``strongest`` the wrong label
    for which the new version's probability exceeds the old one's most.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.size = 0
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(0, kind) for name, kind in _COLUMNS.items()}
        self._images: Pixels = np.zeros((0, *shape), np.uint8)
        self._slots = 0
        self._free: list[int] = []

    def __getitem__(self, column: str) -> NDArray[Any]:
        """Return a column, one value for each entry, dead ones too."""
        return self._columns[column][: self.size]

    @property
    def living(self) -> Rows:
        """The entries that may be chosen."""
        return np.flatnonzero(self["weight"])

    def add(self, x: Pixels, **columns: Any) -> None:
        """Add entries with all columns but ``selected``, ``weight`` and ``slot``."""
        n = len(x)
        first, self.size = self.size, self.size + n
        for name, column in self._columns.items():
            self._columns[name] = _grown(column, self.size)
        columns["selected"] = np.zeros(n)
        columns["weight"] = weight(np.asarray(columns["generation"]), columns["selected"])
        columns["slot"] = self._store(x)
        for name, values in columns.items():
            self[name][first:] = values

    def images(self, entries: Rows) -> Pixels:
        """Return the images of living entries."""
        return np.asarray(self._images[self["slot"][entries]])

    def choose(self, count: int, rng: np.random.Generator) -> Rows:
        """Return living entries drawn one after another in proportion to their weights, none twice.

        A race: who has the larger weight tends to arrive first.
        """
        living = self.living
        arrival = rng.standard_exponential(len(living), np.float32) / self["weight"][living]
        if count < len(living):
            first = np.argpartition(arrival, count)[:count]
            living, arrival = living[first], arrival[first]
        return living[np.argsort(arrival, kind="stable")]

    def decay(self, entries: Rows) -> None:
        """Count a selection of entries and lower their weight; dead ones stay dead."""
        entries = entries[self["weight"][entries] > 0]
        self["selected"][entries] += 1
        weights = weight(self["generation"][entries], self["selected"][entries])
        self.kill(entries[weights == 0])
        self["weight"][entries] = weights

    def kill(self, entries: Rows) -> None:
        """Let entries never be chosen again."""
        entries = entries[self["weight"][entries] > 0]
        self["weight"][entries] = 0
        self._free += self["slot"][entries].tolist()
        self["slot"][entries] = -1

    def ancestors(self, entries: Rows, wanted: NDArray[np.bool_]) -> Rows:
        """Return those of the entries and their ancestors whose strongest direction is wanted.

        ``wanted`` is bool (n, classes), a row for each entry and all who came before it.
        """
        found = []
        while len(entries):
            found.append(entries[wanted[np.arange(len(entries)), self["strongest"][entries]]])
            entries = self["parent"][entries].astype(np.int64)
            entries, wanted = entries[entries >= 0], wanted[entries >= 0]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def trace(self, entries: Rows) -> NDArray[np.int8]:
        """Return the operators that made entries, int8 (n, most generations), -1 after the last."""
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
        columns = {name: self[name] for name in _COLUMNS}
        return columns | {"images": self._images[: self._slots], "free": np.array(self._free, np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self.size = len(state["parent"])
        self._columns = {name: state[name] for name in _COLUMNS}
        self._images, self._free = state["images"], state["free"].tolist()
        self._slots = len(self._images)

    def _store(self, x: Pixels) -> Rows:
        """Keep images in the places of dead entries' and then in new ones; return where."""
        reused = self._free[len(self._free) - min(len(x), len(self._free)) :]
        del self._free[len(self._free) - len(reused) :]
        first, self._slots = self._slots, self._slots + len(x) - len(reused)
        slots = np.concatenate([np.array(reused, np.int64), np.arange(first, self._slots)])
        self._images = _grown(self._images, self._slots)
        self._images[slots] = x
        return slots


def _grown(column: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a column with room for ``size`` rows, half as much again where it must grow."""
    if size <= len(column):
        return column
    grown = np.zeros((max(size, len(column) * 3 // 2), *column.shape[1:]), column.dtype)
    grown[: len(column)] = column
    return grown
