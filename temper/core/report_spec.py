"""What the report is told: tables to make, values to expect, and the experiment around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from temper.core.component import Plain

CellFormat = Literal["mean ± sd", "mean", "mean [lower, upper]", "n"]
Best = Literal["bold", "none"]
TableFigure = Literal["heatmap", "bars", "radar"]
Labels = Mapping[str, Plain]

SMOKE = "SMOKE RUN"
"""What every table and figure of a smoke run says of itself, so that it cannot pass for a result."""

MAX_CLASSES = 12  # classes that a picture shows, the first ones

# Columns of every tidy row that a table may be laid out by, besides the experiment's axes.
LEVELS = ("model", "examples", "metric", "group", "seed")


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A table: a pivot of the tidy rows of one evaluation.

    ``source`` is the evaluation's stage (``from`` in a file). ``rows`` and ``columns`` name what the table is laid
    out by, outermost first: an axis, or one of ``LEVELS``. ``metric`` is the only metric shown; ``None`` shows all
    and asks for ``metric`` among the rows or columns. ``where`` keeps the rows with a value, or one of several.
    ``percent`` shows proportions as percentages. ``against`` names a metric, such as a number of inputs, that places the points
    of the table's curves instead of the axis; ``figure`` is what the table is drawn as besides.
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
        """Everything the table is laid out by."""
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
    """A published number of a table's cell, in the units the table shows, and how near counts as reproduced.

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
    """Examples to look at: images (k, h, w, c) in [0, 1] before and after, true and predicted labels (k,).

    An empty predicted label is not known, and not shown.
    """

    name: str
    clean: NDArray[Any]
    perturbed: NDArray[Any]
    true: Sequence[Any]
    predicted: Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class ClassGrid:
    """Examples of each class: of every class, a few images (k, h, w, c) in [0, 1] before and after.

    ``predicted`` has a text for each, empty where it is not known; ``wrong`` says which are known to be mistaken.
    """

    name: str
    classes: Sequence[str]
    clean: Sequence[NDArray[Any]]
    made: Sequence[NDArray[Any]]
    predicted: Sequence[Sequence[str]]
    wrong: Sequence[Sequence[bool]]


@dataclass(frozen=True, kw_only=True)
class DirectionGrid(ClassGrid):
    """Faults of each of the most frequent directions, such as ``4 → 9``, in place of classes; before and after."""


@dataclass(frozen=True, kw_only=True)
class RelevanceMap:
    """How relevant each pixel is to each class, signed: (classes, h, w, c), nan where a class has none."""

    name: str
    classes: Sequence[str]
    relevance: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class LayerMap:
    """How much each unit of each layer is to blame for each class.

    ``scores`` is (classes, units), units counted through ``layers`` (name and number of units), nan where a class has
    none, possibly infinite; ``selected`` has the units of each class that are held to blame.
    """

    name: str
    classes: Sequence[str]
    layers: Sequence[tuple[str, int]]
    scores: NDArray[Any]
    selected: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class ScoreHistograms:
    """The scores of each input: ``values`` by score and by set, float64, empty where a set has none, nan where an input has none."""

    name: str
    scores: Sequence[str]
    sets: Sequence[str]
    values: Sequence[Sequence[NDArray[Any]]]


@dataclass(frozen=True, kw_only=True)
class ScoreCorrelations:
    """How scores agree: of each set a table (scores, scores) of rank correlations, nan where there is none."""

    name: str
    scores: Sequence[str]
    sets: Sequence[str]
    correlations: Sequence[NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class FaultCurves:
    """How soon orders find faults: by set and by order, the number found after each number of inputs, none included."""

    name: str
    curves: Mapping[str, Mapping[str, NDArray[Any]]]


Picture = ImageGrid | ClassGrid | RelevanceMap | LayerMap | ScoreHistograms | ScoreCorrelations | FaultCurves


@dataclass(frozen=True, kw_only=True)
class ReportedExperiment:
    """The experiment around the numbers.

    ``axes`` holds the values of every axis in file order; ``order`` by stage the labels of other levels (``model``,
    ``examples``) in file order, where labels left out follow in order of appearance. ``protocols`` is a note by
    stage (``transfer``). ``strength`` maps an axis to the attack parameter it sweeps, ``model_axes`` a model to the
    axes it varies over itself; both serve the warnings. ``costs`` has a row for each
    piece of work: its label as ``stage``, what it is, and numbers (``seconds``, ``images``, ``peak_memory`` in
    bytes); ``reduced`` says of works that were made with less than the file says, when memory ran out, with what;
    ``damaged`` are works whose artefacts are not what was written; ``remarks`` are sentences of stages about what they made,
    each with the stage or the work in front; ``classes`` are the names of the classes of each data set, in the order of their labels;
    ``failures`` are rows of plain values; ``resolved`` is the experiment file as run;
    ``examples``, ``localisation`` and ``scores`` are what there is to look at.
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
    examples: Sequence[ImageGrid | ClassGrid] = ()
    localisation: Sequence[RelevanceMap | LayerMap] = ()
    scores: Sequence[ScoreHistograms | ScoreCorrelations | FaultCurves] = ()

    def values(self, level: str, stage: str) -> Sequence[Plain]:
        """Return the labels of a level of a stage's results in declared order; empty where none are declared."""
        if level == "seed":
            return self.seeds
        return self.axes.get(level) or self.order.get(stage, {}).get(level, ())
