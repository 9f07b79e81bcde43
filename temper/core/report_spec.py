"""The input of the report: its tables, expected values and the experiment around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from temper.core.component import Plain

CellFormat = Literal["mean ± sd", "mean", "mean [lower, upper]", "n"]
Best = Literal["bold", "none"]
TableFigure = Literal["heatmap", "bars", "radar"]
Labels = Mapping[str, Plain]

SMOKE = "SMOKE RUN"
"""The mark on every table and figure of a smoke run, so that it cannot pass for a result."""

MAX_CLASSES = 12  # a figure shows only the first ones: more do not fit

# Columns of every tidy row by which a table may be laid out, in addition to the experiment's axes.
LEVELS = ("model", "examples", "metric", "group", "seed")


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A table: a pivot of the tidy rows of one evaluation.

    ``source`` is the evaluation's stage (``from`` in a file). ``rows`` and ``columns`` name what the table is laid out
    by, outermost first: an axis, or one of ``LEVELS``. ``metric`` is the only metric shown; ``None`` shows all and
    requires ``metric`` among the rows or columns. ``where`` keeps the rows with a value, or one of several. ``percent``
    shows proportions as percentages. ``against`` names a metric, such as a number of inputs, that places the points of
    the table's curves instead of the axis; ``figure`` is the kind of figure drawn in addition to the table.
    """

    name: str
    source: str
    rows: tuple[str, ...] = ("model",)
    columns: tuple[str, ...] = ("examples",)
    metric: str | None = None
    cell: CellFormat = "mean ± sd"
    best: Best = "none"
    caption: str = ""
    against: str | None = None
    figure: TableFigure = "heatmap"
    where: Mapping[str, Plain | tuple[Plain, ...]] = field(default_factory=dict)
    percent: bool = True

    @property
    def levels(self) -> tuple[str, ...]:
        """All levels of the table's layout."""
        return self.rows + self.columns

    def allowed(self, level: str) -> tuple[Plain, ...] | None:
        """Return the values of ``level`` that the table keeps; ``None`` keeps all."""
        if level == "metric" and self.metric is not None:
            return (self.metric,)
        if level not in self.where:
            return None
        value = self.where[level]
        return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True, kw_only=True)
class ExpectedSpec:
    """A published value of a table's cell, in the table's units, and the tolerance for reproducing it.

    ``row`` and ``column`` are labels by level; a plain value is the label of the table's outermost level.
    """

    table: str
    row: Labels | Plain
    column: Labels | Plain
    value: float
    tolerance: float
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageGrid:
    """Example images: (k, h, w, c) in [0, 1] before and after, true and predicted labels (k,).

    An empty predicted label is unknown and not shown.
    """

    name: str
    clean: NDArray[Any]
    perturbed: NDArray[Any]
    true: Sequence[Any]
    predicted: Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class ClassGrid:
    """Example images by class: a few of every class, (k, h, w, c) in [0, 1], before and after.

    ``predicted`` has a text for each, empty if unknown; ``wrong`` marks those known to be misclassified.
    """

    name: str
    classes: Sequence[str]
    clean: Sequence[NDArray[Any]]
    made: Sequence[NDArray[Any]]
    predicted: Sequence[Sequence[str]]
    wrong: Sequence[Sequence[bool]]


@dataclass(frozen=True, kw_only=True)
class DirectionGrid(ClassGrid):
    """Example faults of each of the most frequent directions, such as ``4 → 9``, before and after."""


@dataclass(frozen=True, kw_only=True)
class RelevanceMap:
    """The signed relevance of each pixel to each class, (classes, h, w, c); nan where a class has none."""

    name: str
    classes: Sequence[str]
    relevance: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class LayerMap:
    """The suspiciousness of each unit of each layer for each class.

    ``scores`` is (classes, units), units counted through ``layers`` (name and number of units), nan where a class has
    none, possibly infinite; ``selected`` has the suspicious units of each class.
    """

    name: str
    classes: Sequence[str]
    layers: Sequence[tuple[str, int]]
    scores: NDArray[Any]
    selected: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class ScoreHistograms:
    """The scores of inputs: ``values`` by score and set, float64; empty if a set has none, nan if an input has none."""

    name: str
    scores: Sequence[str]
    sets: Sequence[str]
    values: Sequence[Sequence[NDArray[Any]]]


@dataclass(frozen=True, kw_only=True)
class ScoreCorrelations:
    """The agreement of scores: for each set a matrix (scores, scores) of rank correlations, nan where undefined."""

    name: str
    scores: Sequence[str]
    sets: Sequence[str]
    correlations: Sequence[NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class FaultCurves:
    """How soon orders find faults: by set and order, the number found after each number of inputs, from 0."""

    name: str
    curves: Mapping[str, Mapping[str, NDArray[Any]]]


Picture = ImageGrid | ClassGrid | RelevanceMap | LayerMap | ScoreHistograms | ScoreCorrelations | FaultCurves


@dataclass(frozen=True, kw_only=True)
class PictureContext:
    """What an artefact does not know itself but needs for its pictures.

    ``name`` is the label of its task; ``class_names`` returns the names of the first n classes, ``originals`` the images
    (k, h, w, c) with given indices that the stage started from, or ``None`` if these are unknown.
    """

    name: str
    class_names: Callable[[int], Sequence[str]]
    originals: Callable[[NDArray[Any]], NDArray[Any] | None]


@dataclass(frozen=True, kw_only=True)
class ReportedExperiment:
    """The experiment around the numbers.

    ``axes`` holds the values of every axis in file order; ``order`` by stage the labels of other levels (``model``,
    ``examples``) in file order, with the remaining labels in order of appearance. ``protocols`` is a note by stage
    (``transfer``). ``strength`` maps an axis to the attack parameter it sweeps, ``model_axes`` a model to the axes it
    varies over itself; both are used for the warnings. ``costs`` has a row for each task: its label as ``stage``, its
    kind, and numbers (``seconds``, ``images``, ``peak_memory`` in bytes); ``reduced`` maps tasks that ran out of memory
    to the reduced values they ran with; ``damaged`` are tasks with corrupted artefacts; ``remarks`` are sentences of
    stages about their artefacts, each prefixed with the stage or the task; ``classes`` are the names of the classes of
    each data set, in the order of their labels; ``failures`` are rows of plain values; ``resolved`` is the experiment
    file as run; ``examples``, ``localisation`` and ``scores`` are the contents of figures.
    """

    name: str
    description: str = ""
    mode: str = ""
    smoke: bool = False
    seeds: Sequence[int] = ()
    axes: Mapping[str, Sequence[Plain]] = field(default_factory=dict)
    order: Mapping[str, Mapping[str, Sequence[Plain]]] = field(default_factory=dict)
    protocols: Mapping[str, str] = field(default_factory=dict)
    strength: Mapping[str, str] = field(default_factory=dict)
    model_axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    costs: Sequence[Mapping[str, Any]] = ()
    reduced: Mapping[str, str] = field(default_factory=dict)
    damaged: Sequence[str] = ()
    remarks: Sequence[str] = ()
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    failures: Sequence[Mapping[str, Any]] = ()
    resolved: str = ""
    examples: Sequence[Picture] = ()
    localisation: Sequence[Picture] = ()
    scores: Sequence[Picture] = ()

    def values(self, level: str, stage: str) -> Sequence[Plain]:
        """Return the labels of a level of a stage's results in declared order; empty where none are declared."""
        if level == "seed":
            return self.seeds
        return self.axes.get(level) or self.order.get(stage, {}).get(level, ())
