"""The one place that opens model files of others: HDF5, ``.keras`` archives and JSON, within limits, links to other files refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any

import h5py

from core.faults import StageError
from core.files import opened, read_bytes, regular, unpacks_to_too_much

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MAX_CONFIG = 8 * 2**20
"""Largest JSON text of an architecture, in bytes; those of Keras's own applications have up to 1 MiB."""
MAX_DEPTH = 100
MAX_OBJECTS = 100_000
"""Groups and arrays of an HDF5 file."""
_LOCAL_HEADER, _NAME_AND_EXTRA = 30, 26
"""Length of the header before each member of a zip archive, and where the lengths of its name and extra field stand."""
_MEMBERS = (CONFIG, "metadata.json", WEIGHTS)
_SCRIPT = "import sys, pathlib, targets.models.foreign as foreign; foreign.read_all(pathlib.Path(sys.argv[1]))"
_SECONDS, _PER_SECOND = 30, 10 * 2**20
"""Seconds that reading a file may take, and bytes for each of which there is one more."""
_FILTERS = (1, 2, 3, 4, 5, 6, 32000)
"""Compressions and checksums that HDF5 and h5py bring along; any other would be a plug-in, which is code."""


def configuration(path: Path) -> Mapping[str, Any]:
    """Return the configuration of a model in a JSON file.

    Raises:
        StageError: the file cannot be read, is too large, or holds something else.
    """
    return parsed(read_bytes(path, MAX_CONFIG), path)


def archived_configuration(path: Path) -> Mapping[str, Any]:
    """Return the configuration of the model in a ``.keras`` archive, after a look at the archive's weights.

    Raises:
        StageError: the archive cannot be read, holds too much or something else.
    """
    _survive(regular(path))
    return parsed(_config_of(path), path)


def _config_of(path: Path, use: Callable[[h5py.File], object] = lambda _: None) -> bytes:
    with opened(path) as stream, _unpacking(path), zipfile.ZipFile(stream) as archive:
        members = _members(path, archive)
        with archive.open(members[CONFIG]) as config:
            text = config.read(MAX_CONFIG + 1)
        weights = members[WEIGHTS]
        with _seekable(stream, archive, weights) as source, _judged(path, source, weights.file_size) as file:
            use(file)
            return text


