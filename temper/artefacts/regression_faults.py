"""The results of a regression fuzzer: images that the old version of a model gets right and the new one wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import PER_CLASS, Examples, read_json, write_json
from temper.core.report_spec import Picture, PictureContext
from temper.nn.images.example_grids import direction_grid
from temper.system import csv_files

Integers = NDArray[np.int64]
_ARRAYS = ("v1", "v2", "generation", "found_at", "trace", "initial_index", "initial_v2")


def _none() -> Integers:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Snapshot:
    """The counts after a number of mutants; they exclude initial faults.

    ``rfi`` are faults, ``urf`` distinct pairs of a source image and the wrong label, ``seeds`` source images with a
    fault, ``v2_failures`` mutants that the new version gets wrong, whatever the old one predicts, ``pool`` the images
    waiting in the queue.
    """

    mutants: int
    model_calls: int
    seconds: float
    rfi: int
    urf: int
    seeds: int
    v2_failures: int
    pool: int


@dataclass(frozen=True)
class OperatorCount:
    """The outcomes of an operator's mutants: how many were valid (changed and within fidelity) and how many failed."""

    operator: str
    mutants: int
    faithful: int
    faults: int
    both_fail: int


@dataclass(frozen=True, eq=False)
class RegressionFaults(Examples):
    """Images, quantised to 1/255, that the reference gets right and the model under test wrong.

    ``v1`` and ``v2`` int64 (n,) are the labels predicted by the reference and the model, ``generation`` the number of
    mutations of an image, ``found_at`` the number of mutants until it was found. ``trace`` int8 (n, most generations)
    are the positions in ``operators`` of the operators applied to it, -1 after the last. Images that are faults before
    any mutation are listed separately: ``initial_index`` and ``initial_v2`` int64 (k,) are their positions in the data
    set's part and the labels predicted by the model. ``seed_count`` images were mutated.
    """

    kind: ClassVar[str] = "regression_faults"

    v1: Integers = field(default_factory=_none)
    v2: Integers = field(default_factory=_none)
    generation: Integers = field(default_factory=_none)
    found_at: Integers = field(default_factory=_none)
    trace: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 0), np.int8))
    initial_index: Integers = field(default_factory=_none)
    initial_v2: Integers = field(default_factory=_none)
    operators: tuple[OperatorCount, ...] = ()
    curve: tuple[Snapshot, ...] = ()
    seed_count: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("v1", "v2", "generation", "found_at", "trace"):
            if len(getattr(self, name)) != len(self):
                raise ValueError(
                    f"{name}: expected {len(self)} rows, one per fault, received {len(getattr(self, name))}"
                )

    def pictures(self, context: PictureContext) -> Iterator[Picture]:
        yield from direction_grid(context, self, PER_CLASS)

    def save(self, folder: Path) -> None:
        super().save(folder)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        write_json(
            folder / "log.json",
            {
                "operators": [vars(count) for count in self.operators],
                "curve": [vars(snapshot) for snapshot in self.curve],
                "seed_count": self.seed_count,
            },
        )
        _write(folder / "operators.csv", self.operators)
        _write(folder / "curve.csv", self.curve)

    @classmethod
    def load(cls, folder: Path) -> RegressionFaults:
        plain, log = Examples.load(folder), read_json(folder / "log.json")
        return cls(
            **{f.name: getattr(plain, f.name) for f in fields(Examples)},
            # Not memory-mapped: one small number for each fault.
            **{name: np.load(folder / f"{name}.npy") for name in _ARRAYS},
            operators=tuple(OperatorCount(**row) for row in log["operators"]),
            curve=tuple(Snapshot(**row) for row in log["curve"]),
            seed_count=log["seed_count"],
        )


def _write(path: Path, rows: Sequence[Any]) -> None:
    header = [tuple(vars(rows[0]))] if rows else []
    path.write_bytes(csv_files.encoded([*header, *(tuple(vars(row).values()) for row in rows)]))
