"""The results of a fuzzer: its corner cases and the outcome of every candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, read_json, write_json
from temper.system import csv_files

CORNER_CASE, REFUSED, UNREALISTIC, NOTHING_NEW = "corner case", "refused", "unrealistic", "adds nothing"
"""The outcomes of a candidate."""


@dataclass(frozen=True)
class Candidate:
    """One generated image: its seed, its label and its outcome.

    ``seed`` is the index of the image in the data set's part, ``depth`` the number of augmentations; ``predicted`` is
    -1 if it was refused. ``outcome`` is one of the four, ``reason`` says why it was refused. ``realism`` and
    ``gains`` follow the order of the fuzzer's measures and criteria; nan and -1 where an earlier gate rejected the
    candidate.
    """

    iteration: int
    seed: int
    depth: int
    seed_label: int
    label: int
    predicted: int
    outcome: str
    reason: str
    realism: tuple[float, ...]
    gains: tuple[int, ...]


@dataclass(frozen=True)
class Iteration:
    """The outcome of one fuzzer iteration.

    ``control`` is the share of unchanged clean images that would have been admitted at its start, nan without guidance;
    ``coverage`` the share covered at its end, by criterion.
    """

    iteration: int
    queue: int
    refused: int
    unrealistic: int
    nothing_new: int
    corner_cases: int
    failures: int
    control: float
    coverage: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class CornerCases(Examples):
    """Corner cases; those that the model gets wrong are failures.

    ``iterations`` and ``candidates`` are the log, also written as human-readable log.csv and candidates.csv.
    ``rejected`` float32 (k, h, w, c) are the candidates that a gate rejected, in log order, if they were kept.
    """

    kind: ClassVar[str] = "corner_cases"

    measures: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    iterations: tuple[Iteration, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    rejected: NDArray[np.float32] | None = None

    def save(self, folder: Path) -> None:
        super().save(folder)
        log = {
            "measures": self.measures,
            "criteria": self.criteria,
            "iterations": [vars(iteration) for iteration in self.iterations],
            "candidates": [vars(candidate) for candidate in self.candidates],
        }
        write_json(folder / "log.json", log)
        coverage = [f"coverage {name}" for name in self.criteria]
        _write(folder / "log.csv", self.iterations, {"coverage": coverage})
        columns = {"realism": self.measures, "gains": [f"gain {name}" for name in self.criteria]}
        _write(folder / "candidates.csv", self.candidates, columns)
        if self.rejected is not None:
            np.save(folder / "rejected.npy", self.rejected)

    @classmethod
    def load(cls, folder: Path) -> CornerCases:
        plain = Examples.load(folder)
        log = read_json(folder / "log.json")
        path = folder / "rejected.npy"
        return cls(
            **{f.name: getattr(plain, f.name) for f in fields(Examples)},
            measures=tuple(log["measures"]),
            criteria=tuple(log["criteria"]),
            iterations=tuple(Iteration(**_tuples(row)) for row in log["iterations"]),
            candidates=tuple(Candidate(**_tuples(row)) for row in log["candidates"]),
            # Memory-mapped: rejected images may be many times the corner cases.
            rejected=np.load(path, mmap_mode="r") if path.exists() else None,
        )


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _write(path: Path, rows: Sequence[Any], spread: Mapping[str, Sequence[str]]) -> None:
    """Write rows as CSV; a field of several numbers gets one column for each."""
    columns = [column for name in vars(rows[0]) for column in spread.get(name, [name])] if rows else []
    cells = [
        [cell for name, value in vars(row).items() for cell in (value if name in spread else [value])] for row in rows
    ]
    path.write_bytes(csv_files.encoded([columns, *cells] if rows else []))