def parsed(text: bytes | str, path: Path) -> Mapping[str, Any]:
    """Return the configuration that a JSON text holds.

    Raises:
        StageError: it holds something else, or is nested too deeply.
    """
    if len(text) > MAX_CONFIG:
        raise StageError(f"{path}: the architecture has {len(text):,} bytes; expected at most {MAX_CONFIG:,}")
    try:
        config = json.loads(text)
    except RecursionError:
        raise StageError(f"{path}: the architecture is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise StageError(f"{path}: expected an architecture in JSON, received something else ({error})") from None
    if not isinstance(config, dict):
        raise StageError(f"{path}: expected a model's configuration, received a JSON {type(config).__name__}")
    level: list[Any] = [config]
    for _ in range(MAX_DEPTH):
        level = [item for value in level for item in (value.values() if isinstance(value, dict) else value)
                 if isinstance(item, dict | list)]  # fmt: skip
    if level:
        raise StageError(f"{path}: the architecture is nested more than {MAX_DEPTH} levels deep")
    return config


@contextmanager
def hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file that holds all its values itself.

    Raises:
        StageError: it is no regular file, no HDF5, damaged (also where that shows in the block), refers to other files, or
            holds too much.
    """
    if not h5py.is_hdf5(regular(path)):
        raise StageError(f"{path}: expected an HDF5 file, received something else")
    _survive(path)
    with _judged(path, path, path.stat().st_size) as file:
        yield file


def read_all(path: Path) -> None:
    """Read every attribute and value of a file as far as it has no fault: what HDF5 would do later, hang or crash, it does now.

    Raises:
        StageError: as for ``hdf5`` and ``archived_configuration``.
    """
    if path.suffix == ".keras":
        _config_of(path, _values)
    else:
        with _judged(path, path, path.stat().st_size) as file:
            _values(file)


def _values(file: h5py.File) -> None:
    def read(_: str, item: Any) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset):
            item[()]

    read("", file)
    file.visititems(read)


def _survive(path: Path) -> None:
    status = path.stat()
    if fault := _death(path, status.st_size, status.st_mtime_ns, status.st_ino):
        raise StageError(f"{path}: {fault}")


@lru_cache(maxsize=1000)
def _death(path: Path, size: int, *_: int) -> str:
    """Return how a process ended that read a file, where it crashed or hung; empty where it did not.

    HDF5 is written in C: what a damaged file leads it to can be caught in a process of its own only.
    """
    limit = _SECONDS + size // _PER_SECOND
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _SCRIPT, str(path)],
            env=environment,
            capture_output=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"HDF5 does not come to an end with it in {limit} s; the file is damaged"
    # A fault that raises is raised once more here, with its message.
    return f"HDF5 crashes on it (signal {-done.returncode}); the file is damaged" if done.returncode < 0 else ""


@contextmanager
def _judged(path: Path, source: Any, size: int) -> Iterator[h5py.File]:
    try:
        with h5py.File(source, "r") as file:
            _judge(path, file, size)
            yield file
    except (StageError, MemoryError):
        raise
    except Exception as error:  # h5py raises whatever a damaged file leads it to
        raise StageError(f"{path}: cannot be read as HDF5 ({error}); the file is damaged") from error


def _judge(path: Path, file: h5py.File, size: int) -> None:
    """Look at every object of a file that hard links lead to; soft links lead to these or nowhere."""
    seen, groups, unpacked = {h5py.h5o.get_info(file.id).addr}, [file["/"]], 0
    while groups:
        group = groups.pop()
        for name in group:
            place, link = f"{path}: {group.name.rstrip('/')}/{name}", group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise StageError(f"{place} is a link into another file ({link.filename}), which is never followed")
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise StageError(f"{path}: expected at most {MAX_OBJECTS:,} groups and arrays, received more")
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if fault := _array_fault(item):
                    raise StageError(f"{place} {fault}")
                unpacked += (item.size or 0) * item.dtype.itemsize
                if fault := unpacks_to_too_much(size, unpacked):
                    raise StageError(f"{path}: {fault}")


def _array_fault(array: h5py.Dataset) -> str:
    if array.is_virtual:
        return "is a virtual array, made of other files, which are never opened"
    if array.external:
        return f"keeps its values in another file ({array.external[0][0]}), which is never opened"
    properties = array.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if strange := sorted(filters - set(_FILTERS)):
        return (
            f"is compressed by plug-in {strange[0]} of HDF5, which is never loaded; save it with gzip or uncompressed"
        )
    return ""


def _members(path: Path, archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """Return the members of an archive by name.

    Raises:
        StageError: there is another one, one twice, or one that is locked or too large.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename not in _MEMBERS:
            raise StageError(f"{path}: expected {', '.join(_MEMBERS)} alone, received {info.filename[:80]!r}")
        if info.filename in members:
            raise StageError(f"{path}: holds {info.filename} twice")
        if info.flag_bits & 1:
            raise StageError(f"{path}: {info.filename} is encrypted; save the model anew")
        members[info.filename] = info
        if info.filename != WEIGHTS and info.file_size > MAX_CONFIG:
            raise StageError(f"{path}: {info.filename} has {info.file_size:,} bytes; expected at most {MAX_CONFIG:,}")
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in members]:
        raise StageError(f"{path}: holds no {missing[0]}; expected what Keras 3 saves as .keras")
    if fault := unpacks_to_too_much(path.stat().st_size, sum(info.file_size for info in members.values())):
        raise StageError(f"{path}: {fault}")
    return members


@contextmanager
def _seekable(stream: BufferedReader, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Any]:
    """Yield a member of an archive as a file to seek in; one that is compressed is unpacked to the disk."""
    if info.compress_type == zipfile.ZIP_STORED:
        yield _Window(stream, info)
        return
    with archive.open(info) as member, tempfile.TemporaryFile() as unpacked:
        shutil.copyfileobj(member, unpacked)
        unpacked.seek(0)
        yield unpacked


class _Window(io.RawIOBase):
    """A member of a zip archive that is stored as it is, read where it lies: ``ZipFile`` reads all before what it seeks."""

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


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    try:
        yield
    except (StageError, MemoryError):
        raise
    except Exception as error:  # zipfile and its decompressors raise whatever a damaged file leads them to
        raise StageError(f"{path}: cannot be read as a .keras archive ({error}); the file is damaged") from error
