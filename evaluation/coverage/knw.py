"""DeepKnowledge's transfer knowledge coverage (TKC)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.adequacy.coverage import CellCoverage, Criterion
from core.adequacy.material import Arrays, Material
from core.artefacts import Examples
from core.component import Range, Ref
from core.faults import StageError
from core.networks.activations import Activations
from core.preparations.observation import observe
from evaluation.coverage import combinations, transfer
from evaluation.coverage.transfer import Floats, Measured


@dataclass(frozen=True, kw_only=True)
class KNW(Criterion):
    """Transfer knowledge coverage: the share of the combinations of what units do that behave alike on unseen domains.

    TKC(T) = sum_l |{combinations of layer l that some x in T is nearest to}| / sum_l prod_n |Psi_n| over the transfer knowledge
    units n of each layer: those whose values for the training images and for images of another domain, which the model
    was not made for, are the least apart in Hellinger distance. Psi_n are the clusters of the unit's values for the training
    images, as of ``idc``. Combinations grow exponentially with ``max_units``.

    Source: Missaoui, Gerasimou and Matragkas (2024), DeepKnowledge: Generalisation-Driven Deep Learning Testing.
    Differs: by default the distance is between the distributions of values. The published code compares image number r of one
    set with image number r of the other, for units as the most active of their layer, and divides by the number of
    images: ``distance: indexed``, with ``kind: gained``.
    """

    tag = "knw"

    layers: Annotated[tuple[str, ...] | None, "names of the layers whose units count; default: the hidden ones"] = None
    zero_shot: Annotated[
        Ref[Examples] | None, "images of another domain; default: the training images, changed as `transform` says"
    ] = None
    transform: Annotated[
        Literal["invert", "rotate"], "what makes training images strange: black for white, or upside down"
    ] = "invert"
    distance: Annotated[
        Literal["histogram", "indexed"], "Hellinger distance of the values' histograms, or of values image by image"
    ] = "histogram"
    kind: Annotated[
        Literal["least", "top", "gained"],
        "which units: the least distant, the most, or the least among those more active in the other domain",
    ] = "least"
    max_units: Annotated[int, "units of each layer", Range(ge=1)] = 6
    min_inputs: Annotated[int, "images of each domain that must activate a unit", Range(ge=1)] = 10
    clusters: Annotated[int, "most clusters of a unit's values, besides 0", Range(ge=2)] = 4

    def profile(self, material: Material) -> dict[str, NDArray[Any]]:
        known = material.activations
        strange = self._strange(material)
        groups = {name: self._chosen(*measured) for name, measured in self._measured(known, strange)}
        if not any(map(len, groups.values())):
            raise StageError(
                f"knw: expected units that {self.min_inputs} images of either domain activate, received none; "
                "look at more images, or lower `min_inputs`"
            )
        return combinations.learn(known, groups, self.clusters)

    def _strange(self, material: Material) -> Activations:
        if self.zero_shot:
            return material.observed(self.zero_shot)
        x = material.examples.x
        changed = np.subtract(1, x, dtype=np.float32) if self.transform == "invert" else x[:, ::-1, ::-1]
        return observe(material.classifier, np.ascontiguousarray(changed))

    def _measured(self, known: Activations, strange: Activations) -> Iterator[tuple[str, Measured]]:
        """Yield each layer's name, its units' distances, and how many images of each domain activate them."""
        measure = transfer.of_histograms if self.distance == "histogram" else transfer.of_indices
        names = self.layers or known.counted[:-1]
        for place in known.places(names):
            yield known.layers[place].name, measure(known, strange, place)

    def _chosen(
        self, distances: Floats, in_known: NDArray[np.int64], in_strange: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        fit = np.minimum(in_known, in_strange) >= self.min_inputs
        if self.kind == "gained":
            fit &= in_strange > in_known
        order = np.argsort(-distances if self.kind == "top" else distances, kind="stable")
        return order[fit[order]][: self.max_units].astype(np.int64)

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        return combinations.coverage(profile)

    def units(self, profile: Arrays, like: Activations) -> NDArray[np.int64]:
        return np.asarray(profile["columns"])
