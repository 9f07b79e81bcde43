"""The three suspiciousness measures as localisers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from temper.artefacts.rankings import Indices, Scores
from temper.core.component import Range
from temper.core.run import Run
from temper.localisation import suspiciousness_measures
from temper.localisation.hit_spectrum import Spectrum
from temper.localisation.spectrum_localiser import SpectrumLocaliser


@dataclass(frozen=True, kw_only=True)
class Tarantula(SpectrumLocaliser):
    """Suspicious units by Tarantula: the share of failures with the unit active, relative to that of passes.

    score = (cf / (cf + uf)) / (cf / (cf + uf) + cs / (cs + us)), where c: active, u: inactive, f: failed, s: passed.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 3.1; Jones and Harrold (2005). DeepCustom takes the
    same on post-activation values, ``conv_unit: per_position`` and ``scope: layer`` for convolutional networks.
    """

    tag = "tarantula"

    def select(self, spectrum: Spectrum, run: Run) -> tuple[Scores, list[Indices]]:
        return self.ranked(spectrum, spectrum.scores(suspiciousness_measures.tarantula))


@dataclass(frozen=True, kw_only=True)
class Ochiai(SpectrumLocaliser):
    """Suspicious units by Ochiai: the cosine between a unit's activity and failure.

    score = cf / sqrt((cf + uf) (cf + cs)), where c: active, u: inactive, f: failed, s: passed.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 3.1; Abreu, Zoeteweij and van Gemund (2006).
    """

    tag = "ochiai"

    def select(self, spectrum: Spectrum, run: Run) -> tuple[Scores, list[Indices]]:
        return self.ranked(spectrum, spectrum.scores(suspiciousness_measures.ochiai))


@dataclass(frozen=True, kw_only=True)
class DStar(SpectrumLocaliser):
    """Suspicious units by D*: a power of the failures with the unit active, over the counter-evidence.

    score = cf^star / (cs + uf), where c: active, u: inactive, f: failed, s: passed; inf where only cs + uf is 0.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 3.1, with star 3; Wong, Debroy, Gao and Li (2014).
    """

    tag = "dstar"

    star: Annotated[float, "exponent of the failures with the unit active", Range(gt=0)] = 3.0

    def select(self, spectrum: Spectrum, run: Run) -> tuple[Scores, list[Indices]]:
        return self.ranked(spectrum, spectrum.scores(partial(suspiciousness_measures.dstar, star=self.star)))
