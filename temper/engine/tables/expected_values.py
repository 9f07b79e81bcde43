"""Compares a run with published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from temper.core.component import Plain
from temper.core.display_names import label
from temper.core.report_spec import ExpectedSpec, Labels
from temper.engine.tables.cells import Cell
from temper.engine.tables.matrix import Key, Matrix
from temper.engine.tables.table_check import by_level

Verdict = Literal["reproduced", "missed", "missing"]
ROUNDING = 1e-9  # 96.56 - 96.06 is slightly above 0.5 in binary floating point


@dataclass(frozen=True, kw_only=True)
class ExpectedOutcome:
    """An expected number and ours, both in the units that the table displays; ``reason`` says why ours is missing."""

    spec: ExpectedSpec
    row: str
    column: str
    ours: float | None = None
    interval: tuple[float, float] | None = None
    runs: int = 0
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus the published number."""
        return None if self.ours is None else self.ours - self.spec.value

    @property
    def verdict(self) -> Verdict:
        """Whether ours lies within the tolerance."""
        if self.difference is None:
            return "missing"
        return "reproduced" if abs(self.difference) <= self.spec.tolerance + ROUNDING else "missed"


COLUMNS = (
    "table",
    "row",
    "column",
    "ours",
    "published",
    "difference",
    "tolerance",
    "lower",
    "upper",
    "runs",
    "verdict",
    "reason",
    "source",
)


def compare(spec: ExpectedSpec, matrices: Mapping[str, Matrix]) -> ExpectedOutcome:
    """Compare an expected number with the cell it refers to."""
    matrix = matrices.get(spec.table)
    if matrix is None:
        return ExpectedOutcome(
            spec=spec, row=_label_text(spec.row), column=_label_text(spec.column), reason="the table could not be built"
        )
    row, column = by_level(spec.row, matrix.spec.rows), by_level(spec.column, matrix.spec.columns)
    outcome = ExpectedOutcome(spec=spec, row=_label_text(row), column=_label_text(column))
    found: list[Cell] = []
    for key in _matching(row, matrix.spec.rows, matrix.rows):
        for other in _matching(column, matrix.spec.columns, matrix.columns):
            # One number that represents every value of an axis is one match.
            if (cell := matrix.cells[key, other]) not in found:
                found.append(cell)
    if len(found) != 1:
        reason = "no such cell" if not found else f"{len(found)} cells match; specify more of its row and column"
        return replace(outcome, reason=reason)
    cell = found[0]
    if not cell.values or cell.mean != cell.mean:
        return replace(outcome, runs=len(cell.values), reason=cell.hole or "undefined")
    scale = cell.scale(matrix.spec.percent)
    interval = cell.interval
    return replace(
        outcome,
        ours=cell.mean * scale,
        interval=(interval[0] * scale, interval[1] * scale) if interval else None,
        runs=len(cell.values),
    )


def verdict(outcomes: Sequence[ExpectedOutcome]) -> str:
    """Return a one-line summary of all outcomes; empty if nothing was expected."""
    if not outcomes:
        return ""
    counts = {name: sum(o.verdict == name for o in outcomes) for name in ("reproduced", "missed", "missing")}
    rest = ", ".join(f"{counts[name]} {name}" for name in ("missed", "missing") if counts[name])
    return f"{counts['reproduced']} of {len(outcomes)} cells reproduced" + (f" ({rest})" if rest else "")


def records(outcomes: Sequence[ExpectedOutcome]) -> list[list[str]]:
    """Return the rows of ``expected.csv``, in the order of ``COLUMNS``."""
    return [
        [
            outcome.spec.table,
            outcome.row,
            outcome.column,
            _figure(outcome.ours),
            _figure(outcome.spec.value),
            _figure(outcome.difference),
            _figure(outcome.spec.tolerance),
            *(map(_figure, outcome.interval or (None, None))),
            str(outcome.runs),
            outcome.verdict,
            outcome.reason,
            outcome.spec.source,
        ]
        for outcome in outcomes
    ]


def _matching(wanted: Labels, levels: Sequence[str], keys: Sequence[Key]) -> list[Key]:
    # An empty label represents every value of its axis.
    return [
        key
        for key in keys
        if all(key[levels.index(level)] in (None, value) for level, value in wanted.items() if level in levels)
        and set(wanted) <= set(levels)
    ]


def _label_text(labels: Labels | Plain) -> str:
    values = labels.values() if isinstance(labels, Mapping) else (labels,)
    return " ".join(map(label, values))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
