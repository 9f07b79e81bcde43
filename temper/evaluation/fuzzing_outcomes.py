"""The outcomes of fuzzers: their findings and the rejected candidates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from temper.artefacts.corner_cases import NOTHING_NEW, REFUSED, UNREALISTIC, CornerCases
from temper.core.artefacts import Row
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import CellEvaluation

_SHARES = {"refused": REFUSED, "unrealistic": UNREALISTIC, "nothing_new": NOTHING_NEW}


@dataclass(frozen=True, kw_only=True)
class Fuzzing(CellEvaluation):
    """The number of candidates of each fuzzer, those rejected by each gate, and the failures among its corner cases.

    ``refused``, ``unrealistic`` and ``nothing_new`` are shares of the candidates, ``failure_rate`` is a share of the
    corner cases. ``control`` is the share of unchanged clean images that would have been admitted by their coverage at
    the start of an iteration, averaged over iterations: where it is as large as the share of admitted candidates, the
    guidance has no effect. ``coverage`` is the final coverage of pool and corner cases, by criterion.

    Source: the counts of GenerativeRepair's log.
    """

    tag = "fuzzing"
    cells = (("examples", "examples"),)
    metrics = (
        "failures", "corner_cases", "candidates", "failure_rate", "refused", "unrealistic", "nothing_new", "control", "coverage",
    )  # fmt: skip
    framework = False
    rows = ("examples",)
    columns = ("metric",)

    examples: Annotated[tuple[Ref[CornerCases], ...], "the fuzzers, one row each"]

    def measure(self, run: Run) -> Iterable[Row]:
        found = run[self.examples[0]]
        about: dict[str, Any] = self.about()
        total = len(found.candidates)
        failures = sum(row.failures for row in found.iterations)
        for metric, count in (("failures", failures), ("corner_cases", len(found)), ("candidates", total)):
            yield Row(metric=metric, value=count, n=total, unit="count", higher_is_better=None, **about)
        yield Row.proportion("failure_rate", failures, len(found), higher_is_better=None, **about)
        for metric, outcome in _SHARES.items():
            ended = sum(candidate.outcome == outcome for candidate in found.candidates)
            yield Row.proportion(metric, ended, total, higher_is_better=None, **about)
        if found.criteria:
            control = float(np.mean([row.control for row in found.iterations]))
            n = len(found.iterations)
            yield Row(metric="control", value=control, n=n, unit="proportion", higher_is_better=None, **about)
        for name, value in zip(found.criteria, found.iterations[-1].coverage, strict=True):
            yield Row(
                metric="coverage",
                value=value,
                n=len(found),
                unit="proportion",
                higher_is_better=None,
                group=name,
                **about,
            )
