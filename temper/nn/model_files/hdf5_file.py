"""Checks untrusted HDF5 files: no references to other files or plug-ins, and limited size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temper.core.errors import StageError
from temper.system.files import unpacks_to_too_much

if TYPE_CHECKING:
    import h5py

MAX_OBJECTS = 100_000
"""Maximum number of groups and arrays in an HDF5 file."""
_FILTERS = (1, 2, 3, 4, 5, 6, 32000)
"""Compression and checksum filters of HDF5 and h5py; any other would be a plug-in, which is code."""


@contextmanager
def judged(path: Path, source: Any, size: int) -> Iterator[h5py.File]:
    """Open an HDF5 file of ``size`` bytes; ``path`` is its name in messages.

    Raises:
        StageError: it is corrupted (also if that shows within the block), refers to other files, or is too large.
    """
    import h5py

    try:
        with h5py.File(source, "r") as file:
            _judge(path, file, size)
            yield file
    except (StageError, MemoryError):
        raise
    except Exception as error:  # h5py raises all kinds of errors on a corrupted file
        raise StageError(f"{path}: cannot be read as HDF5 ({error}); the file is corrupted") from error


def read_values(file: h5py.File) -> None:
    """Read every attribute and value of a file."""
    import h5py

    def read(_: str, item: Any) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset):
            item[()]

    read("", file)
    file.visititems(read)


def _judge(path: Path, file: h5py.File, size: int) -> None:
    """Check every object of a file that hard links reach; soft links lead to these or nowhere."""
    import h5py

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
                unpacked += _unpacked_size(item)
                if fault := unpacks_to_too_much(size, unpacked):
                    raise StageError(f"{path}: {fault}")


def _unpacked_size(array: h5py.Dataset) -> int:
    """Return the memory in bytes for reading an array; HDF5 unpacks whole chunks, even those barely used."""
    return max(array.size or 0, math.prod(array.chunks or (0,))) * int(array.dtype.itemsize)


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
