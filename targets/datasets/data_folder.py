"""The location of a data set on disk: an explicit folder, or one below the folder of all data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from temper.core.component import File
from temper.core.dataset import Dataset

FOLDER_VARIABLE = "TEMPER_DATA"


@dataclass(frozen=True, kw_only=True)
class FolderDataset(Dataset):
    """A data set that is a folder, with its official layout."""

    root: Annotated[str | None, "folder of the data set; default: the folder <type> in $TEMPER_DATA", File()] = None

    @property
    def folder(self) -> Path | None:
        """The folder, existing or not; ``None`` if none is set."""
        if self.root:
            return Path(self.root)
        parent = os.environ.get(FOLDER_VARIABLE)
        # One variable for all data sets, each in a folder named by its type.
        return Path(parent) / self.tag if parent else None

    @property
    def location_field(self) -> str:
        """The field to report for a problem with the folder; empty if the environment sets it."""
        return "root" if self.root else ""

    def _check_folder(self) -> Iterator[tuple[str, str]]:
        if self.folder is None:
            yield "root", f"no location of the data; set their folder, or {FOLDER_VARIABLE}"
        elif not self.folder.is_dir():
            given = "" if self.root else f" (from {FOLDER_VARIABLE})"
            yield self.location_field, f"there is no folder {self.folder}{given}; expected that of {self.tag}"
