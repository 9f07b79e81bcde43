"""A table before it is written: tidy rows pivoted, averaged over seeds, in file order, every hole with its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from core.component import Plain
from core.report.cells import NOT_MEASURED, Cell, label, missing, span, unit_label
from core.report.spec import LEVELS, Experiment, TableSpec

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[Plain, ...]


class TableError(ValueError):
    """A table cannot be made out of the rows there are."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """A table: row and column keys (one label per level) in file order, and a cell for each pair of them."""

    spec: TableSpec
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    cells: Mapping[tuple[Key, Key], Cell]
    protocol: str = ""
    seeds: tuple[Plain, ...] = ()

    def text(self, row: Key, column: Key) -> str:
        """Return a cell as shown."""
        return self.cells[row, column].text(self.spec.cell, self.spec.percent)

    @property
    def measured(self) -> list[Cell]:
        """The cells that have a number."""
        return [cell for cell in self.cells.values() if cell.values]

    @property
    def corner(self) -> str:
        """What the numbers are: metric, unit and protocol."""
        units = {cell.metric: unit_label(cell.unit, self.spec.percent) for cell in self.measured}
        # Where several metrics meet, each carries its unit in its own label.
        metric = "" if "metric" in self.spec.levels else self.spec.metric or ""
        what = "n" if self.spec.cell == "n" else metric + units.get(metric, "")
        return ", ".join(filter(None, (what, self.protocol)))

    def label(self, level: str, value: Plain) -> str:
        """Return a row or column label as shown."""
        if level == "group" and value == "":
            return "all"
        if level != "metric" or self.spec.cell == "n":
            return label(value)
        units = {cell.metric: unit_label(cell.unit, self.spec.percent) for cell in self.measured}
        return label(value) + units.get(str(value), "")

    def row_labels(self, row: Key) -> list[str]:
        """Return the labels of a row as shown, outermost first."""
        return [self.label(level, value) for level, value in zip(self.spec.rows, row, strict=True)]

    def column_labels(self, depth: int) -> list[str]:
        """Return the labels of all columns at one level as shown."""
        return [self.label(self.spec.columns[depth], column[depth]) for column in self.columns]

    def grid(self) -> list[list[str]]:
        """Return the table as text: header rows, then body; the corner says what the numbers are."""
        heads = len(self.spec.rows)
        header = [
            [name, *(self.spec.rows[1:] if depth == 0 else [""] * (heads - 1)), *self.column_labels(depth)]
            for depth, name in enumerate((self.corner, *self.spec.columns[1:]))
        ]
        return header + [[*self.row_labels(row), *(self.text(row, c) for c in self.columns)] for row in self.rows]

    @property
    def best(self) -> frozenset[tuple[Key, Key]]:
        """The cells that are best in their column among those of the same metric, all of them where they tie."""
        if self.spec.best == "none":
            return frozenset()
        rivals: dict[tuple[Key, str], list[tuple[float, Key]]] = defaultdict(list)
        for (row, column), cell in self.cells.items():
            if cell.values and cell.higher_is_better is not None and cell.mean == cell.mean:
                # As printed: numbers that look alike must not differ in weight.
                shown = float(cell.mean_text(self.spec.percent).replace("∞", "inf"))
                rivals[column, cell.metric].append((shown if cell.higher_is_better else -shown, row))
        return frozenset(
            (row, column)
            for (column, _), scores in rivals.items()
            if len(scores) > 1
            for score, row in scores
            if score == max(scores)[0]
        )

    @property
    def statement(self) -> str:
        """What a caption has to say beside the title: aggregate, seeds, n, fixed axes."""
        parts = [self._aggregate()]
        if counts := [count for cell in self.measured for count in cell.n]:
            parts.append(f"n = {span(counts)} per cell.")
        fixed = [f"{name} = {', '.join(map(label, self.spec.allowed(name) or ()))}" for name in self.spec.where]
        if fixed:
            parts.append("; ".join(fixed) + ".")
        if self.protocol:
            parts.append(f"Protocol: {self.protocol}.")
        if self.best:
            parts.append("Best of each column in bold.")
        return " ".join(filter(None, parts))

    def _aggregate(self) -> str:
        runs = {len(cell.values) for cell in self.measured}
        if not runs or self.spec.cell == "n":
            return ""
        seeds = f"{len(self.seeds)} seeds ({', '.join(map(label, self.seeds))})"
        if self.spec.cell == "mean [lower, upper]":
            over = f", Student t over {seeds}" if max(runs) > 1 else ""
            return f"Mean and 95 % interval (Wilson for proportions of one run{over})."
        if max(runs) == 1:
            return "One run each."
        spread = "Mean" if self.spec.cell == "mean" else "Mean ± sample standard deviation"
        once = (
            " No ± where nothing is random or only one run exists." if min(runs) == 1 and "sd" in self.spec.cell else ""
        )
        return f"{spread} over {seeds}.{once}"

    @property
    def hole_notes(self) -> list[str]:
        """Where numbers are missing and why, one line per reason."""
        places: dict[str, list[str]] = defaultdict(list)
        for (row, column), cell in self.cells.items():
            names = [
                *self.row_labels(row),
                *(self.label(*pair) for pair in zip(self.spec.columns, column, strict=True)),
            ]
            for reason in dict.fromkeys(cell.reasons):
                places[reason].append(" ".join(filter(None, names)))
        places.pop(NOT_MEASURED, None)  # the cell has said it all
        return [f"{reason} ({_some(where)})" for reason, where in places.items()]


def _some(places: Sequence[str], most: int = 6) -> str:
    return ", ".join(places[:most]) + (f" and {len(places) - most} more" if len(places) > most else "")


def build(spec: TableSpec, frame: pd.DataFrame, holes: Sequence[Mapping[str, Any]], experiment: Experiment) -> Matrix:
    """Pivot the tidy rows of a table's stage.

    An axis that a row does not depend on is empty there: the row stands for every value that other rows of the
    same group take, or alone where none does. A hole stands for everything it leaves open.

    Raises:
        TableError: several numbers of one run fall into one cell.
    """
    rows = [r for r in _records(spec, frame) if _kept(spec, r, is_hole=False)]
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
    ordered_rows = _ordered((key[0] for key in present), spec.rows, experiment)
    ordered_columns = _ordered((key[1] for key in present), spec.columns, experiment)
    cells = {key: Cell.of(numbers.get(key, ()), reasons.get(key, ())) for key in product(ordered_rows, ordered_columns)}
    seeds = {row["seed"] for row in rows if not missing(row["seed"])}
    return Matrix(
        spec,
        ordered_rows,
        ordered_columns,
        cells,
        experiment.protocols.get(spec.source, ""),
        tuple(seed for (seed,) in _ordered(((seed,) for seed in seeds), ("seed",), experiment)),
    )


def _records(spec: TableSpec, frame: pd.DataFrame) -> list[dict[str, Any]]:
    found = frame[frame["stage"] == spec.source]
    if spec.metric is not None:
        found = found[found["metric"] == spec.metric]
    records = [{str(name): value for name, value in row.items()} for row in found.to_dict("records")]
    for record in records:
        if not missing(record["seed"]):
            record["seed"] = int(record["seed"])
    return records


def _kept(spec: TableSpec, row: Mapping[str, Any], *, is_hole: bool) -> bool:
    for level in {*spec.where, "metric"}:
        allowed, value = spec.allowed(level), row.get(level)
        # What does not depend on an axis is the same for the value that is asked for.
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
        """Yield the keys of a row; an empty level that is open takes every value seen."""
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


def _ordered(keys: Iterable[Key], levels: Sequence[str], experiment: Experiment) -> tuple[Key, ...]:
    unique = list(dict.fromkeys(keys))
    ranks: list[dict[Plain, int]] = []
    for depth, level in enumerate(levels):
        labels = dict.fromkeys((None, *experiment.values(level), *(key[depth] for key in unique)))
        ranks.append({value: rank for rank, value in enumerate(labels)})
    return tuple(sorted(unique, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)]))


def _unambiguous(
    spec: TableSpec, key: tuple[Key, Key], rows: Sequence[Mapping[str, Any]], experiment: Experiment
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
