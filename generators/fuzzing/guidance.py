"""Guidance: keeps candidates that increase coverage."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.checkpoint import with_prefix
from temper.nn.adequacy.coverage import CellCoverage, Counts, Coverage
from temper.nn.inspection.activations import Activations

Rule = Literal["any", "all"]


@dataclass(eq=False)
class Guidance:
    """Coverage states of one or more criteria, and what a candidate must add to them.

    ``least`` is the number of items a candidate must newly cover by each criterion, ``rule`` whether by any or by all.
    Without criteria everything is admitted.
    """

    coverages: list[Coverage]
    rule: Rule
    least: tuple[int, ...]

    @classmethod
    def of(cls, coverages: Sequence[Coverage], rule: Rule) -> Guidance:
        """Return guidance that requires at least one new item."""
        return cls(list(coverages), rule, (1,) * len(coverages))

    def separate(self) -> Guidance:
        """Return guidance with a separate state that starts as a copy of this one's."""
        return copy.deepcopy(self)

    def count(self, seen: Activations) -> None:
        """Add the coverage of inputs, whatever they add."""
        for coverage in self.coverages:
            coverage.update(seen)

    def gains(self, seen: Activations) -> Counts:
        """Return what each input alone would add by each criterion, int64 (criteria, n); the state is unchanged."""
        return np.array([coverage.gain(seen) for coverage in self.coverages], np.int64).reshape(
            len(self.coverages), len(seen)
        )

    def enough(self, gains: Counts) -> NDArray[np.bool_]:
        """Return whether gains (criteria, ...) suffice, bool (...)."""
        if not self.coverages:
            return np.ones(gains.shape[1:], np.bool_)
        # One bound per criterion, broadcast over the inputs.
        reached = gains >= np.reshape(self.least, (-1,) + (1,) * (gains.ndim - 1))
        return np.asarray(reached.any(axis=0) if self.rule == "any" else reached.all(axis=0))

    def admit(self, seen: Activations) -> tuple[NDArray[np.bool_], Counts]:
        """Add, in sequence, the coverage of each input that adds enough to those before; return which, and every gain.

        Returns bool (n,) and int64 (criteria, n): what each added, or would have added at its turn.
        """
        if not self.coverages:
            return np.ones(len(seen), np.bool_), np.zeros((0, len(seen)), np.int64)
        gains = self.gains(seen)
        # Gains only shrink as coverage grows, so an input that adds too little now always will.
        falling = all(isinstance(coverage, CellCoverage) for coverage in self.coverages)
        admitted = np.zeros(len(seen), np.bool_)
        for row in np.flatnonzero(self.enough(gains)) if falling else range(len(seen)):
            one = seen.take(slice(row, row + 1))
            gains[:, row] = self.gains(one)[:, 0]
            if self.enough(gains[:, row]):
                admitted[row] = True
                self.count(one)
        return admitted, gains

    def first(self, seen: Activations, order: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """Return the first inputs of an order that are admitted, at most ``most``, and add their coverage."""
        found: list[int] = []
        for row in order:
            if len(found) == most:
                break
            if self.admit(seen.take(slice(row, row + 1)))[0][0]:
                found.append(int(row))
        return np.array(found, np.int64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what ``restore`` needs, as arrays."""
        states = enumerate(coverage.state() for coverage in self.coverages)
        return {f"{number}.{name}": array for number, state in states for name, array in state.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a state of the same criteria."""
        for number, coverage in enumerate(self.coverages):
            coverage.restore(with_prefix(arrays, str(number)))

    @property
    def values(self) -> tuple[float, ...]:
        """The share covered so far, by criterion."""
        return tuple(coverage.value for coverage in self.coverages)


def smallest_above(gains: Counts, quantile: float) -> tuple[int, ...]:
    """Return the smallest integer above a quantile of gains (criteria, n), at least 1, by criterion."""
    # Strictly above the quantile: floor + 1.
    return tuple(int(np.floor(np.quantile(row, quantile))) + 1 for row in gains)
