"""The small families: targets, localisers, generators, repairs and evaluations.

A family's ``produce`` is final where it enforces what all members share; a member implements one method.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

from temper.core.artefacts import Artefact, Data, Examples, Results, Row
from temper.core.classifier import Classifier
from temper.core.component import Part, Plain, Ref
from temper.core.report_spec import TableFigure
from temper.core.run import Run
from temper.core.stage import Stage
from temper.nn.inspection.class_order_check import ClassMismatch, mismatch_of


@dataclass(frozen=True, kw_only=True)
class Target(Stage):
    """A classifier under test."""

    section = "targets"
    produces = Classifier

    dataset: Annotated[Ref[Data], "the data set this model classifies"]

    def review(self, artefact: Artefact, run: Run) -> None:
        assert isinstance(artefact, Classifier)
        data = run[self.dataset]
        names = data.info.class_names
        # Not shown in smoke runs, whose models are undertrained.
        if found := mismatch_of(artefact, data.test):
            run.remark(f"{found.text(names)}. {self.advice(found, names)}", smoke=False)

    def advice(self, found: ClassMismatch, names: Sequence[str]) -> str:
        """Return a sentence with the remedy for a mismatch between the model and its classes."""
        if found.order is None:
            return "Look at the images, their labels and how the model was trained."
        wanted = sorted(range(len(names)), key=found.order.__getitem__)
        return (
            f"Give the data set its classes in the order of the model's outputs: {', '.join(names[i] for i in wanted)} "
            f"(classes: {wanted}, counted in their present order)."
        )


class Localiser(Stage):
    """Finds suspicious neurons or pixels. Members set ``produces`` to what they return."""

    section = "localise"


class Generator(Stage):
    """Generates test inputs, one part (training, validation, test) at a time: ``run.part``.

    What a generator learns beforehand, always from the training part, is among its ``preparations``.
    """

    section = "generate"
    produces = Examples
    perturbs: ClassVar[bool] = True
    """Whether it changes images rather than selecting them."""

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "test" if field_name == "data" else "train"


class Repair(Stage):
    """Derives a better (or a regressed) model from another."""

    section = "repair"
    produces: ClassVar[type[Classifier]] = Classifier

    def review(self, artefact: Artefact, run: Run) -> None:
        images = getattr(self, "data", None)  # the images it was trained on, if it was trained
        if (
            isinstance(artefact, Classifier)
            and isinstance(images, Ref)
            and (found := mismatch_of(artefact, run[images]))
        ):
            names = run.origin(images).classes or tuple(map(str, range(artefact.num_classes)))
            run.remark(f"{found.text(names)}, including those it was trained on.", smoke=False)


class Evaluation(Stage):
    """Measures; returns tidy rows and writes no files.

    ``expand`` splits an evaluation into cells, each the same component with narrower fields, that are computed, stored
    and may fail independently. ``metrics`` names what it measures, the headline first; ``rows`` and ``columns`` lay out
    its default table, which shows the headline unless ``metric`` is among them and is drawn as ``figure``.
    """

    section = "evaluate"
    produces = Results
    metrics: ClassVar[tuple[str, ...]]
    rows: ClassVar[tuple[str, ...]] = ("model",)
    columns: ClassVar[tuple[str, ...]] = ("examples",)
    figure: ClassVar[TableFigure] = "heatmap"
    names_sources: ClassVar[bool] = False
    """Whether rows may name the source data sets of images, which are then part of the result."""

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "test"

    @property
    def stochastic(self) -> bool:
        return False

    def expand(self) -> Iterator[Evaluation]:
        """Yield the cells; by default the evaluation itself."""
        yield self

    def gathers(self, column: str) -> bool:
        """Whether one task reads all values of a column of its results (an axis, ``seed``, ``model``, ``examples``).

        By default all do. An evaluation varies over the axes that it does not gather.
        """
        return True

    def suits(self, columns: Mapping[str, Sequence[Plain]]) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every reason this evaluation cannot use the results it reads.

        ``columns`` has the values of ``metric``, ``model``, ``examples``, and of each axis that these results vary
        over. Must not import a framework.
        """
        yield from ()

    def about(self) -> dict[str, str]:
        """Return the values of a cell's columns ``model`` and ``examples``, for a cell that has no rows yet."""
        return {}

    @abstractmethod
    def measure(self, run: Run) -> Iterable[Row]:
        """Yield the rows of one cell."""

    @final
    def produce(self, run: Run) -> Results:
        return Results(tuple(self.measure(run)))
