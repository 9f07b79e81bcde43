"""The findings of a fuzzer so far: corner cases, rejected images and the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.corner_cases import CORNER_CASE, Candidate, CornerCases, Iteration
from temper.core.artefacts import Images
from temper.core.augmenter import Augmented, Seeds
from temper.core.realism import Measures

Arrays = Mapping[str, NDArray[Any]]
_COLUMNS = ("x", "y", "index", "variant", "depth", "masks")


@dataclass(frozen=True, eq=False)
class CandidateOutcomes:
    """The results of a batch: outcome, prediction (-1: none), realism (measures, n) and gains (criteria, n) by row."""

    made: Augmented
    outcome: NDArray[np.str_]
    predicted: NDArray[np.int64]
    realism: Measures
    gains: NDArray[np.int64]

    @property
    def failures(self) -> int:
        """The number of corner cases that the model gets wrong."""
        return int((self.predicted != self.made.y)[self.outcome == CORNER_CASE].sum())


@dataclass(eq=False)
class Findings:
    """The findings of a fuzzer so far; images that a gate rejected are kept only ``with_rejected``."""

    with_rejected: bool
    log: list[Iteration] = field(default_factory=list)
    _kept: list[Seeds] = field(default_factory=list)
    _rejected: list[Images] = field(default_factory=list)
    _candidates: list[Candidate] = field(default_factory=list)

    def add(self, iteration: int, batch: Seeds, outcomes: CandidateOutcomes) -> Seeds:
        """Record the results of a batch and return its corner cases as seeds."""
        for row in range(len(batch)):
            self._candidates.append(
                Candidate(
                    iteration=iteration,
                    seed=int(batch.index[row]),
                    depth=int(batch.depth[row]) + 1,
                    seed_label=int(batch.y[row]),
                    label=int(outcomes.made.y[row]),
                    predicted=int(outcomes.predicted[row]),
                    outcome=str(outcomes.outcome[row]),
                    reason=outcomes.made.refused.get(row, ""),
                    realism=tuple(outcomes.realism[:, row].tolist()),
                    gains=tuple(outcomes.gains[:, row].tolist()),
                )
            )
        corner = np.flatnonzero(outcomes.outcome == CORNER_CASE)
        if self.with_rejected:
            self._rejected.append(outcomes.made.x[outcomes.outcome != CORNER_CASE])
        parent = batch.take(corner)
        kept = replace(parent, x=outcomes.made.x[corner], y=outcomes.made.y[corner], depth=parent.depth + 1)
        self._kept.append(kept)
        return kept

    def corner_cases(self, measures: tuple[str, ...]) -> CornerCases:
        """Return the corner cases and the log; ``measures`` are the names of the measures of realism."""
        kept = joined(self._kept)
        return CornerCases(
            x=kept.x,
            y=kept.y,
            index=kept.index,
            measures=measures,
            iterations=tuple(self.log),
            candidates=tuple(self._candidates),
            rejected=np.concatenate(self._rejected) if self.with_rejected else None,
        )

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return what ``restore`` needs: arrays and plain JSON values."""
        arrays = arrays_of(joined(self._kept)) if self._kept else {}
        if self._rejected:
            arrays["rejected"] = np.concatenate(self._rejected)
        log, candidates = ([vars(row) for row in rows] for rows in (self.log, self._candidates))
        return arrays, {"log": log, "candidates": candidates}

    def restore(self, arrays: Arrays, plain: Mapping[str, Any], entropy: tuple[int, ...]) -> None:
        """Continue from a state."""
        self._kept = [seeds_of(arrays, entropy)] if "x" in arrays else []
        self._rejected = [arrays["rejected"]] if "rejected" in arrays else []
        self.log = [Iteration(**{**row, "coverage": tuple(row["coverage"])}) for row in plain["log"]]
        self._candidates = [
            Candidate(**{**row, "realism": tuple(row["realism"]), "gains": tuple(row["gains"])})
            for row in plain["candidates"]
        ]


def joined(parts: Sequence[Seeds]) -> Seeds:
    """Return the concatenation of seeds of one entropy."""

    def together(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    x, y, index, variant, depth, masks = map(together, _COLUMNS)
    return Seeds(x, y, index, variant, depth, parts[0].entropy, masks)


def arrays_of(seeds: Seeds) -> dict[str, NDArray[Any]]:
    """Return the arrays that ``seeds_of`` needs."""
    return {name: array for name in _COLUMNS if (array := getattr(seeds, name)) is not None}


def seeds_of(arrays: Arrays, entropy: tuple[int, ...]) -> Seeds:
    """Return seeds from their arrays."""
    columns: dict[str, Any] = {name: arrays.get(name) for name in _COLUMNS}
    return Seeds(**columns, entropy=entropy)
