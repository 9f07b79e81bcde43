"""The one place that opens untrusted model files: HDF5, ``.keras`` archives and JSON, within limits, no links."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil

from temper.core.errors import StageError
from temper.nn.model_files.hdf5_file import judged, read_values
from temper.nn.model_files.keras_archive import MAX_CONFIG, unpacked
from temper.system.files import read_bytes, regular, unpacked_at_most
from temper.system.installation import search_path

if TYPE_CHECKING:
    import h5py

MAX_DEPTH = 100
_PIECE = 2**20
_SCRIPT = (
    "import sys, pathlib, temper.nn.model_files.untrusted_files as files; files.read_all(pathlib.Path(sys.argv[1]))"
)
_SECONDS, _PER_SECOND = 30, 10 * 2**20
"""Time limit in seconds for reading a file, and the number of bytes that adds one second."""


def configuration(path: Path) -> Mapping[str, Any]:
    """Return the configuration of a model in a JSON file.

    Raises:
        StageError: the file cannot be read, is too large, or has other content.
    """
    return parsed(read_bytes(path, MAX_CONFIG), path)


def archived_configuration(path: Path) -> Mapping[str, Any]:
    """Return the configuration of the model in a ``.keras`` archive, after checking the archive's weights.

    Raises:
        StageError: the archive cannot be read, is too large or has other content.
    """
    _survive(regular(path))
    return parsed(_config_of(path), path)


@contextmanager
def archived_weights(path: Path) -> Iterator[h5py.File]:
    """Open the weights in a ``.keras`` archive.

    Raises:
        StageError: the archive cannot be read, is too large or has other content.
    """
    _survive(regular(path))
    with unpacked(path) as (_, source, size), judged(path, source, size) as file:
        yield file


@contextmanager
def unpacked_weights(path: Path) -> Iterator[Path]:
    """Unpack the weights in a ``.keras`` archive to a temporary file.

    Raises:
        StageError: the archive cannot be read, is too large or has other content.
    """
    _survive(regular(path))
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "model.weights.h5"
        with unpacked(path) as (_, source, _size), weights.open("wb") as file:
            source.seek(0)
            shutil.copyfileobj(source, file, _PIECE)
        yield weights


def _config_of(path: Path, use: Callable[[h5py.File], object] = lambda _: None) -> bytes:
    with unpacked(path) as (text, source, size), judged(path, source, size) as file:
        use(file)
        return text


def parsed(text: bytes | str, path: Path) -> Mapping[str, Any]:
    """Return the configuration in a JSON text.

    Raises:
        StageError: it has other content, or is nested too deeply.
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
    """Open a self-contained HDF5 file.

    Raises:
        StageError: it is not a regular file, not HDF5, corrupted (also if that shows within the block), refers to other
        files, or is too large.
    """
    import h5py

    if not h5py.is_hdf5(regular(path)):
        raise StageError(f"{path}: expected an HDF5 file, received something else")
    _survive(path)
    with judged(path, path, path.stat().st_size) as file:
        yield file


def read_all(path: Path) -> None:
    """Read every attribute and value of a file, then exit the process: a hang or crash of HDF5 happens here.

    Problems are printed. Memory is limited to twice the size that a file of this size may unpack to, for values and for the
    current chunk: strings may be referenced many times, and the unpacked size of a chunk is unknown beforehand.
    """
    # Before the limit: what libraries reserve as they are imported grows with the cores of the machine.
    import h5py  # noqa: F401

    try:
        size = path.stat().st_size
        # Past the limit the process is useless, so it ends itself even if its parent is gone.
        _limit(2 * unpacked_at_most(size), 2 * _seconds(size))
        if path.suffix == ".keras":
            _config_of(path, read_values)
        else:
            with judged(path, path, size) as file:
                read_values(file)
    except StageError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8", "replace"))
    except MemoryError:
        said = "its values take more memory than a file of this size may; the file is corrupted, or compressed too much"
        sys.stdout.buffer.write(f"{path}: {said}".encode("utf-8", "replace"))


def _limit(memory: int, seconds: int) -> None:
    """Limit this process to ``memory`` more bytes and to ``seconds`` of CPU time, where the system supports it."""
    with suppress(ImportError, ValueError, OSError):  # Windows, or a lower limit already in place
        import resource

        reserved = psutil.Process().memory_info().vms + memory
        for kind, limit in ((resource.RLIMIT_AS, reserved), (resource.RLIMIT_CPU, seconds)):
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def _seconds(size: int) -> int:
    """Return the time limit in seconds for reading a file of ``size`` bytes."""
    return _SECONDS + size // _PER_SECOND


def _survive(path: Path) -> None:
    status = path.stat()
    if fault := _fault(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino):
        raise StageError(fault)


@lru_cache(maxsize=1000)
def _fault(path: Path, size: int, *_: int) -> str:
    """Read a file in a separate process; return the problem if it found one, crashed or hung; empty otherwise.

    HDF5 is written in C: its crash on a corrupted file can only be caught in a separate process.
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
            start_new_session=True,  # Ctrl-C is for the runner: a reader stopped by it would look like a crash
        )
    except subprocess.TimeoutExpired:
        return f"{path}: HDF5 does not finish reading it in {limit} s; the file is corrupted"
    if done.returncode < 0:
        return f"{path}: HDF5 crashes on it (signal {-done.returncode}); the file is corrupted"
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"{path}: the process that reads it exited with code {done.returncode} ({last}); the file is corrupted"
    return done.stdout.decode("utf-8", "replace")
