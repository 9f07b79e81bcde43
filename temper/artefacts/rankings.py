"""The results of localisation: suspicious neurons and pixels, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, read_json, write_json
from temper.core.errors import StageError
from temper.core.report_spec import LayerMap, Picture, PictureContext, RelevanceMap
from temper.nn.inspection.units import UnitLayer

Scores = NDArray[np.float64]
Indices = NDArray[np.int64]
NO_UNIT = -1
"""Pads the selection of a class that has fewer units than others."""


@dataclass(frozen=True, eq=False)
class NeuronRanking(Artefact):
    """The suspicious units (neurons, feature maps) of the hidden layers for each class.

    ``scores`` is float64 (classes, units), units counted through ``layers`` in order, nan in the row of a class that
    cannot be localised; ``selected`` int64 (classes, most selected), the suspicious units in descending order of score,
    padded with ``NO_UNIT``; ``spectrum`` int64 (classes, units, 4), the number of images with the unit active and
    failed, inactive and failed, active and passed, inactive and passed, or (classes, units, 0) without a spectrum;
    ``info`` is metadata in plain JSON values.

    Raises:
        ValueError: the shapes of the arrays do not match.
    """

    kind: ClassVar[str] = "neuron_ranking"

    layers: tuple[UnitLayer, ...]
    scores: Scores
    selected: Indices
    spectrum: Indices
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        units = sum(layer.units for layer in self.layers)
        classes = len(self.scores)
        if self.scores.shape != (classes, units) or self.spectrum.shape[:2] != (classes, units):
            raise ValueError(
                f"neuron ranking: expected scores and spectrum for {units} units of {classes} classes, "
                f"received {self.scores.shape} and {self.spectrum.shape}"
            )
        if self.selected.ndim != 2 or len(self.selected) != classes or (self.selected >= units).any():
            raise ValueError(f"neuron ranking: expected units below {units} for {classes} classes as the selection")

    def first(self, top: int | None) -> NeuronRanking:
        """Return the ranking with only the first ``top`` suspicious units of each class; all if ``None``.

        Raises:
            StageError: units were selected, but no class has ``top`` of them.
        """
        most = self.selected.shape[1]
        if top is None or not most:
            return self
        if top > most:
            raise StageError(
                f"expected at least {top} suspicious units for a class, received {most}; raise the localiser's `top`"
            )
        return replace(self, selected=self.selected[:, :top])

    def units_of(self, label: int) -> Indices:
        """Return the suspicious units of a class, counted through all layers, int64 (k,); empty if there are none."""
        row = self.selected[label]
        units: Indices = row[row != NO_UNIT]
        return units

    def positions_of(self, label: int) -> Iterator[tuple[int, int]]:
        """Yield the suspicious units of a class as (position of the layer, position in the layer)."""
        starts = np.cumsum([0, *(layer.units for layer in self.layers)])
        for unit in self.units_of(label).tolist():
            # side="right": a unit at a layer's start belongs to that layer.
            layer = int(np.searchsorted(starts, unit, side="right")) - 1
            yield layer, int(unit - starts[layer])

    def pictures(self, context: PictureContext) -> Iterator[Picture]:
        count = len(self.scores)
        yield LayerMap(
            name=context.name,
            classes=context.class_names(count),
            layers=[(layer.name, layer.units) for layer in self.layers],
            scores=self.scores,
            selected=[self.units_of(label).tolist() for label in range(count)],
        )

    def save(self, folder: Path) -> None:
        for name in ("scores", "selected", "spectrum"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        write_json(folder / "ranking.json", {"layers": [asdict(layer) for layer in self.layers], "info": self.info})

    @classmethod
    def load(cls, folder: Path) -> Self:
        raw = read_json(folder / "ranking.json")
        arrays = {name: np.load(folder / f"{name}.npy") for name in ("scores", "selected", "spectrum")}
        return cls(layers=tuple(UnitLayer(**layer) for layer in raw["layers"]), info=raw["info"], **arrays)


@dataclass(frozen=True, eq=False)
class PixelRanking(Artefact):
    """How relevant each pixel is to each class.

    ``relevance`` is float64 (classes, height, width, channels), signed, the mean over images of the class; nan where
    a class had no image. ``info`` is metadata in plain JSON values.

    Raises:
        ValueError: the array does not have four axes.
    """

    kind: ClassVar[str] = "pixel_ranking"

    relevance: Scores
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.relevance.ndim != 4:
            raise ValueError(f"pixel ranking: expected (classes, h, w, c), received {self.relevance.shape}")

    def pixels_of(self, label: int, top: int) -> Indices:
        """Return the ``top`` most relevant pixels of a class, flat indices in (h, w, c), the most relevant first."""
        # Stable, so that ties are in order on every platform.
        order: Indices = np.argsort(-self.relevance[label].ravel(), kind="stable")[:top]
        return order

    def pictures(self, context: PictureContext) -> Iterator[Picture]:
        classes = context.class_names(len(self.relevance))
        yield RelevanceMap(name=context.name, classes=classes, relevance=self.relevance)

    def save(self, folder: Path) -> None:
        np.save(folder / "relevance.npy", self.relevance)
        write_json(folder / "info.json", self.info)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(np.load(folder / "relevance.npy"), read_json(folder / "info.json"))
