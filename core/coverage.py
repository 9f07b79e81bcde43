"""Coverage: what a test adequacy criterion has seen of a model, what more inputs would add, and how criteria are declared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from core.activations import Activations
from core.component import Component
from core.material import Arrays, Material

Counts = NDArray[np.int64]
NOTHING = -1
"""Stands where an input hits no cell."""


class Coverage(ABC):
    """What a criterion has seen so far. Its state are arrays, which save, load and merge.

    ``total`` is the number of things (cells, pairs) that could be covered; nothing that could never be counts.
    """

    total: int

    @property
    @abstractmethod
    def covered(self) -> int:
        """The number of things covered so far."""

    @property
    def value(self) -> float:
        """The share covered so far, in [0, 1]; nan where nothing could be."""
        return self.covered / self.total if self.total else float("nan")

    @abstractmethod
    def gain(self, seen: Activations) -> Counts:
        """Return how much each input alone would add to what is covered, int64 (n,); the state stays."""

    @abstractmethod
    def sequential_gain(self, seen: Activations) -> Counts:
        """Return how much each input would add after those before it, int64 (n,); the state stays."""

    @abstractmethod
    def additional_order(self, seen: Activations) -> Counts:
        """Return the inputs in the order of what each adds to those before it, int64 (n,); the state stays.

        Greedy: at each step the input that adds the most, the first of equals; once none adds anything, the rest in order.

        Source: Rothermel et al. (2001), Prioritizing Test Cases for Regression Testing, additional coverage.
        """

    @abstractmethod
    def update(self, seen: Activations) -> None:
        """Count inputs as seen."""

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state, to be saved."""

    @abstractmethod
    def restore(self, state: Arrays) -> Self:
        """Take the state that another of the same profile had; return itself."""

    @abstractmethod
    def merge(self, state: Arrays) -> None:
        """Count as covered what another of the same profile has covered."""


class CellCoverage(Coverage):
    """Coverage of cells: each input hits some of them, whatever other inputs do.

    ``hits`` leads from activations of n inputs to the cells they hit, int64 (n, m), below ``total``, filled up with
    ``NOTHING``. ``impossible`` are cells that no input can hit, which do not count.
    """

    def __init__(self, cells: int, hits: Callable[[Activations], Counts], impossible: int = 0) -> None:
        self.total = cells - impossible
        self._hits = hits
        self._seen = np.zeros(cells, np.bool_)

    @property
    def covered(self) -> int:
        return int(self._seen.sum())

    def gain(self, seen: Activations) -> Counts:
        hits = np.sort(self._hits(seen), axis=1)
        again = np.zeros(hits.shape, np.bool_)
        again[:, 1:] = hits[:, 1:] == hits[:, :-1]
        counts: Counts = (self._new(hits) & ~again).sum(axis=1)
        return counts

    def sequential_gain(self, seen: Activations) -> Counts:
        hits = self._hits(seen)
        rows, columns = np.nonzero(self._new(hits))
        _, first = np.unique(hits[rows, columns], return_index=True)
        return np.bincount(rows[first], minlength=len(hits)).astype(np.int64)

    def additional_order(self, seen: Activations) -> Counts:
        hits = self._hits(seen)
        rows, columns = np.nonzero(self._new(hits))
        pairs = np.unique(np.stack([hits[rows, columns], rows], axis=1), axis=0)  # by cell, each input once
        cells, starts = np.unique(pairs[:, 0], return_index=True)
        who = np.split(pairs[:, 1], starts[1:])
        left = np.bincount(pairs[:, 1], minlength=len(hits))
        place = np.full(len(self._seen), NOTHING)
        place[cells] = np.arange(len(cells))
        order: list[int] = []
        while len(order) < len(hits) and left.max() > 0:
            best = int(left.argmax())
            order.append(best)
            for cell in np.unique(place[hits[best][hits[best] != NOTHING]]):
                if cell != NOTHING:
                    left[who[cell]] -= 1
                    place[cells[cell]] = NOTHING
        rest = np.setdiff1d(np.arange(len(hits)), order)
        return np.concatenate([np.array(order, np.int64), rest])

    def update(self, seen: Activations) -> None:
        hits = self._hits(seen)
        self._seen[hits[hits != NOTHING]] = True

    def state(self) -> dict[str, NDArray[Any]]:
        return {"seen": np.packbits(self._seen)}

    def restore(self, state: Arrays) -> Self:
        self._seen = self._unpacked(state)
        return self

    def merge(self, state: Arrays) -> None:
        self._seen |= self._unpacked(state)

    def _new(self, hits: Counts) -> NDArray[np.bool_]:
        new: NDArray[np.bool_] = (hits != NOTHING) & ~self._seen[hits]
        return new

    def _unpacked(self, state: Arrays) -> NDArray[np.bool_]:
        return np.unpackbits(state["seen"], count=len(self._seen)).astype(np.bool_)


@dataclass(frozen=True, kw_only=True)
class Criterion(Component):
    """A test adequacy criterion: what it learns of the training images, and how it then counts what inputs cover."""

    layers: Annotated[
        tuple[str, ...] | None, "names of the layers whose units count; default: the hidden ones and the softmax"
    ] = None

    def profile(self, material: Material) -> dict[str, NDArray[Any]]:
        """Return what must be learnt of training images, as arrays; nothing by default."""
        return {}

    @abstractmethod
    def coverage(self, profile: Arrays, like: Activations) -> Coverage:
        """Return the coverage of no input yet; ``like`` are any activations of the model, for their layers."""

    def counted(self, seen: Activations) -> tuple[str, ...]:
        """Return the names of the layers whose units count."""
        return self.layers or seen.counted
