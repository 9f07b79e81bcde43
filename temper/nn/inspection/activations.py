"""The activations of a model on images, reduced to a few numbers for each unit and layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, Images, Labels, read_json, write_json
from temper.core.errors import StageError, did_you_mean
from temper.nn.inspection.units import UnitLayer

SOFTMAX = "softmax"
"""The name of the layer of class probabilities, the last one, unless a hidden layer has that name."""
LOGITS = "logits"
"""The name of the layer of logits if it has none of its own, or has that of the probabilities."""
BLOCK = 2**22
"""Number of unit values processed at once."""
_ARRAYS = ("means", "positive", "low", "high", "peak", "logits")


@dataclass(frozen=True, eq=False)
class Activations(Artefact):
    """The activations of a model on n images.

    A unit is a neuron or a feature map, its value the neuron's or the map's spatial mean, after the activation. Layers
    are those that compute values of their own: with weights, pooling, separate activations; last come the logits and
    the class probabilities. No two have the same name. Arrays are read-only and memory-mapped.

    Attributes:
        layers: the layers in the order of computation; units are counted through all of them. means: float32 (n,
        units), the units' values. positive: bool (n, units), whether the unit's value is above 0 at any position. low,
        high: float32 (n, layers), the least and the largest value in the layer, every position counted. peak: int32 (n,
        layers), the flat position (height, width, unit) of the largest value; the first of equals. logits: float32 (n,
        classes). positions: float32 (n, positions), every position's value (height, width, unit), layer after layer;
        ``None`` if they were not kept.

    Source: the reductions that ten coverage criteria and surprise adequacy take, as their papers define units.
    """

    kind: ClassVar[str] = "activations"

    layers: tuple[UnitLayer, ...]
    means: Images
    positive: NDArray[np.bool_]
    low: Images
    high: Images
    peak: NDArray[np.int32]
    logits: Images
    positions: Images | None = None

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names):
            raise ValueError(f"activations: expected layers of different names, received {', '.join(names)}")

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def predicted(self) -> Labels:
        """The predicted labels, int64 (n,)."""
        labels: Labels = np.argmax(self.logits, axis=1).astype(np.int64)
        return labels

    @property
    def finite(self) -> NDArray[np.bool_]:
        """The images for which every unit's value is finite, bool (n,)."""
        parts = [np.isfinite(block.means).all(axis=1) for block in self.blocks()]
        return np.concatenate(parts) if parts else np.zeros(0, np.bool_)

    @property
    def counted(self) -> tuple[str, ...]:
        """The layers whose units coverage criteria count: all but the logits, which the probabilities represent."""
        # Counting both would count the same units twice.
        return (*(layer.name for layer in self.layers[:-2]), self.layers[-1].name)

    @property
    def last_hidden(self) -> tuple[str, ...]:
        """The layer before the logits, as a tuple of its name.

        Raises:
            StageError: there is none.
        """
        if len(self.layers) < 3:
            raise StageError("expected a model with a hidden layer, received one without")
        return (self.layers[-3].name,)

    def places(self, names: Iterable[str]) -> list[int]:
        """Return the positions of layers among ``layers``, in the order of computation.

        Raises:
            StageError: a layer has another name.
        """
        known = [layer.name for layer in self.layers]
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
                raise StageError(f"no layer is called '{name}'{hint}")
        wanted = set(names)
        return [i for i, name in enumerate(known) if name in wanted]

    def columns(self, names: Iterable[str]) -> list[slice]:
        """Return the columns of each of some layers in ``means`` and ``positive``."""
        ends = np.cumsum([layer.units for layer in self.layers])
        return [slice(int(ends[i] - self.layers[i].units), int(ends[i])) for i in self.places(names)]

    def units(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Return the columns of all units of some layers, int64."""
        parts = [np.arange(part.start, part.stop) for part in self.columns(names)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def layer_starts(self, by_position: bool = False) -> NDArray[np.int64]:
        """Return the first column of each layer in ``means`` (or in ``positions``), and the end, (layers + 1,)."""
        sizes = [layer.positions if by_position else layer.units for layer in self.layers]
        return np.cumsum([0, *sizes], dtype=np.int64)

    def peaks(self, by_position: bool = False) -> NDArray[np.int64]:
        """Return the column of the largest value of each layer in ``means`` (or in ``positions``), int64 (n, layers).

        A layer without two different values has none: -1.
        """
        starts = self.layer_starts(by_position)
        places: NDArray[np.int64] = starts[:-1] + self.peak % np.diff(starts)
        # A constant layer, such as one that is off, has no most active unit.
        return np.where(np.asarray(self.high) > np.asarray(self.low), places, -1)

    def take(self, rows: slice | NDArray[Any]) -> Activations:
        """Return the activations of some images."""
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return Activations(self.layers, **taken, positions=None if self.positions is None else self.positions[rows])

    def blocks(self) -> Iterator[Activations]:
        """Yield the activations in blocks of consecutive images, small enough for computations in memory."""
        widest = self.means if self.positions is None else self.positions
        rows = max(1, BLOCK // widest.shape[1])
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    def by_position(self) -> Activations:
        """Return the activations with every position of a feature map as a separate unit.

        Raises:
            StageError: the positions were not kept.
        """
        if self.positions is None:
            raise StageError(
                "expected the values of every position, received means of feature maps; read out positions"
            )
        layers = tuple(UnitLayer(layer.name, layer.positions, 1, 1) for layer in self.layers)
        positive = np.greater(self.positions, 0, out=on_disk(self.positions.shape, np.bool_))
        return Activations(layers, self.positions, positive, self.low, self.high, self.peak, self.logits)

    def save(self, folder: Path) -> None:
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        if self.positions is not None:
            np.save(folder / "positions.npy", self.positions)
        write_json(folder / "layers.json", [asdict(layer) for layer in self.layers])

    @classmethod
    def load(cls, folder: Path) -> Self:
        layers = tuple(UnitLayer(**layer) for layer in read_json(folder / "layers.json"))
        kept = [*_ARRAYS, *(["positions"] if (folder / "positions.npy").exists() else [])]
        return cls(layers, *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in kept))


def joined(sets: Iterable[Activations]) -> Activations:
    """Return the activations of several sets of images under one model as those of one set, without positions.

    Raises:
        ValueError: their layers differ.
    """
    first, *others = sets
    if any(other.layers != first.layers for other in others):
        raise ValueError("activations: expected sets of one model, received some of different layers")
    arrays = (np.concatenate([getattr(one, name) for one in (first, *others)]) for name in _ARRAYS)
    return Activations(first.layers, *arrays)


def on_disk(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array of zeros mapped to an anonymous file, so that it need not fit into memory."""
    if 0 in shape:
        return np.zeros(shape, dtype)
    # Closed at once: the mapping keeps the file alive and the system frees it with the array.
    with TemporaryFile() as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
