"""The family of localisers that score units by their hit spectra."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

from temper.artefacts.rankings import Indices, NeuronRanking, Scores
from temper.core.component import Part, Range
from temper.core.families import Localiser
from temper.core.run import Run
from temper.core.stage import Preparation
from temper.localisation.hit_counting import HitSpectrum, HitSpectrumSettings
from temper.localisation.hit_spectrum import Spectrum
from temper.localisation.unit_selection import Scope, most_suspicious_by_class, padded


@dataclass(frozen=True, kw_only=True)
class SpectrumLocaliser(Localiser, HitSpectrumSettings):
    """Selects units for each class by their hit spectra. Members implement ``select``.

    A class of which the model gets every image wrong, or none, cannot be localised: its scores are nan, and no unit is
    selected for it.
    """

    produces = NeuronRanking

    top: Annotated[int, "units to select for each class", Range(ge=1)]
    scope: Annotated[Scope, "`top` units of the whole network, or of each of its layers"] = "network"
    as_published: Annotated[
        bool, "as in the artefacts: the test part by default, and ties that may select more than `top` units"
    ] = False

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        # The artefacts count spectra on the test part, which leaks into synthesis and evaluation.
        return "test" if self.as_published else "train"

    @property
    def stochastic(self) -> bool:
        return False

    @abstractmethod
    def select(self, spectrum: Spectrum, run: Run) -> tuple[Scores, list[Indices]]:
        """Return the scores (classes, units), and the selected units of each class, the most suspicious first."""

    def preparations(self) -> Mapping[str, Preparation]:
        return {"spectrum": HitSpectrum.of(self)}

    @final
    def produce(self, run: Run) -> NeuronRanking:
        spectrum: Spectrum = run.prepared("spectrum")
        scores, chosen = self.select(spectrum, run)
        localisable = spectrum.localisable.tolist()
        info: dict[str, Any] = {
            "localiser": self.tag,
            "values": self.values,
            "conv_unit": self.conv_unit,
            "failed": spectrum.failed.tolist(),
            "passed": spectrum.passed.tolist(),
            "not_localisable": [c for c in range(len(spectrum.failed)) if c not in localisable],
        }
        return NeuronRanking(spectrum.layers, scores, padded(chosen), spectrum.unit_counts, info)

    def highest(self, spectrum: Spectrum, scores: Scores) -> list[Indices]:
        """Return the units of highest score of each class; none for a class that cannot be localised."""
        sizes = [layer.units for layer in spectrum.layers]
        return most_suspicious_by_class(scores, sizes, self.top, self.scope, self.as_published)

    def ranked(self, spectrum: Spectrum, scores: Scores) -> tuple[Scores, list[Indices]]:
        """Return scores with the units of highest score of each class."""
        return scores, self.highest(spectrum, scores)
