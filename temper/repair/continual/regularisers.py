"""What keeps a model from forgetting what it learnt, beside the images it replays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.incremental_classifier import Rivals
from temper.core.checkpoint import part_of
from temper.core.component import Component, Range
from temper.nn.training.fisher_information import diagonal_fisher
from temper.repair.continual.replay import Labelled

Weights = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, eq=False)
class Penalty:
    """A pull on weights: 1/2 sum_i curvature_i (w_i - centre_i)^2, both in the order of a model's ``weights``."""

    curvature: Weights
    centre: Weights

    def plus(self, other: Penalty) -> Penalty:
        """Return the sum of two penalties, which is one, up to a constant: its centre is their weighted mean."""
        curvature, centre = [], []
        for a, m, b, n in zip(self.curvature, self.centre, other.curvature, other.centre, strict=True):
            both = a + b
            # Where neither pulls, any centre will do.
            centre.append(np.divide(a * m + b * n, both, out=np.array(n), where=both > 0))
            curvature.append(both)
        return Penalty(tuple(curvature), tuple(centre))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays that ``of`` needs."""
        named = ((name, getattr(self, name)) for name in ("curvature", "centre"))
        return {f"{name}.{place}": weights for name, part in named for place, weights in enumerate(part)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Penalty:
        """Return the penalty of its arrays."""
        parts = (part_of(arrays, name) for name in ("curvature", "centre"))
        return cls(*(tuple(part[str(place)] for place in range(len(part))) for part in parts))


@dataclass(frozen=True)
class Distillation:
    """How much the answers of the model before are worth, and the temperature they are compared at."""

    weight: float
    temperature: float


class Regulariser(Component):
    """What is added to the loss so that a model keeps what it learnt before."""

    def penalty(self, model: Any, learnt: Labelled, rivals: Rivals, rng: np.random.Generator) -> Penalty | None:
        """Return what it costs to move the weights of a Keras model that has just learnt these images."""
        return None

    @property
    def distillation(self) -> Distillation | None:
        """How the model is held to its answers from before, if it is."""
        return None


@dataclass(frozen=True, kw_only=True)
class EWC(Regulariser):
    """Elastic weight consolidation: each weight is held the tighter, the more it matters to what was learnt.

    L = CE + weight / 2 sum_t sum_i F_t,i (w_i - w_t,i)^2 over the earlier steps t, with the diagonal of the Fisher information
    F_t of the images learnt then, at the weights w_t they left behind. A step's own training data are all that it needs.

    Source: Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks, eq. 3.
    """

    tag = "ewc"

    weight: Annotated[
        float, "lambda: how much staying where it was is worth, against the mean cross-entropy", Range(ge=0)
    ] = 1000.0
    samples: Annotated[int, "images of each step that the Fisher information is the mean over", Range(ge=1)] = 200
    labels: Annotated[
        Literal["all", "drawn"],
        "of an image: every class by its probability, or one drawn so, which takes one gradient",
    ] = "all"

    def penalty(self, model: Any, learnt: Labelled, rivals: Rivals, rng: np.random.Generator) -> Penalty | None:
        rows = np.sort(rng.permutation(len(learnt))[: self.samples])
        few = learnt.take(rows)
        fisher = iter(diagonal_fisher(model, few.x, rivals[few.y], rng if self.labels == "drawn" else None))
        moving = {id(variable) for variable in model.trainable_variables}
        centre = tuple(np.asarray(weights, np.float32) for weights in model.get_weights())
        curvature = tuple(
            np.float32(self.weight) * next(fisher) if id(variable) in moving else np.zeros_like(at)
            for variable, at in zip(model.weights, centre, strict=True)
        )
        return Penalty(curvature, centre)


@dataclass(frozen=True, kw_only=True)
class LwF(Regulariser):
    """Learning without forgetting: the model answers new images as it did before, on the classes it knew.

    L = CE + weight T^2 KL(softmax(z_before / T) || softmax(z / T)), over the logits z of the classes known, task by task where the
    task is given. Needs no image of before; those that are replayed are held to the answers of before too.

    Source: Li and Hoiem (2017), Learning without Forgetting, section 3; the factor T^2 of Hinton, Vinyals and Dean (2015), Distilling the
    Knowledge in a Neural Network, section 2.
    """

    tag = "lwf"

    weight: Annotated[float, "how much the answers of before are worth, against the cross-entropy", Range(ge=0)] = 1.0
    temperature: Annotated[float, "T: what logits are divided by before they are compared", Range(gt=0)] = 2.0

    @property
    def distillation(self) -> Distillation | None:
        return Distillation(self.weight, self.temperature)
