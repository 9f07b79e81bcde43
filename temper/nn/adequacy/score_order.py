"""The scores of a set of inputs, and an order of inputs with the faults it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import ComparedArtefact, read_json, write_json
from temper.core.report_spec import Picture
from temper.nn.adequacy.score import Scores
from temper.nn.adequacy.score_comparison import fault_pictures, score_pictures


@dataclass(frozen=True, eq=False)
class InputScores(ComparedArtefact):
    """The scores of n inputs.

    ``name`` is the score's; ``values`` float64 (n,), higher first, nan where an input cannot be scored; ``remarks``
    are notes for the reader.
    """

    kind: ClassVar[str] = "scored"

    name: str
    values: Scores
    remarks: tuple[str, ...]

    @classmethod
    def comparison(cls, model: str, sets: Mapping[str, Mapping[str, Self]]) -> Iterator[Picture]:
        values = {label: {name: scores.values for name, scores in found.items()} for label, found in sets.items()}
        yield from score_pictures(model, values)

    def save(self, folder: Path) -> None:
        np.save(folder / "values.npy", self.values)
        write_json(folder / "about.json", {"name": self.name, "remarks": self.remarks})

    @classmethod
    def load(cls, folder: Path) -> Self:
        about = read_json(folder / "about.json")
        return cls(about["name"], _array(folder / "values.npy"), tuple(about["remarks"]))


@dataclass(frozen=True, eq=False)
class FaultOrder(ComparedArtefact):
    """An order of n inputs, and which of them are faults.

    ``name`` is the criterion of the order; ``order`` int64 (n,) has the inputs, highest priority first; ``faults`` bool
    (n,), indexed by input, not by rank, is whether the model is wrong on it.
    """

    kind: ClassVar[str] = "ordered"

    name: str
    order: NDArray[np.int64]
    faults: NDArray[np.bool_]
    remarks: tuple[str, ...]

    @property
    def found(self) -> NDArray[np.int64]:
        """The number of faults found after each number of inputs, from none to all, int64 (n + 1,)."""
        return np.concatenate([[0], np.cumsum(self.faults[self.order])])

    @classmethod
    def comparison(cls, model: str, sets: Mapping[str, Mapping[str, Self]]) -> Iterator[Picture]:
        curves = {label: {name: order.found for name, order in orders.items()} for label, orders in sets.items()}
        yield from fault_pictures(model, curves)

    def save(self, folder: Path) -> None:
        np.save(folder / "order.npy", self.order)
        np.save(folder / "faults.npy", self.faults)
        write_json(folder / "about.json", {"name": self.name, "remarks": self.remarks})

    @classmethod
    def load(cls, folder: Path) -> Self:
        about = read_json(folder / "about.json")
        order, faults = (_array(folder / f"{name}.npy") for name in ("order", "faults"))
        return cls(about["name"], order, faults, tuple(about["remarks"]))


def _array(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array
