"""The family of data sets: their shared code, from the images of a source to the three parts that stages read."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Data, Examples, Labels, Masks
from temper.core.component import Range
from temper.core.data_info import DataInfo
from temper.core.errors import StageError
from temper.core.run import Run
from temper.core.stage import Stage
from temper.nn.images.pixel_range import pixel_problem
from temper.nn.images.preprocessing import Grey, ImageSource, Preprocessing
from temper.nn.images.split import Split

Loaded = tuple[NDArray[Any] | ImageSource, NDArray[Any]]
Source = tuple[Loaded, Loaded]
"""The data that a data set loads: (training images, labels), (test images, labels)."""
Items = TypeVar("Items", bound=Sized)
SMOKE_SIZES = {"train_size": 200, "test_size": 50}
"""Largest number of training and test images in a smoke run."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Stage):
    """Labelled images in three parts.

    Members implement ``load`` and ``source_info``, and ``check_source`` and ``source_sizes`` where that is cheap. The
    index of an image is its position in the part that ``load`` returned, before any selection; with ``resplit``, in the
    training part followed by the test part.
    """

    section = "datasets"
    produces = Data
    framework = False

    classes: Annotated[tuple[int, ...], "keep only these classes, relabelled 0, 1, ... in this order; empty: all"] = ()
    resplit: Annotated[
        tuple[int, ...],
        "merge both parts and split them again, stratified: images for training, validation, test; empty: no change",
    ] = ()
    train_size: Annotated[int | None, "training images to keep, stratified; default: all", Range(ge=1)] = None
    test_size: Annotated[int | None, "test images to keep, stratified; default: all", Range(ge=1)] = None
    validation: Annotated[float, "share of the training images held out for validation", Range(ge=0, lt=1)] = 0.0
    split_seed: Annotated[int, "seed of the stratified choices, independent of the experiment's seeds", Range(ge=0)] = 0
    resize: Annotated[
        int | None, "height and width to scale the images to, bilinearly; default: unchanged", Range(ge=1)
    ] = None
    grey: Annotated[
        Grey | None,
        "convert colour images to one channel, the luma of ITU-R 601; luma_bgr: red and blue swapped",
    ] = None
    opencv: Annotated[
        bool, "convert and resize as OpenCV does: on bytes, from the nearest four pixels even where images shrink"
    ] = False

    @abstractmethod
    def load(self) -> Source:
        """Return (training images, labels), (test images, labels).

        Images are (n, height, width, channels), uint8 or float in [0, 1], or ``ImageSource``; labels integers (n,) from
        0.

        Raises:
            StageError: the data are missing or corrupted.
        """

    @abstractmethod
    def source_info(self) -> DataInfo:
        """Return shape and class names as ``load`` will return them, cheaply, without a framework.

        Raises:
            StageError: ``check_source`` finds a problem.
        """

    def check_source(self) -> Iterator[tuple[str, str]]:
        """Yield ``(field, message)`` for every problem of the files themselves, without reading them in full."""
        yield from ()

    def source_sizes(self) -> tuple[int, int] | None:
        """Return the number of training and test images that ``load`` will return, if known without loading."""
        return None

    def groups(self) -> tuple[Labels, Labels] | None:
        """Return the group number of each training and test image, int64 (n,); a group is never split between parts.

        Images of one physical object form a group: splitting them would leak training images into the test part.
        """
        return None

    def masks(self) -> tuple[Masks | ImageSource, Masks | ImageSource] | None:
        """Return where the object is in each training and test image: bool (n, height, width), or ``ImageSource``.

        Raises:
            StageError: the masks are missing or corrupted.
        """
        return None

    @final
    def sizes(self) -> tuple[int, int] | None:
        """Return the number of training and test images to choose from, if known without loading."""
        return (self.resplit[0], self.resplit[2]) if len(self.resplit) == 3 else self.source_sizes()

    def smoke_limits(self) -> Mapping[str, int]:
        # A data set of unknown size may have fewer images than that.
        sizes = dict(zip(("train_size", "test_size"), self.sizes() or (), strict=False))
        return {name: min(size, SMOKE_SIZES[name]) for name, size in sizes.items() if size}

    @final
    def info(self) -> DataInfo:
        """Return shape and class names of ``produce``'s data: with ``classes``, ``grey`` and ``resize`` applied."""
        source = self.source_info()
        names = tuple(source.class_names[i] for i in self.classes) if self.classes else source.class_names
        return DataInfo(self._preprocessing.shape(source.shape), names, source.masks)

    @final
    def check(self) -> Iterator[tuple[str, str]]:
        problems = [*self._check_options(), *self.check_source()]
        yield from problems
        if problems:
            return
        source = self.source_info()
        if twice := [name for name, count in Counter(source.class_names).items() if count > 1]:
            yield (
                "",
                f"{len(twice)} names denote several classes, such as '{twice[0]}'; give each class a unique name",
            )
        if outside := [i for i in self.classes if not 0 <= i < source.num_classes]:
            yield "classes", f"there is no class {outside[0]}; expected 0 to {source.num_classes - 1}"
        if self.grey and source.shape[2] not in (1, 3):
            yield "grey", f"the images have {source.shape[2]} channels; expected 1 or 3"
        if sizes := self.source_sizes():
            yield from self._check_sizes(sum(sizes))

    def _check_options(self) -> Iterator[tuple[str, str]]:
        if len(set(self.classes)) < len(self.classes):
            yield "classes", f"a class is named twice in {list(self.classes)}; name each once"
        if self.opencv and not (self.grey or self.resize):
            yield "opencv", "it has no effect without `grey` or `resize`; set one, or remove it"
        if not self.resplit:
            return
        if len(self.resplit) != 3 or min(self.resplit) < 0 or 0 in self.resplit[::2]:
            yield (
                "resplit",
                f"expected three numbers of images, as in [7000, 2000, 1000]; received {list(self.resplit)}",
            )
        elif self.validation:
            yield "validation", "resplit already sets the size of the validation part; remove one of them"

    def _check_sizes(self, total: int) -> Iterator[tuple[str, str]]:
        requested = (("resplit", sum(self.resplit)), ("train_size", self.train_size), ("test_size", self.test_size))
        for (field, size), available in zip(requested, (total, *(self.sizes() or ())), strict=True):
            if size is not None and size > available:
                yield field, f"{size} images requested; expected at most {available}, the number available"

    @final
    def produce(self, run: Run) -> Data:
        info, source = self.info(), self.source_info()
        loaded = self.load()
        for part, (x, y) in zip(("train", "test"), loaded, strict=True):
            self._check_part(part, x, y, source)
            if isinstance(x, np.ndarray) and (problem := pixel_problem(x)):
                raise StageError(f"{self.tag}: {problem} ({part} part)")
        (train_x, train_y), (test_x, test_y) = loaded
        # Both parts as one, training images first, so that resplit can sample from all.
        y = np.concatenate([train_y, test_y]).astype(np.int64)
        kept = np.flatnonzero(np.isin(y, self.classes)) if self.classes else np.arange(len(y))
        first, groups, masks = len(train_y), self.groups(), self.masks()
        if masks and (found := tuple(map(len, masks))) != (sizes := (len(train_y), len(test_y))):
            raise StageError(f"{self.tag}: expected masks of {sizes} images, received {found}; repair the data set")
        preprocess = self._preprocessing
        try:
            rows = self._split.rows(
                y, kept[kept < first], kept[kept >= first], None if groups is None else np.concatenate(groups)
            )
            parts = {
                part: Examples(
                    x=_preprocessed_rows(train_x, test_x, chosen, lambda x, at: preprocess.images(x, at, source.shape)),
                    y=self._relabelled(y[chosen]),
                    # Without resplit, indices count within a part; with it, through both parts.
                    index=chosen - (first if part == "test" and not self.resplit else 0),
                    info={"class_names": info.class_names},
                    masks=masks
                    and _preprocessed_rows(*masks, chosen, lambda x, at: preprocess.masks(x, at, source.shape)),
                )
                for part, chosen in rows.items()
            }
        except ValueError as error:
            selection = f" (classes {list(self.classes)})" if self.classes else ""
            raise StageError(f"{self.tag}{selection}: {error}") from None
        run.images += sum(map(len, rows.values()))
        return Data(info, train=parts["train"], validation=parts["validation"], test=parts["test"])

    def _check_part(self, part: str, x: NDArray[Any] | ImageSource, y: NDArray[Any], source: DataInfo) -> None:
        shape = x.shape if isinstance(x, np.ndarray) else (len(x), *source.shape)
        if shape[1:] != source.shape or y.shape != shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise StageError(
                f"{self.tag}, {part}: expected images (n, {source.shape}) and integer labels (n,), "
                f"received {shape} and {y.dtype} {y.shape}; repair the data set"
            )
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < source.num_classes:
            raise StageError(
                f"{self.tag}, {part}: expected labels 0 to {source.num_classes - 1}, "
                f"received {y.min()} to {y.max()}; repair the data set"
            )

    def _relabelled(self, y: Labels) -> Labels:
        return np.array([self.classes.index(label) for label in y], np.int64) if self.classes else y

    @property
    def _preprocessing(self) -> Preprocessing:
        return Preprocessing(grey=self.grey, size=self.resize, opencv=self.opencv)

    @property
    def _split(self) -> Split:
        return Split(
            resplit=self.resplit,
            train_size=self.train_size,
            test_size=self.test_size,
            validation=self.validation,
            seed=self.split_seed,
        )

    @property
    def stochastic(self) -> bool:
        return False


def _preprocessed_rows(
    train: Items, test: Items, rows: Labels, preprocess: Callable[[Items, Labels], NDArray[Any]]
) -> NDArray[Any]:
    """Return preprocessed rows at positions in the training part followed by the test part, in ascending order."""
    split = int(np.searchsorted(rows, len(train)))
    halves = [(train, rows[:split]), (test, rows[split:] - len(train))]
    halves_prepared = [preprocess(part, places) for part, places in halves if len(places)]
    return (
        np.concatenate(halves_prepared)
        if len(halves_prepared) > 1
        else halves_prepared[0]
        if halves_prepared
        else preprocess(train, rows)
    )
