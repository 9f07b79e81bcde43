"""The distance of a generated image from the training images of its class, in another classifier's features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples, Labels
from temper.core.augmenter import Augmented, AugmenterContext, Seeds
from temper.core.classifier import Classifier
from temper.core.component import Range, Ref
from temper.core.errors import StageError
from temper.core.realism import Measures, Realism
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import ActivationReadout, read_activations
from temper.nn.shared_stages.training_profile import Profile

_SEEN = "seen"
_HELD_OUT = 5
"""Every fifth training image is held out to calibrate distances."""


@dataclass(frozen=True, kw_only=True)
class FeatureStatistics(Preparation):
    """Class means, shared precision and the usual distance of held-out images, in a classifier's last hidden layer.

    Source: Lee, Lee, Lee and Shin (2018), A Simple Unified Framework for Detecting Out-of-Distribution Samples, eq. 1;
    the covariance is shrunk as Ledoit and Wolf (2004).
    """

    tag = "feature_statistics"
    requires = ("sklearn",)
    produces = Profile

    model: Annotated[Ref[Classifier], "the classifier whose features are taken"]
    data: Annotated[Ref[Examples], "the training images"]
    quantile: Annotated[float, "quantile of the held-out images' distances that serves as unit", Range(gt=0, le=1)]

    @property
    def stochastic(self) -> bool:
        return False

    def preparations(self) -> Mapping[str, Preparation]:
        return {_SEEN: ActivationReadout(model=self.model, examples=self.data)}

    def produce(self, run: Run) -> Profile:
        from sklearn.covariance import LedoitWolf

        x, y = features(run.prepared(_SEEN)), run[self.data].y
        # The images that means are computed from lie nearer to them than new images do.
        held_out = np.arange(len(x)) % _HELD_OUT == 0
        classes = int(y.max()) + 1
        means = np.full((classes, x.shape[1]), np.nan)
        for label in np.unique(y[~held_out]):
            means[label] = x[(y == label) & ~held_out].mean(axis=0)
        # One covariance for all classes, of deviations from their class's mean.
        centred = x[~held_out] - means[y[~held_out]]
        precision = LedoitWolf(assume_centered=True).fit(centred).precision_
        apart = distances(x[held_out], y[held_out], means, precision)
        known = apart[~np.isnan(apart)]
        usual = np.quantile(known, self.quantile) if len(known) else 0.0
        if not usual > 0:
            raise StageError(
                "feature_distance: expected held-out training images that differ from their classes' means, received "
                f"{len(known)} of known "
                f"classes at a usual distance of {usual:g}; use more training images or another classifier"
            )
        run.images += len(x)
        return Profile({"means": means, "precision": precision, "usual": np.array(usual)})


@dataclass(frozen=True, kw_only=True)
class FeatureDistance(Realism):
    """Mahalanobis distance to the mean of the label's class in another classifier's last hidden layer.

    In units of the ``quantile`` of held-out training images' distances, so that 1 is still usual.

    Source: Lee, Lee, Lee and Shin (2018), A Simple Unified Framework for Detecting Out-of-Distribution Samples, eq. 1.
    """

    tag = "feature_distance"
    requires = ("sklearn",)
    higher_is_better = False

    model: Annotated[Ref[Classifier], "the classifier whose features are taken, not the one under test"]
    max: Annotated[float, "largest distance, in units of the usual one", Range(gt=0)] = 1.0
    quantile: Annotated[float, "quantile of real images' distances that counts as usual", Range(gt=0, le=1)] = 0.95

    @property
    def bound(self) -> float:
        return self.max

    def preparations(self, model: Ref[Classifier], data: Ref[Examples]) -> Mapping[str, Preparation]:
        return {self._name: FeatureStatistics(model=self.model, data=data, quantile=self.quantile)}

    def values(self, made: Augmented, seeds: Seeds, context: AugmenterContext) -> Measures:
        learnt = context.run.prepared(self._name).arrays
        x = features(read_activations(context.run[self.model], made.x))
        return distances(x, made.y, learnt["means"], learnt["precision"]) / float(learnt["usual"])

    @property
    def _name(self) -> str:
        return f"{self.tag} {self.model} {self.quantile}"


def features(seen: Activations) -> NDArray[np.float64]:
    """Return the values of the last hidden layer's units, float64 (n, units)."""
    return np.asarray(seen.means[:, seen.units(seen.last_hidden)], np.float64)


def distances(
    x: NDArray[np.float64], y: Labels, means: NDArray[np.float64], precision: NDArray[np.float64]
) -> Measures:
    """Return the Mahalanobis distances of features (n, d) from the means of their classes, float64 (n,)."""
    away = x - means[y]
    squares: Measures = np.einsum("nd,nd->n", away @ precision, away)
    # Rounding can make a distance near 0 slightly negative.
    return np.sqrt(np.maximum(squares, 0))
