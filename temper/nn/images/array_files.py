"""Untrusted arrays in ``.npz`` and ``.npy`` files: headers are checked against the file before values are read."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from temper.core.errors import StageError
from temper.system.files import opened, unpacks_to_too_much
from temper.system.zip_member import member_problem

_SUFFIX = ".npy"
_MAX_AXES = 64
"""The maximum number of axes, NumPy's own limit."""
MAX_MEMBERS = 10_000
"""The maximum number of arrays in a file."""


@dataclass(frozen=True)
class Header:
    """Shape and type of one array, and whether its first axis varies fastest, read from its header."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False


@dataclass(frozen=True)
class ArrayFile:
    """A NumPy file: the arrays of an ``.npz`` by name, or the one of an ``.npy``, whose name is empty."""

    path: Path

    def headers(self, wanted: Collection[str] | None = None) -> dict[str, Header]:
        """Return the headers of all arrays, or of those of the names wanted that exist, without reading values.

        Raises:
            StageError: the file cannot be read, holds an array twice or Python objects, or its size differs from the
            headers.
        """
        with self._reading(), opened(self.path) as stream:
            if self.path.suffix == _SUFFIX:
                return {"": _checked_header(stream, "", self.path.stat().st_size)}
            with zipfile.ZipFile(stream) as archive:
                return {name: _header(archive, info) for name, info in self._members(archive, wanted).items()}

    def names(self) -> list[str]:
        """Return the names of the arrays of an ``.npz``.

        Raises:
            StageError: as for ``headers``.
        """
        with self._reading(), opened(self.path) as stream, zipfile.ZipFile(stream) as archive:
            return list(self._members(archive, None))

    def read(self, wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        """Return the existing arrays among the names wanted, by name.

        Raises:
            StageError: as for ``headers``, or the values are corrupted.
        """
        self.headers(wanted)
        with self._reading(), opened(self.path) as stream:
            if self.path.suffix == _SUFFIX:
                return {"": npy.read_array(stream, allow_pickle=False)}
            with zipfile.ZipFile(stream) as archive:
                return {name: _values(archive, info) for name, info in self._members(archive, wanted).items()}

    def first(self, name: str, size: int) -> tuple[NDArray[Any], bool]:
        """Return the first items of an array of an ``.npz``, about ``size`` bytes, and whether these are all.

        There are none where the first axis varies fastest, since items are not contiguous then.

        Raises:
            StageError: as for ``read``.
        """
        header = self.headers((name,))[name]
        item = math.prod(header.shape[1:]) * header.dtype.itemsize
        # At least one item, so that a single huge image is still checked.
        count = 0 if header.fortran else min(header.shape[0], max(1, size // max(1, item)))
        with (
            self._reading(),
            opened(self.path) as stream,
            zipfile.ZipFile(stream) as archive,
            archive.open(f"{name}{_SUFFIX}") as member,
        ):
            _parsed_header(member)
            items = np.frombuffer(member.read(count * item), header.dtype)
        return items.reshape(count, *header.shape[1:]), count == header.shape[0]

    def _members(self, archive: zipfile.ZipFile, wanted: Collection[str] | None) -> dict[str, zipfile.ZipInfo]:
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise ValueError(f"{len(infos):,} arrays, at most {MAX_MEMBERS:,} are read")
        times = Counter(info.filename.removesuffix(_SUFFIX) for info in infos)
        if twice := [name for name, count in times.items() if count > 1]:
            raise ValueError(f"{twice[0]} twice")
        found = {info.filename.removesuffix(_SUFFIX): info for info in infos if info.filename.endswith(_SUFFIX)}
        members = {name: info for name, info in found.items() if wanted is None or name in wanted}
        if problems := list(filter(None, map(member_problem, members.values()))):
            raise ValueError(problems[0])
        if problem := unpacks_to_too_much(self.path.stat().st_size, sum(info.file_size for info in members.values())):
            raise ValueError(problem)
        return members

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (StageError, MemoryError):
            raise
        except Exception as error:  # zipfile, its decompressors and NumPy raise all kinds of errors on a corrupted file
            received = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise StageError(
                f"{self.path}: expected arrays written by NumPy, received {received}; download or write it again"
            ) from error


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    with archive.open(info) as stream:
        return _checked_header(stream, info.filename, info.file_size)


def _values(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as stream:
        return npy.read_array(stream, allow_pickle=False)


def _checked_header(stream: Any, name: str, size: int) -> Header:
    """Return a header after checking it against the size of its file, since NumPy allocates memory for it."""
    header = _parsed_header(stream)
    where = f" in {name}" if name else ""
    if header.dtype.hasobject:
        raise ValueError(f"Python objects{where}, which Temper never loads")
    if len(header.shape) > _MAX_AXES or any(n < 0 for n in header.shape):
        raise ValueError(f"the shape {header.shape}{where}")
    stated, there = math.prod(header.shape) * header.dtype.itemsize, size - stream.tell()
    if stated != there:
        raise ValueError(
            f"{there:,} bytes of values{where} for the shape {header.shape} of {header.dtype}, which takes {stated:,}"
        )
    return header


def _parsed_header(stream: Any) -> Header:
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    try:
        shape, fortran, dtype = read(stream)
    except (MemoryError, RecursionError):  # raised by Python's parser for deeply nested brackets
        raise ValueError("a header that is nested too deeply") from None
    return Header(tuple(shape), dtype, fortran)
