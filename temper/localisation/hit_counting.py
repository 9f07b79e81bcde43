"""The counting of hit spectra, shared by all measures at any `top`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Component, Range, Ref
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.localisation.hit_spectrum import ConvUnit, Spectrum, count
from temper.nn.inspection.units import Values


@dataclass(frozen=True, kw_only=True)
class HitSpectrumSettings(Component):
    """The parameters that a hit spectrum depends on."""

    model: Annotated[Ref[Classifier], "the model to inspect"]
    data: Annotated[
        Ref[Examples] | None, "labelled images to run; default: the training part of the model's data set"
    ] = None
    threshold: Annotated[
        float, "a unit is active where its value exceeds this, in the units of its value", Range(ge=-1e6, le=1e6)
    ] = 0.0
    values: Annotated[Values, "a unit's value is taken before or after its activation function"] = "pre"
    conv_unit: Annotated[
        ConvUnit,
        "a feature map is one unit by its spatial mean, or the mean of the scores of its positions",
    ] = "map_mean"


@dataclass(frozen=True, kw_only=True)
class HitSpectrum(Preparation, HitSpectrumSettings):
    """The hit spectra of all classes, from one forward pass.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 3.1.
    """

    tag = "hit_spectrum"
    produces = Spectrum

    @property
    def stochastic(self) -> bool:
        return False

    def produce(self, run: Run) -> Spectrum:
        assert self.data is not None  # the graph fills in the model's data set
        examples = run[self.data]
        found = count(
            run[self.model],
            examples,
            self.threshold,
            self.values,
            self.conv_unit,
            lambda done, total: run.progress(done, total, "images"),
        )
        run.images += len(examples)
        return found
