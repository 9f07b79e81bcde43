"""Pivots tidy rows into a table: averaged over seeds, in file order, every hole with its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from temper.core.component import Plain
from temper.core.display_names import label
from temper.core.report_spec import LEVELS, ReportedExperiment, TableSpec
from temper.engine.tables.cells import NOT_MEASURED, Cell, missing
from temper.engine.tables.matrix import Key, Matrix

TidyRow = Mapping[str, Any]
CellKey = tuple[Key, Key]


class TableError(ValueError):
    """The rows do not form a table."""


def build(
    spec: TableSpec,
    results: Sequence[TidyRow],
    holes: Sequence[TidyRow],
    experiment: ReportedExperiment,
) -> Matrix:
    """Pivot the tidy rows of a table's stage.

    An axis that a row does not depend on is empty there: the row represents every value that other rows of the same group
    take, or stands alone if there are none. A hole represents every value of its empty axes.

    Raises:
        TableError: several numbers of one run belong to one cell.
    """
    rows, absent = _rows_of(spec, results), _holes_of(spec, holes)
    numbers, reasons = _by_key(spec, rows, absent, experiment)
    for key, found in numbers.items():
        _unambiguous(spec, key, found, experiment)
        reasons[key] += [NOT_MEASURED] * _absent(spec, found, len(reasons[key]), experiment)
    ordered_rows, ordered_columns = (
        _ordered((key[side] for key in (*numbers, *reasons)), levels, spec, experiment)
        for side, levels in enumerate((spec.rows, spec.columns))
    )
    cells = {key: Cell.of(numbers.get(key, ()), reasons.get(key, ())) for key in product(ordered_rows, ordered_columns)}
    return Matrix(
        spec,
        ordered_rows,
        ordered_columns,
        cells,
        experiment.protocols.get(spec.source, ""),
        _seeds(spec, rows, experiment),
        _places(spec, results, experiment),
        experiment.smoke,
    )


def _rows_of(spec: TableSpec, results: Sequence[TidyRow]) -> list[TidyRow]:
    """Return the rows that a table shows."""
    of_metric = (row for row in results if row["stage"] == spec.source and spec.metric in (None, row["metric"]))
    return [row for row in of_metric if _kept(spec, row, is_hole=False)]


def _holes_of(spec: TableSpec, holes: Sequence[TidyRow]) -> list[TidyRow]:
    """Return the holes that a table shows; one of no metric is of the table's."""
    kept = (hole for hole in holes if hole["stage"] == spec.source and _kept(spec, hole, is_hole=True))
    return [{**hole, "metric": hole.get("metric") or spec.metric} for hole in kept]


def _by_key(
    spec: TableSpec, rows: Sequence[TidyRow], holes: Sequence[TidyRow], experiment: ReportedExperiment
) -> tuple[dict[CellKey, list[TidyRow]], dict[CellKey, list[str]]]:
    """Return the rows of each cell, and the reasons for the numbers it lacks."""
    axes = [level for level in spec.levels if level in experiment.axes or level not in LEVELS]
    down, across = (_Side(levels, axes, (*rows, *holes)) for levels in (spec.rows, spec.columns))
    numbers: dict[CellKey, list[TidyRow]] = defaultdict(list)
    reasons: dict[CellKey, list[str]] = defaultdict(list)
    for row in rows:
        for key in product(down.keys(row, axes), across.keys(row, axes)):
            numbers[key].append(row)
    for hole in holes:
        for key in product(down.keys(hole, spec.levels), across.keys(hole, spec.levels)):
            reasons[key].append(str(hole["reason"]))
    return numbers, reasons


def _seeds(spec: TableSpec, rows: Sequence[TidyRow], experiment: ReportedExperiment) -> tuple[Plain, ...]:
    """Return the seeds that a table averages over, in file order."""
    seeds = {row["seed"] for row in rows if not missing(row["seed"])}
    return tuple(seed for (seed,) in _ordered(((seed,) for seed in seeds), ("seed",), spec, experiment))


def _places(spec: TableSpec, results: Sequence[TidyRow], experiment: ReportedExperiment) -> dict[CellKey, float] | None:
    """Return each cell's position on a curve by the metric ``against``; ``None`` if the axis places them."""
    if not spec.against:
        return None
    against = build(replace(spec, metric=spec.against, against=None), results, (), experiment)
    return {key: cell.mean for key, cell in against.cells.items() if cell.values}


