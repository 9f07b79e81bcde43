"""The loss that decreases relevant pixels and increases the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from temper.artefacts.class_generators import Batch, GeneratorLoss
from temper.artefacts.rankings import PixelRanking
from temper.core.component import Range, Ref
from temper.core.errors import StageError
from temper.core.run import Run
from temper.nn.inspection.compiled_programs import Tensor
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class LRP(GeneratorLoss):
    """Decreases the pixels most relevant to a class by eps and increases the others.

    L = A * mean_R((x - eps - g)^2) + (1 - A) * mean_N((x + eps - g)^2), where g is the network's output for x, R the k
    most relevant pixels, N the others, and A ``custom_loss_constant``. It does not depend on the target: the minimum is
    one pattern for all images of a class.

    Source: DeepCustom, loss LRP.
    """

    tag = "lrp"

    pixels: Annotated[Ref[PixelRanking], "the ranking of the pixels' relevance to each class"]
    k: Annotated[int, "number of pixels that count as relevant", Range(ge=1)] = 20
    custom_loss_constant: Annotated[float, "weight of the relevant pixels against the others", Range(ge=0, le=1)] = 0.5

    def constants(self, run: Run, label: int) -> Mapping[str, np.ndarray]:
        ranking = run[self.pixels]
        relevance = ranking.relevance[label]
        if np.isnan(relevance).any():
            raise StageError(
                f"pixels: {self.pixels} has no relevance for {run.class_label(self.pixels, label)}, since it had no "
                "image of it; give it images of "
                "every class"
            )
        if self.k >= relevance.size:
            raise StageError(f"k: expected fewer than the {relevance.size} values of an image, received {self.k}")
        relevant = np.zeros(relevance.size, np.float32)
        relevant[ranking.pixels_of(label, self.k)] = 1
        return {"relevant": relevant.reshape(relevance.shape)}

    def value(self, batch: Batch) -> Tensor:
        ops = backend.keras().ops
        relevant = batch.constants["relevant"]
        lowered = ops.square(batch.x - batch.eps - batch.generated) * relevant
        raised = ops.square(batch.x + batch.eps - batch.generated) * (1 - relevant)
        # Each mean is over its own subset, so that k pixels weigh as much as all others.
        others = int(np.prod(batch.x.shape[1:])) - self.k
        weight = self.custom_loss_constant
        sums = weight * ops.sum(lowered, axis=(1, 2, 3)) / self.k
        return ops.mean(sums + (1 - weight) * ops.sum(raised, axis=(1, 2, 3)) / others)
