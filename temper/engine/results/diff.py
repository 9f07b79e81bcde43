"""``--diff``: how two runs differ, in their settings and in their numbers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from temper.core.errors import SpecError, SpecProblem
from temper.engine.language import document
from temper.system import csv_files
from temper.system.csv_files import Column, CsvError, Table

_NUMBER = Column("float", optional=True)  # an undefined number is an empty cell
_COLUMNS = {"stage": Column(), "metric": Column(), "value": _NUMBER, "lower": _NUMBER, "upper": _NUMBER}
_BESIDE = {"experiment", "value", "n", "lower", "upper", "unit", "higher_is_better", "note"}
"""Columns that do not say what was measured, and where."""
Place = tuple[str | int, ...]


def diff(before: Path, after: Path) -> Iterator[str]:
    """Yield what changed from one results folder to another: settings, then numbers outside each other's interval.

    Raises:
        SpecError: a folder holds no results, or damaged ones.
    """
    settings = [settings_in(folder) for folder in (before, after)]
    tables = [_results(folder) for folder in (before, after)]
    yield from settings_changed(*settings)
    yield from _numbers(*tables)


def settings_in(folder: Path) -> dict[str, Any]:
    """Return the settings of the run whose results a folder holds, by dotted key.

    Raises:
        SpecError: there are none, or they are damaged.
    """
    path = folder / "experiment.resolved.yaml"
    _demand(path)
    return dict(flat(document.read(path).data))


def settings_changed(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield each setting that differs, as it was and as it is."""
    for key in dict.fromkeys((*before, *after)):
        old, new = (settings.get(key, "not there") for settings in (before, after))
        if old != new:
            yield f"{key}: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _results(folder: Path) -> Table:
    path = folder / "results.csv"
    _demand(path)
    try:
        return csv_files.read(path, _COLUMNS, csv_files.OWN_LIMIT)
    except CsvError as fault:
        message = f"{fault.message}; write the results again: --tables, or run the experiment"
        raise SpecError.at(str(path), fault.line, message) from None


def _demand(path: Path) -> None:
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a folder cannot be entered
        message = "there is no such file; name two folders under outputs/ that hold results"
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
    old, new = (_by_place(table, columns) for table in (before, after))
    for place in dict.fromkeys((*old, *new)):
        name = " ".join(str(label) for label in place[:-1] if label)
        if place not in new:
            yield f"{name}: {_shown(old[place]['value'])} → not there"
        elif place not in old:
            yield f"{name}: not there → {_shown(new[place]['value'])}"
        elif old[place]["value"] != new[place]["value"]:
            yield f"{name}: {_shown(old[place]['value'])} → {_shown(new[place]['value'])}{_mark(old[place], new[place])}"


def _labels(before: Table, after: Table) -> list[str]:
    """Return the columns that tell what was measured, and where: an axis that only one run has, if it has several values."""
    columns = dict.fromkeys((*before.columns, *after.columns))
    return [
        name
        for name in columns
        if name not in _BESIDE and (_in_all(name, before, after) or _varies(name, before, after))
    ]


def _in_all(name: str, *tables: Table) -> bool:
    return all(name in table.columns for table in tables)


def _varies(name: str, *tables: Table) -> bool:
    return any(len({row.get(name) for row in table.rows}) > 1 for table in tables)


def _by_place(table: Table, columns: Sequence[str]) -> dict[Place, dict[str, Any]]:
    """Return the rows by their labels; the last part of a place tells rows apart that have the same."""
    seen: Counter[tuple[str, ...]] = Counter()
    rows = {}
    for row in table.rows:
        labels = tuple(row.get(name, "") for name in columns)
        rows[*labels, seen[labels]] = row
        seen[labels] += 1
    return rows


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _mark(old: dict[str, Any], new: dict[str, Any]) -> str:
    if new["value"] is None or old["lower"] is None or old["upper"] is None:
        return ""
    return "" if old["lower"] <= new["value"] <= old["upper"] else "  (outside the interval)"
