"""The size of perturbations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from temper.core.artefacts import Examples, Row
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.threat_model import ThreatModel, distance
from temper.evaluation.cell_evaluation import CellEvaluation

BLOCK = 2000
"""Number of images whose differences are held at once."""


@dataclass(frozen=True, kw_only=True)
class Perturbation(CellEvaluation):
    """The mean L0, L1, L2 and the mean and largest L-inf distance of each set from its original images.

    d_p(x, x') = ||x' - x||_p over all pixels and channels; L0 counts the values that changed. ``inside`` is the
    share of images within the bound the attack declares, up to rounding. An empty set has no distance: nan.

    Source: Szegedy et al. (2014), Intriguing properties of neural networks; Carlini and Wagner (2017), sec. III-C.
    """

    tag = "perturbation"
    cells = (("examples", "examples"),)
    metrics = ("l0", "l1", "l2", "linf", "linf_max", "changed", "inside")
    framework = False
    rows = ("examples",)
    columns = ("metric",)
    reads_originals = True

    examples: Annotated[tuple[Ref[Examples], ...], "the generators to measure"]

    def measure(self, run: Run) -> Iterable[Row]:
        made = run[self.examples[0]]
        clean = run[self.originals[0]]
        info, n = made.info, len(made)
        rows = clean.rows_of(made.index)
        threat = ThreatModel(info["norm"], info["eps"]) if "eps" in info else None
        norms: dict[Any, list[Any]] = {0: [], 1: [], 2: [], "inf": []}
        inside = 0
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            difference = np.asarray(made.x[part]) - clean.x[rows[part]]
            for norm, found in norms.items():
                found.append(distance(difference, norm))
            if threat is not None:
                inside += int(threat.contains(difference).sum())
            run.progress(min(start + BLOCK, n), n, "images")
        for norm, found in norms.items():
            yield self._row(f"l{norm}", np.concatenate(found).mean() if n else np.nan, n)
        largest = np.concatenate(norms["inf"]) if n else np.empty(0)
        yield self._row("linf_max", largest.max() if n else np.nan, n)
        yield Row.proportion("changed", int((largest > 0).sum()), n, higher_is_better=None, **self.about())
        if threat is not None:
            yield Row.proportion("inside", inside, n, higher_is_better=True, **self.about())

    def _row(self, metric: str, value: float, n: int) -> Row:
        columns: dict[str, Any] = self.about()
        return Row(metric=metric, value=float(value), n=n, unit="pixels", higher_is_better=False, **columns)
