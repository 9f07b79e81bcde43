"""Suspiciousness-guided synthesis: images that excite the suspicious units of their class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.rankings import Indices, NeuronRanking
from temper.core.artefacts import Examples, Images
from temper.core.attack import attack_facts, shown_predictions
from temper.core.classifier import Classifier
from temper.core.component import AtOnce, Range, Ref
from temper.core.errors import StageError, UndertrainedModelError
from temper.core.families import Generator
from temper.core.resumable_batches import fill_in_batches
from temper.core.run import Run
from temper.core.threat_model import ThreatModel
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.gradients import value_and_gradient
from temper.nn.inspection.units import Probe, Values, unit_means
from temper.system import backend

Combine = Literal["rms_mean", "raw_mean", "sign_agreement"]
_NEARLY_ZERO = 1e-5  # added by DeepFault to a gradient's size before dividing by it


@dataclass(frozen=True, kw_only=True)
class Synthesis(Generator):
    """Inputs that excite chosen units: each image moves along the gradients of its class's suspicious units.

    x' = clip(x + delta, 0, 1), in one step, with g_n the gradient of unit n's value (a feature map: its spatial mean):
    rms_mean: delta = clip(step * mean_n g_n / (rms(g_n) + 1e-5), -eps, eps); raw_mean: the same without division;
    sign_agreement: delta = eps * s where all g_n have the same sign s, else 0. Labels are kept. Images of classes that
    could not be localised are skipped.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 3.2, algorithm 2 (rms_mean); its public code since
    December 2019 (raw_mean) and that of October 2018 (sign_agreement).
    """

    tag = "synthesis"

    model: Annotated[Ref[Classifier], "the model whose units are excited"]
    neurons: Annotated[Ref[NeuronRanking], "the units to excite for each class"]
    data: Annotated[Ref[Examples] | None, "images to start from; default: the model's data set"] = None
    combine: Annotated[Combine, "how the gradients of several units are combined into one step"] = "rms_mean"
    step: Annotated[float, "factor of the mean gradient, in input units; `sign_agreement` has none", Range(gt=0)] = 1.0
    eps: Annotated[
        float, "L-inf radius of the perturbation, in input units; DeepFault's distance", Range(gt=0, le=1)
    ] = 0.1
    top: Annotated[
        int | None, "number of units to excite per class, the most suspicious first; default: all", Range(ge=1)
    ] = None
    values: Annotated[Values, "a unit's value is taken before or after its activation function"] = "pre"
    inputs: Annotated[
        Literal["correct", "all"], "start from the images the model classifies correctly, or from all"
    ] = "correct"
    per_class: Annotated[int | None, "images of each class to start from; default: all", Range(ge=1)] = None
    choice: Annotated[
        Literal["first", "random"], "which `per_class` images: the first, or sampled without replacement"
    ] = "first"
    batch_size: Annotated[int, "gradients computed at once: images times units", Range(ge=1), AtOnce()] = 5000

    @property
    def stochastic(self) -> bool:
        return self.per_class is not None and self.choice == "random"

    def produce(self, run: Run) -> Examples:
        assert self.data is not None  # the graph fills in the model's data set
        clean, victim, ranking = run[self.data], run[self.model], run[self.neurons].first(self.top)
        units = [ranking.units_of(label) for label in range(len(ranking.scores))]
        rows = self._rows(clean, victim, units, run)
        probe = Probe(victim.model, self.values)
        # A ranking of another model would excite arbitrary units.
        if [layer.units for layer in probe.layers] != [layer.units for layer in ranking.layers]:
            raise StageError(
                f"synthesis: expected units of layers of {[layer.units for layer in probe.layers]} as the model has, "
                f"received {[layer.units for layer in ranking.layers]}; localise them in this model"
            )
        # Every image has a gradient for each of its units.
        batch = max(1, self.batch_size // max(len(chosen) for chosen in units))

        def excited(places: slice) -> Images:
            part = rows[places]
            return self.excite(probe, np.asarray(clean.x[part]), [units[y] for y in clean.y[part]], batch)

        x = fill_in_batches(run, np.empty((len(rows), *clean.shape), np.float32), batch, excited)
        run.images += len(rows)
        rule = self.combine if self.combine == "sign_agreement" else f"one step, {self.step:g} x {self.combine}"
        info = attack_facts(self.tag, "true", rule, ThreatModel("inf", self.eps))
        info |= {"skipped": len(clean) - len(rows)} | shown_predictions(victim, x, clean.y[rows])
        return Examples(x=x, y=clean.y[rows], index=clean.index[rows], info=info)

    def excite(self, probe: Probe, x: Images, units: list[Indices], batch_size: int) -> Images:
        """Return at most ``batch_size`` images (n, h, w, c) moved along the gradients of some units each, at least one.

        Units are counted through all layers of the probe, as a ranking counts them.
        """
        most = max(len(chosen) for chosen in units)
        unit_rows = np.zeros((len(x), most), np.int32)
        weight = np.zeros((len(x), most), np.float32)
        for i, chosen in enumerate(units):
            unit_rows[i, : len(chosen)], weight[i, : len(chosen)] = chosen, 1
        (moved,) = compiled_programs.run(
            probe.model,
            _excite,
            (x, unit_rows, weight),
            (self.step, self.eps),
            (most, self.combine),
            batch_size,
            most,
        )
        return moved

    def _rows(self, clean: Examples, victim: Classifier, units: list[Indices], run: Run) -> NDArray[np.int64]:
        """Return the rows of the images to start from, int64, in order."""
        able = np.array([len(chosen) > 0 for chosen in units])[clean.y]
        if self.inputs == "correct":
            able &= victim.predict(clean.x) == clean.y
        rows = np.flatnonzero(able)
        if self.per_class is not None:
            rows = np.sort(np.concatenate([*self._chosen(clean, rows, self.per_class, run), rows[:0]]))
        if not len(rows):
            raise UndertrainedModelError(
                f"synthesis: expected images of localised classes to start from ({self.inputs}), received none of "
                f"{len(clean)}; train the model longer, or set `inputs: all`"
            )
        return rows

    def _chosen(self, clean: Examples, rows: Indices, wanted: int, run: Run) -> Iterator[Indices]:
        rng = run.rng()
        for label in np.unique(clean.y[rows]):
            among = rows[clean.y[rows] == label]
            size = min(wanted, len(among))
            yield among[:size] if self.choice == "first" else rng.choice(among, size, replace=False)


def _excite(
    call: Call, x: Tensor, units: Tensor, weight: Tensor, step: Tensor, eps: Tensor, most: int, combine: Combine
) -> tuple[Tensor]:
    """Return ``x`` moved along the gradients of ``units`` (n, most), ignoring those of ``weight`` 0."""
    ops = backend.keras().ops
    counts = ops.maximum(ops.sum(weight, axis=1), 1.0)
    if combine == "raw_mean":
        # The mean of the gradients is the gradient of the mean: one pass for all units.
        mean = _gradient(call, x, units, weight / ops.expand_dims(counts, 1))
        return (ops.clip(x + ops.clip(step * mean, -eps, eps), 0.0, 1.0),)
    # Every image is repeated for each of its units: again one pass for all.
    each = _gradient(call, ops.repeat(x, most, axis=0), ops.reshape(units, (-1, 1)), ops.ones((1, 1), x.dtype))
    each = ops.reshape(each, (-1, most, *x.shape[1:]))
    weight, counts = ops.reshape(weight, (-1, most, 1, 1, 1)), ops.reshape(counts, (-1, 1, 1, 1))
    if combine == "sign_agreement":
        sign = ops.sum(ops.sign(each) * weight, axis=1)
        delta = eps * (ops.cast(sign == counts, x.dtype) - ops.cast(sign == -counts, x.dtype))
    else:
        size = ops.sqrt(ops.mean(ops.square(each), axis=(2, 3, 4), keepdims=True))
        mean = ops.sum(each / (size + _NEARLY_ZERO) * weight, axis=1) / counts
        delta = ops.clip(step * mean, -eps, eps)
    return (ops.clip(x + delta, 0.0, 1.0),)


def _gradient(call: Call, x: Tensor, units: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient with respect to the images (n, ...) of the weighted sum of ``units`` (n, k)."""
    ops = backend.keras().ops

    def value(images: Tensor) -> Tensor:
        *values, _ = call(images)
        found = unit_means(values)
        chosen = ops.one_hot(units, found.shape[-1], dtype=found.dtype) * ops.expand_dims(weight, -1)
        return ops.sum(found * ops.sum(chosen, axis=1), axis=1)

    return value_and_gradient(value, x)[1]
