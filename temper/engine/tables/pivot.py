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


class TableError(ValueError):
    """The rows do not form a table."""


def build(
    spec: TableSpec,
    results: Sequence[Mapping[str, Any]],
    holes: Sequence[Mapping[str, Any]],
    experiment: ReportedExperiment,
) -> Matrix:
    """Pivot the tidy rows of a table's stage.

    An axis that a row does not depend on is empty there: the row represents every value that other rows of the same group
    take, or stands alone if there are none. A hole represents every value of its empty axes.

    Raises:
        TableError: several numbers of one run belong to one cell.
    """
    rows = [
        row
        for row in results
        if row["stage"] == spec.source
        and (spec.metric is None or row["metric"] == spec.metric)
        and _kept(spec, row, is_hole=False)
    ]
    absent = [
        {**hole, "metric": hole.get("metric") or spec.metric}
        for hole in holes
        if hole["stage"] == spec.source and _kept(spec, hole, is_hole=True)
    ]
    axes = [level for level in spec.levels if level in experiment.axes or level not in LEVELS]
    sides = [_Side(levels, axes, (*rows, *absent)) for levels in (spec.rows, spec.columns)]

    numbers: dict[tuple[Key, Key], list[Mapping[str, Any]]] = defaultdict(list)
    reasons: dict[tuple[Key, Key], list[str]] = defaultdict(list)
    for row in rows:
        for key in product(*(side.keys(row, axes) for side in sides)):
            numbers[key[0], key[1]].append(row)
    for hole in absent:
        for key in product(*(side.keys(hole, spec.levels) for side in sides)):
            reasons[key[0], key[1]].append(str(hole["reason"]))

    for key, found in numbers.items():
        _unambiguous(spec, key, found, experiment)
    present = (*numbers, *(key for key in reasons if key not in numbers))
    ordered_rows = _ordered((key[0] for key in present), spec.rows, spec, experiment)
    ordered_columns = _ordered((key[1] for key in present), spec.columns, spec, experiment)
    for key, found in numbers.items():
        reasons[key] += [NOT_MEASURED] * _absent(spec, found, len(reasons[key]), experiment)
    cells = {key: Cell.of(numbers.get(key, ()), reasons.get(key, ())) for key in product(ordered_rows, ordered_columns)}
    seeds = {row["seed"] for row in rows if not missing(row["seed"])}
    places = build(replace(spec, metric=spec.against, against=None), results, (), experiment) if spec.against else None
    return Matrix(
        spec,
        ordered_rows,
        ordered_columns,
        cells,
        experiment.protocols.get(spec.source, ""),
        tuple(seed for (seed,) in _ordered(((seed,) for seed in seeds), ("seed",), spec, experiment)),
        None if places is None else {key: cell.mean for key, cell in places.cells.items() if cell.values},
        experiment.smoke,
    )


def _kept(spec: TableSpec, row: Mapping[str, Any], *, is_hole: bool) -> bool:
    for level in {*spec.where, "metric"}:
        allowed, value = spec.allowed(level), row.get(level)
        # A row that does not depend on an axis holds for the requested value, too.
        if allowed is not None and not missing(value) and value not in allowed:
            return False
    ungrouped = "group" not in spec.levels and "group" not in spec.where
    return is_hole or not ungrouped or missing(row.get("group"))


class _Side:
    """The rows or the columns of a table: which keys a tidy row belongs to."""

    def __init__(self, levels: Sequence[str], axes: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
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

    def keys(self, row: Mapping[str, Any], open_levels: Sequence[str]) -> Iterator[Key]:
        """Yield the keys of a row; an empty, open level takes every value seen."""
        for group in product(*(self._choices(row, n, self._anywhere[n], open_levels) for n in self.names)):
            values = (self._choices(row, axis, self._by_group[group, axis], open_levels) for axis in self.axes)
            for point in product(*values):
                labels = dict(zip((*self.names, *self.axes), (*group, *point), strict=True))
                yield tuple(labels[level] for level in self.levels)

    def _choices(
        self, row: Mapping[str, Any], level: str, seen: Iterable[Plain], open_levels: Sequence[str]
    ) -> Iterable[Plain]:
        value = self._value(row, level)
        return (value is None and level in open_levels and tuple(seen)) or (value,)

    def _group(self, row: Mapping[str, Any]) -> Key:
        return tuple(self._value(row, name) for name in self.names)

    def _value(self, row: Mapping[str, Any], level: str) -> Plain:
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


def _absent(spec: TableSpec, rows: Sequence[Mapping[str, Any]], known: int, experiment: ReportedExperiment) -> int:
    """Return how many repetitions of a cell have neither a number nor one of the ``known`` reasons for none."""
    if "seed" in spec.levels or any(missing(row["seed"]) for row in rows):
        return 0
    allowed = spec.allowed("seed")
    seeds = [seed for seed in experiment.seeds if allowed is None or seed in allowed]
    return max(0, len(seeds) - len(rows) - known)


def _unambiguous(
    spec: TableSpec, key: tuple[Key, Key], rows: Sequence[Mapping[str, Any]], experiment: ReportedExperiment
) -> None:
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
