"""Untrusted ``.keras`` archives: known members only, within limits, with the weights as a seekable file."""

from __future__ import annotations

import io
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from temper.core.errors import StageError
from temper.system.files import opened, unpacks_to_too_much
from temper.system.zip_member import member_problem

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MAX_CONFIG = 8 * 2**20
"""Maximum JSON text of an architecture, in bytes; those of Keras's own applications have up to 1 MiB."""
_LOCAL_HEADER, _NAME_AND_EXTRA = 30, 26
"""Length of the header of each zip member, and the offset of the lengths of its name and extra field."""
_MEMBERS = (CONFIG, "metadata.json", WEIGHTS)


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[bytes, Any, int]]:
    """Yield the text of an archive's configuration, and its weights as a file with its size.

    Raises:
        StageError: the archive cannot be read (also if that shows within the block), is too large or has other content.
    """
    try:
        with opened(path) as stream, zipfile.ZipFile(stream) as archive:
            members = _members(path, archive)
            with archive.open(members[CONFIG]) as config:
                text = config.read(MAX_CONFIG + 1)
            weights = members[WEIGHTS]
            with _seekable(stream, archive, weights) as source:
                yield text, source, weights.file_size
    except (StageError, MemoryError):
        raise
    except Exception as error:  # zipfile and its decompressors raise all kinds of errors on a corrupted file
        raise StageError(f"{path}: cannot be read as a .keras archive ({error}); the file is corrupted") from error


def _members(path: Path, archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """Return the members of an archive by name.

    Raises:
        StageError: there is an unknown or duplicate one, or one that is encrypted, compressed differently or too large.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename not in _MEMBERS:
            raise StageError(f"{path}: expected {', '.join(_MEMBERS)} alone, received {info.filename[:80]!r}")
        if info.filename in members:
            raise StageError(f"{path}: contains {info.filename} twice")
        if fault := member_problem(info):
            raise StageError(f"{path}: {fault}; save the model again")
        members[info.filename] = info
        if info.filename != WEIGHTS and info.file_size > MAX_CONFIG:
            raise StageError(f"{path}: {info.filename} has {info.file_size:,} bytes; expected at most {MAX_CONFIG:,}")
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in members]:
        raise StageError(f"{path}: contains no {missing[0]}; expected a .keras file of Keras 3")
    if fault := unpacks_to_too_much(path.stat().st_size, sum(info.file_size for info in members.values())):
        raise StageError(f"{path}: {fault}")
    return members


@contextmanager
def _seekable(stream: BufferedReader, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Any]:
    """Yield a member of an archive as a seekable file; a compressed one is unpacked to disk."""
    if info.compress_type == zipfile.ZIP_STORED:
        yield _Window(stream, info)
        return
    with archive.open(info) as member, tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(member, unpacked)
        unpacked.seek(0)
        yield unpacked


class _Window(io.RawIOBase):
    """An uncompressed member of a zip archive, read in place: ``ZipFile`` would read everything before a position."""

    def __init__(self, stream: BufferedReader, info: zipfile.ZipInfo) -> None:
        super().__init__()
        stream.seek(info.header_offset + _NAME_AND_EXTRA)
        self._stream, self._size, self._at = stream, info.compress_size, 0
        self._start = info.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", stream.read(4)))

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that its position can be chosen."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Choose the position of the next read."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, at most to the end of the member."""
        self._stream.seek(self._start + self._at)
        data = self._stream.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
