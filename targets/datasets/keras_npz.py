"""The data sets of ``keras.datasets``, read from a file if there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from temper.core.component import File
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset, Source
from temper.core.errors import StageError
from temper.system import backend
from temper.targets.datasets.data_folder import FOLDER_VARIABLE
from temper.targets.datasets.label_check import label_problem
from temper.targets.datasets.npz_archive import NpzArchive, with_channels


@dataclass(frozen=True, kw_only=True)
class KerasNpz(Dataset):
    """A data set of ``keras.datasets``.

    ``<tag>.npz`` is looked up in ``root``, else in the folder of the environment variable TEMPER_DATA. If neither is
    set, Keras reads it from its cache or downloads it.
    """

    image_shape: ClassVar[tuple[int, int, int]]
    class_names: ClassVar[tuple[str, ...]]

    root: Annotated[
        str | None, "folder with <type>.npz, or that file; default: $TEMPER_DATA, else Keras's own copy", File()
    ] = None

    @property
    def path(self) -> Path | None:
        """The file to read, existing or not; ``None`` if Keras provides it."""
        root = self.root or os.environ.get(FOLDER_VARIABLE)
        if not root:
            return None
        # root may be the file itself.
        return Path(root) if Path(root).suffix == ".npz" else Path(root) / f"{self.tag}.npz"

    def files(self) -> Iterator[Path]:
        if self.path:
            yield self.path

    def source_info(self) -> DataInfo:
        return DataInfo(self.image_shape, self.class_names)

    def source_sizes(self) -> tuple[int, int] | None:
        if self.path is None:
            return None
        headers = NpzArchive(self.path).headers()
        return headers["x_train"].shape[0], headers["x_test"].shape[0]

    def check_source(self) -> Iterator[tuple[str, str]]:
        if self.path is None:
            return
        field = "root" if self.root else ""
        if not self.path.is_file():
            given = "" if self.root else f" (from {FOLDER_VARIABLE})"
            yield field, f"there is no file {self.path}{given}; expected a folder with {self.tag}.npz"
            return
        problems = list(NpzArchive(self.path).problems())
        yield from ((field, problem) for problem in problems)
        if not problems:
            shape = NpzArchive(self.path).headers()["x_train"].shape[1:]
            if (*shape, 1)[:3] != self.image_shape:
                yield field, f"{self.path} contains images {shape}; expected those of {self.tag}, {self.image_shape}"
            yield from ((field, problem) for problem in NpzArchive(self.path).pixel_problems())
            try:
                labels = NpzArchive(self.path).labels()
            except StageError as error:
                yield field, str(error)
                return
            if problem := label_problem(labels, self.class_names):
                yield field, f"{self.path}: {problem}"

    def load(self) -> Source:
        return NpzArchive(self.path).load() if self.path else self._from_keras()

    def _from_keras(self) -> Source:
        try:
            (x_train, y_train), (x_test, y_test) = getattr(backend.keras().datasets, self.tag).load_data()
        except Exception as error:  # Keras raises nothing narrower when a download fails
            raise StageError(
                f"{self.tag}: Keras has no copy and could not download one ({error}); put {self.tag}.npz into a folder "
                f"and set it in 'root' or in {FOLDER_VARIABLE}, or run once with a connection"
            ) from error
        return (with_channels(x_train), y_train.reshape(-1)), (with_channels(x_test), y_test.reshape(-1))
