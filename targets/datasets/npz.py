"""Any data set kept as one ``.npz`` file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from core.artefacts import DataInfo
from core.component import File
from core.dataset import Dataset, Source
from core.faults import StageError
from targets.datasets.archive import Archive, with_channels


@dataclass(frozen=True, kw_only=True)
class Npz(Dataset):
    """Images and labels in one .npz file with the arrays x_train, y_train, x_test and y_test.

    Images are (n, h, w) or (n, h, w, c), uint8 or float in [0, 1]; labels are whole numbers from 0, (n,) or (n, 1).

    Source: the layout of ``keras.datasets``.
    """

    tag = "npz"

    path: Annotated[str, "the .npz file", File()]
    class_names: Annotated[tuple[str, ...], "names of the classes, by label; default: the labels themselves"] = ()

    @property
    def _archive(self) -> Archive:
        return Archive(Path(self.path))

    def check_source(self) -> Iterator[tuple[str, str]]:
        faults = list(self._archive.faults())
        yield from (("path", fault) for fault in faults)
        if faults:
            return
        try:
            lowest, highest = self._label_range()
        except StageError as error:
            yield "path", str(error)
            return
        if lowest < 0:
            yield "path", f"{self.path}: the smallest label is {lowest}; expected labels from 0"
        if self.class_names and highest >= len(self.class_names):
            yield "class_names", f"{len(self.class_names)} names for labels up to {highest}; expected a name for each"

    def source_info(self) -> DataInfo:
        shape = with_channels(np.empty((0, *self._archive.headers()["x_train"].shape[1:]))).shape[1:]
        names = self.class_names or tuple(str(label) for label in range(self._label_range()[1] + 1))
        return DataInfo(shape, names)

    def source_sizes(self) -> tuple[int, int]:
        headers = self._archive.headers()
        return headers["x_train"].shape[0], headers["x_test"].shape[0]

    def load(self) -> Source:
        return self._archive.load()

    def _label_range(self) -> tuple[int, int]:
        labels = self._archive.labels()
        return int(labels.min()), int(labels.max())
