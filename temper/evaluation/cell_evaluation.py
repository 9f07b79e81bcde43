"""Bases of evaluations that are split into cells: one for each model, set of examples, or pair of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, Self

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Part, Ref
from temper.core.families import Evaluation

Protocol = Literal["transfer", "white_box"]
ExamplesProtocol = Annotated[
    Protocol,
    "transfer: examples generated on the generator's own model; white_box: generated against each model",
]


@dataclass(frozen=True, kw_only=True)
class CellEvaluation(Evaluation):
    """An evaluation with a cell for each combination of the references in some of its fields.

    ``cells`` pairs each of these fields, tuples of references of which a cell has one, with the column of results that has
    the reference's label. The last field varies fastest.
    """

    cells: ClassVar[tuple[tuple[str, str], ...]] = (("models", "model"), ("examples", "examples"))
    reads_originals: ClassVar[bool] = False
    """Whether it also reads the images that its ``examples`` were derived from."""

    def expand(self) -> Iterator[Self]:
        names = [name for name, _ in self.cells]
        for refs in product(*(getattr(self, name) for name in names)):
            yield dataclasses.replace(self, **{name: (ref,) for name, ref in zip(names, refs, strict=True)})

    def about(self) -> dict[str, str]:
        return {column: getattr(self, name)[0].label for name, column in self.cells}

    @property
    def originals(self) -> tuple[Ref[Examples], ...]:
        """The images that each of ``examples`` was derived from."""
        return tuple(dataclasses.replace(ref, clean=True) for ref in getattr(self, "examples"))  # noqa: B009

    def references(self) -> Iterator[Ref[Any]]:
        yield from super().references()
        if self.reads_originals:
            yield from self.originals


@dataclass(frozen=True, kw_only=True)
class AttackedModels(CellEvaluation):
    """An evaluation of ``models`` whose other cell fields are generated for a model, or regenerated against each."""

    models: Annotated[tuple[Ref[Classifier], ...], "the models, one row each"]
    protocol: ExamplesProtocol = "white_box"

    def expand(self) -> Iterator[Self]:
        for cell in super().expand():
            others = [name for name, _ in self.cells if name != "models"]
            regenerated: dict[str, Any] = {
                name: self.regenerated(getattr(cell, name), cell.models[0]) for name in others
            }
            yield dataclasses.replace(cell, **regenerated)

    def regenerated(self, refs: tuple[Ref[Any], ...], model: Ref[Classifier]) -> tuple[Ref[Any], ...]:
        """Return what a model is evaluated on: as generated, or with the white-box protocol regenerated against it."""
        white_box = self.protocol == "white_box"
        return tuple(dataclasses.replace(ref, against=model.stage) if white_box else ref for ref in refs)


@dataclass(frozen=True, kw_only=True)
class FittedToModels(AttackedModels):
    """An evaluation of ``models`` with something that is fitted on images of ``data``."""

    data: Annotated[
        Ref[Examples] | None,
        "the images that scores and criteria are fitted on; default: the training images of the model's data set",
    ] = None

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "train" if field_name == "data" else "test"
