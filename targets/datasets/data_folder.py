"""Where a data set is on disk: a folder that is named, or one below the folder of all data sets."""

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
class Placed(Dataset):
    """A data set that fills a folder, as its makers pack it."""

    root: Annotated[str | None, "folder of the data set; default: the folder <type> in $TEMPER_DATA", File()] = None

    @property
    def folder(self) -> Path | None:
        """The folder, existing or not; ``None`` where none is named."""
        if self.root:
            return Path(self.root)
        parent = os.environ.get(FOLDER_VARIABLE)
        return Path(parent) / self.tag if parent else None

    @property
    def blamed(self) -> str:
        """The field that is at fault where the folder is; none where the environment names it."""
        return "root" if self.root else ""

    def _check_folder(self) -> Iterator[tuple[str, str]]:
        if self.folder is None:
            yield "root", f"nothing says where the data are; name their folder, or set {FOLDER_VARIABLE}"
        elif not self.folder.is_dir():
            given = "" if self.root else f" (from {FOLDER_VARIABLE})"
            yield self.blamed, f"there is no folder {self.folder}{given}; expected that of {self.tag}"
