"""The small families: targets, localisers, generators, repairs and evaluations.

A family's ``produce`` is final where it owns what must be the same for all its members; a member fills one hole.
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
from temper.nn.inspection.class_order import Doubt, doubt_of


@dataclass(frozen=True, kw_only=True)
class Target(Stage):
    """A classifier under test."""

    section = "targets"
    produces = Classifier

    dataset: Annotated[Ref[Data], "the data set this model classifies"]

    def review(self, made: Artefact, run: Run) -> None:
        assert isinstance(made, Classifier)
        data = run[self.dataset]
        names = data.info.class_names
        if found := doubt_of(made, data.test):
            run.remark(f"{found.text(names)}. {self.advice(found, names)}", smoke=False)

    def advice(self, found: Doubt, names: Sequence[str]) -> str:
        """Return what to do about a doubt, as a sentence."""
        if found.order is None:
            return "Look at the images, their labels and how the model was trained."
        wanted = sorted(range(len(names)), key=found.order.__getitem__)
        return (
            f"Give the data set its classes in the order of the model's outputs: {', '.join(names[i] for i in wanted)} "
            f"(classes: {wanted}, counted in their present order)."
        )


class Localiser(Stage):
    """Finds which neurons or pixels are to blame. Members set ``produces`` to what they return."""

    section = "localise"


class Generator(Stage):
    """Makes test inputs, one part (training, validation, test) at a time: ``run.part``.

    What a generator learns before, of the training part whatever part is wanted, is among its ``preparations``.
    """

    section = "generate"
    produces = Examples
    perturbs: ClassVar[bool] = True
    """Whether it changes images, rather than choosing among them."""

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "test" if field_name == "data" else "train"


class Repair(Stage):
    """Makes a better (or a regressed) model out of another."""

    section = "repair"
    produces: ClassVar[type[Classifier]] = Classifier

    def review(self, made: Artefact, run: Run) -> None:
        images = getattr(self, "data", None)  # the images it learnt from, if it has learnt
        if isinstance(made, Classifier) and isinstance(images, Ref) and (found := doubt_of(made, run[images])):
            names = run.origin(images).classes or tuple(map(str, range(made.num_classes)))
            run.remark(f"{found.text(names)}, among them those it has learnt from.", smoke=False)


class Evaluation(Stage):
    """Measures; returns tidy rows and writes nothing.

    ``expand`` splits an evaluation into cells, each the same component with narrower fields, that are computed,
    kept and may fail on their own. ``metrics`` names what it measures, the headline first; ``rows`` and ``columns``
    lay out its default table, which shows the headline unless ``metric`` is among them and is drawn as ``figure``.
    """

    section = "evaluate"
    produces = Results
    metrics: ClassVar[tuple[str, ...]]
    rows: ClassVar[tuple[str, ...]] = ("model",)
    columns: ClassVar[tuple[str, ...]] = ("examples",)
    figure: ClassVar[TableFigure] = "heatmap"
    names_sources: ClassVar[bool] = False
    """Whether rows may name the data sets that images come from, which then are part of what it returns."""

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "test"

    @property
    def stochastic(self) -> bool:
        return False

    def expand(self) -> Iterator[Evaluation]:
        """Yield the cells; by default the evaluation itself."""
        yield self

    def gathers(self, column: str) -> bool:
        """Whether all values of a column of the results read (an axis, ``seed``, ``model``, ``examples``) meet in one work.

        By default all do. An evaluation varies over the axes that it does not gather.
        """
        return True

    def suits(self, columns: Mapping[str, Sequence[Plain]]) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every way this evaluation cannot use the results it reads.

        ``columns`` has the values of ``metric``, ``model``, ``examples``, and of each axis that these results vary over.
        Must not import a framework.
        """
        yield from ()

    def about(self) -> dict[str, str]:
        """Return what a cell's rows say in the columns ``model`` and ``examples``, for a cell that has no rows yet."""
        return {}

    @abstractmethod
    def measure(self, run: Run) -> Iterable[Row]:
        """Yield the rows of one cell."""

    @final
    def produce(self, run: Run) -> Results:
        return Results(tuple(self.measure(run)))
