"""The number of regression faults by fuzzer and by mutation operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any

from temper.artefacts.regression_faults import OperatorCount, RegressionFaults
from temper.core.artefacts import Row
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import CellEvaluation


@dataclass(frozen=True, kw_only=True)
class RegressionFaultCounts(CellEvaluation):
    """The number of images found by each regression fuzzer that the old version gets right and the new one wrong.

    ``rfi`` counts all of them, ``images`` distinct ones, ``urf`` distinct pairs of a source image and the wrong label,
    ``seeds`` source images with one, ``v2_failures`` all mutants that the new version gets wrong, ``mutants`` all
    mutants. ``initial`` images are faults without any mutation; DRFuzz's tables include them. ``n`` is the number of
    mutants, of images for ``initial`` and ``seeds``. ``purity`` is the share of ``rfi`` in ``v2_failures``. In total
    and by operator (``group``): ``pass_rate``, the share of mutants that differ from their parent and pass the fidelity
    gate, and ``yield``, the share that are faults.

    Source: You, Wang, Chen, Liu and Li (2023), Regression Fuzzing for Deep Learning Systems, where these are called #RFI, #RF, #Seed
    and #GF (the tables of its released code call the first two #RF and #URF).
    """

    tag = "regression_faults"
    cells = (("examples", "examples"),)
    metrics = ("urf", "rfi", "images", "seeds", "v2_failures", "initial", "mutants", "purity", "pass_rate", "yield")
    framework = False
    rows = ("examples",)
    columns = ("metric",)

    examples: Annotated[tuple[Ref[RegressionFaults], ...], "the regression fuzzers, one row each"]

    def measure(self, run: Run) -> Iterable[Row]:
        found = run[self.examples[0]]
        about: dict[str, Any] = self.about()
        last, initial = found.curve[-1], len(found.initial_index)
        for metric, value, n in (
            ("urf", last.urf, last.mutants),
            ("rfi", last.rfi, last.mutants),
            ("images", _distinct(found), last.mutants),
            ("seeds", last.seeds, found.seed_count),
            ("v2_failures", last.v2_failures, last.mutants),
            ("initial", initial, found.seed_count + initial),
            ("mutants", last.mutants, last.mutants),
        ):
            yield Row(metric=metric, value=value, n=n, unit="count", higher_is_better=None, **about)
        if last.v2_failures:
            yield Row.proportion("purity", last.rfi, last.v2_failures, higher_is_better=None, **about)
        whole = OperatorCount("", *(sum(column) for column in zip(*map(_numbers, found.operators), strict=True)))
        for count in (whole, *found.operators):
            if not count.mutants:
                continue
            for metric, hits in (("pass_rate", count.faithful), ("yield", count.faults)):
                yield Row.proportion(metric, hits, count.mutants, higher_is_better=None, group=count.operator, **about)


def _numbers(count: OperatorCount) -> tuple[int, ...]:
    return count.mutants, count.faithful, count.faults, count.both_fail


def _distinct(found: RegressionFaults) -> int:
    # Compare digests: they take a few bytes each, the images may take gigabytes.
    return len({blake2b(image.tobytes(), digest_size=16).digest() for image in found.x})
