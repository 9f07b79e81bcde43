"""Files that are replaced as a whole, whoever else writes or reads them."""

from __future__ import annotations

import uuid
from pathlib import Path


def beside(path: Path) -> Path:
    """Return a name in the same folder that no other process on any host uses, for what is to replace a file."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def replace_file(path: Path, data: bytes | str) -> None:
    """Write a file; a reader sees the old one or the new one, never a part, and a full disk leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    try:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
