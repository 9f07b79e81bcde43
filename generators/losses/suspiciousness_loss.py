"""The loss that excites the target's suspicious neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

import numpy as np

from temper.artefacts.class_generators import Batch, GeneratorLoss
from temper.artefacts.rankings import NeuronRanking
from temper.core.component import Range, Ref
from temper.core.errors import UndertrainedModelError
from temper.core.run import Run
from temper.nn.inspection.compiled_programs import Tensor
from temper.nn.inspection.units import Probe
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class Suspiciousness(GeneratorLoss):
    """Increases the values of suspicious neurons and feature maps, holds the others, and stays near the image.

    L = A * (C + D) + (1 - A) * mean((g - x)^2), where g is the network's output for x and A ``custom_loss_constant``.
    With z the values before the activation, d = z(x) - z(g), S the suspicious units of a layer and M its others: D =
    theta * sum_S(d) + gamma * sum_M|d| over the neurons of all dense layers, C = sum over the convolutional layers of
    alpha * mean_S(d) + beta * mean_M|d|, means over maps and positions. Both are means over the batch. ``as_published``
    sums C and the first part of D over the batch where the target has convolutions, so that the loss depends on the
    batch size. The published CIFAR-10 loss also passes wrongly pooled values on to the deeper layers; here the values
    come from the target itself.

    With ``gamma`` as large as ``theta``, as published for MNIST, holding the many neurons outweighs increasing the few,
    and the image itself is nearly the minimum: the effect of such a network on the target is mostly its reconstruction
    error. When MNIST images are moved to the minimum directly, the published 5 x 30 network still classifies 95.7 % of
    them correctly with ``gamma`` 0.5, and none with 0.01 (top 20, eps 0.3; measured).

    Source: DeepCustom, loss Suspiciousness.
    """

    tag = "suspiciousness"

    neurons: Annotated[Ref[NeuronRanking], "the suspicious neurons and feature maps of each class"]
    top: Annotated[
        int | None, "number of units to increase per class, the most suspicious first; default: all", Range(ge=1)
    ] = None
    custom_loss_constant: Annotated[float, "weight of the neurons against the distance", Range(ge=0, le=1)] = 0.8
    theta: Annotated[float, "weight of the suspicious neurons of dense layers", Range(ge=0)] = 0.5
    gamma: Annotated[float, "weight of their other neurons", Range(ge=0)] = 0.5
    alpha: Annotated[float, "weight of the suspicious feature maps", Range(ge=0)] = 0.5
    beta: Annotated[float, "weight of the other feature maps", Range(ge=0)] = 0.01
    as_published: Annotated[bool, "sum over the batch where the artefact does"] = False
    no_suspicious_units: Annotated[
        Literal["refuse", "hold"],
        "for a class without suspicious units: stop with an error, or hold all its units",
    ] = "refuse"

    def for_smoke(self) -> Self:
        return replace(self, no_suspicious_units="hold")  # a barely trained model never predicts some classes

    def frozen_target(self, model: Any) -> Any:
        return Probe(model).model

    def constants(self, run: Run, label: int) -> Mapping[str, np.ndarray]:
        # A ranking may have more units than the loss uses.
        ranking = run[self.neurons].first(self.top)
        if self.no_suspicious_units == "refuse" and not len(ranking.units_of(label)):
            raise UndertrainedModelError(
                f"neurons: {self.neurons} has no suspicious unit for {run.class_label(self.neurons, label)}: the "
                "model makes no mistake there, or only "
                "mistakes; give the ranking more images or another model, or set no_suspicious_units: hold"
            )
        masks = {f"suspicious_{i}": np.zeros(layer.units, np.float32) for i, layer in enumerate(ranking.layers)}
        for layer, unit in ranking.positions_of(label):
            masks[f"suspicious_{layer}"][unit] = 1
        return masks

    def value(self, batch: Batch) -> Tensor:
        ops = backend.keras().ops
        *before, _ = batch.target(batch.x)
        *after, _ = batch.target(batch.generated)
        images = ops.cast(ops.shape(batch.x)[0], "float32")
        # The artefact's CIFAR loss sums over the batch; its MNIST loss does not.
        times = images if self.as_published and any(len(z.shape) == 4 for z in before) else 1.0
        total = 0.0
        for i, (z, changed) in enumerate(zip(before, after, strict=True)):
            suspicious = batch.constants[f"suspicious_{i}"]
            difference, others = z - changed, 1 - suspicious
            size = ops.abs(difference)
            if len(z.shape) == 4:
                difference, size = (ops.mean(values, axis=(1, 2)) for values in (difference, size))
                pushed = self.alpha * _mean(difference, suspicious)
                total = total + times * ops.mean(pushed + self.beta * _mean(size, others))
            else:
                total = total + times * self.theta * ops.mean(ops.sum(difference * suspicious, axis=-1))
                total = total + self.gamma * ops.mean(ops.sum(size * others, axis=-1))
        distance = ops.mean(ops.square(batch.generated - batch.x))
        return self.custom_loss_constant * total + (1 - self.custom_loss_constant) * distance


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each row of ``values`` (n, units) over the units of a mask, (n,); 0 if the mask is empty."""
    ops = backend.keras().ops
    # At least 1, so that an empty mask gives 0 and not nan.
    return ops.sum(values * mask, axis=-1) / ops.maximum(ops.sum(mask), 1.0)
