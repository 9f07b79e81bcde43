"""The pool of DRFuzz: images waiting to be mutated again until they are dead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from temper.generators.regression.mutation_queue import Entries, Rows, weighted_sample
from temper.generators.regression.pixel_mutations import Pixels

# The weight falls to 5 % after 20 generations, as in DRFuzz's released code.
_DECAY = math.log(1 / 0.05) / 20
_MOST_SELECTIONS = 10


def weight(generation: NDArray[Any], selected: NDArray[Any]) -> NDArray[np.float32]:
    """Return the unnormalised selection probability of entries: exp(-a (g + s / 2)), a = ln(20) / 20; 0 for s > 10."""
    decayed = np.exp(-_DECAY * (generation + selected / 2))
    return np.where(selected > _MOST_SELECTIONS, 0, decayed).astype(np.float32)


class MutantPool(Entries):
    """Entries; one with weight 0 is dead, releases its image and is never chosen again.

    ``right`` is the probability that the new version gives the true label, ``drop`` how far that is below the old
    version's; ``strongest`` the wrong label for which the new version's probability exceeds the old one's most.
    """

    columns: ClassVar[Mapping[str, type]] = {
        **Entries.columns,
        "selected": np.int16,
        "strongest": np.int16,
        "right": np.float32,
        "drop": np.float32,
        "weight": np.float32,
    }

    @property
    def living(self) -> Rows:
        """The entries that may be chosen."""
        return np.flatnonzero(self["weight"])

    def add(self, x: Pixels, **columns: Any) -> None:
        """Add entries with all columns but ``selected``, ``weight`` and ``slot``."""
        columns["selected"] = np.zeros(len(x))
        columns["weight"] = weight(np.asarray(columns["generation"]), columns["selected"])
        super().add(x, **columns)

    def choose(self, count: int, rng: np.random.Generator) -> Rows:
        """Return living entries sampled without replacement in proportion to their weights."""
        living = self.living
        return living[weighted_sample(self["weight"][living], count, rng)]

    def decay(self, entries: Rows) -> None:
        """Count a selection of entries and lower their weight; dead ones stay dead."""
        entries = entries[self["weight"][entries] > 0]
        self["selected"][entries] += 1
        weights = weight(self["generation"][entries], self["selected"][entries])
        self.kill(entries[weights == 0])
        self["weight"][entries] = weights

    def kill(self, entries: Rows) -> None:
        """Exclude entries from further selection."""
        entries = entries[self["weight"][entries] > 0]
        self["weight"][entries] = 0
        self.release(entries)

    def ancestors(self, entries: Rows, wanted: NDArray[np.bool_]) -> Rows:
        """Return the entries and ancestors whose strongest direction is wanted.

        ``wanted`` is bool (n, classes), a row for each entry and its ancestors.
        """
        found = []
        while len(entries):
            found.append(entries[wanted[np.arange(len(entries)), self["strongest"][entries]]])
            entries = self["parent"][entries].astype(np.int64)
            entries, wanted = entries[entries >= 0], wanted[entries >= 0]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
