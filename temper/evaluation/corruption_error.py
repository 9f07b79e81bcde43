"""The error of models under natural corruptions, by itself and relative to a reference model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import Annotated, Any, NamedTuple, Self

from temper.core.artefacts import Results, Row
from temper.core.component import Plain, Ref
from temper.core.errors import StageError, did_you_mean
from temper.core.families import Evaluation
from temper.core.run import MeasuredValue, Run
from temper.evaluation.worst_case import WORST_CASE

_EXAMPLES = "examples"


class Error(NamedTuple):
    """An error, or a ratio of errors, and the number of images that it is of."""

    value: float
    n: int

    @classmethod
    def of(cls, accuracy: Row) -> Self:
        return cls(1 - accuracy.value, accuracy.n)

    @classmethod
    def mean(cls, errors: Iterable[Error]) -> Self:
        values, sizes = zip(*errors, strict=True)
        return cls(fmean(values), sum(sizes))

    def above(self, clean: Error) -> Error:
        """Return the rise over the error on clean images."""
        return Error(self.value - clean.value, self.n)


Errors = Mapping[str, Mapping[str, Error]]
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
    metrics = ("mean_error", "clean_error", "mce", "relative_mce", "error", "ce", "relative_ce")
    framework = False
    rows = ("model",)
    columns = ("metric",)

    of: Annotated[Ref[Results], "an evaluation of the models on the corrupted images, such as robustness_matrix"]
    metric: Annotated[str, "its metric that 1 - error is, a proportion"] = "accuracy"
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
        axes = [name for name in columns if name not in ("metric", "model", _EXAMPLES)]
        for field, axis in (("corruption", self.corruption), ("severity", self.severity)):
            if axis not in (*axes, None, *([_EXAMPLES] if field == "corruption" else [])):
                hint = did_you_mean(str(axis), axes) or f"; there is {', '.join(axes) or 'no axis'}"
                yield field, f"the results do not vary over '{axis}'{hint}"
        named = (
            ("metric", "metric", self.metric),
            ("clean", _EXAMPLES, self.clean),
            ("reference", "model", self.reference),
        )
        for field, column, name in named:
            known = list(map(str, columns.get(column, ())))
            if name is not None and name not in known:
                yield field, f"'{name}' is not measured{did_you_mean(name, known) or f'; expected one of {known}'}"

    def measure(self, run: Run) -> Iterable[Row]:
        rows = [m for m in run.gather(self.of) if self._counts(m.row)]
        errors = {model: self._errors(model, rows) for model in dict.fromkeys(m.row.model for m in rows)}
        first = next(iter(errors), "")
        for model, own in errors.items():
            if _shape(own) != _shape(errors[first]):
                raise StageError(
                    f"of: '{self.of}' measured other corruptions or severities for {model} than for {first}; "
                    "use the same examples for all models"
                )
        clean = {model: self._clean_error(model, rows) for model in errors} if self.clean is not None else {}
        for model in errors:
            yield from self._rows(model, errors, clean)

    def _counts(self, row: Row) -> bool:
        # A worst case is over several corruptions: `worst_case`, or `worst_case (...)`.
        return row.metric == self.metric and not row.group and row.examples.split(" ")[0] != WORST_CASE

    def _errors(self, model: str, rows: Iterable[MeasuredValue]) -> Errors:
        errors: dict[str, dict[str, Error]] = {}
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
                    + "; name the axes that its examples vary over, and use one set of corrupted examples"
                )
            of_one[str(severity)] = Error.of(m.row)
        if not errors:
            raise StageError(f"of: '{self.of}' measured {model} on no corrupted images")
        return errors

    def _clean_error(self, model: str, rows: Iterable[MeasuredValue]) -> Error:
        found = {Error.of(m.row) for m in rows if m.row.model == model and m.row.examples == self.clean}
        if len(found) != 1:
            raise StageError(f"clean: expected one accuracy of {model} on '{self.clean}', received {len(found)}")
        return found.pop()

    def _rows(self, model: str, errors: Mapping[str, Errors], clean: Mapping[str, Error]) -> Iterator[Row]:
        about = {"model": model}
        own = _means(errors[model])
        whole = Error.mean(own.values())
        yield _row("mean_error", whole, "proportion", about)
        if clean:
            yield _row("clean_error", clean[model], "proportion", about)
        for corruption, error in own.items():
            yield _row("error", error, "proportion", about | {"group": corruption})
        if self.reference is None:
            return
        # Every corruption has as many severities for both models, so that means have the ratio of sums.
        theirs = _means(errors[self.reference])
        yield from _ratios("mce", "ce", own, theirs, about)
        if clean:
            rise = {c: error.above(clean[model]) for c, error in own.items()}
            reference = {c: error.above(clean[self.reference]) for c, error in theirs.items()}
            yield from _ratios("relative_mce", "relative_ce", rise, reference, about)


def _shape(errors: Errors) -> dict[str, set[str]]:
    return {corruption: set(levels) for corruption, levels in errors.items()}


def _means(errors: Errors) -> dict[str, Error]:
    return {corruption: Error.mean(levels.values()) for corruption, levels in errors.items()}


def _ratios(
    mean: str, one: str, own: Mapping[str, Error], theirs: Mapping[str, Error], about: Mapping[str, str]
) -> Iterator[Row]:
    ratios = {c: Error(e.value / theirs[c].value if theirs[c].value else nan, e.n) for c, e in own.items()}
    undefined = [corruption for corruption in ratios if not theirs[corruption].value]
    note = {"note": f"the reference's term is 0: {', '.join(undefined)}"} if undefined else {}
    yield _row(mean, Error.mean(ratios.values()), "ratio", {**about, **note})
    for corruption, ratio in ratios.items():
        yield _row(one, ratio, "ratio", {**about, "group": corruption})


def _row(metric: str, error: Error, unit: str, about: Mapping[str, str]) -> Row:
    columns: dict[str, Any] = dict(about)
    return Row(metric=metric, value=error.value, n=error.n, unit=unit, higher_is_better=False, **columns)
