"""Checks, before any task runs, that the outputs folder can be used."""

from __future__ import annotations

import os
import re
from pathlib import Path

from temper.core.errors import SpecError

_OPTION = "--outputs"


def check(outputs: Path) -> None:
    """Raise an error if an outputs folder cannot be read; a missing one is created later.

    Raises:
        SpecError: it cannot be a folder.
    """
    if re.search(r"[\x00-\x1f\x7f]", str(outputs)):
        raise SpecError.at(_OPTION, 0, f"{str(outputs)!r} contains control characters; name another folder")
    nearest = _nearest(outputs)
    if not nearest.is_dir():
        raise SpecError.at(_OPTION, 0, f"{nearest} is not a folder; name an outputs folder")
    if not os.access(nearest, os.R_OK | os.X_OK):
        raise SpecError.at(_OPTION, 0, f"{nearest} cannot be read; name another folder, or change its permissions")


def check_writable(folder: Path) -> None:
    """Raise an error if a folder, which may not exist yet, cannot be written to.

    Raises:
        SpecError: it cannot.
    """
    if not is_writable(folder):
        message = f"{_nearest(folder)} cannot be written to; name another folder, or change its permissions"
        raise SpecError.at(_OPTION, 0, message)


def is_writable(folder: Path) -> bool:
    """Return whether files can be created in a folder, or the folder itself."""
    nearest = _nearest(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _nearest(path: Path) -> Path:
    """Return a path, or its nearest ancestor that exists."""
    for place in (path, *path.absolute().parents):
        if os.path.lexists(place):
            return place
    return path
