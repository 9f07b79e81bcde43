"""The fault counts of a campaign: one accounting for all regression fuzzers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.regression_faults import OperatorCount, Snapshot
from temper.generators.regression.model_versions import BOTH_FAIL, FAULT, UNFAITHFUL, VersionOutputs, probability_drop
from temper.generators.regression.mutation_queue import Rows
from temper.generators.regression.pixel_mutations import Pixels


@dataclass(frozen=True, eq=False)
class Roots:
    """The seeds, which both versions get right: images, true labels, indices in the data set's part, both answers."""

    x: Pixels
    y: Rows
    index: Rows
    answers: VersionOutputs

    def __len__(self) -> int:
        return len(self.x)

    @property
    def drops(self) -> NDArray[np.float32]:
        """How far the new version's probability of the true label is below the old one's."""
        return probability_drop(self.answers, self.y)


@dataclass(frozen=True, eq=False)
class Mutants:
    """A round of mutants, row by row, grouped by the image they were derived from.

    ``source`` is the row of the root, ``entry`` the fuzzer's number of the mutated image, ``operator`` the position of
    the operator, ``generation`` how often it was mutated, including this time, ``drop`` that of its parent image, and
    ``changed`` whether it differs from its parent.
    """

    x: Pixels
    source: Rows
    entry: Rows
    operator: Rows
    generation: Rows
    drop: NDArray[np.float32]
    changed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Rows) -> Mutants:
        """Return some rows."""
        return Mutants(*(array[rows] for array in vars(self).values()))


@dataclass(frozen=True, eq=False)
class MutantOutcomes:
    """The outcomes of mutants: their kinds (``model_versions.classify``) and both versions' answers, row by row."""

    kind: NDArray[np.int8]
    answers: VersionOutputs


class FaultAccounting:
    """Counts mutants and keeps faults.

    ``found`` marks the wrong labels (n, classes) that the new version gave to faults of each root.
    """

    def __init__(self, roots: Roots, operators: Sequence[str]) -> None:
        self._names = tuple(operators)
        self._shape = roots.x.shape[1:]
        self.found = np.zeros(roots.answers.p1.shape, np.bool_)
        self.mutants = self.rfi = self.failures = 0
        self._counts = np.zeros((4, len(operators)), np.int64)
        self._faults: list[tuple[Pixels, Rows]] = []
        self.curve: list[Snapshot] = []

    def count(self, mutants: Mutants, outcomes: MutantOutcomes) -> None:
        """Record a round."""
        kind = outcomes.kind
        wrong = outcomes.answers.p2.argmax(axis=1)
        for row, where in zip(
            self._counts, (slice(None), kind != UNFAITHFUL, kind == FAULT, kind == BOTH_FAIL), strict=True
        ):
            row += np.bincount(mutants.operator[where], minlength=len(row))
        rows = np.flatnonzero(kind == FAULT)
        if len(rows):
            source = mutants.source[rows]
            self.found[source, wrong[rows]] = True
            columns = (source, wrong[rows], mutants.generation[rows], self.mutants + rows + 1, mutants.entry[rows])
            self._faults.append((mutants.x[rows], np.stack([*columns, mutants.operator[rows]])))
        self.mutants += len(mutants)
        self.rfi += len(rows)
        # A fault fails in the new version as well.
        self.failures += len(rows) + int((kind == BOTH_FAIL).sum())

    def snapshot(self, model_calls: int, seconds: float, pool: int) -> None:
        """Add the current counts to the curve."""
        seeds = int(self.found.any(axis=1).sum())
        counts = (self.mutants, model_calls, seconds, self.rfi, self.urf, seeds, self.failures, pool)
        self.curve.append(Snapshot(*counts))

    @property
    def urf(self) -> int:
        """The distinct pairs of a root and a wrong label."""
        return int(self.found.sum())

    @property
    def operators(self) -> tuple[OperatorCount, ...]:
        """The outcomes of each operator's mutants."""
        return tuple(OperatorCount(name, *map(int, row)) for name, row in zip(self._names, self._counts.T, strict=True))

    @property
    def faults(self) -> tuple[Pixels, Rows]:
        """The faults: images uint8 (n, h, w, c), and int64 (6, n).

        The six rows are root, wrong label, generation, mutants until then, entry and last operator.
        """
        images, columns = zip(*self._faults, strict=True) if self._faults else ((), ())
        return (
            np.concatenate(images) if images else np.zeros((0, *self._shape), np.uint8),
            np.concatenate(columns, axis=1) if columns else np.zeros((6, 0), np.int64),
        )

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return what ``restore`` needs: arrays and plain values."""
        images, columns = self.faults
        arrays = {"found": self.found, "counts": self._counts, "images": images, "columns": columns}
        plain = {name: getattr(self, name) for name in ("mutants", "rfi", "failures")}
        return arrays, plain | {"curve": [vars(snapshot) for snapshot in self.curve]}

    def restore(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        """Resume from a state."""
        self.found, self._counts = arrays["found"], arrays["counts"]
        self._faults = [(arrays["images"], arrays["columns"])]
        self.curve = [Snapshot(**snapshot) for snapshot in plain["curve"]]
        for name in ("mutants", "rfi", "failures"):
            setattr(self, name, plain[name])
