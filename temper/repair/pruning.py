"""Pruning: removes the units a model needs least, and fine-tunes the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.retrained_classifier import Retrained, TrainedOn
from temper.core.artefacts import Examples, Images
from temper.core.component import Plain, Range, Ref, empty_mapping
from temper.core.errors import StageError
from temper.core.run import Run
from temper.nn.editing.unit_removal import removal_obstacles, without_units
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.units import Probe
from temper.repair.further_training import FurtherTraining
from temper.system import backend

Importance = Mapping[str, NDArray[np.float64]]
"""The importance of each unit of a model's layers, by the layer's name."""


@dataclass(frozen=True, kw_only=True)
class Pruning(FurtherTraining):
    """Structured pruning: removes the feature maps a model needs least and fine-tunes the rest.

    apoz: a map is needed less, the larger the share of zeros among its values after the activation.
    l1:   a map is needed less, the smaller the sum of its kernel's absolute weights.

    The next layer loses its weights for the removed maps, so that the network becomes smaller and faster. Maps that a
    residual block adds to others are kept: of a block, all but the last convolution (and the projection) can be pruned.
    A dense layer is pruned only if listed in ``shares``.

    Source: You, Wang, Chen, Liu and Li (2023), Regression Fuzzing for Deep Learning Systems, scenario PRUNE, whose
    released model shows the criterion (it keeps the maps that are not dead) and the fine-tuning. apoz: Hu, Peng, Tai
    and Tang (2016), Network Trimming. l1: Li, Kadav, Durdanovic, Samet and Graf (2017), Pruning Filters for Efficient
    ConvNets.
    """

    tag = "pruning"
    produces = Retrained

    data: Annotated[
        Ref[Examples] | None, "images for the criterion and for fine-tuning; default: the training part of the data set"
    ] = None
    criterion: Annotated[Literal["apoz", "l1"], "criterion for the units that are needed least"] = "apoz"
    share: Annotated[
        float, "share of its maps that each convolution loses, rounded; at least one is kept", Range(ge=0, lt=1)
    ] = 0.5
    shares: Annotated[
        Mapping[str, Plain], "shares of individual layers, by name; with share: 0 no other layer is pruned"
    ] = empty_mapping()
    epochs: Annotated[int, "passes of the fine-tuning over the images; 0: none", Range(ge=0)] = 10

    def check(self) -> Iterator[tuple[str, str]]:
        for name, share in self.shares.items():
            if not isinstance(share, int | float) or not 0 <= share < 1:
                yield "shares", f"layer '{name}': expected a share of at least 0 and less than 1, received {share!r}"
        if self.data is not None and self.data.part == "test":
            yield "data", "a model trained on the test images cannot be evaluated on them; use another part"

    def produce(self, run: Run) -> Retrained:
        assert self.data is not None  # the graph fills in the model's data set
        images, original = run[self.data], run[self.model].model
        shares = self._wanted(original)
        importance = nonzero_shares(original, images.x) if self.criterion == "apoz" else kernel_norms(original)
        kept = {name: kept_units(importance[name], share) for name, share in shares.items()}
        model = without_units(original, kept)
        run.images += len(images)
        self.train_further(model, images, run, run.checkpoint)
        return Retrained(model, TrainedOn(inputs=len(images), adversarial=0, available=len(images)))

    def _wanted(self, model: Any) -> dict[str, float]:
        """Return the share of units to prune, by layer."""
        blocked = removal_obstacles(model)
        for name in self.shares:
            if name not in blocked:
                raise StageError(
                    f"shares: no layer with units is called '{name}'; expected one of {', '.join(blocked)}"
                )
            if blocked[name]:
                raise StageError(f"shares: layer '{name}' cannot be pruned: {blocked[name]}")
        # Dense layers are pruned only if named: `share` is about feature maps.
        maps = [n for n, obstacle in blocked.items() if not obstacle and hasattr(model.get_layer(n), "filters")]
        wanted = dict.fromkeys(maps, self.share) | {name: float(share or 0) for name, share in self.shares.items()}
        if not any(wanted.values()):
            raise StageError("share: nothing would be pruned; list layers in `shares`, or set a larger share")
        return wanted


def kept_units(importance: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Return the positions of the units kept when a share is removed, ascending; of ties the last are removed."""
    # At least one unit is kept.
    lost = min(round(share * len(importance)), len(importance) - 1)
    return np.sort(np.argsort(-importance, kind="stable")[: len(importance) - lost])


def kernel_norms(model: Any) -> Importance:
    """Return the sum of the absolute weights of each unit's kernel, layer by layer."""
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    kernels = {layer.name: np.abs(np.asarray(layer.get_weights()[0], np.float64)) for layer in layers}
    return {name: kernel.sum(axis=tuple(range(kernel.ndim - 1))) for name, kernel in kernels.items()}


def nonzero_shares(model: Any, x: Images) -> Importance:
    """Return the share of nonzero values of each hidden unit after the activation, over all positions and images."""
    probe = Probe(model, "post")
    batches = (x[start : start + compiled_programs.BATCH] for start in range(0, len(x), compiled_programs.BATCH))
    total = sum(
        compiled_programs.run(probe.model, _not_zero, [batch])[0].sum(axis=0, dtype=np.float64) for batch in batches
    )
    ends = np.cumsum([layer.units for layer in probe.layers])
    parts = np.split(np.asarray(total) / max(1, len(x)), ends[:-1])
    return {layer.name: part for layer, part in zip(probe.layers, parts, strict=True)}


def _not_zero(call: Call, x: Tensor) -> tuple[Tensor]:
    """Return the share of each unit's positions that are nonzero, (n, all units)."""
    ops = backend.keras().ops
    *hidden, _ = call(x)
    shares = [ops.cast(ops.not_equal(values, 0.0), "float32") for values in hidden]
    return (ops.concatenate([s if len(s.shape) == 2 else ops.mean(s, axis=(1, 2)) for s in shares], axis=1),)
