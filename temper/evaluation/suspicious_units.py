"""Evaluations of suspicious units: their distribution over layers, and their excitation by synthesised images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.rankings import NO_UNIT, Indices, NeuronRanking
from temper.core.artefacts import Examples, Images, Row
from temper.core.component import Range, Ref
from temper.core.run import Run
from temper.evaluation.cell_evaluation import AttackedModels, Protocol
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.units import Probe, Values, unit_means
from temper.system import backend


@dataclass(frozen=True, kw_only=True)
class SuspiciousLayers(AttackedModels):
    """The distribution of suspicious units over layers.

    ``layer_share`` is the share of all classes' suspicious units in a layer, ``localised`` the share of classes with
    any suspicious unit: of the others the model gets all images right, or all wrong.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 5, on the distribution of suspicious neurons.
    """

    tag = "suspicious_layers"
    cells = (("models", "model"), ("neurons", "examples"))
    metrics = ("localised", "layer_share")
    framework = False
    rows = ("model", "examples")
    columns = ("metric", "group")

    neurons: Annotated[tuple[Ref[NeuronRanking], ...], "the localisers, one row each for every model"]
    top: Annotated[
        int | None, "number of units per class to evaluate, the most suspicious first; default: all", Range(ge=1)
    ] = None
    protocol: Annotated[
        Protocol, "transfer: as found in the localiser's own model; white_box: localised again in each"
    ] = "white_box"

    def measure(self, run: Run) -> Iterable[Row]:
        ranking = run[self.neurons[0]].first(self.top)
        about: dict[str, Any] = self.about()
        classes = range(len(ranking.selected))
        localised = sum(len(ranking.units_of(label)) > 0 for label in classes)
        yield Row.proportion("localised", localised, len(classes), higher_is_better=None, **about)
        places = [layer for label in classes for layer, _ in ranking.positions_of(label)]
        for i in range(len(ranking.layers)) if places else ():
            yield Row.proportion(
                "layer_share", places.count(i), len(places), higher_is_better=None, group=f"layer {i + 1}", **about
            )


@dataclass(frozen=True, kw_only=True)
class SuspiciousActivations(AttackedModels):
    """Whether images excite the suspicious units of their class more than their original images do.

    Over all images x' derived from x and the suspicious units n of the class of x: ``raised`` is the share of pairs
    with v_n(x') > v_n(x), ``increase`` the mean of v_n(x') - v_n(x), where v_n is the unit's value (a feature map: its
    spatial mean). ``judged`` is the share of images whose class has suspicious units; the others do not count.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 5, on the increase of suspicious activations.
    """

    tag = "suspicious_activations"
    metrics = ("judged", "raised", "increase")
    rows = ("model", "examples")
    columns = ("metric",)
    reads_originals = True

    examples: Annotated[tuple[Ref[Examples], ...], "the generators, one row each for every model"]
    neurons: Annotated[
        tuple[Ref[NeuronRanking], ...],
        "localisers of the units: one for each of `examples`, or one for all",
    ]
    top: Annotated[
        int | None, "number of units per class to evaluate, the most suspicious first; default: all", Range(ge=1)
    ] = None
    values: Annotated[Values, "a unit's value is taken before or after its activation function"] = "pre"
    protocol: Annotated[
        Protocol, "transfer: examples and units of the generator's own model; white_box: regenerated against each model"
    ] = "white_box"

    def check(self) -> Iterator[tuple[str, str]]:
        if len(self.neurons) not in (1, len(self.examples)):
            yield (
                "neurons",
                f"expected one localiser, or {len(self.examples)}, one for each of `examples`, received {len(self.neurons)}",
            )

    def expand(self) -> Iterator[Self]:
        neurons = self.neurons * len(self.examples) if len(self.neurons) == 1 else self.neurons
        for model in self.models:
            for ref, units in zip(self.examples, neurons, strict=True):
                pair = self.regenerated((ref, units), model)
                yield dataclasses.replace(self, models=(model,), examples=pair[:1], neurons=pair[1:])

    def measure(self, run: Run) -> Iterable[Row]:
        made, ranking = run[self.examples[0]], run[self.neurons[0]].first(self.top)
        clean = run[self.originals[0]]
        starts, units = clean.rows_of(made.index), ranking.selected[made.y]
        suspicious = units != NO_UNIT
        counted = np.flatnonzero(suspicious.any(axis=1))
        about: dict[str, Any] = self.about()
        yield Row.proportion("judged", len(counted), len(made), higher_is_better=None, **about)
        if not len(counted):
            return
        probe = Probe(run[self.models[0]].model, self.values)
        differences = []
        for start in range(0, len(counted), compiled_programs.BATCH):
            rows = counted[start : start + compiled_programs.BATCH]
            pair = np.asarray(made.x[rows]), np.asarray(clean.x[starts[rows]])
            differences.append(_increases(probe, *pair, units[rows])[suspicious[rows]])
            run.progress(min(start + compiled_programs.BATCH, len(counted)), len(counted), "images")
        found = np.concatenate(differences)
        yield Row.proportion("raised", int((found > 0).sum()), len(found), higher_is_better=None, **about)
        yield Row(
            metric="increase",
            value=float(found.mean(dtype=np.float64)),
            n=len(found),
            unit="activation",
            higher_is_better=None,
            **about,
        )


def _increases(probe: Probe, made: Images, clean: Images, units: Indices) -> NDArray[np.float32]:
    """Return the increase of each unit's value from one image to another, float32 like ``units`` (n, k)."""
    images = made, clean, np.maximum(units, 0)
    found: NDArray[np.float32] = compiled_programs.run(
        probe.model, _difference, images, batch_size=compiled_programs.BATCH
    )[0]
    return found


def _difference(call: Call, made: Tensor, clean: Tensor, units: Tensor) -> tuple[Tensor]:
    high, low = (unit_means(call(images)[:-1]) for images in (made, clean))
    return (backend.keras().ops.take_along_axis(high - low, units, axis=1),)
