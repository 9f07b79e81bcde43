"""Data sets stored as one ``.npz`` file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact
from temper.core.component import File
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset, Source
from temper.core.errors import StageError
from temper.core.run import Run
from temper.targets.datasets.label_check import label_problem
from temper.targets.datasets.npz_archive import KEYS, NpzArchive, with_channels


@dataclass(frozen=True, kw_only=True)
class Npz(Dataset):
    """Images and labels in one .npz file with the arrays x_train, y_train, x_test and y_test.

    Images are (n, h, w) or (n, h, w, c), uint8 or float in [0, 1]; labels are integers from 0, (n,) or (n, 1).

    Source: the layout of ``keras.datasets``.
    """

    tag = "npz"

    path: Annotated[str, "the .npz file", File()]
    class_names: Annotated[tuple[str, ...], "names of the classes, by label; default: the labels themselves"] = ()

    @property
    def _archive(self) -> NpzArchive:
        return NpzArchive(Path(self.path))

    def check_source(self) -> Iterator[tuple[str, str]]:
        problems = list(self._archive.problems())
        yield from (("path", problem) for problem in problems)
        if problems:
            return
        yield from (("path", problem) for problem in self._archive.pixel_problems())
        try:
            labels = self._archive.labels()
        except StageError as error:
            yield "path", str(error)
            return
        if problem := label_problem(labels, self.class_names):
            yield "class_names" if " names for " in problem else "path", f"{self.path}: {problem}"
        elif unknown := self._test_only_classes(labels):
            yield "path", f"{self.path}: no training image has label {unknown[0]}, which a test image has; set resplit"

    def _test_only_classes(self, labels: NDArray[Any]) -> list[int]:
        """Return the kept classes that occur in test images only."""
        if self.resplit:
            return []
        train, test = np.split(labels, [self.source_sizes()[0]])
        unknown: list[int] = np.setdiff1d(test, train).tolist()
        return [label for label in unknown if not self.classes or label in self.classes]

    def source_info(self) -> DataInfo:
        shape = with_channels(np.empty((0, *self._archive.headers()["x_train"].shape[1:]))).shape[1:]
        return DataInfo(shape, self.class_names or self._label_names())

    def _label_names(self) -> tuple[str, ...]:
        """Return the labels as class names."""
        labels = self._archive.labels()
        if problem := label_problem(labels):
            raise StageError(f"{self.path}: {problem}")
        return tuple(str(label) for label in range(int(labels.max()) + 1))

    def source_sizes(self) -> tuple[int, int]:
        headers = self._archive.headers()
        return headers["x_train"].shape[0], headers["x_test"].shape[0]

    def load(self) -> Source:
        return self._archive.load()

    def review(self, artefact: Artefact, run: Run) -> None:
        if unread := self._archive.unread():
            run.remark(
                f"{self.path} also contains {', '.join(unread)}, which no stage reads; expected {', '.join(KEYS)}: "
                "append data to "
                "train on to x_train and y_train, or hold out a share of these with `validation`."
            )
