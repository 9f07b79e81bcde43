"""Files that are replaced as a whole, whoever else writes or reads them."""

from __future__ import annotations

import errno
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.faults import causes

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}  # Windows knows no quotas
_WORDS = re.compile(r"No space left on device|Disk quota exceeded|^\d+ requested and \d+ written$")
"""What HDF5, Dask and NumPy say where they lose the error's number."""


class NoRoom(Exception):
    """A disk is full, or a quota used up; the message says what could not be written."""


def is_full(error: BaseException | None) -> bool:
    """Return whether an exception, or one that led to it, says that a disk is full or a quota used up."""
    return any(
        isinstance(cause, NoRoom)
        or (isinstance(cause, OSError) and cause.errno in _FULL)
        or _WORDS.search(str(cause)) is not None
        for cause in causes(error)
    )


def beside(path: Path) -> Path:
    """Return a name in the same folder that no other process on any host uses, for what is to replace a file."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what replaces a file at the end of the block.

    A reader sees the old file or the new one, never a part; a block that fails, on a full disk say, leaves the old one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes | str) -> None:
    """Write a file as a whole (``replacing``)."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
