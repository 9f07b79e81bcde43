"""Importance-driven coverage (IDC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.component import Range
from temper.core.errors import StageError, UndertrainedModelError, did_you_mean
from temper.evaluation.coverage import combinations
from temper.evaluation.coverage.combinations import Centres, quantiser
from temper.nn.adequacy.coverage import CellCoverage, Criterion
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.inspection.activations import Activations
from temper.nn.inspection.lrp import unit_relevance_batches
from temper.nn.inspection.units import Probe


@dataclass(frozen=True, kw_only=True)
class IDC(Criterion):
    """Importance-driven coverage: the share of covered cluster combinations of a layer's most important units.

    IDC(T) = |{combinations that some x in T is nearest to}| / prod_n |Psi_n| over the m units n of a layer with the
    largest relevance (LRP-0, from the predicted class), summed over the training images that are classified correctly;
    Psi_n are the clusters of the unit's values for these images, their number the one with the best silhouette. Several
    layers are counted separately.

    Source: Gerasimou, Eniser, Sen and Cakan (2020), Importance-Driven Deep Learning System Testing, sec. 3. Differs: by
    default inactive units form a separate cluster; least-squares clusters are found exactly; equal centres count once.
    """

    tag = "idc"
    reads_labels = True

    layers: Annotated[tuple[str, ...] | None, "names of layers with weights; default: the last hidden one of these"] = (
        None
    )
    m: Annotated[int, "important units of each layer; the combinations grow exponentially with it", Range(ge=1)] = 6
    clusters: Annotated[int, "maximum number of clusters of a unit's values, besides 0", Range(ge=2)] = 4
    centres: Centres = "own"

    def profile(self, reference: ReferenceData) -> dict[str, NDArray[Any]]:
        reference = reference.finite()
        seen = reference.activations
        right = seen.predicted == reference.examples.y
        if not right.any():
            raise UndertrainedModelError("idc: expected training images that are classified correctly, received none")
        groups = {
            name: np.argsort(-relevance, kind="stable")[: self.m].astype(np.int64)
            for name, relevance in self._relevance(reference, right).items()
        }
        quantise = quantiser(self.centres, self.clusters, seen.layers)
        return {**combinations.learn(seen.take(right), groups, quantise), "excluded": np.array(reference.excluded)}

    def _relevance(self, reference: ReferenceData, right: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Return the summed relevance of the units of each counted layer."""
        layers = Probe(reference.classifier.model).layers
        known = [layer.name for layer in layers]
        wanted = self.layers or known[-1:]
        for name in wanted:
            if name not in known:
                hint = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
                raise StageError(f"idc: no hidden layer with weights is called '{name}'{hint}")
        counted = [layer for layer in layers if layer.name in wanted]
        ends = np.cumsum([layer.units for layer in counted])
        total = np.zeros(int(ends[-1]))
        for rows, relevance in unit_relevance_batches(reference.classifier, reference.examples.x, layers=wanted):
            total += relevance[right[rows]].sum(axis=0, dtype=np.float64)
        parts = np.split(total, ends[:-1])
        return {layer.name: part for layer, part in zip(counted, parts, strict=True)}

    def coverage(self, profile: Arrays, like: Activations) -> CellCoverage:
        return combinations.coverage(profile)

    def units(self, profile: Arrays, like: Activations) -> NDArray[np.int64]:
        return np.asarray(profile["columns"])
