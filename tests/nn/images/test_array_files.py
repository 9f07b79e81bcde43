"""Headers of array files are checked against the file before memory is allocated."""

from __future__ import annotations

import os
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.nn.images.array_files import ArrayFile


def header(shape: object, dtype: str = "|u1", order: bool = False) -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def written(path: Path, content: bytes) -> ArrayFile:
    if path.suffix == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
    return ArrayFile(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((10**6, 10**6)) + b"1234", r"4 bytes of values.* for the shape \(1000000, 1000000\) of uint8, which takes 1,0"),
        (header((2, 2)) + b"12345", "5 bytes of values"),
        (header((2, 2)) + b"123", "3 bytes of values"),
        (header((-1, 4)), r"the shape \(-1, 4\)"),
        (header((4,), "|O") + b"1234", "Python objects"),
        (header((4,), [("a", "|O")]) + b"1234", "received"),  # type: ignore[arg-type]
        (header("(" * 3000 + ")" * 3000), "received"),
        (header("__import__('os')"), "received"),
        (header((1,) * 100) + b"1", "received"),
        (b"\x93NUMPY\x09\x09" + header((1,))[8:], "received"),
        (b"", "received"),
    ],
)  # fmt: skip
def test_headers_that_contradict_the_file_are_rejected(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    file = written(tmp_path / f"a{suffix}", content)
    for read in (file.headers, lambda: file.read(("x", ""))):
        with pytest.raises(StageError, match=rf"a{suffix}: expected arrays written by NumPy, .*{message}"):
            read()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_larger_than_declared_is_rejected(tmp_path: Path, method: int) -> None:
    """Python decompresses all bzip2 and LZMA input it has read, whatever the requested size: 1,522 bytes become 2 GiB."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", header((4,)) + b"1234")
    file = ArrayFile(tmp_path / "a.npz")
    for read in (lambda: file.headers(("x",)), lambda: file.read(("x",)), lambda: file.first("x", 10)):
        with pytest.raises(StageError, match=f"'x.npy' is compressed by method {method}, expected stored or deflated"):
            read()


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    file = written(tmp_path / "a.npz", header((90 * 2**20,)) + bytes(90 * 2**20))
    for read in (lambda: file.headers(("x",)), lambda: file.read(("x",)), lambda: file.first("x", 10)):
        with pytest.raises(StageError, match="bytes unpack to 94,37"):
            read()
    assert file.headers(()) == {}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_files_written_by_numpy_are_read(tmp_path: Path, order: Any, version: tuple[int, int]) -> None:
    x = np.asarray(np.arange(24).reshape(2, 3, 4), order=order)
    np.lib.format.write_array(stream := BytesIO(), x, version)
    file = written(tmp_path / "a.npz", stream.getvalue())
    np.testing.assert_array_equal(file.read(("x",))["x"], x)
    first, whole = file.first("x", 96)
    assert (len(first), whole) == ((1, False) if order == "C" else (0, False))
    np.testing.assert_array_equal(first, x[: len(first)])


def test_a_named_pipe_is_rejected_as_an_array_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(StageError, match="received a named pipe"):
        ArrayFile(tmp_path / "a.npz").headers()
