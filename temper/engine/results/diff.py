"""``--diff``: how the settings and the numbers of two runs differ."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from temper.core.errors import SpecError, SpecProblem
from temper.engine.syntax import document
from temper.system import csv_files
from temper.system.csv_files import Column, CsvError, Table

_NUMBER = Column("float", optional=True)  # an undefined number is an empty cell
_COLUMNS = {"stage": Column(), "metric": Column(), "value": _NUMBER, "lower": _NUMBER, "upper": _NUMBER}
_NOT_LABELS = {"experiment", "value", "n", "lower", "upper", "unit", "higher_is_better", "note"}
"""Columns that do not identify what was measured."""
Labels = tuple[str | int, ...]


def diff(before: Path, after: Path) -> Iterator[str]:
    """Yield the changes from one results folder to another: settings, then numbers.

    Raises:
        SpecError: a folder has no results, or damaged ones.
    """
    settings = [read_settings(folder) for folder in (before, after)]
    tables = [_results(folder) for folder in (before, after)]
    yield from changed_settings(*settings)
    yield from _numbers(*tables)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the run in a results folder, by dotted key.

    Raises:
        SpecError: they are missing or damaged.
    """
    path = folder / "experiment.resolved.yaml"
    _check_exists(path)
    return dict(flat(document.read(path).data))


def changed_settings(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield each setting that differs, with both values."""
    for key in dict.fromkeys((*before, *after)):
        old, new = (settings.get(key, "missing") for settings in (before, after))
        if old != new:
            yield f"{key}: {_truncated(old)} → {_truncated(new)}"


def _truncated(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _results(folder: Path) -> Table:
    path = folder / "results.csv"
    _check_exists(path)
    try:
        return csv_files.read(path, _COLUMNS, csv_files.OWN_LIMIT)
    except CsvError as problem:
        message = f"{problem.message}; rewrite the results with --tables, or run the experiment"
        raise SpecError.at(str(path), problem.line, message) from None


def _check_exists(path: Path) -> None:
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a folder cannot be entered
        message = "no such file; name two results folders under outputs/"
        raise SpecError([SpecProblem("--diff", 0, str(path), message)])


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that is no mapping, with its dotted key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _numbers(before: Table, after: Table) -> Iterator[str]:
    columns = _labels(before, after)
    old, new = (_by_labels(table, columns) for table in (before, after))
    for labels in dict.fromkeys((*old, *new)):
        name = " ".join(str(label) for label in labels[:-1] if label)
        if labels not in new:
            yield f"{name}: {_number_text(old[labels]['value'])} → missing"
        elif labels not in old:
            yield f"{name}: missing → {_number_text(new[labels]['value'])}"
        elif old[labels]["value"] != new[labels]["value"]:
            change = f"{_number_text(old[labels]['value'])} → {_number_text(new[labels]['value'])}"
            yield f"{name}: {change}{_interval_note(old[labels], new[labels])}"


def _labels(before: Table, after: Table) -> list[str]:
    """Return the columns that identify a measurement; an axis of only one run counts if it has several values."""
    columns = dict.fromkeys((*before.columns, *after.columns))
    return [
        name
        for name in columns
        if name not in _NOT_LABELS and (_in_all(name, before, after) or _varies(name, before, after))
    ]


def _in_all(name: str, *tables: Table) -> bool:
    return all(name in table.columns for table in tables)


def _varies(name: str, *tables: Table) -> bool:
    return any(len({row.get(name) for row in table.rows}) > 1 for table in tables)


def _by_labels(table: Table, columns: Sequence[str]) -> dict[Labels, dict[str, Any]]:
    """Return the rows by their labels, followed by a number that distinguishes rows of equal labels."""
    seen: Counter[tuple[str, ...]] = Counter()
    rows = {}
    for row in table.rows:
        labels = tuple(row.get(name, "") for name in columns)
        rows[*labels, seen[labels]] = row
        seen[labels] += 1
    return rows


def _number_text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _interval_note(old: dict[str, Any], new: dict[str, Any]) -> str:
    if new["value"] is None or old["lower"] is None or old["upper"] is None:
        return ""
    return "" if old["lower"] <= new["value"] <= old["upper"] else "  (outside the interval)"
