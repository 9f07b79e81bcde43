"""Files that systems and tools leave behind in folders, which are no user's data."""

from __future__ import annotations

LITTER = ("__pycache__", "Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX")
"""Names of files and folders that no user created, besides hidden ones."""


def counts(name: str) -> bool:
    """Return whether a file or folder of a name is a user's: neither hidden nor left behind by a tool."""
    return name not in LITTER and not name.startswith(".")
