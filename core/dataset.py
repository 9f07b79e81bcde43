"""The family of data sets: what all share, from the images a source gives to the three parts stages read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from core.artefacts import Data, DataInfo, Examples, Labels
from core.component import PARTS, Part, Range
from core.faults import StageError
from core.images import prepare
from core.run import Run
from core.stage import Stage
from core.stratify import stratified

Source = tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]
"""What a data set loads: (training images, labels), (test images, labels)."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Stage):
    """Labelled images in three parts.

    Members fill ``load`` and ``source_info``, and ``check_source`` and ``source_sizes`` where they can tell at once.
    The index of an image is its position in the part that ``load`` returned, whatever was left out since.
    """

    section = "datasets"
    produces = Data
    framework = False

    classes: Annotated[tuple[int, ...], "keep only these classes, relabelled 0, 1, ... in this order; empty: all"] = ()
    train_size: Annotated[int | None, "training images to keep, stratified; default: all", Range(ge=1)] = None
    test_size: Annotated[int | None, "test images to keep, stratified; default: all", Range(ge=1)] = None
    validation: Annotated[float, "share of the training images held out for validation", Range(ge=0, lt=1)] = 0.0
    split_seed: Annotated[int, "seed of the stratified choices, whatever the experiment's seeds", Range(ge=0)] = 0
    resize: Annotated[
        int | None, "height and width to scale the images to, bilinearly; default: as is", Range(ge=1)
    ] = None
    grey: Annotated[bool, "convert colour images to one grey channel (ITU-R 601 luma)"] = False

    @abstractmethod
    def load(self) -> Source:
        """Return (training images, labels), (test images, labels).

        Images are (n, height, width, channels), uint8 or float in [0, 1]; labels whole numbers (n,) from 0.

        Raises:
            StageError: the data are missing or damaged.
        """

    @abstractmethod
    def source_info(self) -> DataInfo:
        """Return shape and class names as ``load`` will give them, cheaply, without a framework.

        Raises:
            StageError: ``check_source`` has something to say.
        """

    def check_source(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every fault of the files themselves, without reading them whole."""
        yield from ()

    def source_sizes(self) -> tuple[int, int] | None:
        """Return how many training and test images ``load`` will give, where that is known without loading."""
        return None

    @final
    def info(self) -> DataInfo:
        """Return shape and class names as ``produce`` gives them: with ``classes``, ``grey`` and ``resize`` applied."""
        source = self.source_info()
        height, width, channels = source.shape
        names = source.class_names
        return DataInfo(
            (self.resize or height, self.resize or width, 1 if self.grey else channels),
            tuple(names[i] for i in self.classes) if self.classes else names,
        )

    @final
    def check(self) -> Iterator[tuple[str, str]]:
        faults = list(self.check_source())
        yield from faults
        if faults:
            return
        source = self.source_info()
        if outside := [i for i in self.classes if not 0 <= i < source.num_classes]:
            yield "classes", f"there is no class {outside[0]}; expected 0 to {source.num_classes - 1}"
        if len(set(self.classes)) < len(self.classes):
            yield "classes", f"a class is named twice in {list(self.classes)}; name each once"
        if self.grey and source.shape[2] not in (1, 3):
            yield "grey", f"the images have {source.shape[2]} channels; expected 1 or 3"
        for field, size, available in zip(
            ("train_size", "test_size"), (self.train_size, self.test_size), self.source_sizes() or (), strict=False
        ):
            if size is not None and size > available:
                yield field, f"{size} images are asked for; expected at most {available}, which is all there are"

    @final
    def produce(self, run: Run) -> Data:
        source = self.source_info()
        (train_x, train_y), (test_x, test_y) = self.load()
        train = self._chosen("train", train_x, train_y, source)
        test = self._chosen("test", test_x, test_y, source)
        held_out = np.zeros(len(train), bool)
        held_out[self._held_out(train_y[train])] = True
        run.images += len(train) + len(test)
        return Data(
            self.info(),
            train=self._examples(train_x, train_y, train[~held_out]),
            validation=self._examples(train_x, train_y, train[held_out]),
            test=self._examples(test_x, test_y, test),
        )

    def _chosen(self, part: Literal["train", "test"], x: NDArray[Any], y: NDArray[Any], source: DataInfo) -> Labels:
        """Return the positions to keep of a loaded part, having checked the part."""
        if x.shape[1:] != source.shape or y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
            raise StageError(
                f"{self.tag}, {part}: expected images (n, {source.shape}) and whole labels (n,), "
                f"received {x.shape} and {y.dtype} {y.shape}; repair the data set"
            )
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < source.num_classes:
            raise StageError(
                f"{self.tag}, {part}: expected labels 0 to {source.num_classes - 1}, "
                f"received {y.min()} to {y.max()}; repair the data set"
            )
        rows = np.flatnonzero(np.isin(y, self.classes)) if self.classes else np.arange(len(y))
        size = self.train_size if part == "train" else self.test_size
        if size is not None and size > len(rows):
            of = f" of classes {list(self.classes)}" if self.classes else ""
            raise StageError(f"{self.tag}: {part}_size is {size}, but there are {len(rows)} images{of}; ask for fewer")
        if not len(rows):
            raise StageError(f"{self.tag}, {part}: no image is left; keep other classes")
        return rows[stratified(y[rows], len(rows) if size is None else size, self._rng(part))]

    def _held_out(self, y: NDArray[Any]) -> Labels:
        size = round(self.validation * len(y))
        if self.validation and size in (0, len(y)):
            raise StageError(
                f"{self.tag}: validation={self.validation:g} of {len(y)} training images leaves a part empty; "
                "choose a share that leaves at least one image on each side"
            )
        return stratified(y, size, self._rng("validation"))

    def _rng(self, part: Part) -> np.random.Generator:
        return np.random.default_rng([self.split_seed, PARTS.index(part)])

    def _examples(self, x: NDArray[Any], y: NDArray[Any], rows: Labels) -> Examples:
        labels = y[rows].astype(np.int64)
        if self.classes:
            labels = np.array([self.classes.index(label) for label in labels], np.int64)
        try:
            images = prepare(x, rows, grey=self.grey, size=self.resize)
        except ValueError as error:
            raise StageError(f"{self.tag}: {error}") from None
        return Examples(x=images, y=labels, index=rows)

    @property
    def stochastic(self) -> bool:
        return False
