"""The loss that increases the target's cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from temper.artefacts.class_generators import Batch, GeneratorLoss
from temper.core.component import Range
from temper.nn.inspection.compiled_programs import Tensor
from temper.nn.inspection.gradients import margin
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class NCE(GeneratorLoss):
    """Negative cross-entropy: stays near the image and makes the target misclassify it.

    L = mean((g - x)^2) - CE(target(g), y), where g is the network's output for x; with a ``custom_loss_constant`` A, L
    = A * mean((g - x)^2) - (1 - A) * CE. It has no lower bound: the cross-entropy soon outweighs the distance, and only
    clipping to eps bounds the perturbation. ``clip_in_loss`` applies the clipping in the loss as well.

    Source: DeepCustom, loss NCE, whose constant is in its configuration but not in its formula.
    """

    tag = "nce"

    custom_loss_constant: Annotated[
        float | None, "weight of the distance against the cross-entropy; null: both weigh 1", Range(ge=0, le=1)
    ] = None

    def value(self, batch: Batch) -> Tensor:
        ops = backend.keras().ops
        distance = ops.mean(ops.square(batch.generated - batch.x))
        # softplus(margin) is the cross-entropy, with a gradient where the softmax saturates.
        cross_entropy = ops.mean(ops.softplus(margin(batch.target(batch.generated), batch.y)))
        if self.custom_loss_constant is None:
            return distance - cross_entropy
        return self.custom_loss_constant * distance - (1 - self.custom_loss_constant) * cross_entropy
