"""Writes the result files of a run: tidy rows, tables, figures, expected values and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from temper.core.report_spec import SMOKE, ExpectedSpec, ReportedExperiment, TableSpec
from temper.engine.report.drawing import draw, file_names
from temper.engine.report.figure_style import watermarked
from temper.engine.report.figures import table_figures
from temper.engine.report.page import PageContent, page
from temper.engine.report.report_packages import can_draw, can_write_page, missing_output
from temper.engine.report.report_warnings import warnings
from temper.engine.results.results_csv import columns, result_rows
from temper.engine.tables import expected_values as expectation
from temper.engine.tables.expected_values import ExpectedOutcome, compare, verdict
from temper.engine.tables.latex import latex
from temper.engine.tables.matrix import Matrix
from temper.engine.tables.pivot import TableError, build
from temper.system import csv_files

T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """The summary of a report: verdict on expected values, warnings, and errors of tables."""

    verdict: str
    outcomes: tuple[ExpectedOutcome, ...]
    warnings: tuple[str, ...]
    table_errors: tuple[str, ...]


def write_report(
    write: Callable[[str, bytes | str], None],
    experiment: ReportedExperiment,
    results: Sequence[Mapping[str, Any]],
    holes: Sequence[Mapping[str, Any]] = (),
    tables: Sequence[TableSpec] = (),
    expected: Sequence[ExpectedSpec] = (),
) -> Report:
    """Pass every result file to ``write``, with its path in the results folder.

    A table that cannot be built is reported as an error; the others are written all the same.
    """
    write("results.csv", csv_files.encoded(result_rows(results, columns(experiment.axes))))
    matrices, table_errors = _matrices(tables, results, holes, experiment)
    for matrix in matrices:
        write(f"{matrix.spec.name}.csv", csv_files.encoded(matrix.grid()))
        write(f"{matrix.spec.name}.tex", latex(matrix))
    renderer = _FigureRenderer()
    with watermarked(SMOKE if experiment.smoke else ""):
        figures = {
            matrix.spec.name: dict(renderer.all_of(table_figures(matrix).items() if can_draw() else ()))
            for matrix in matrices
        }
        examples, localisation, scores = (
            [picture for _, picture in renderer.all_of((p.name, partial(draw, p)) for p in found if can_draw())]
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
    cautions = (*warnings(results, experiment), *renderer.skipped, *filter(None, [missing_output()]))
    content = PageContent(
        experiment=experiment,
        matrices=matrices,
        figures=figures,
        examples=examples,
        localisation=localisation,
        scores=scores,
        outcomes=outcomes,
        warnings=cautions,
        table_errors=table_errors,
    )
    if can_write_page():
        write("report.html", page(content))
    return Report(verdict(outcomes), outcomes, cautions, tuple(table_errors))


class _FigureRenderer:
    """Draws figures one by one; ``skipped`` has a sentence for each that could not be drawn."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def all_of(self, figures: Iterable[tuple[str, Callable[[], T]]]) -> Iterator[tuple[str, T]]:
        """Yield each figure that can be drawn, with its name."""
        for name, draw_figure in figures:
            try:
                figure = draw_figure()
            except Exception as error:  # noqa: BLE001 - no error in a figure may cost the numbers
                text = f"a figure of {name} is skipped: {str(error) or type(error).__name__}"
                if text not in self.skipped:
                    self.skipped.append(text)
                continue
            yield name, figure


def _matrices(
    tables: Sequence[TableSpec],
    results: Sequence[Mapping[str, Any]],
    holes: Sequence[Mapping[str, Any]],
    experiment: ReportedExperiment,
) -> tuple[list[Matrix], list[str]]:
    matrices, table_errors = [], []
    for spec in tables:
        try:
            matrices.append(build(spec, results, holes, experiment))
        except TableError as error:
            table_errors.append(str(error))
    return matrices, table_errors
