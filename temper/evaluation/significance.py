"""Whether the differences between variants are significant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isclose, isfinite, isnan
from statistics import fmean
from typing import Annotated, Any

from temper.core import significance_tests
from temper.core.artefacts import Results, Row
from temper.core.component import Plain, Ref
from temper.core.confidence_intervals import difference_interval, mean_interval
from temper.core.display_names import label
from temper.core.errors import StageError, UndertrainedModelError, did_you_mean
from temper.core.families import Evaluation
from temper.core.run import MeasuredValue, Run

SEED = "seed"
LABELS = ("model", "examples")
About = tuple[tuple[str, str], ...]
Sample = dict[Plain, float]
"""The numbers of one level by repetition."""


@dataclass(frozen=True, kw_only=True)
class Significance(Evaluation):
    """Whether the differences between the levels of a column of another evaluation's results are significant.

    For each pair of levels: both means with Student's t intervals; their difference with a paired t interval if both
    have a number in every repetition, and else with Welch's; Vargha-Delaney A12 (its magnitude in a word is in the
    note), and two-sided p of the Mann-Whitney U test and, for the same repetitions, of the Wilcoxon signed-rank test,
    exact with ties. Intervals are 95 % intervals; the note names their method. ``_holm`` is p after Holm's correction
    for the pairs compared on the same subject. The note says if there are too few repetitions for any difference to be
    significant. All other columns that the results vary over (examples, other axes, and the groups of images of a
    metric measured by group only) are kept: each of their values has separate comparisons. If ``over`` is not the seed,
    each number compared is a mean over the seeds.

    Source: Mann and Whitney (1947); Wilcoxon (1945); Vargha and Delaney (2000), A Critique and Improvement of the CL Common
    Language Effect Size Statistics; Student (1908); Welch (1947); Holm (1979); their use as in Arcuri and Briand (2011), A
    practical guide for using statistical tests to assess randomized algorithms in software engineering.
    """

    tag = "significance"
    requires = ("scipy",)
    metrics = (
        "a12", "mean_first", "mean_second", "difference",
        "p_mann_whitney", "p_mann_whitney_holm", "p_wilcoxon", "p_wilcoxon_holm",
    )  # fmt: skip
    framework = False
    rows = ("model", "examples", "group")
    columns = ("metric",)

    of: Annotated[Ref[Results], "the evaluation whose results are compared"]
    metric: Annotated[str, "the metric to compare"]
    compare: Annotated[str, "the column whose levels are compared: model, examples, group or an axis"]
    baseline: Annotated[str | None, "the level that every other is compared with; null: all pairs"] = None
    over: Annotated[str, "the column that identifies the repetitions: seed, examples or an axis"] = SEED

    def gathers(self, column: str) -> bool:
        return column in (self.compare, self.over, SEED)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.compare == self.over:
            yield "compare", f"'{self.compare}' cannot be both the compared column and that of the repetitions"

    def suits(self, columns: Mapping[str, Sequence[Plain]]) -> Iterator[tuple[str, str]]:
        if self.metric not in columns["metric"]:
            yield "metric", _unknown(self.metric, columns["metric"], "metric of", self.of)
        known = [name for name in columns if name != "metric"]
        for field, name in (("compare", self.compare), ("over", self.over)):
            if name not in columns and name != "group":
                yield field, _unknown(name, known, "column that varies in the results of", self.of)
        levels = [label(value) for value in columns.get(self.compare, ())]
        if len(levels) == 1:
            yield "compare", f"'{self.of}' has only one {self.compare} ({levels[0]}); expected at least two to compare"
        if levels and self.baseline is not None and self.baseline not in levels:
            yield "baseline", _unknown(self.baseline, levels, f"value of {self.compare} in", self.of)

    def measure(self, run: Run) -> Iterable[Row]:
        rows = [m for m in run.gather(self.of) if m.row.metric == self.metric]
        if not rows:
            # The evaluation declares the metric, but could not measure it in this case.
            raise UndertrainedModelError(
                f"metric: '{self.of}' measured no '{self.metric}' in this task; compare a metric that it measured"
            )
        for about, samples in self._samples(rows).items():
            pairs = [_Pair.of(a, b, samples) for a, b in self._pairs(list(samples))]
            yield from self._compared(pairs, dict(about), rows[0].row.unit)

    def _samples(self, rows: Sequence[MeasuredValue]) -> dict[About, dict[Plain, Sample]]:
        """Return the sample of each level, by subject of comparison, such as a set of examples."""
        found: dict[About, dict[Plain, dict[Plain, list[float]]]] = {}
        grouped = "group" in (self.compare, self.over)
        # If all images are also measured together, their groups are skipped.
        apart = not grouped and all(m.row.group for m in rows)
        for m in rows:
            level = m.column(self.compare)
            # Skip rows that do not depend on the column, are undefined, or concern one group of images.
            if level is None or isnan(m.row.value) or (m.row.group and not grouped and not apart):
                continue
            kept = [name for name in LABELS if not self.gathers(name)] + ["group"] * apart
            about = tuple((name, str(m.column(name) or "")) for name in kept)
            sample = found.setdefault(about, {}).setdefault(level, {})
            sample.setdefault(m.column(self.over), []).append(m.row.value)
        return {
            about: {level: {at: self._one(values) for at, values in sample.items()} for level, sample in levels.items()}
            for about, levels in found.items()
        }

    def _one(self, values: list[float]) -> float:
        if self.over == SEED and len(values) > 1:
            raise StageError(
                f"'{self.of}' gave {len(values)} numbers, expected one for each {self.compare} and seed; "
                "compare a column that distinguishes them"
            )
        return fmean(values)

    def _pairs(self, levels: list[Plain]) -> Iterator[tuple[Plain, Plain]]:
        if self.baseline is None:
            yield from itertools.combinations(levels, 2)
        for base in [level for level in levels if label(level) == self.baseline]:
            yield from ((level, base) for level in levels if level != base)

    def _compared(self, pairs: list[_Pair], about: dict[str, Any], unit: str) -> Iterator[Row]:
        matched = [pair for pair in pairs if pair.paired]
        ranked = [significance_tests.mann_whitney(pair.first, pair.second) for pair in pairs]
        signed = [significance_tests.wilcoxon(pair.first, pair.second) for pair in matched]
        signs = dict(zip(matched, zip(signed, significance_tests.holm(signed), strict=True), strict=True))
        group = about.pop("group", "")
        for pair, p, corrected in zip(pairs, ranked, significance_tests.holm(ranked), strict=True):
            name = f"{group}: {pair.name}" if group else pair.name
            row = partial(Row, group=name, higher_is_better=None, **about)
            yield from self._sizes(pair, unit, row)
            a12 = significance_tests.vargha_delaney(
                significance_tests.rounded(pair.first), significance_tests.rounded(pair.second)
            )
            n, sizes = len(pair.first) + len(pair.second), f"{len(pair.first)} against {len(pair.second)}"
            note = _note(significance_tests.magnitude(a12), sizes, *pair.caveats(False, len(pairs)))
            yield row(metric="a12", value=a12, n=n, unit="probability", note=note)
            yield row(metric="p_mann_whitney", value=p, n=n, unit="probability", note=note)
            yield row(metric="p_mann_whitney_holm", value=corrected, n=n, unit="probability", note=note)
            if pair in signs:
                n, (p, corrected) = len(pair.first), signs[pair]
                note = _note(f"{n} pairs", *pair.caveats(True, len(matched)))
                yield row(metric="p_wilcoxon", value=p, n=n, unit="probability", note=note)
                yield row(metric="p_wilcoxon_holm", value=corrected, n=n, unit="probability", note=note)

    def _sizes(self, pair: _Pair, unit: str, row: Callable[..., Row]) -> Iterator[Row]:
        least, most = (0.0, 1.0) if unit == "proportion" else (-inf, inf)
        for metric, sample in (("mean_first", pair.first), ("mean_second", pair.second)):
            interval = _Interval.of_mean(sample).within(least, most)
            yield row(metric=metric, value=fmean(sample), n=len(sample), unit=unit, **vars(interval))
        # A difference of proportions is not a proportion: it may be negative.
        scale, unit = (100.0, "percentage points") if unit == "proportion" else (1.0, unit)
        yield row(
            metric="difference",
            value=scale * (fmean(pair.first) - fmean(pair.second)),
            n=len(pair.first) + len(pair.second),
            unit=unit,
            **vars(pair.interval.within(least - most, most - least).times(scale)),
        )


@dataclass(frozen=True)
class _Interval:
    """A 95 % interval, if there is one, and its method or why it is missing."""

    lower: float | None
    upper: float | None
    note: str

    @classmethod
    def of_mean(cls, sample: Sequence[float], what: str = "Student's t") -> _Interval:
        return cls._made(mean_interval, what, sample)

    @classmethod
    def of_difference(cls, first: Sequence[float], second: Sequence[float]) -> _Interval:
        return cls._made(difference_interval, "Welch's t", first, second)

    @classmethod
    def _made(cls, method: Callable[..., tuple[float, float]], what: str, *samples: Sequence[float]) -> _Interval:
        if min(map(len, samples)) < 2:
            return cls(None, None, "no interval: the spread of a single number is unknown")
        if not all(isfinite(value) for sample in samples for value in sample):
            return cls(None, None, "no interval: not all numbers are finite")
        low, high = method(*samples)
        flat = isclose(low, high, rel_tol=1e-9, abs_tol=1e-12)
        return cls(low, high, _note(f"{what} interval", *(["no spread between repetitions"] if flat else [])))

    def within(self, least: float, most: float) -> _Interval:
        if self.lower is None or self.upper is None:
            return self
        return replace(self, lower=max(self.lower, least), upper=min(self.upper, most))

    def times(self, scale: float) -> _Interval:
        if self.lower is None or self.upper is None:
            return self
        return replace(self, lower=scale * self.lower, upper=scale * self.upper)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two levels and their numbers; if ``paired``, those of the same repetition have the same position."""

    name: str
    first: list[float]
    second: list[float]
    paired: bool

    @classmethod
    def of(cls, first: Plain, second: Plain, samples: Mapping[Plain, Sample]) -> _Pair:
        one, two = samples[first], samples[second]
        paired = one.keys() == two.keys() and None not in one
        name = f"{label(first)} vs {label(second)}"
        return cls(name, list(one.values()), [two[at] for at in (one if paired else two)], paired)

    @property
    def interval(self) -> _Interval:
        """The interval of the difference of the means."""
        if self.paired:
            differences = [one - two for one, two in zip(self.first, self.second, strict=True)]
            return _Interval.of_mean(differences, "Student's t (paired)")
        return _Interval.of_difference(self.first, self.second)

    def caveats(self, paired: bool, pairs: int) -> Iterator[str]:
        """Yield caveats of a p: the number of corrected pairs, and whether it can be small at all."""
        if pairs > 1:
            yield f"Holm over {pairs} pairs"
        least = significance_tests.smallest_p(len(self.first), len(self.second), paired)
        possible = least if least > significance_tests.ALPHA else min(1.0, pairs * least)
        if possible > significance_tests.ALPHA:
            after = "" if possible == least else " after correction"
            yield (
                f"too few repetitions for any difference to be significant{after} (smallest possible p {possible:.2g})"
            )


def _note(*parts: str) -> str:
    return "; ".join(parts)


def _unknown(name: str, known: Iterable[Plain], what: str, of: Ref[Any]) -> str:
    names = [label(value) for value in known]
    return f"'{name}' is not a {what} '{of}'{did_you_mean(name, names) or '; expected one of ' + ', '.join(names)}"
