"""Writes the report as one self-contained HTML page: tables, figures, examples, verdicts, cost and provenance."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

from temper.core.display_names import label
from temper.core.report_spec import ReportedExperiment
from temper.engine.report.drawing import RenderedPicture
from temper.engine.report.figure_style import DPI
from temper.engine.tables.cells import Cell, number
from temper.engine.tables.expected_values import ExpectedOutcome, verdict
from temper.engine.tables.matrix import Key, Matrix

STRIP = 150  # width of the picture of a difference, in pixels
PEAK = "peak_memory"
SCREEN_DPI = 96  # a CSS pixel is 1/96 inch
Figures = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class PageContent:
    """The content of the page; figures are PNGs by file name, those of a table under its name."""

    experiment: ReportedExperiment
    matrices: Sequence[Matrix]
    figures: Mapping[str, Figures]
    examples: Sequence[RenderedPicture]
    localisation: Sequence[RenderedPicture]
    scores: Sequence[RenderedPicture]
    outcomes: Sequence[ExpectedOutcome]
    warnings: Sequence[str]
    table_errors: Sequence[str]


def page(content: PageContent) -> str:
    """Return the page as HTML that needs neither other files nor the network."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    experiment, outcomes = content.experiment, content.outcomes
    # Names come from users' files, hence the escaping; a misspelt name in the template is an error.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    context = {
        "experiment": experiment,
        "facts": _facts(experiment),
        "tiles": _tiles(content),
        "verdict": verdict(outcomes),
        "warnings": content.warnings,
        "table_errors": content.table_errors,
        "outcomes": outcomes,
        "unmet": [_outcome(o) for o in outcomes if o.verdict != "reproduced"],
        "met": [_outcome(o) for o in outcomes if o.verdict == "reproduced"],
        "tables": [_table(matrix, content.figures.get(matrix.spec.name, {})) for matrix in content.matrices],
        "examples": [_picture(drawn.name, drawn.png, drawn.caption) for drawn in content.examples],
        "localisation": [_picture(drawn.name, drawn.png, drawn.caption) for drawn in content.localisation],
        "scores": [_picture(drawn.name, drawn.png, drawn.caption) for drawn in content.scores],
        "failures": _records(experiment.failures),
        "costs": _records(_by_stage(experiment.costs)),
        "tasks": _records([_readable(row) for row in experiment.costs]),
        "provenance": _flat(experiment.provenance),
        "listings": [(name, _flat(value)) for name, value in experiment.provenance.items() if _is_listing(value)],
    }
    shown = {**context, "warnings": [*content.table_errors, *content.warnings], "experiment": experiment.resolved}
    titles = {
        "warnings": ("warnings", "Warnings"),
        "outcomes": ("reproduction", "Reproduction"),
        "tables": ("tables", "Tables"),
        "scores": ("scores", "Scores"),
        "localisation": ("localisation", "Localisation"),
        "examples": ("examples", "Examples"),
        "failures": ("failures", "Failures"),
        "costs": ("cost", "Cost"),
        "provenance": ("provenance", "Provenance"),
        "experiment": ("experiment", "Experiment as run"),
    }
    sections = [title for key, title in titles.items() if shown[key]]
    return environment.get_template("page.html.j2").render(**context, sections=sections)


def _facts(experiment: ReportedExperiment) -> list[tuple[str, str]]:
    facts = [("mode", experiment.mode), ("seeds", ", ".join(map(str, experiment.seeds)))]
    facts += [(axis, ", ".join(map(label, values))) for axis, values in experiment.axes.items()]
    return [(name, text) for name, text in facts if text]


def _tiles(content: PageContent) -> list[dict[str, str]]:
    """Return the summary tiles: reproduction, holes, failures and warnings."""
    tiles = []
    if content.outcomes:
        good = sum(o.verdict == "reproduced" for o in content.outcomes)
        mood = "good" if good == len(content.outcomes) else "bad"
        tiles.append({"mood": mood, "figure": f"{good} of {len(content.outcomes)}", "text": "cells reproduced"})
    cells = [cell for matrix in content.matrices for cell in matrix.cells.values()]
    done = sum(bool(cell.values) for cell in cells)
    if cells:
        mood = "good" if done == len(cells) else "warn"
        tiles.append({"mood": mood, "figure": f"{done} of {len(cells)}", "text": "table cells measured"})
    for count, word, mood in (
        (len(content.experiment.failures), "failure", "bad"),
        (len(content.warnings) + len(content.table_errors), "warning", "warn"),
    ):
        text = word if count == 1 else f"{word}s"
        tiles.append({"mood": mood if count else "good", "figure": str(count or "no"), "text": text})
    return tiles


def _table(matrix: Matrix, figures: Figures) -> dict[str, Any]:
    spec, best = matrix.spec, matrix.best
    body, above = [], None
    for row in matrix.rows:
        labels = matrix.row_labels(row)
        same = above is not None and len(row) > 1 and row[0] == above[0]
        cells = [_cell(matrix, row, column, best) for column in matrix.columns]
        body.append({"labels": ["" if same and i == 0 else text for i, text in enumerate(labels)],
                     "first": not same and len(row) > 1, "cells": cells})  # fmt: skip
        above = row
    whole = f"{matrix.corner}: mean over seeds"
    curves = f"{matrix.corner}, " if matrix.corner else ""
    return {
        "name": spec.name,
        "title": matrix.title,
        "statement": matrix.statement,
        "header": _header(matrix),
        "body": body,
        "notes": matrix.hole_notes,
        "remarks": matrix.remarks,
        "figures": [
            _picture(
                name,
                png,
                whole
                if name == f"{matrix.spec.name}_{matrix.spec.figure}"
                else f"{curves}by {name.rpartition('_by_')[2]}; bands: ± sd",
            )
            for name, png in figures.items()
        ],
    }


