"""Hit spectra: how often every hidden unit was active on the failed and on the passed images of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.rankings import Indices, Scores
from temper.core.artefacts import Artefact, Examples, read_json, write_json
from temper.core.classifier import Classifier
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.compiled_programs import Call, Tensor
from temper.nn.inspection.finite_check import check_outputs
from temper.nn.inspection.units import Probe, UnitLayer, Values, unit_means
from temper.system import backend

ConvUnit = Literal["map_mean", "per_position"]
Measure = Callable[[Indices], Scores]
_COUNTS = ("failed", "passed", "active_failed", "active_passed")
_AT_ONCE = 2**25
"""Activity values held at once: a network of many positions is counted in smaller batches."""


@dataclass(frozen=True, eq=False)
class Spectrum(Artefact):
    """The hit spectra of all classes.

    A cell is what can be active: a neuron, a feature map (``map_mean``) or one position of a feature map
    (``per_position``, in the order height, width, unit within its layer).

    Attributes:
        layers: the hidden layers with weights.
        conv_unit: the kind of cell in a feature map.
        failed, passed: int64 (classes,), the number of images of each class the model gets wrong and right.
        active_failed, active_passed: int64 (classes, cells), the number of these with the cell active.
    """

    kind: ClassVar[str] = "spectrum"

    layers: tuple[UnitLayer, ...]
    conv_unit: ConvUnit
    failed: Indices
    passed: Indices
    active_failed: Indices
    active_passed: Indices

    @property
    def localisable(self) -> Indices:
        """The classes that have both failed and passed images, int64."""
        return np.flatnonzero((self.failed > 0) & (self.passed > 0))

    @property
    def active(self) -> NDArray[np.bool_]:
        """The units that any image of a class activates, bool (classes, units)."""
        return self._of_units((self.active_failed + self.active_passed).astype(np.float64)) > 0

    @property
    def counts(self) -> Indices:
        """Every cell's four counts, int64 (classes, cells, 4): active and failed, inactive and failed, then passed."""
        inactive_failed = self.failed[:, None] - self.active_failed
        inactive_passed = self.passed[:, None] - self.active_passed
        return np.stack([self.active_failed, inactive_failed, self.active_passed, inactive_passed], axis=-1)

    @property
    def unit_counts(self) -> Indices:
        """The counts by unit, (classes, units, 4), or (classes, units, 0) where positions are counted."""
        if self.conv_unit == "map_mean":
            return self.counts
        return np.zeros((len(self.failed), sum(layer.units for layer in self.layers), 0), np.int64)

    def scores(self, measure: Measure) -> Scores:
        """Return every unit's suspiciousness, float64 (classes, units); nan where a class cannot be localised.

        A unit with positions gets their mean.
        """
        units = sum(layer.units for layer in self.layers)
        scores = np.full((len(self.failed), units), np.nan)
        scores[self.localisable] = self._of_units(measure(self.counts[self.localisable]))
        return scores

    def save(self, folder: Path) -> None:
        for name in _COUNTS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        layers = [asdict(layer) for layer in self.layers]
        write_json(folder / "spectrum.json", {"layers": layers, "conv_unit": self.conv_unit})

    @classmethod
    def load(cls, folder: Path) -> Self:
        raw = read_json(folder / "spectrum.json")
        layers = tuple(UnitLayer(**layer) for layer in raw["layers"])
        return cls(layers, raw["conv_unit"], **{name: np.load(folder / f"{name}.npy") for name in _COUNTS})

    def _of_units(self, scores: Scores) -> Scores:
        if self.conv_unit == "map_mean":
            return scores
        ends = np.cumsum([layer.units * layer.height * layer.width for layer in self.layers])[:-1]
        parts = np.split(scores, ends, axis=1)
        means = [
            part.reshape(len(part), layer.height * layer.width, layer.units).mean(axis=1)
            for part, layer in zip(parts, self.layers, strict=True)
        ]
        return np.concatenate(means, axis=1)


def count(
    classifier: Classifier,
    examples: Examples,
    threshold: float,
    values: Values,
    conv_unit: ConvUnit,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Spectrum:
    """Count the hits of all classes in one forward pass over the examples.

    A cell is active on an image whose value there exceeds ``threshold``; an image fails if it is misclassified.

    Source: Eniser, Gerasimou and Sen (2019), DeepFault, section 3.1.
    """
    probe = Probe(classifier.model, values)
    classes, n = classifier.num_classes, len(examples)
    cells = sum(
        layer.units * (layer.height * layer.width if conv_unit == "per_position" else 1) for layer in probe.layers
    )
    images, active = np.zeros((2, classes), np.int64), np.zeros((2, classes, cells), np.int64)
    # Smaller batches where every position is a cell, to bound memory.
    batch = max(1, min(compiled_programs.BATCH, _AT_ONCE // cells))
    for start in range(0, n, batch):
        x, y = np.asarray(examples.x[start : start + batch]), examples.y[start : start + batch]
        hits, logits = compiled_programs.run(probe.model, _hits, (x,), (threshold,), (conv_unit,), batch)
        check_outputs(logits)
        right = logits.argmax(axis=1) == y
        for row, which in enumerate((~right, right)):
            # float32, so that counting by class is one fast matrix product.
            of_class = (np.arange(classes)[:, None] == y[which]).astype(np.float32)
            images[row] += of_class.sum(axis=1).astype(np.int64)
            # Integers below 2^24, which float32 adds exactly.
            active[row] += (of_class @ hits[which].astype(np.float32)).astype(np.int64)
        progress(min(start + batch, n), n)
    return Spectrum(probe.layers, conv_unit, images[0], images[1], active[0], active[1])


def _hits(call: Call, x: Tensor, threshold: Tensor, conv_unit: ConvUnit) -> tuple[Tensor, Tensor]:
    """Return the cells that each image activates, uint8 (n, cells), and the logits."""
    ops = backend.keras().ops
    *values, logits = call(x)
    if conv_unit == "map_mean":
        cells = unit_means(values)
    else:
        cells = ops.concatenate([ops.reshape(v, (ops.shape(v)[0], -1)) for v in values], axis=1)
    return ops.cast(cells > threshold, "uint8"), logits
