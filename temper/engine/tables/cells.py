"""One cell of a table: its numbers, aggregated over seeds, and their formatting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from statistics import fmean, stdev
from typing import Any

from temper.core.confidence_intervals import mean_interval
from temper.core.report_spec import CellFormat

NOT_MEASURED = "not measured"
UNDEFINED = "undefined"
SIGNIFICANT = 4  # digits of a number that is not a proportion
_UNIT_SYMBOLS = {"seconds": "s", "count": "", "proportion": ""}


@dataclass(frozen=True)
class Cell:
    """The numbers of a cell in their own unit, and the reasons for missing ones.

    ``values`` has one number per run, ``bounds`` the interval of each, ``n`` the number of items it was measured on (0:
    a quoted number), ``notes`` the distinct notes. A run without a number has a reason instead, unless no run has one.
    """

    metric: str = ""
    unit: str = ""
    higher_is_better: bool | None = None
    values: tuple[float, ...] = ()
    bounds: tuple[tuple[float, float] | None, ...] = ()
    n: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], reasons: Sequence[str]) -> Cell:
        """Return the cell of tidy rows that differ only in the seed."""
        if not rows:
            return cls(reasons=tuple(reasons) or (NOT_MEASURED,))
        defined = [row for row in rows if not isnan(float(row["value"]))]
        undefined = len(rows) - len(defined) if defined else 0
        rows = defined or rows
        first = rows[0]
        better = first["higher_is_better"]
        return cls(
            metric=str(first["metric"]),
            unit=str(first["unit"]),
            higher_is_better=None if missing(better) else bool(better),
            values=tuple(float(row["value"]) for row in rows),
            bounds=tuple(
                None if missing(row["lower"]) or missing(row["upper"]) else (float(row["lower"]), float(row["upper"]))
                for row in rows
            ),
            n=tuple(int(row["n"]) for row in rows),
            reasons=(*reasons, *[UNDEFINED] * undefined),
            notes=tuple(dict.fromkeys(str(note) for row in rows if not missing(note := row.get("note")))),
        )

    @property
    def hole(self) -> str:
        """Why there is no number, each reason once; empty if there is one."""
        return "" if self.values else "; ".join(dict.fromkeys(self.reasons))

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over the runs; ``None`` for one run, and for a quoted or undefined number."""
        if len(self.values) < 2 or not any(self.n) or isnan(self.mean):
            return None
        return stdev(self.values) if all(map(isfinite, self.values)) else float("nan")

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval: Student's t over the runs, or the interval of a single run; ``None`` if it has none.

        Runs that happen to agree say nothing about other images, so the interval over several runs is never narrower
        than the mean of theirs.
        """
        if len(self.values) == 1:
            return self.bounds[0]
        if not any(self.n) or not all(map(isfinite, self.values)):
            return None
        lower, upper = mean_interval(self.values)
        if own := [bounds for bounds in self.bounds if bounds is not None]:
            lower, upper = min(lower, fmean(low for low, _ in own)), max(upper, fmean(high for _, high in own))
        return (max(lower, 0.0), min(upper, 1.0)) if self.unit == "proportion" else (lower, upper)

    def scale(self, percent: bool) -> float:
        """Return the factor from the cell's unit to the displayed one."""
        return 100.0 if percent and self.unit == "proportion" else 1.0

    def mean_text(self, percent: bool) -> str:
        """Return the mean as displayed."""
        return number(self.mean, self._decimals(percent), self.scale(percent))

    def text(self, form: CellFormat, percent: bool) -> str:
        """Return the cell as displayed: numbers, or why they are missing."""
        if not self.values:
            return self.hole
        share = f" ({len(self.values)} of {len(self.values) + len(self.reasons)} seeds)" if self.reasons else ""
        return self._numbers(form, percent) + share

    def _numbers(self, form: CellFormat, percent: bool) -> str:
        if form == "n":
            return span(self.n)
        decimals, scale = self._decimals(percent), self.scale(percent)
        mean = self.mean_text(percent)
        if form == "mean ± sd" and self.sd is not None:
            return f"{mean} ± {number(self.sd, decimals, scale)}"
        if form == "mean [lower, upper]" and self.interval is not None:
            lower, upper = (number(bound, decimals, scale) for bound in self.interval)
            return f"{mean} [{lower}, {upper}]"
        return mean

    def _decimals(self, percent: bool) -> int:
        if self.unit == "proportion":
            return 2 if percent else 4
        if not isfinite(self.mean) or all(value == int(value) for value in (self.mean, *self.values)):
            return 0
        digits = int(f"{abs(self.mean):.{SIGNIFICANT - 1}e}".split("e")[1]) if self.mean else 0
        return min(max(SIGNIFICANT - 1 - digits, 0), 8)


def missing(value: Any) -> bool:
    """Return whether a cell of a tidy row is empty: ``None``, an empty text or nan."""
    return value is None or value == "" or value != value


def number(value: float, decimals: int, scale: float = 1.0) -> str:
    """Return a number with fixed decimals; ``undefined`` for nan."""
    if isnan(value):
        return UNDEFINED
    if not isfinite(value):
        return "∞" if value > 0 else "-∞"
    return f"{round(value * scale, decimals) + 0.0:.{decimals}f}"


def span(counts: Sequence[int], comma: str = "") -> str:
    """Return ``10000``, or ``980–1135`` where counts differ; ``comma`` groups their thousands."""
    low, high = f"{min(counts):,}", f"{max(counts):,}"
    return (low if low == high else f"{low}–{high}").replace(",", comma)


def with_unit(metric: str, unit: str, percent: bool) -> str:
    """Return a metric with its unit in brackets, unless its name contains it: ``accuracy (%)``, ``cpu_seconds``."""
    shown = "%" if percent and unit == "proportion" else _UNIT_SYMBOLS.get(unit, unit)
    return f"{metric} ({shown})" if shown and unit not in metric else metric
