"""Coverage criteria: their declaration, the coverage of inputs so far, and the gain of further inputs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Component
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.inspection.activations import Activations

Counts = NDArray[np.int64]
NO_CELL = -1
"""Pads the rows of inputs that hit fewer cells."""


class Coverage(ABC):
    """The coverage of a criterion so far. Its state is a set of arrays that can be saved and loaded.

    ``total`` is the number of items (cells, pairs) that can be covered; items that no input can cover do not count.
    """

    total: int

    @property
    @abstractmethod
    def covered(self) -> int:
        """The number of items covered so far."""

    @property
    def value(self) -> float:
        """The share covered so far, in [0, 1]; nan if nothing can be covered."""
        return self.covered / self.total if self.total else float("nan")

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes on the value for its reader, such as how much was excluded."""
        return ()

    @abstractmethod
    def gain(self, seen: Activations) -> Counts:
        """Return how much each input alone would add to the coverage, int64 (n,); the state is unchanged."""

    @abstractmethod
    def sequential_gain(self, seen: Activations) -> Counts:
        """Return how much each input would add after those before it, int64 (n,); the state is unchanged."""

    def additional_order(self, seen: Activations) -> Counts:
        """Return the inputs in greedy order of what each adds to those before it, int64 (n,); the state is unchanged.

        Each step takes the input that adds the most, the first of ties; once none adds anything, the rest follow in
        order. This implementation evaluates all inputs again at every step.

        Source: Rothermel et al. (2001), Prioritizing Test Cases for Regression Testing, additional coverage.
        """
        # A copy, since looking for an order must not count as covering.
        grown, order, left = copy.deepcopy(self), [], np.ones(len(seen), np.bool_)
        while left.any():
            gains = np.where(left, grown.gain(seen), 0)
            best = int(gains.argmax())
            # Greedy order ends here: no remaining input adds anything.
            if gains[best] == 0:
                break
            grown.update(seen.take(slice(best, best + 1)))
            order.append(best)
            left[best] = False
        return np.concatenate([np.array(order, np.int64), np.flatnonzero(left)])

    @abstractmethod
    def update(self, seen: Activations) -> None:
        """Count the items that inputs cover as covered."""

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state as arrays by name, to be saved."""

    @abstractmethod
    def restore(self, state: Arrays) -> Self:
        """Restore the state of another with the same profile; return itself."""


class CellCoverage(Coverage):
    """Coverage of cells: each input hits some of them, whatever other inputs do.

    ``hits`` maps activations of n inputs to the cells they hit, int64 (n, m): below ``cells``, none twice in a row,
    padded with ``NO_CELL``; it is called on inputs with finite activations only, the others hit nothing and are
    counted. ``impossible`` is the number of cells that no input can hit, which are excluded from the total.
    """

    _unknown = 0

    def __init__(
        self,
        cells: int,
        hits: Callable[[Activations], Counts],
        impossible: int = 0,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self.total = cells - impossible
        self._hits, self._remarks = hits, remarks
        self._seen = np.zeros(cells, np.bool_)

    @property
    def remarks(self) -> tuple[str, ...]:
        unknown = f"{self._unknown} inputs without finite activations, which cover nothing"
        return (*self._remarks, unknown) if self._unknown else self._remarks

    @property
    def covered(self) -> int:
        return int(self._seen.sum())

    def gain(self, seen: Activations) -> Counts:
        counts = [self._new(self._found(block)).sum(axis=1) for block in seen.blocks()]
        return np.concatenate(counts) if counts else np.zeros(0, np.int64)

    def sequential_gain(self, seen: Activations) -> Counts:
        rows, cells = self._additions(seen)
        first = np.full(len(self._seen), len(seen))
        # A cell counts for the first input that hits it.
        np.minimum.at(first, cells, rows)
        return np.bincount(first[first < len(seen)], minlength=len(seen)).astype(np.int64)

    def additional_order(self, seen: Activations) -> Counts:
        rows, cells = self._additions(seen)
        of_row = np.searchsorted(rows, np.arange(len(seen) + 1))
        by_cell = np.argsort(cells, kind="stable")
        of_cell = np.searchsorted(cells, np.arange(len(self._seen) + 1), sorter=by_cell)
        # The number of uncovered cells that each input hits.
        left = np.diff(of_row)
        waiting = np.ones(len(self._seen), np.bool_)
        order: list[int] = []
        while len(order) < len(seen) and left.max() > 0:
            best = int(left.argmax())
            order.append(best)
            taken = cells[of_row[best] : of_row[best + 1]]
            taken = taken[waiting[taken]]
            waiting[taken] = False
            who = [rows[by_cell[of_cell[cell] : of_cell[cell + 1]]] for cell in taken]
            # Every input that hits a newly covered cell would now add one less.
            left -= np.bincount(np.concatenate(who), minlength=len(seen))
        return np.concatenate([np.array(order, np.int64), np.setdiff1d(np.arange(len(seen)), order)])

    def update(self, seen: Activations) -> None:
        for block in seen.blocks():
            finite = block.finite
            self._unknown += int((~finite).sum())
            self.count(self._hits(block if finite.all() else block.take(finite)))

    def count(self, hits: Counts) -> None:
        """Count the cells that inputs hit, int64 (n, m), as covered."""
        self._seen[hits[hits != NO_CELL]] = True

    def state(self) -> dict[str, NDArray[Any]]:
        # A bit per cell, to keep checkpoints small.
        return {"seen": np.packbits(self._seen), "unknown": np.array(self._unknown)}

    def restore(self, state: Arrays) -> Self:
        self._seen, self._unknown = self._unpacked(state), int(state["unknown"])
        return self

    def _found(self, seen: Activations) -> Counts:
        """Return the cells that each input hits, int64 (n, m)."""
        finite = seen.finite
        if finite.all():
            return self._hits(seen)
        known = self._hits(seen.take(finite))
        hits = np.full((len(seen), known.shape[1]), NO_CELL)
        hits[finite] = known
        return hits

    def _new(self, hits: Counts) -> NDArray[np.bool_]:
        new: NDArray[np.bool_] = (hits != NO_CELL) & ~self._seen[hits]
        return new

    def _additions(self, seen: Activations) -> tuple[Counts, Counts]:
        """Return all pairs of an input and an uncovered cell that it hits, ordered by input, int64 (k,) each."""
        rows, cells, start = [], [], 0
        for block in seen.blocks():
            hits = self._found(block)
            row, column = np.nonzero(self._new(hits))
            rows.append(row + start)
            cells.append(hits[row, column])
            start += len(block)
        nothing = np.zeros(0, np.int64)
        return np.concatenate([nothing, *rows]), np.concatenate([nothing, *cells])

    def _unpacked(self, state: Arrays) -> NDArray[np.bool_]:
        return np.unpackbits(state["seen"], count=len(self._seen)).astype(np.bool_)


@dataclass(frozen=True, kw_only=True)
class Criterion(Component):
    """A test adequacy criterion: its fit on the training images, and the items it counts as covered."""

    reads_labels: ClassVar[bool] = False
    """Whether its fit reads the labels of the training images."""

    layers: Annotated[
        tuple[str, ...] | None, "names of the layers whose units count; default: the hidden ones and the softmax"
    ] = None

    @property
    def learns(self) -> bool:
        """Whether the criterion learns from training images at all."""
        return type(self).profile is not Criterion.profile

    @property
    def positions(self) -> bool:
        """Whether the criterion reads every position of feature maps, which activations must then include."""
        return False

    def profile(self, reference: ReferenceData) -> dict[str, NDArray[Any]]:
        """Return the arrays fitted on the training images, by name; none by default."""
        return {}

    @abstractmethod
    def coverage(self, profile: Arrays, like: Activations) -> Coverage:
        """Return empty coverage; ``like`` are any activations of the model, read for their layers."""

    def counted(self, seen: Activations) -> tuple[str, ...]:
        """Return the names of the layers whose units count."""
        return self.layers or seen.counted

    @property
    def selective(self) -> bool:
        """Whether the criterion uses a selection of the units that count."""
        return type(self).units is not Criterion.units

    def units(self, profile: Arrays, like: Activations) -> NDArray[np.int64]:
        """Return the units that the criterion uses, int64; by default all that count.

        They are columns of ``Activations.means``, or of ``Activations.positions`` if it reads every position.
        """
        return like.units(self.counted(like))
