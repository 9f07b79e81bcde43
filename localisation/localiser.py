"""The family of localisers that judge units by their hit spectra."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

from core.artefacts import Examples
from core.classifier import Classifier
from core.component import Part, Range, Ref
from core.families import Localiser
from core.probe import Values
from core.rankings import Indices, NeuronRanking, Scores
from core.run import Run
from localisation.selection import Scope, highest, table
from localisation.spectrum import ConvUnit, Spectrum, count


@dataclass(frozen=True, kw_only=True)
class SpectrumLocaliser(Localiser):
    """Selects units for each class by their hit spectra. Members fill ``blame``.

    A class of which the model gets every image wrong, or none, cannot be localised: its scores are nan, and nothing
    is selected for it.
    """

    produces = NeuronRanking

    model: Annotated[Ref[Classifier], "the model to look into"]
    data: Annotated[
        Ref[Examples] | None, "labelled images to run; default: the training part of the model's data set"
    ] = None
    top: Annotated[int, "units to select for each class", Range(ge=1)]
    threshold: Annotated[
        float, "a unit is active where its value exceeds this, in the units of its value", Range(ge=-1e6, le=1e6)
    ] = 0.0
    values: Annotated[Values, "a unit's value is taken before or after its activation function"] = "pre"
    conv_unit: Annotated[
        ConvUnit,
        "a feature map is one unit by its spatial mean, or each of its positions is judged and their scores averaged",
    ] = "map_mean"
    scope: Annotated[Scope, "`top` units of the whole network, or of each of its layers"] = "network"
    as_published: Annotated[
        bool, "as the artefacts do: the test part by default, and ties that may select more than `top` units"
    ] = False

    def part_of(self, field_name: str) -> Part | Literal["definition"]:
        return "test" if self.as_published else "train"

    @property
    def stochastic(self) -> bool:
        return False

    @abstractmethod
    def blame(self, spectrum: Spectrum, run: Run) -> tuple[Scores, list[Indices]]:
        """Return the scores (classes, units), and the selected units of each class, the first to blame first."""

    @final
    def produce(self, run: Run) -> NeuronRanking:
        assert self.data is not None  # the graph fills in the model's data set
        examples = run[self.data]
        spectrum = count(
            run[self.model],
            examples,
            self.threshold,
            self.values,
            self.conv_unit,
            lambda done, total: run.progress(done, total, "images"),
        )
        run.images += len(examples)
        scores, chosen = self.blame(spectrum, run)
        localisable = spectrum.localisable.tolist()
        info: dict[str, Any] = {
            "localiser": self.tag,
            "values": self.values,
            "conv_unit": self.conv_unit,
            "failed": spectrum.failed.tolist(),
            "passed": spectrum.passed.tolist(),
            "not_localisable": [c for c in range(len(spectrum.failed)) if c not in localisable],
        }
        return NeuronRanking(spectrum.layers, scores, table(chosen), spectrum.unit_counts, info)

    def highest(self, spectrum: Spectrum, scores: Scores) -> list[Indices]:
        """Return the units of highest score of each class; none of a class that cannot be localised."""
        sizes = [layer.units for layer in spectrum.layers]
        return highest(scores, sizes, self.top, self.scope, self.as_published)
