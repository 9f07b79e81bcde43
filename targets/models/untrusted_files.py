"""The one place that opens model files of others: HDF5, ``.keras`` archives and JSON, within limits, links to other files refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from temper.core.errors import StageError
from temper.system.files import read_bytes, regular, unpacked_at_most
from temper.system.installation import search_path
from temper.targets.models.hdf5_file import judged, read_values
from temper.targets.models.keras_archive import MAX_CONFIG, unpacked

if TYPE_CHECKING:
    import h5py

MAX_DEPTH = 100
_SCRIPT = (
    "import sys, pathlib, temper.targets.models.untrusted_files as files; files.read_all(pathlib.Path(sys.argv[1]))"
)
_SECONDS, _PER_SECOND = 30, 10 * 2**20
"""Seconds that reading a file may take, and bytes for each of which there is one more."""


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
    with unpacked(path) as (text, source, size), judged(path, source, size) as file:
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
    import h5py

    if not h5py.is_hdf5(regular(path)):
        raise StageError(f"{path}: expected an HDF5 file, received something else")
    _survive(path)
    with judged(path, path, path.stat().st_size) as file:
        yield file


def read_all(path: Path) -> None:
    """Read every attribute and value of a file, and end the process: what HDF5 would do later, hang or crash, it does now.

    What is wrong is printed. Memory is limited to what a file of this size may unpack to twice, for values and for the chunk that
    is being unpacked: strings may be referred to again and again, and what a chunk unpacks to is not known beforehand.
    """
    try:
        size = path.stat().st_size
        # Beyond its time the process is of no use, also where nobody is left to end it.
        _limit(2 * unpacked_at_most(size), 2 * _seconds(size))
        if path.suffix == ".keras":
            _config_of(path, read_values)
        else:
            with judged(path, path, size) as file:
                read_values(file)
    except StageError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8", "replace"))
    except MemoryError:
        said = "its values take more memory than a file of this size may; the file is damaged, or compressed too much"
        sys.stdout.buffer.write(f"{path}: {said}".encode("utf-8", "replace"))


def _limit(memory: int, seconds: int) -> None:
    """Let this process reserve ``memory`` bytes beyond what it has and compute so long, where the system can see to that."""
    with suppress(ImportError, ValueError, OSError):  # Windows, or a lower limit that is there already
        import resource

        reserved = psutil.Process().memory_info().vms + memory
        for kind, limit in ((resource.RLIMIT_AS, reserved), (resource.RLIMIT_CPU, seconds)):
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def _seconds(size: int) -> int:
    """Return how long reading a file of ``size`` bytes may take."""
    return _SECONDS + size // _PER_SECOND


def _survive(path: Path) -> None:
    status = path.stat()
    if fault := _fault(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino):
        raise StageError(fault)


@lru_cache(maxsize=1000)
def _fault(path: Path, size: int, *_: int) -> str:
    """Return what came of a process that read a file, where it found a fault, crashed or hung; empty where all was well.

    HDF5 is written in C: what a damaged file leads it to can be caught in a process of its own only.
    """
    limit = _seconds(size)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(search_path())}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _SCRIPT, str(path)],
            env=environment,
            capture_output=True,
            timeout=limit,
            check=False,
            start_new_session=True,  # Ctrl-C is for the runner: a reader that it ended would look like a crash
        )
    except subprocess.TimeoutExpired:
        return f"{path}: HDF5 does not come to an end with it in {limit} s; the file is damaged"
    if done.returncode < 0:
        return f"{path}: HDF5 crashes on it (signal {-done.returncode}); the file is damaged"
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"{path}: the process that reads it ended with code {done.returncode} ({last}); the file is damaged"
    return done.stdout.decode("utf-8", "replace")
