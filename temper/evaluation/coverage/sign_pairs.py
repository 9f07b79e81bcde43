"""The signs of the units of two adjacent layers for inputs, and the pairs of units that they cover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.evaluation.coverage.hashed_patterns import Keys, draw_keys
from temper.nn.adequacy.coverage import Counts
from temper.nn.adequacy.reference_data import Arrays

Bools = NDArray[np.bool_]
Times = NDArray[np.int32]
Table = tuple[Keys, Times, Times]
"""Keys, and the time when each unit of the second layer was first positive and first negative with them."""
SEEN, NEVER = np.int32(-1), np.int32(2**31 - 1)
"""Times of an event before all inputs, and of one that never happened."""
_TOGETHER = 2**21
"""Number of second-layer signs processed at once."""


class Signs:
    """The joint signs of two adjacent layers so far, and the pairs (i, j) of units that they cover.

    The first layer's signs are a key: the exclusive or of a random number for each positive unit. Signs that differ in
    unit i alone have keys that differ by i's number, so all such neighbours are found by lookup in a sorted table,
    without comparing all pairs of inputs. For each key the table has whether each unit of the second layer was
    positive, and whether it was negative, with these signs of the first.

    ``covered`` is bool (units of the first layer, units of the second).

    Source: Zobrist (1970), A New Hashing Method with Application for Game Playing, for the keys.
    """

    def __init__(self, first: slice, second: slice) -> None:
        self._first, self._second = first, second
        self._numbers = draw_keys(first.stop - first.start)
        width = second.stop - second.start
        self._keys: Keys = np.zeros(0, np.uint64)
        self._positive, self._negative = (np.zeros((0, width), np.bool_) for _ in range(2))
        self.covered = np.zeros((len(self._numbers), width), np.bool_)

    def gain(self, signs: Bools) -> Counts:
        """Return the number of additional pairs that each input alone would cover, int64 (n,)."""
        keys, second = self._keys_of(signs), signs[:, self._second]
        gains = np.zeros(len(keys), np.int64)
        for i, rows, places in self._neighbours(keys, self._keys):
            for part in _parts(len(rows), second.shape[1]):
                row, place = rows[part], places[part]
                hit = np.where(second[row], self._negative[place], self._positive[place]) & ~self.covered[i]
                gains[row] += hit.sum(axis=1)
        return gains

    def times(self, signs: Bools) -> Times:
        """Return the first of the inputs, in order, that would cover each pair, shaped like ``covered``."""
        return self._times(self._joined(self._events(signs)))

    def update(self, signs: Bools) -> None:
        """Add the signs of inputs."""
        self._take(self._joined(self._events(signs)))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state."""
        packed = {"positive": self._positive, "negative": self._negative, "covered": self.covered}
        return {"keys": self._keys, **{name: np.packbits(array, axis=1) for name, array in packed.items()}}

    def restore(self, state: Arrays) -> None:
        """Restore the state of another."""
        self._keys = np.array(state["keys"])
        self._positive, self._negative, self.covered = (
            np.unpackbits(state[name], axis=1, count=self.covered.shape[1]).astype(np.bool_)
            for name in ("positive", "negative", "covered")
        )

    def _events(self, signs: Bools) -> Table:
        """Return inputs as a table, each at the time of its position."""
        second, now = signs[:, self._second], np.arange(len(signs), dtype=np.int32)[:, None]
        return self._keys_of(signs), np.where(second, now, NEVER), np.where(second, NEVER, now)

    def _memory(self) -> Table:
        """Return the signs so far as a table."""
        return self._keys, np.where(self._positive, SEEN, NEVER), np.where(self._negative, SEEN, NEVER)

    def _joined(self, events: Table) -> Table:
        """Return the merged table of the signs so far and further ones, each key once."""
        memory = self._memory()
        keys = np.concatenate([memory[0], events[0]])
        positive, negative = (np.concatenate([memory[i], events[i]]) for i in (1, 2))
        if not len(keys):
            return memory
        order = np.argsort(keys, kind="stable")
        unique, starts = np.unique(keys[order], return_index=True)
        positive, negative = (np.minimum.reduceat(times[order], starts, axis=0) for times in (positive, negative))
        return unique, positive, negative

    def _times(self, table: Table) -> Times:
        keys, positive, negative = table
        first = np.where(self.covered, SEEN, NEVER)
        for i, rows, places in self._neighbours(keys, keys):
            once = rows < places  # count once: each of two neighbours finds the other
            for part in _parts(int(once.sum()), first.shape[1]):
                one, two = rows[once][part], places[once][part]
                either = np.maximum(positive[one], negative[two]), np.maximum(negative[one], positive[two])
                first[i] = np.minimum(first[i], np.minimum(*either).min(axis=0))
        return first

    def _take(self, table: Table) -> None:
        self.covered = self._times(table) != NEVER
        self._keys, self._positive, self._negative = table[0], table[1] != NEVER, table[2] != NEVER

    def _keys_of(self, signs: Bools) -> Keys:
        keys = np.zeros(len(signs), np.uint64)
        for number, column in zip(self._numbers, signs[:, self._first].T, strict=True):
            keys[column] ^= number
        return keys

    def _neighbours(self, keys: Keys, table: Keys) -> Iterator[tuple[int, Counts, Counts]]:
        """Yield for each unit i of the first layer the keys with a neighbour by i in a sorted table, and its row."""
        for i, number in enumerate(self._numbers if len(table) else ()):
            wanted = keys ^ number
            places = np.searchsorted(table, wanted)
            rows = np.flatnonzero(table[np.minimum(places, len(table) - 1)] == wanted)
            yield i, rows, places[rows]


def _parts(n: int, width: int) -> Iterator[slice]:
    """Yield slices of n rows, small enough for their values to fit into memory."""
    size = max(1, _TOGETHER // width)
    for start in range(0, n, size):
        yield slice(start, start + size)
