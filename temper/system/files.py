"""Files: atomic replacement of ours, and limits on reading those of others."""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from temper.core.errors import StageError, causes

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}  # Windows knows no quotas
_WORDS = re.compile(r"No space left on device|Disk quota exceeded|^\d+ requested and \d+ written$")
"""What HDF5, Dask and NumPy report where they lose the error's number."""


class NoRoom(Exception):
    """A disk is full, or a quota is used up; the message names what could not be written."""


def is_full(error: BaseException | None) -> bool:
    """Return whether an exception, or one that caused it, says that a disk is full or a quota used up."""
    return any(
        isinstance(cause, NoRoom)
        or (isinstance(cause, OSError) and cause.errno in _FULL)
        or _WORDS.search(str(cause)) is not None
        for cause in causes(error)
    )


def unusable(error: BaseException) -> str | None:
    """Return why a file or folder cannot be read or written, and what to do; ``None``: the error is of another kind."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return f"too many files are open ({cause}); raise the limit: ulimit -n 1024"
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return f"a file grows larger than files may ({error}); raise the limit: ulimit -f unlimited"
    if isinstance(error, OSError) and error.filename is not None:
        # The file to be replaced says more to the user than the temporary one.
        path = error.filename2 or error.filename
        what_to_do = _WHAT_TO_DO.get(error.errno or 0, "make it readable and writable, or name another place")
        return f"{path}: {error.strerror}; {what_to_do}"
    return None


_WHAT_TO_DO = {
    errno.EEXIST: "a folder is expected here: move the file away, or name another place",
    errno.ENOTDIR: "a folder is expected here: move the file away, or name another place",
    errno.EISDIR: "a file is expected here: move the folder away, or name another place",
    errno.ENAMETOOLONG: "give a shorter one",
}


def open_files_allowed() -> int | None:
    """Return how many files this process may have open at once; ``None`` where the system has no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] % 2**63  # no limit is -1


def temporary_name(path: Path) -> Path:
    """Return a name in the same folder that no other process on any host uses, for the replacement of a file."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path to write to; it replaces the file at the end of the block.

    A reader sees the old file or the new one, never a part; a block that fails, as on a full disk, leaves the old one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def utf8(text: str) -> bytes:
    r"""Return a text in UTF-8; undecodable bytes of file names (surrogates in Python) are escaped: ``\udcff``."""
    return text.encode("utf-8", "backslashreplace")


def replace_file(path: Path, data: bytes | str) -> None:
    """Replace a file atomically (``replacing``)."""
    with replacing(path) as temporary:
        temporary.write_bytes(utf8(data) if isinstance(data, str) else data)


MULTIPLE = 100
"""How many times its own size a foreign file may unpack to, beyond ``SPARE``."""
SPARE = 64 * 2**20
"""Bytes that any foreign file may unpack to, whatever its size."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def kind_of(path: Path) -> str:
    """Return what is at a path, links followed, if it is neither file nor folder; empty otherwise."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - Path.stat says the same, and names too long raise here alike
    except (OSError, ValueError):
        return ""
    return "" if stat.S_ISDIR(mode) else _kind(mode)


def regular(path: Path, limit: int | None = None) -> Path:
    """Check that a path is a regular file, links followed, without opening it: a pipe would block, a device never end.

    Args:
        path: where it is.
        limit: its largest size in bytes.

    Raises:
        StageError: there is no file, something other than a file, or one above the limit.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL character
        raise StageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    _judge(path, status, limit)
    return path


@contextmanager
def opened(path: Path, limit: int | None = None) -> Iterator[BufferedReader]:
    """Open a regular file for reading bytes; see ``regular``.

    Raises:
        StageError: as for ``regular``, or the file may not be read.
    """
    regular(path, limit)
    try:
        # A pipe may have replaced the file since: without O_NONBLOCK, opening it would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise StageError(f"{path}: cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as stream:
        _judge(path, os.fstat(descriptor), limit)
        yield stream


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        StageError: as for ``opened``.
    """
    with opened(path, limit) as stream:
        # read() reserves as much as it is asked for.
        content = stream.read(min(limit, os.fstat(stream.fileno()).st_size) + 1)
    if len(content) > limit:  # it has grown since it was opened
        raise StageError(f"{path}: {_too_large(len(content), limit)}")
    return content


def unpacked_at_most(packed: int) -> int:
    """Return how many bytes a file of ``packed`` bytes may unpack to."""
    return MULTIPLE * packed + SPARE


def unpacks_to_too_much(packed: int, unpacked: int) -> str:
    """Return why a file of ``packed`` bytes that unpacks to ``unpacked`` bytes is refused; empty if it is not."""
    allowed = unpacked_at_most(packed)
    if unpacked <= allowed:
        return ""
    return (
        f"{packed:,} bytes unpack to {unpacked:,}; expected at most {allowed:,} "
        f"({MULTIPLE} times the file and {SPARE // 2**20} MiB)"
    )


def _judge(path: Path, status: os.stat_result, limit: int | None) -> None:
    if kind := _kind(status.st_mode):
        raise StageError(f"{path}: expected a regular file, received {kind}")
    if limit is not None and status.st_size > limit:
        raise StageError(f"{path}: {_too_large(status.st_size, limit)}")


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_one, name in _KINDS if is_one(mode)), "something else")


def _too_large(size: int, limit: int) -> str:
    return f"the file has {size:,} bytes; expected at most {limit:,}"