def _header(matrix: Matrix) -> list[dict[str, Any]]:
    spec, lines = matrix.spec, []
    for depth, level in enumerate(spec.columns):
        last = depth == len(spec.columns) - 1
        prefixes = groupby(column[: depth + 1] for column in matrix.columns)
        spans = [(matrix.label(level, key[depth]), len(list(same))) for key, same in prefixes]
        names = list(spec.rows) if last else [""] * (len(spec.rows) - 1) + [level]
        if last and len(spec.columns) > 1:
            names[-1] = f"{spec.rows[-1]} / {level}"
        lines.append({"stubs": names, "spans": spans, "last": last})
    return lines


def _cell(matrix: Matrix, row: Key, column: Key, best: frozenset[tuple[Key, Key]]) -> dict[str, str]:
    cell: Cell = matrix.cells[row, column]
    text = matrix.text(row, column)
    if not cell.values:
        mark = "hole failed" if cell.hole.startswith("failed") else "hole"
        return {"text": text.split(":")[0], "spread": "", "mark": mark, "full": text}
    mean, _, spread = text.partition(" ")
    mark = "best" if (row, column) in best else ""
    return {"text": mean, "spread": spread, "mark": mark, "full": "; ".join(dict.fromkeys(cell.reasons))}


def _outcome(outcome: ExpectedOutcome) -> dict[str, Any]:
    spec, interval = outcome.spec, outcome.interval
    return {
        "table": spec.table,
        "row": outcome.row,
        "column": outcome.column,
        "ours": "" if outcome.ours is None else _figure(outcome.ours),
        "published": f"{spec.value:.6g}",
        "difference": "" if outcome.difference is None else f"{outcome.difference:+.2f}",
        "tolerance": f"{spec.tolerance:.6g}",
        "interval": "" if interval is None else f"{_figure(interval[0])} to {_figure(interval[1])}",
        "strip": _strip(outcome),
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "source": spec.source,
    }


def _figure(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4g}"


def _strip(outcome: ExpectedOutcome) -> dict[str, Any] | None:
    """Return the pixel positions of our number, its interval and the tolerance; the published number is centred."""
    if outcome.difference is None or not isfinite(outcome.difference):
        return None
    centre, tolerance = outcome.spec.value, outcome.spec.tolerance
    ends = [bound - centre for bound in outcome.interval or ()]
    reach = 1.1 * max(abs(value) for value in (outcome.difference, tolerance, *ends, 1e-12))

    def place(offset: float) -> float:
        return round(STRIP / 2 * (1 + offset / reach), 1)

    return {
        "low": place(-tolerance),
        "width": round(place(tolerance) - place(-tolerance), 1),
        "bar": tuple(map(place, ends)),
        "at": place(outcome.difference),
    }


def _records(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return rows of plain values as a table: names, which columns are numeric, texts."""
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {
        name for name in names if all(isinstance(row.get(name), int | float | None) for row in rows) and name != "seed"
    }
    return {
        "names": names,
        "numeric": numeric,
        "rows": [[(name, _plain(row.get(name))) for name in names] for row in rows],
    }


def _by_stage(tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the cost of each stage over all its axis values and seeds: sums, and the highest peak of memory."""
    stages: dict[str, dict[str, Any]] = {}
    for task in tasks:
        stage = str(task["stage"]).partition(" ")[0]  # a label continues with its point on the axes
        total = stages.setdefault(stage, {"stage": stage, "runs": 0})
        total["runs"] += 1
        for name, value in task.items():
            if name == PEAK:
                total[name] = max(total.get(name, 0), value)
            elif isinstance(value, int | float):
                total[name] = total.get(name, 0) + value
            elif name != "stage":
                total[name] = value
    return [_readable(total) for total in stages.values()]


def _readable(task: Mapping[str, Any]) -> dict[str, Any]:
    mebibytes = {f"{PEAK} (MiB)": task[PEAK] / 2**20} if PEAK in task else {}
    return {name: value for name, value in task.items() if name != PEAK} | mebibytes


def _is_listing(value: object) -> bool:
    """Return whether an entry of the provenance is too long to show among the others."""
    return isinstance(value, Mapping) and len(value) > 20


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in values.items():
        if not prefix and _is_listing(value):
            continue
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((f"{prefix}{name}", _plain(value)))
    return flat


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else number(value, 0 if value == int(value) else 2)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)


def _picture(name: str, data: bytes, caption: str) -> dict[str, Any]:
    # A PNG's first chunk holds its width.
    (width,) = struct.unpack(">I", data[16:20])
    return {
        "name": name,
        "caption": caption,
        "width": round(width * SCREEN_DPI / DPI),
        "data": b64encode(data).decode("ascii"),
    }
