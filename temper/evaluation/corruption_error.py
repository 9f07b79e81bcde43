"""The error of models under natural corruptions, by itself and relative to a reference model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from statistics import fmean
from typing import Annotated, Any

from temper.core.artefacts import Results, Row
from temper.core.component import Plain, Ref
from temper.core.errors import StageError, did_you_mean
from temper.core.families import Evaluation
from temper.core.run import MeasuredValue, Run

_ACCURACY = "accuracy"
_EXAMPLES = "examples"
Errors = Mapping[str, Mapping[str, float]]
"""By corruption and by severity."""


@dataclass(frozen=True, kw_only=True)
class CorruptionError(Evaluation):
    """Mean corruption error: the errors over all severities of each corruption, relative to those of a reference model.

    With the error E(m, c, s) of model m on corruption c at severity s, and E(m) on clean images: CE(m, c) = sum_s E(m, c,
    s) / sum_s E(r, c, s), relative_CE(m, c) = sum_s (E(m, c, s) - E(m)) / sum_s (E(r, c, s) - E(r)), r the reference;
    mce and relative_mce are their means over c. mean_error = mean_c mean_s E(m, c, s), error its term of one corruption.
    Rows of one corruption have it as ``group``. A ratio to 0 is nan, and so is its mean. A relative_CE is meaningless where
    the corruption does not raise the reference's error.

    Source: Hendrycks and Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations, section 4.1, whose reference is AlexNet.
    """

    tag = "corruption_error"
    metrics = ("mce", "relative_mce", "mean_error", "clean_error", "error", "ce", "relative_ce")
    framework = False
    rows = ("model",)
    columns = ("metric",)

    of: Annotated[Ref[Results], "an evaluation that measures the accuracy on the corrupted images: robustness_matrix"]
    corruption: Annotated[
        str, "the axis that the corruptions differ in; examples: each of its sets of examples is a corruption"
    ] = "corruption"
    severity: Annotated[str | None, "the axis that severities differ in; null: there is one"] = "severity"
    clean: Annotated[str | None, "the clean images among its examples, for clean_error and relative_mce"] = None
    reference: Annotated[str | None, "the reference among its models, for mce and relative_mce"] = None

    def check(self) -> Iterator[tuple[str, str]]:
        if self.corruption == self.severity:
            yield "severity", f"'{self.severity}' is the axis of corruptions; name another, or null"

    def gathers(self, column: str) -> bool:
        return column in (self.corruption, self.severity, "model", _EXAMPLES)

    def suits(self, columns: Mapping[str, Sequence[Plain]]) -> Iterator[tuple[str, str]]:
        if _ACCURACY not in columns["metric"]:
            yield "of", f"expected an evaluation that measures {_ACCURACY}, such as robustness_matrix"
        axes = [name for name in columns if name not in ("metric", "model", _EXAMPLES)]
        for field, axis in (("corruption", self.corruption), ("severity", self.severity)):
            if axis not in (*axes, None, *([_EXAMPLES] if field == "corruption" else [])):
                hint = did_you_mean(str(axis), axes) or f"; there is {', '.join(axes) or 'no axis'}"
                yield field, f"the results do not vary over '{axis}'{hint}"
        for field, column, name in (("clean", _EXAMPLES, self.clean), ("reference", "model", self.reference)):
            known = list(map(str, columns[column]))
            if name is not None and name not in known:
                yield field, f"'{name}' is not measured{did_you_mean(name, known) or f'; expected one of {known}'}"

    def measure(self, run: Run) -> Iterable[Row]:
        rows = [m for m in run.gather(self.of) if m.row.metric == _ACCURACY and not m.row.group]
        models = list(dict.fromkeys(m.row.model for m in rows))
        errors = {model: self._errors(model, rows) for model in models}
        clean = {model: self._clean_error(model, rows) for model in models} if self.clean is not None else {}
        sizes = {model: min(m.row.n for m in rows if m.row.model == model) for model in models}
        for model in models:
            if _shape(errors[model]) != _shape(errors[models[0]]):
                raise StageError(
                    f"of: '{self.of}' measured other corruptions or severities for {model} than for {models[0]}; "
                    "use the same examples for all models"
                )
            yield from self._rows(model, errors, clean, sizes[model])

    def _errors(self, model: str, rows: Iterable[MeasuredValue]) -> Errors:
        errors: dict[str, dict[str, float]] = {}
        for m in rows:
            corruption = m.column(self.corruption)
            severity = "" if self.severity is None else m.column(self.severity)
            # Clean images vary over neither axis.
            if m.row.model != model or m.row.examples == self.clean or corruption is None or severity is None:
                continue
            of_one = errors.setdefault(str(corruption), {})
            if str(severity) in of_one:
                raise StageError(
                    f"of: '{self.of}' measured {model} twice on {corruption} {severity}".rstrip()
                    + "; name the axes that its examples vary over, and use one set of corrupted examples and no worst case"
                )
            of_one[str(severity)] = 1 - m.row.value
        if not errors:
            raise StageError(f"of: '{self.of}' measured {model} on no corrupted images")
        return errors

    def _clean_error(self, model: str, rows: Iterable[MeasuredValue]) -> float:
        found = {m.row.value for m in rows if m.row.model == model and m.row.examples == self.clean}
        if len(found) != 1:
            raise StageError(f"clean: expected one accuracy of {model} on '{self.clean}', received {len(found)}")
        return 1 - found.pop()

    def _rows(self, model: str, errors: Mapping[str, Errors], clean: Mapping[str, float], n: int) -> Iterator[Row]:
        own, about = errors[model], {"model": model, "n": n}
        means = {c: fmean(levels.values()) for c, levels in own.items()}
        yield _row("mean_error", fmean(means.values()), "proportion", about)
        if clean:
            yield _row("clean_error", clean[model], "proportion", about)
        for corruption, value in means.items():
            yield _row("error", value, "proportion", about, corruption)
        if self.reference is None:
            return
        theirs = {c: fmean(levels.values()) for c, levels in errors[self.reference].items()}
        # Every corruption has as many severities for both models, so that means have the ratio of sums.
        yield from _ratios("mce", "ce", {c: _ratio(means[c], theirs[c]) for c in means}, about)
        if clean:
            base, reference = clean[model], clean[self.reference]
            ratios = {c: _ratio(means[c] - base, theirs[c] - reference) for c in means}
            yield from _ratios("relative_mce", "relative_ce", ratios, about)


def _shape(errors: Errors) -> dict[str, set[str]]:
    return {corruption: set(levels) for corruption, levels in errors.items()}


def _ratio(value: float, of: float) -> float:
    return value / of if of else nan


def _ratios(mean: str, one: str, ratios: Mapping[str, float], about: Mapping[str, Any]) -> Iterator[Row]:
    undefined = [corruption for corruption, ratio in ratios.items() if isnan(ratio)]
    note = f"the reference's error is 0: {', '.join(undefined)}" if undefined else ""
    yield _row(mean, fmean(ratios.values()), "ratio", about, note=note)
    for corruption, ratio in ratios.items():
        yield _row(one, ratio, "ratio", about, corruption)


def _row(metric: str, value: float, unit: str, about: Mapping[str, Any], group: str = "", note: str = "") -> Row:
    return Row(metric=metric, value=value, unit=unit, higher_is_better=False, group=group, note=note, **about)
