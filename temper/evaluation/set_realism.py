"""Realism of sets of generated images, as sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Row
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.evaluation.cell_evaluation import CellEvaluation
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import ActivationReadout

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SetRealism(CellEvaluation):
    """The Frechet distance of each set from real images, and the share of its labels confirmed by another classifier.

    d^2 = |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of means and covariances of the judge's last hidden layer. It falls
    with the number of images: ``frechet_floor`` is the distance of as many real images from the others, so compare a
    set with it. Both need clearly more images than the layer has units; a note marks sets that are too small.

    Source: Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter (2017), GANs Trained by a Two Time-Scale Update Rule Converge
    to a Local Nash Equilibrium, eq. 6; with the features of a classifier of the same data instead of Inception's.
    """

    tag = "realism"
    cells = (("examples", "examples"),)
    metrics = ("frechet", "frechet_floor", "agreement")
    rows = ("examples",)
    columns = ("metric",)

    examples: Annotated[tuple[Ref[Examples], ...], "the sets to measure"]
    judge: Annotated[
        Ref[Classifier], "the classifier that computes the features; not the one the sets were generated against"
    ]
    data: Annotated[Ref[Examples], "the real images"]

    def about(self) -> dict[str, str]:
        return {"model": self.judge.stage, **super().about()}

    def preparations(self) -> Mapping[str, Preparation]:
        return {
            "made": ActivationReadout(model=self.judge, examples=self.examples[0]),
            "real": ActivationReadout(model=self.judge, examples=self.data),
        }

    def measure(self, run: Run) -> Iterable[Row]:
        made, real = run.prepared("made"), run.prepared("real")
        about: dict[str, Any] = self.about()
        x, reference = _features(made), _features(real)
        mixed = np.random.default_rng(0).permutation(len(reference))
        like, others = np.split(reference[mixed], [min(len(x), len(reference) // 2)])
        few = min(len(x), len(like)) <= x.shape[1]
        note = f"{len(x)} images for {x.shape[1]} units: too few" if few else ""
        for metric, sample, rest in (("frechet", x, reference), ("frechet_floor", like, others)):
            distance = frechet(sample, rest) if len(sample) > 1 else float("nan")
            yield Row(
                metric=metric,
                value=distance,
                n=len(sample),
                unit="squared distance",
                higher_is_better=False,
                note=note,
                **about,
            )
        hits = int((made.predicted == run[self.examples[0]].y).sum())
        yield Row.proportion("agreement", hits, len(x), higher_is_better=True, **about)


def _features(seen: Activations) -> Floats:
    return np.asarray(seen.means[:, seen.units(seen.last_hidden)], np.float64)


def frechet(first: Floats, second: Floats) -> float:
    """Return the squared Frechet distance of the normal distributions fitted to two samples (n, d)."""
    covariances = [np.atleast_2d(np.cov(sample, rowvar=False)) for sample in (first, second)]
    # The eigenvalues of a product of two covariances are real and non-negative, but may be slightly negative by
    # rounding.
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1]).real
    root = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    apart = first.mean(axis=0) - second.mean(axis=0)
    return float(max(0.0, apart @ apart + sum(np.trace(c) for c in covariances) - 2 * root))
