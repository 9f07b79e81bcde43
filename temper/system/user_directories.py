"""Where a user's own files of Temper are kept, as each system has it: XDG folders on Linux, their equivalents elsewhere.

Source: XDG Base Directory Specification 0.8, freedesktop.org.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NAME = "temper"


def cache_directory() -> Path:
    """Return the folder of what can be regenerated: ``$XDG_CACHE_HOME/temper``, by default ``~/.cache/temper``.

    Raises:
        RuntimeError: the user has no home folder.
    """
    return _directory("XDG_CACHE_HOME", ".cache", "Library/Caches", "Cache")


def config_directory() -> Path:
    """Return the folder of the user's cluster files: ``$XDG_CONFIG_HOME/temper``, by default ``~/.config/temper``.

    Raises:
        RuntimeError: the user has no home folder.
    """
    return _directory("XDG_CONFIG_HOME", ".config", "Library/Application Support", "Config")


def _directory(variable: str, linux: str, macos: str, windows: str) -> Path:
    stated = os.environ.get(variable, "")
    if os.path.isabs(stated):  # noqa: PTH117 - the specification ignores relative paths
        return Path(stated) / _NAME
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / _NAME / windows
    return Path.home() / (macos if sys.platform == "darwin" else linux) / _NAME
