"""The results of a run as files: tidy rows, tables, figures, expected values and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from temper.core.report_spec import SMOKE, ExpectedSpec, ReportedExperiment, TableSpec
from temper.engine.report.drawing import draw, file_names
from temper.engine.report.figure_style import marked
from temper.engine.report.figures import table_figures
from temper.engine.report.page import Content, page
from temper.engine.report.report_packages import drawn, has_page, lacking
from temper.engine.report.warnings import warnings
from temper.engine.tables import expected_values as expectation
from temper.engine.tables.expected_values import ExpectedOutcome, compare, verdict
from temper.engine.tables.latex import latex
from temper.engine.tables.matrix import Matrix
from temper.engine.tables.pivot import TableError, build
from temper.system import csv_files

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
    results: Sequence[Mapping[str, Any]],
    holes: Sequence[Mapping[str, Any]] = (),
    tables: Sequence[TableSpec] = (),
    expected: Sequence[ExpectedSpec] = (),
) -> Report:
    """Give every result file to ``write``, by its name in the folder of results.

    A table that cannot be made is a fault of the report and keeps none of the others from being written.
    """
    write("results.csv", csv_files.encoded(result_rows(results, columns(experiment.axes))))
    matrices, faults = _matrices(tables, results, holes, experiment)
    for matrix in matrices:
        write(f"{matrix.spec.name}.csv", csv_files.encoded(matrix.grid()))
        write(f"{matrix.spec.name}.tex", latex(matrix))
    drawing = _Drawing()
    with marked(SMOKE if experiment.smoke else ""):
        figures = {
            matrix.spec.name: dict(drawing.all_of(table_figures(matrix).items() if drawn() else ()))
            for matrix in matrices
        }
        examples, localisation, scores = (
            [picture for _, picture in drawing.all_of((p.name, partial(draw, p)) for p in found if drawn())]
            for found in (experiment.examples, experiment.localisation, experiment.scores)
        )
    pictures = [(name, png) for group in figures.values() for name, png in group.items()]
    pictures += [(picture.name, picture.png) for picture in (*examples, *localisation, *scores)]
    for name, (_, png) in zip(file_names(name for name, _ in pictures), pictures, strict=True):
        write(f"figures/{name}.png", png)

    by_name = {matrix.spec.name: matrix for matrix in matrices}
    outcomes = tuple(compare(spec, by_name) for spec in expected)
    if outcomes:
        rows = [list(expectation.COLUMNS), *expectation.records(outcomes)]
        write("expected.csv", csv_files.encoded(rows))
    if experiment.classes:
        named = [[name, str(i), text] for name, texts in experiment.classes.items() for i, text in enumerate(texts)]
        write("classes.csv", csv_files.encoded([["dataset", "label", "class"], *named]))
    cautions = (*warnings(results, experiment), *drawing.left_out, *filter(None, [lacking()]))
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
    if has_page():
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
    tables: Sequence[TableSpec],
    results: Sequence[Mapping[str, Any]],
    holes: Sequence[Mapping[str, Any]],
    experiment: ReportedExperiment,
) -> tuple[list[Matrix], list[str]]:
    matrices, faults = [], []
    for spec in tables:
        try:
            matrices.append(build(spec, results, holes, experiment))
        except TableError as error:
            faults.append(str(error))
    return matrices, faults


def columns(axes: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of the tidy rows of an experiment with these axes."""
    return (
        "experiment", *axes, "seed", "stage", "model", "examples", "group", "metric", "value", "n", "lower", "upper", "unit",
        "higher_is_better", "note",
    )  # fmt: skip


def result_rows(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[csv_files.Cell]]:
    """Return columns of the tidy rows as the rows of a CSV file, their header first."""
    cells = [_cells(name, [row.get(name) for row in results]) for name in names]
    return [list(names), *map(list, zip(*cells, strict=True))]


def _cells(name: str, column: Sequence[Any]) -> list[csv_files.Cell]:
    present = [cell for cell in column if cell is not None and cell == cell]
    if any(isinstance(cell, bool) or not isinstance(cell, int | float) for cell in present):
        return list(column)
    # Numbers of one column are written alike: 1 and 2.0 as 1 and 2, but 1 and 0.5 as 1.0 and 0.5.
    whole = name not in MEASURED and all(cell % 1 == 0 for cell in present)
    return [None if cell is None or cell != cell else int(cell) if whole else float(cell) for cell in column]
