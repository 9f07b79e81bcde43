"""What systems and tools leave behind in folders, which is no part of anybody's data."""

from __future__ import annotations

LITTER = ("__pycache__", "Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX")
"""Names of files and folders that nobody put there, besides hidden ones."""


def counts(name: str) -> bool:
    """Return whether a file or folder of a name was put there by somebody: it is neither hidden nor litter."""
    return name not in LITTER and not name.startswith(".")