def _kept(spec: TableSpec, row: TidyRow, *, is_hole: bool) -> bool:
    for level in {*spec.where, "metric"}:
        allowed, value = spec.allowed(level), row.get(level)
        # A row that does not depend on an axis holds for the requested value, too.
        if allowed is not None and not missing(value) and value not in allowed:
            return False
    ungrouped = "group" not in spec.levels and "group" not in spec.where
    return is_hole or not ungrouped or missing(row.get("group"))


class _Side:
    """The rows or the columns of a table: which keys a tidy row belongs to."""

    def __init__(self, levels: Sequence[str], axes: Sequence[str], rows: Iterable[TidyRow]) -> None:
        self.levels = levels
        self.axes = [level for level in levels if level in axes]
        self.names = [level for level in levels if level not in axes]
        self._by_group: dict[tuple[Key, str], dict[Plain, None]] = defaultdict(dict)
        self._anywhere: dict[str, dict[Plain, None]] = defaultdict(dict)
        for row in rows:
            group = self._group(row)
            for level in levels:
                value = self._value(row, level)
                if value is not None:
                    self._anywhere[level][value] = None
                    self._by_group[group, level][value] = None

    def keys(self, row: TidyRow, open_levels: Sequence[str]) -> Iterator[Key]:
        """Yield the keys of a row; an empty, open level takes every value seen."""
        for group in product(*(self._choices(row, n, self._anywhere[n], open_levels) for n in self.names)):
            values = (self._choices(row, axis, self._by_group[group, axis], open_levels) for axis in self.axes)
            for point in product(*values):
                labels = dict(zip((*self.names, *self.axes), (*group, *point), strict=True))
                yield tuple(labels[level] for level in self.levels)

    def _choices(self, row: TidyRow, level: str, seen: Iterable[Plain], open_levels: Sequence[str]) -> Iterable[Plain]:
        value = self._value(row, level)
        return (value is None and level in open_levels and tuple(seen)) or (value,)

    def _group(self, row: TidyRow) -> Key:
        return tuple(self._value(row, name) for name in self.names)

    def _value(self, row: TidyRow, level: str) -> Plain:
        value: Plain = row.get(level)
        # The group of a measured row is empty for the whole, which is a label like any other.
        if level == "group" and "value" in row:
            return "" if missing(value) else value
        return None if missing(value) else value


def _ordered(
    keys: Iterable[Key], levels: Sequence[str], spec: TableSpec, experiment: ReportedExperiment
) -> tuple[Key, ...]:
    unique = list(dict.fromkeys(keys))
    ranks: list[dict[Plain, int]] = []
    for depth, level in enumerate(levels):
        labels = dict.fromkeys((None, *experiment.values(level, spec.source), *(key[depth] for key in unique)))
        ranks.append({value: rank for rank, value in enumerate(labels)})
    return tuple(sorted(unique, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)]))


def _absent(spec: TableSpec, rows: Sequence[TidyRow], known: int, experiment: ReportedExperiment) -> int:
    """Return how many repetitions of a cell have neither a number nor one of the ``known`` reasons for none."""
    if "seed" in spec.levels or any(missing(row["seed"]) for row in rows):
        return 0
    allowed = spec.allowed("seed")
    seeds = [seed for seed in experiment.seeds if allowed is None or seed in allowed]
    return max(0, len(seeds) - len(rows) - known)


def _unambiguous(spec: TableSpec, key: CellKey, rows: Sequence[TidyRow], experiment: ReportedExperiment) -> None:
    seeds = [None if missing(row["seed"]) else row["seed"] for row in rows]
    if len(set(seeds)) == len(seeds):
        return
    differing = [
        name
        for name in (*LEVELS, *experiment.axes)
        if name not in (*spec.levels, "seed") and len({str(row.get(name)) for row in rows}) > 1
    ]
    cause = f"they differ in {', '.join(differing)}" if differing else "they differ in nothing: a row was written twice"
    cure = f"; put {differing[0]} in rows or columns, or fix it with where" if differing else ""
    where = " ".join(filter(None, map(label, (*key[0], *key[1]))))
    raise TableError(
        f"table '{spec.name}': {len(rows)} rows of {len(set(seeds))} seeds meet in cell '{where}'; {cause}{cure}"
    )
