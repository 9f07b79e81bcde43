"""Summaries of curves of results along an axis: the best point, the area, the first quarter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean
from typing import Annotated, Any

from temper.core.artefacts import Results, Row
from temper.core.component import Plain, Ref
from temper.core.errors import StageError, UndertrainedModelError, did_you_mean
from temper.core.families import Evaluation
from temper.core.run import MeasuredValue, Run

INPUTS = "inputs"
About = tuple[str, str, str]
"""Model, examples and group."""
Curve = dict[float, float]
"""Values by their position on the axis, ascending."""


@dataclass(frozen=True, kw_only=True)
class CurveSummary(Evaluation):
    """Best point, area and first quarter of each curve that another evaluation's results form along an axis.

    With values v_1 .. v_k at x_1 < .. < x_k: best = max v_i, at the smallest x of ties; area = the integral of the
    straight lines between the points over x_k - x_1; mean = mean v_i; first_quarter = the mean of the first floor(k /
    4) values, at least one. ``best`` is selected on the values it reports, so it is optimistically biased. ``selected``
    is the value where the curve of ``select_by`` for the same model is best, which can be measured on validation
    images. ``_inputs`` is the number of training inputs there, or the position on the axis if no evaluation reports
    that number.

    Source: Durán, Martínez-Fernández, Felderer and Franch (2023), Guiding the retraining of convolutional neural
    networks against adversarial inputs, who report the best point on the test set and its inputs.
    """

    tag = "curve_summary"
    metrics = (
        "best",
        "best_inputs",
        "area",
        "mean",
        "first_quarter",
        "first_quarter_gain",
        "selected",
        "selected_inputs",
    )
    framework = False
    rows = ("model",)
    columns = ("examples", "metric")

    of: Annotated[Ref[Results], "the evaluation whose results form the curves"]
    along: Annotated[str, "the numeric axis that the curves run along"]
    metric: Annotated[str, "the metric of the curves"] = "accuracy"
    baseline: Annotated[
        str | None, "a model that does not vary over the axis, the reference for the gain of the first quarter"
    ] = None
    select_by: Annotated[Ref[Results] | None, "an evaluation of the same models that selects the point"] = None
    select_on: Annotated[str, "the examples of that evaluation that decide"] = "union"

    def gathers(self, column: str) -> bool:
        return column == self.along

    def suits(self, columns: Mapping[str, Sequence[Plain]]) -> Iterator[tuple[str, str]]:
        if self.metric not in columns["metric"]:
            known = list(map(str, columns["metric"]))
            yield (
                "metric",
                f"'{self.metric}' is not measured{did_you_mean(self.metric, known) or f'; expected one of {known}'}",
            )
        values = columns.get(self.along, ())
        if not values:
            axes = [name for name in columns if name not in ("metric", "model", "examples")]
            hint = did_you_mean(self.along, axes) or f"; there is {', '.join(axes) or 'no axis'}"
            yield "along", f"the results do not vary over '{self.along}'{hint}"
        elif any(isinstance(value, str | bool | None) for value in values):
            yield "along", f"'{self.along}' is not a numeric axis, which a curve needs"

    def measure(self, run: Run) -> Iterable[Row]:
        rows = run.gather(self.of)
        curves = _curves(rows, self.metric, self.along)
        if not curves:
            raise UndertrainedModelError(
                f"metric: '{self.of}' measured no '{self.metric}' along '{self.along}' in this task"
            )
        inputs = _curves(rows, INPUTS, self.along)
        decisive = _curves(run.gather(self.select_by), self.metric, self.along) if self.select_by else {}
        for about, curve in curves.items():
            first = next(m.row for m in rows if m.row.metric == self.metric and _about(m) == about)
            yield from self._shape(first, curve)
            at = _best(curve)
            yield from self._point("best", first, curve, at, inputs.get((first.model, "", ""), {}))
            if self.baseline is not None:
                yield self._gain(first, curve, rows)
            if self.select_by is not None:
                deciding = decisive.get((about[0], self.select_on, ""))
                if deciding is None or deciding.keys() != curve.keys():
                    raise StageError(
                        f"select_by: '{self.select_by}' lacks points of '{self.of}' for {about[0]} on "
                        f"'{self.select_on}'; use the same models and axis in both, and set its examples in `select_on`"
                    )
                yield from self._point("selected", first, curve, _best(deciding), inputs.get((first.model, "", ""), {}))

    def _shape(self, first: Row, curve: Curve) -> Iterator[Row]:
        values = list(curve.values())
        for metric, value in (
            ("area", _area(curve)),
            ("mean", fmean(values)),
            ("first_quarter", _first_quarter(values)),
        ):
            yield _row(first, metric, value, first.unit, first.higher_is_better, n=len(values))

    def _point(self, name: str, first: Row, curve: Curve, at: float, inputs: Curve) -> Iterator[Row]:
        n = len(curve)
        yield _row(first, name, curve[at], first.unit, first.higher_is_better, n=n, note=f"of {n} points")
        unit = "images" if at in inputs else self.along
        yield _row(first, f"{name}_{INPUTS}", inputs.get(at, at), unit, False, n=n)

    def _gain(self, first: Row, curve: Curve, rows: Sequence[MeasuredValue]) -> Row:
        about = (self.baseline, first.examples, first.group)
        base = [m.row.value for m in rows if m.row.metric == self.metric and _about(m) == about]
        if len(base) != 1:
            raise StageError(
                f"baseline: expected one {self.metric} of '{self.baseline}' on {first.examples}, received {len(base)}; "
                f"set a model of '{self.of}' that does not vary over '{self.along}'"
            )
        gain = _first_quarter(list(curve.values())) - base[0]
        # A difference of proportions is not a proportion: it may be negative.
        scale, unit = (100.0, "percentage points") if first.unit == "proportion" else (1.0, first.unit)
        return _row(first, "first_quarter_gain", scale * gain, unit, first.higher_is_better, n=len(curve))


def _curves(rows: Iterable[MeasuredValue], metric: str, along: str) -> dict[About, Curve]:
    """Return the curve of each model, set of examples and group; rows off the axis form none."""
    found: dict[About, Curve] = {}
    for m in rows:
        at = m.column(along)
        if m.row.metric == metric and isinstance(at, int | float) and not isnan(m.row.value):
            found.setdefault(_about(m), {})[float(at)] = m.row.value
    return {about: dict(sorted(curve.items())) for about, curve in found.items()}


def _about(m: MeasuredValue) -> About:
    return m.row.model, m.row.examples, m.row.group


def _best(curve: Curve) -> float:
    return max(curve, key=lambda at: (curve[at], -at))


def _area(curve: Curve) -> float:
    places, values = list(curve), list(curve.values())
    if len(curve) == 1:
        return values[0]
    pieces = ((b - a) * (v + w) / 2 for a, b, v, w in zip(places, places[1:], values, values[1:], strict=False))
    return sum(pieces) / (places[-1] - places[0])


def _first_quarter(values: Sequence[float]) -> float:
    return fmean(values[: max(1, len(values) // 4)])


def _row(like: Row, metric: str, value: float, unit: str, better: bool | None, **columns: Any) -> Row:
    about: dict[str, Any] = {"model": like.model, "examples": like.examples, "group": like.group}
    return Row(metric=metric, value=float(value), unit=unit, higher_is_better=better, **about, **columns)
