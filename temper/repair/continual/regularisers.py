"""Regularisers, which protect a model against forgetting in addition to replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.incremental_classifier import Rivals
from temper.core.checkpoint import with_prefix
from temper.core.component import Component, Range
from temper.nn.training.fisher_information import diagonal_fisher
from temper.repair.continual.replay import LabelledImages

Weights = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, eq=False)
class Penalty:
    """A quadratic penalty on weights: 1/2 sum_i curvature_i (w_i - centre_i)^2, in the order of ``weights``."""

    curvature: Weights
    centre: Weights

    def plus(self, other: Penalty) -> Penalty:
        """Return the sum of two penalties, again a penalty up to a constant: its centre is their weighted mean."""
        curvature, centre = [], []
        for a, m, b, n in zip(self.curvature, self.centre, other.curvature, other.centre, strict=True):
            both = a + b
            # Where both curvatures are 0, any centre is valid.
            centre.append(np.divide(a * m + b * n, both, out=np.array(n), where=both > 0))
            curvature.append(both)
        return Penalty(tuple(curvature), tuple(centre))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays that ``of`` needs."""
        named = ((name, getattr(self, name)) for name in ("curvature", "centre"))
        return {f"{name}.{place}": weights for name, part in named for place, weights in enumerate(part)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Penalty:
        """Return the penalty from its arrays."""
        parts = (with_prefix(arrays, name) for name in ("curvature", "centre"))
        return cls(*(tuple(part[str(place)] for place in range(len(part))) for part in parts))


@dataclass(frozen=True)
class Distillation:
    """The weight of the previous model's outputs, and the temperature for comparing them."""

    weight: float
    temperature: float


class Regulariser(Component):
    """A loss term that protects a model against forgetting."""

    def penalty(self, model: Any, learnt: LabelledImages, rivals: Rivals, rng: np.random.Generator) -> Penalty | None:
        """Return the penalty for moving the weights of a Keras model that has just learnt these images."""
        return None

    @property
    def distillation(self) -> Distillation | None:
        """The distillation from the previous model, if any."""
        return None


@dataclass(frozen=True, kw_only=True)
class EWC(Regulariser):
    """Elastic weight consolidation: holds each weight more tightly, the more it matters to earlier tasks.

    L = CE + weight / 2 sum_t sum_i F_t,i (w_i - w_t,i)^2 over the earlier steps t, with the diagonal of the Fisher
    information F_t of the images of that step, at the weights w_t after it. It only needs each step's own training
    data.

    Source: Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks, eq. 3.
    """

    tag = "ewc"

    weight: Annotated[float, "lambda: weight of the penalty relative to the mean cross-entropy", Range(ge=0)] = 1000.0
    samples: Annotated[int, "number of images of each step for the mean Fisher information", Range(ge=1)] = 200
    labels: Annotated[
        Literal["all", "drawn"],
        "per image: every class weighted by its probability, or one sampled class, which needs one gradient",
    ] = "all"

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "samples": 20}

    def penalty(self, model: Any, learnt: LabelledImages, rivals: Rivals, rng: np.random.Generator) -> Penalty | None:
        rows = np.sort(rng.permutation(len(learnt))[: self.samples])
        few = learnt.take(rows)
        fisher = iter(diagonal_fisher(model, few.x, rivals[few.y], rng if self.labels == "drawn" else None))
        moving = {id(variable) for variable in model.trainable_variables}
        centre = tuple(np.asarray(weights, np.float32) for weights in model.get_weights())
        curvature = tuple(
            # Frozen weights have no Fisher information and cannot move.
            np.float32(self.weight) * next(fisher) if id(variable) in moving else np.zeros_like(at)
            for variable, at in zip(model.weights, centre, strict=True)
        )
        return Penalty(curvature, centre)


@dataclass(frozen=True, kw_only=True)
class LwF(Regulariser):
    """Learning without forgetting: the model keeps its previous outputs for new images on the classes it knew.

    L = CE + weight T^2 KL(softmax(z_before / T) || softmax(z / T)), over the logits z of the classes known, task by
    task where the task is given. It needs no earlier images; replayed ones are held to the previous outputs too.

    Source: Li and Hoiem (2017), Learning without Forgetting, section 3; the factor T^2 of Hinton, Vinyals and Dean
    (2015), Distilling the Knowledge in a Neural Network, section 2.
    """

    tag = "lwf"

    weight: Annotated[float, "weight of the previous outputs relative to the cross-entropy", Range(ge=0)] = 1.0
    temperature: Annotated[float, "T: divisor of the logits before they are compared", Range(gt=0)] = 2.0

    @property
    def distillation(self) -> Distillation | None:
        return Distillation(self.weight, self.temperature)
