"""A table before formatting: row and column keys in file order, and a cell for each pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from temper.core.component import Plain
from temper.core.display_names import label
from temper.core.report_spec import SMOKE, TableSpec
from temper.engine.tables.best_cells import best_cells
from temper.engine.tables.cells import Cell, span, with_unit

Key = tuple[Plain, ...]


@dataclass(frozen=True, eq=False)
class Matrix:
    """A table: row and column keys (one label per level) in file order, and a cell for each pair of them.

    ``places`` are the positions of the cells on curves, if not those of the axis. ``smoke`` marks the numbers of a
    smoke run.
    """

    spec: TableSpec
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    cells: Mapping[tuple[Key, Key], Cell]
    protocol: str = ""
    seeds: tuple[Plain, ...] = ()
    places: Mapping[tuple[Key, Key], float] | None = None
    smoke: bool = False

    def text(self, row: Key, column: Key) -> str:
        """Return a cell as displayed."""
        return self.cells[row, column].text(self.spec.cell, self.spec.percent)

    @property
    def measured(self) -> list[Cell]:
        """The cells that have a number."""
        return [cell for cell in self.cells.values() if cell.values]

    @property
    def quantity(self) -> str:
        """Metric and unit of the numbers; empty if there are several metrics."""
        # With several metrics, each label has its own unit.
        metric = "" if "metric" in self.spec.levels else self.spec.metric or ""
        return "n" if self.spec.cell == "n" else self._metric(metric)

    @property
    def corner(self) -> str:
        """The corner heading: metric, unit and protocol."""
        mark = SMOKE if self.smoke else ""
        return ", ".join(filter(None, (mark, self.quantity, self.protocol)))

    @property
    def title(self) -> str:
        """The beginning of the caption."""
        title = self.spec.caption or ": ".join(filter(None, (self.spec.name, self.quantity)))
        return f"{SMOKE}: {title}" if self.smoke else title

    def label(self, level: str, value: Plain) -> str:
        """Return a row or column label as displayed."""
        if level == "group" and value == "":
            return "all"
        return self._metric(label(value)) if level == "metric" and self.spec.cell != "n" else label(value)

    def _metric(self, metric: str) -> str:
        units = {cell.unit for cell in self.measured if cell.metric == metric}
        return with_unit(metric, units.pop(), self.spec.percent) if units else metric

    def row_labels(self, row: Key) -> list[str]:
        """Return the labels of a row as displayed, outermost first."""
        return [self.label(level, value) for level, value in zip(self.spec.rows, row, strict=True)]

    def column_labels(self, depth: int) -> list[str]:
        """Return the labels of all columns at one level as displayed."""
        return [self.label(self.spec.columns[depth], column[depth]) for column in self.columns]

    def grid(self) -> list[list[str]]:
        """Return the table as text: header rows, then body; the corner describes the numbers."""
        heads = len(self.spec.rows)
        header = [
            [name, *(self.spec.rows[1:] if depth == 0 else [""] * (heads - 1)), *self.column_labels(depth)]
            for depth, name in enumerate((self.corner or self.spec.rows[0], *self.spec.columns[1:]))
        ]
        return header + [[*self.row_labels(row), *(self.text(row, c) for c in self.columns)] for row in self.rows]

    @property
    def best(self) -> frozenset[tuple[Key, Key]]:
        """The (row, column) of the cells to print in bold."""
        return frozenset() if self.spec.best == "none" else best_cells(self.cells, self.spec.percent)

    @property
    def statement(self) -> str:
        """The caption after its title: aggregate, seeds, n, fixed axes."""
        parts = [self._aggregate()]
        if counts := [count for cell in self.measured for count in cell.n]:
            parts.append(f"n\u00a0=\u00a0{span(counts, ',')} per cell.")
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
            over = f"; over {seeds} Student t, nowhere narrower than the runs' own" if max(runs) > 1 else ""
            return f"Mean and 95 % interval: of one run its own, Wilson for a proportion{over}."
        if max(runs) == 1:
            return "One run each."
        spread = "Mean" if self.spec.cell == "mean" else "Mean ± sample standard deviation"
        once = (
            " No ± where nothing is random or only one run exists." if min(runs) == 1 and "sd" in self.spec.cell else ""
        )
        return f"{spread} over {seeds}.{once}"

    @property
    def hole_notes(self) -> list[str]:
        """Where numbers are missing and why, one line per reason that does not fit into its cell."""
        # If there is neither a number nor a detail, the cell itself says everything.
        return self._with_locations(lambda cell: [r for r in cell.reasons if cell.values or ":" in r], self.spec.levels)

    @property
    def remarks(self) -> list[str]:
        """The notes on numbers, and where they apply: one line per note for all metrics."""
        return self._with_locations(lambda cell: cell.notes, [level for level in self.spec.levels if level != "metric"])

    def _with_locations(self, texts: Callable[[Cell], Iterable[str]], levels: Sequence[str]) -> list[str]:
        places: dict[str, dict[str, None]] = defaultdict(dict)
        for (row, column), cell in self.cells.items():
            labels = zip(self.spec.levels, (*row, *column), strict=True)
            where = " ".join(filter(None, (self.label(*pair) for pair in labels if pair[0] in levels)))
            for text in texts(cell):
                places[text][where] = None
        return [f"{text} ({_listed(list(where))})" for text, where in places.items()]


def _listed(places: Sequence[str], most: int = 6) -> str:
    return ", ".join(places[:most]) + (f" and {len(places) - most} more" if len(places) > most else "")
