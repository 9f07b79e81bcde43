"""The results of a run as files: tidy rows, tables, figures, expected values and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from temper.core.report_spec import SMOKE, ExpectedSpec, ReportedExperiment, TableSpec
from temper.engine.report.drawing import draw, file_names
from temper.engine.report.figure_style import marked
from temper.engine.report.figures import table_figures
from temper.engine.report.page import Content, page
from temper.engine.report.warnings import warnings
from temper.engine.tables import expected_values as expectation
from temper.engine.tables.expected_values import ExpectedOutcome, compare, verdict
from temper.engine.tables.latex import latex
from temper.engine.tables.matrix import Matrix
from temper.engine.tables.pivot import TableError, build
from temper.system import csv_files

if TYPE_CHECKING:
    import pandas as pd


T = TypeVar("T")

MEASURED = ("value", "lower", "upper")
"""The columns of results that hold floats, whole ones too."""


@dataclass(frozen=True)
class Report:
    """What a run has to say in a few lines: the verdict on expected values, warnings, tables that failed."""

    verdict: str
    outcomes: tuple[ExpectedOutcome, ...]
    warnings: tuple[str, ...]
    faults: tuple[str, ...]


def write_report(
    write: Callable[[str, bytes | str], None],
    experiment: ReportedExperiment,
    frame: pd.DataFrame,
    holes: Sequence[Mapping[str, Any]] = (),
    tables: Sequence[TableSpec] = (),
    expected: Sequence[ExpectedSpec] = (),
) -> Report:
    """Give every result file to ``write``, by its name in the folder of results.

    A table that cannot be made is a fault of the report and keeps none of the others from being written.
    """
    write("results.csv", csv_files.encoded(result_rows(frame)))
    matrices, faults = _matrices(tables, frame, holes, experiment)
    for matrix in matrices:
        write(f"{matrix.spec.name}.csv", csv_files.encoded(matrix.grid()))
        write(f"{matrix.spec.name}.tex", latex(matrix))
    drawing = _Drawing()
    with marked(SMOKE if experiment.smoke else ""):
        figures = {matrix.spec.name: dict(drawing.all_of(table_figures(matrix).items())) for matrix in matrices}
        examples, localisation, scores = (
            [drawn for _, drawn in drawing.all_of((picture.name, partial(draw, picture)) for picture in found)]
            for found in (experiment.examples, experiment.localisation, experiment.scores)
        )
    drawn = [(name, png) for group in figures.values() for name, png in group.items()]
    drawn += [(picture.name, picture.png) for picture in (*examples, *localisation, *scores)]
    for name, (_, png) in zip(file_names(name for name, _ in drawn), drawn, strict=True):
        write(f"figures/{name}.png", png)

    by_name = {matrix.spec.name: matrix for matrix in matrices}
    outcomes = tuple(compare(spec, by_name) for spec in expected)
    if outcomes:
        rows = [list(expectation.COLUMNS), *expectation.records(outcomes)]
        write("expected.csv", csv_files.encoded(rows))
    if experiment.classes:
        named = [[name, str(i), text] for name, texts in experiment.classes.items() for i, text in enumerate(texts)]
        write("classes.csv", csv_files.encoded([["dataset", "label", "class"], *named]))
    cautions = (*warnings(frame, experiment), *drawing.left_out)
    content = Content(
        experiment=experiment,
        matrices=matrices,
        figures=figures,
        examples=examples,
        localisation=localisation,
        scores=scores,
        outcomes=outcomes,
        warnings=cautions,
        faults=faults,
    )
    write("report.html", page(content))
    return Report(verdict(outcomes), outcomes, cautions, tuple(faults))


class _Drawing:
    """Draws figures one by one; ``left_out`` are sentences on those that could not be drawn, which costs no other."""

    def __init__(self) -> None:
        self.left_out: list[str] = []

    def all_of(self, figures: Iterable[tuple[str, Callable[[], T]]]) -> Iterator[tuple[str, T]]:
        """Yield the figures that functions draw, each with its name."""
        for name, make in figures:
            try:
                figure = make()
            except Exception as error:  # noqa: BLE001 - numbers are worth more than pictures, whatever keeps one from being drawn
                told = f"a figure of {name} is left out: {str(error) or type(error).__name__}"
                if told not in self.left_out:
                    self.left_out.append(told)
                continue
            yield name, figure


def _matrices(
    tables: Sequence[TableSpec], frame: pd.DataFrame, holes: Sequence[Mapping[str, Any]], experiment: ReportedExperiment
) -> tuple[list[Matrix], list[str]]:
    matrices, faults = [], []
    for spec in tables:
        try:
            matrices.append(build(spec, frame, holes, experiment))
        except TableError as error:
            faults.append(str(error))
    return matrices, faults


def result_rows(frame: pd.DataFrame) -> list[list[csv_files.Cell]]:
    """Return the tidy rows as those of a CSV file, their header first."""
    columns = [_cells(str(name), column) for name, column in frame.items()]
    return [[str(name) for name in frame.columns], *map(list, zip(*columns, strict=True))]


def _cells(name: str, column: pd.Series[Any]) -> list[csv_files.Cell]:
    # A column of whole numbers with an empty cell is held as floats: seed 1 must not become 1.0.
    whole = name not in MEASURED and column.dtype == float and bool((column.dropna() % 1 == 0).all())
    cells = [None if isinstance(cell, float) and cell != cell else cell for cell in column.tolist()]
    return [cell if cell is None or not whole else int(cell) for cell in cells]
