"""The outputs of stages: examples, data sets and results, and their formats on disk (never a pickle)."""

from __future__ import annotations

import filecmp
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from temper.core.component import PARTS, Part
from temper.core.confidence_intervals import wilson
from temper.core.data_info import DataInfo
from temper.core.report_spec import Picture, PictureContext
from temper.nn.images.example_grids import example_grids
from temper.system.files import replace_file, temporary_name

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Masks = NDArray[np.bool_]
SHOWN = 8
"""Number of images of each set that the report shows first."""
PER_CLASS = 5
"""Number of images of each class that the report shows in addition."""


class Artefact(ABC):
    """The output of a stage, kept in the store."""

    kind: ClassVar[str]

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the artefact into an existing empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; arrays come back read-only and memory-mapped."""

    def pictures(self, context: PictureContext) -> Iterator[Picture]:
        """Yield what the report shows of a generator's or localiser's artefact; this code is not part of the fingerprint."""
        yield from ()


class ComparedArtefact(Artefact):
    """An artefact about a set of inputs that the report shows next to others of the same model.

    The stage that returns it has the references ``model`` and ``examples``; ``name`` is that of what is compared.
    """

    name: str

    @classmethod
    @abstractmethod
    def comparison(cls, model: str, sets: Mapping[str, Mapping[str, Self]]) -> Iterator[Picture]:
        """Yield the pictures of a model's artefacts, by set and name; this code is not part of the fingerprint."""


