"""The rows of ``results.csv``: one measured value each, with everything it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from temper.system import csv_files

FLOATS = ("value", "lower", "upper")
"""The columns that hold floats, even if all their values are whole numbers."""


def columns(axes: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of the tidy rows of an experiment with these axes."""
    return (
        "experiment", *axes, "seed", "stage", "model", "examples", "group", "metric", "value", "n", "lower", "upper", "unit",
        "higher_is_better", "note",
    )  # fmt: skip


def result_rows(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[csv_files.Cell]]:
    """Return the columns ``names`` of the tidy rows as the rows of a CSV file, with a header."""
    cells = [_cells(name, [row.get(name) for row in results]) for name in names]
    return [list(names), *map(list, zip(*cells, strict=True))]


def _cells(name: str, column: Sequence[Any]) -> list[csv_files.Cell]:
    present = [cell for cell in column if cell is not None and cell == cell]
    if any(isinstance(cell, bool) or not isinstance(cell, int | float) for cell in present):
        return list(column)
    # The numbers of a column have one format: 1 and 2.0 become 1 and 2, but 1 and 0.5 become 1.0 and 0.5.
    whole = name not in FLOATS and all(cell % 1 == 0 for cell in present)
    return [None if cell is None or cell != cell else int(cell) if whole else float(cell) for cell in column]
