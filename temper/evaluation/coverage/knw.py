"""DeepKnowledge's transfer knowledge coverage (TKC)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Examples
from temper.core.component import Range, Ref
from temper.core.errors import StageError
from temper.evaluation.coverage import combinations, hellinger_distance
from temper.evaluation.coverage.combinations import Centres, quantiser
from temper.evaluation.coverage.hellinger_distance import Floats, Measured
from temper.nn.adequacy.coverage import CellCoverage, Criterion
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import read_activations

_PREFERRED = 0.3


@dataclass(frozen=True, kw_only=True)
class KNW(Criterion):
    """Transfer knowledge coverage: the share of covered cluster combinations of units that generalise across domains.

    TKC(T) = sum_l |{combinations of layer l that some x in T is nearest to}| / sum_l prod_n |Psi_n| over the transfer
    knowledge units n of each layer: those with the smallest Hellinger distance between their values for the training
    images and for images of another, unseen domain. Psi_n are the clusters of the unit's values for the training
    images, as for ``idc``. Combinations grow exponentially with ``max_units``.

    Source: Missaoui, Gerasimou and Matragkas (2024), DeepKnowledge: Generalisation-Driven Deep Learning Testing.
    Differs: by default the distance is between the distributions of values. The published code compares image number r of one
    set with image number r of the other, for units as the most active of their layer, and divides by the number of
    images: ``distance: indexed``, with ``kind: gained``, ``unit: position`` and ``centres: published``.
    """

    tag = "knw"

    layers: Annotated[tuple[str, ...] | None, "names of the layers whose units count; default: the hidden ones"] = None
    zero_shot: Annotated[
        Ref[Examples] | None, "images of another domain; default: the training images, changed by `transform`"
    ] = None
    transform: Annotated[
        Literal["invert", "rotate"], "transform of the training images into another domain: inverted, or upside down"
    ] = "invert"
    distance: Annotated[
        Literal["histogram", "indexed"], "Hellinger distance of the values' histograms, or of values image by image"
    ] = "histogram"
    kind: Annotated[
        Literal["least", "top", "preferred", "gained"],
        "selected units: the least distant, the most distant, the least distant between `hd_min` and `hd_max`, or the least distant "
        "among those more active in the other domain",
    ] = "least"
    hd_min: Annotated[float, "smallest distance of a preferred unit", Range(ge=0, le=1)] = 0.0
    hd_max: Annotated[
        float | None,
        "largest distance of a preferred unit; default: that of the least distant 30 % of its layer",
        Range(ge=0, le=1),
    ] = None
    unit: Annotated[
        Literal["map", "position"],
        "a feature map is one unit, by its mean, or each of its positions is one, as in the published code; "
        "the values of all positions are then kept on disk",
    ] = "map"
    max_units: Annotated[int, "maximum number of units of each layer", Range(ge=1)] = 6
    min_inputs: Annotated[int, "images of each domain that must activate a unit", Range(ge=1)] = 10
    clusters: Annotated[int, "maximum number of clusters of a unit's values, besides 0", Range(ge=2)] = 4
    centres: Centres = "own"

    def check(self) -> Iterator[tuple[str, str]]:
        if self.kind != "preferred":
            for name in ("hd_min", "hd_max"):
                if getattr(self, name) != getattr(KNW, name):
                    yield name, f"it applies to units of kind 'preferred' only, received kind '{self.kind}'"
        elif self.hd_max is not None and self.hd_max < self.hd_min:
            yield "hd_max", f"expected at least hd_min, {self.hd_min:g}, received {self.hd_max:g}"

    @property
    def positions(self) -> bool:
        return self.unit == "position"

    def profile(self, reference: ReferenceData) -> dict[str, NDArray[Any]]:
        reference = reference.finite()
        strange = self._strange(reference)
        known, strange = self._view(reference.activations), self._view(strange.take(strange.finite))
        groups = {name: self._chosen(*measured) for name, measured in self._measured(known, strange)}
        if not any(map(len, groups.values())):
            raise StageError(
                f"knw: expected units of kind '{self.kind}' that {self.min_inputs} images of either domain activate, received none; "
                "use more images, lower `min_inputs`, or set another kind"
            )
        quantise = quantiser(self.centres, self.clusters, reference.activations.layers)
        return {**combinations.learn(known, groups, quantise), "excluded": np.array(reference.excluded)}

    def _strange(self, reference: ReferenceData) -> Activations:
        if self.zero_shot:
            return reference.observed(self.zero_shot)
        x = reference.examples.x
        changed = np.subtract(1, x, dtype=np.float32) if self.transform == "invert" else x[:, ::-1, ::-1]
        return read_activations(reference.classifier, np.ascontiguousarray(changed), positions=self.positions)

    def _view(self, seen: Activations) -> Activations:
        """Return the activations of the candidate units."""
        return seen.by_position() if self.positions else seen

    def _measured(self, known: Activations, strange: Activations) -> Iterator[tuple[str, Measured]]:
        """Yield each layer's name, its units' distances, and how many images of each domain activate them."""
        measure = hellinger_distance.of_histograms if self.distance == "histogram" else hellinger_distance.of_indices
        names = self.layers or known.counted[:-1]
        for place in known.places(names):
            yield known.layers[place].name, measure(known, strange, place)

    def _chosen(
        self, distances: Floats, in_known: NDArray[np.int64], in_strange: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        fit = np.minimum(in_known, in_strange) >= self.min_inputs
        if self.kind == "gained":
            fit &= in_strange > in_known
        if self.kind == "preferred":
            fit &= distances >= self.hd_min
            if fit.any():
                fit &= distances <= (np.quantile(distances[fit], _PREFERRED) if self.hd_max is None else self.hd_max)
        order = np.argsort(-distances if self.kind == "top" else distances, kind="stable")
        return order[fit[order]][: self.max_units].astype(np.int64)

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        return combinations.coverage(profile, self._view)

    def units(self, profile: Arrays, like: Activations) -> NDArray[np.int64]:
        return np.asarray(profile["columns"])