@dataclass(frozen=True, eq=False)
class Examples(Artefact):
    """Labelled images.

    ``x`` is float32 (n, height, width, channels) in [0, 1]; ``y`` int64 (n,), the true labels; ``index`` int64 (n,),
    identifies the image of the data set that each one is or was derived from: its position in the data set's own part,
    before any selection; ``info`` is metadata in plain JSON values; ``masks`` bool (n, height, width), where the object
    is, if known.

    Raises:
        ValueError: an array has the wrong shape or dtype, or pixels lie outside [0, 1].
    """

    kind: ClassVar[str] = "examples"

    x: Images
    y: Labels
    index: NDArray[np.int64]
    info: Mapping[str, Any] = field(default_factory=dict)
    masks: Masks | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        if self.x.ndim != 4 or self.x.dtype != np.float32:
            raise ValueError(f"images: expected float32 (n, h, w, c), received {self.x.dtype} {self.x.shape}")
        for name, array in (("labels", self.y), ("index", self.index)):
            if array.shape != (n,) or array.dtype != np.int64:
                raise ValueError(f"{name}: expected int64 ({n},), received {array.dtype} {array.shape}")
        if self.masks is not None and (self.masks.shape != self.x.shape[:3] or self.masks.dtype != np.bool_):
            raise ValueError(f"masks: expected bool {self.x.shape[:3]}, received {self.masks.dtype} {self.masks.shape}")
        # A memory-mapped array was checked before it was stored; reading it in full would defeat the mapping.
        if n and not isinstance(self.x, np.memmap):
            low, high = float(self.x.min()), float(self.x.max())
            if not (low >= 0.0 and high <= 1.0):
                raise ValueError(f"images: expected pixels in [0, 1], received [{low:g}, {high:g}]")
        for name in self._arrays:
            # Stages share artefacts in memory, so none may change one.
            getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.x)

    def rows_of(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows that hold the images with these indices, int64 like ``index``.

        Raises:
            ValueError: an image is not among these examples.
        """
        order = np.argsort(self.index, kind="stable")
        places = np.searchsorted(self.index, index, sorter=order)
        rows = order[np.minimum(places, len(self) - 1)] if len(self) else np.full(len(index), -1)
        unknown = index[(rows < 0) | (self.index[rows] != index)] if len(self) else index
        if len(unknown):
            raise ValueError(f"image {unknown[0]} is not among the {len(self)} images")
        return rows

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """Return some of the examples; of ``info``, which describes all of them, only the class names are kept."""
        masks = None if self.masks is None else self.masks[rows]
        info = {name: self.info[name] for name in ("class_names",) if name in self.info}
        return Examples(x=self.x[rows], y=self.y[rows], index=self.index[rows], info=info, masks=masks)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Image shape (height, width, channels)."""
        return self.x.shape[1:]

    @property
    def _arrays(self) -> tuple[str, ...]:
        return ("x", "y", "index") if self.masks is None else ("x", "y", "index", "masks")

    def pictures(self, context: PictureContext) -> Iterator[Picture]:
        yield from example_grids(context, self, SHOWN, PER_CLASS)

    def save(self, folder: Path) -> None:
        for name in self._arrays:
            np.save(folder / f"{name}.npy", getattr(self, name))
        write_json(folder / "info.json", self.info)

    @classmethod
    def load(cls, folder: Path) -> Self:
        x, y, index = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y", "index"))
        stored = folder / "masks.npy"
        masks = np.load(stored, mmap_mode="r") if stored.exists() else None
        # Labels and indices are small, so they are copied into memory; images stay memory-mapped.
        return cls(x=x, y=np.array(y), index=np.array(index), info=read_json(folder / "info.json"), masks=masks)


def export_npz(examples: Examples, path: Path) -> None:
    """Write examples as one .npz file for other programs: ``x_adv``, ``y`` and ``index``, as in ``Examples``.

    Raises:
        FileExistsError: the path holds anything else, which is left unchanged.
    """
    # Written next to the target first, so that no reader sees half a file.
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, x_adv=examples.x, y=examples.y, index=examples.index)
        if not path.exists():
            temporary.replace(path)
        # An equal export of an earlier run is accepted; anything else may be the user's own file.
        elif not path.is_file() or not filecmp.cmp(temporary, path, shallow=False):
            raise FileExistsError(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Data(Artefact):
    """A data set: its three parts (``validation`` may be empty) and its metadata."""

    kind: ClassVar[str] = "data"

    info: DataInfo
    train: Examples
    validation: Examples
    test: Examples

    def part(self, name: Part) -> Examples:
        """Return one part."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def save(self, folder: Path) -> None:
        for name in PARTS:
            (folder / name).mkdir()
            self.part(name).save(folder / name)
        write_json(folder / "data.json", {"shape": self.info.shape, "class_names": self.info.class_names})

    @classmethod
    def load(cls, folder: Path) -> Self:
        raw = read_json(folder / "data.json")
        parts = {name: Examples.load(folder / name) for name in PARTS}
        info = DataInfo(tuple(raw["shape"]), tuple(raw["class_names"]), parts["train"].masks is not None)
        return cls(info, **parts)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number.

    ``value`` is in ``unit`` ("proportion" is 0 to 1), ``n`` the number of items it was measured on (0: a quoted value),
    ``lower`` and ``upper`` the bounds of its interval, if any. ``group`` splits a metric further (a class, say).
    """

    metric: str
    value: float
    n: int
    unit: str
    higher_is_better: bool | None
    model: str = ""
    examples: str = ""
    group: str = ""
    lower: float | None = None
    upper: float | None = None
    note: str = ""

    @classmethod
    def proportion(cls, metric: str, hits: int, n: int, **columns: Any) -> Row:
        """Return the share ``hits / n`` with its Wilson interval; nan where ``n`` is 0."""
        lower, upper = wilson(hits, n)
        value = hits / n if n else float("nan")
        return cls(metric=metric, value=value, n=n, unit="proportion", lower=lower, upper=upper, **columns)


@dataclass(frozen=True)
class Results(Artefact):
    """The tidy rows an evaluation measured."""

    kind: ClassVar[str] = "results"

    rows: tuple[Row, ...]

    def save(self, folder: Path) -> None:
        write_json(folder / "rows.json", [vars(row) for row in self.rows])

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(tuple(Row(**row) for row in read_json(folder / "rows.json")))


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write plain values as JSON, atomically: a reader sees the old file or the new one, never a part."""
    replace_file(path, json.dumps(value, indent=1, default=_plain) + "\n")


def read_json(path: Path) -> Any:
    """Read plain values from JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"metadata must be plain JSON values, received {type(value).__name__}")
