"""A full disk: it is reported, the store stays intact, and the same command resumes when there is space."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from temper.core.checkpoint import Checkpoint
from temper.engine.storage.leases import Leases
from temper.system.files import NoRoom, is_full
from tests.conftest import PARTS, ROOT, start, tables

Write = Callable[..., Path]
Disk = Callable[[str], Path]

SIZES = ("40k", "120k", "300k", "600k", "900k", "1100k")
CHAIN = """
name: chain
seeds: [1, 2]
datasets: {grey: {type: plain, images: 3000}}
generate:
  a: {type: shift, data: grey, noise: {type: drawn}}
  b: {type: shift, data: a, noise: {type: drawn}}
  c: {type: walk, data: b, steps: 5}
evaluate:
  shade: {type: shade, examples: [grey, a, b, c]}
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of a given size; another call resizes it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def disk(size: str) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={size}"
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            pytest.skip("there is no mount on this system")
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
        mounted = True
        return folder

    yield disk
    if mounted:
        subprocess.run(["umount", folder], check=True)


def run(file: Path, outputs: Path, *more: str) -> tuple[int, str]:
    process = start(file, "--components", PARTS, "--outputs", outputs, *more)
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "sizes"),
    [
        # Different writes fail: digests, the log, data, artefacts, tables, the page.
        ("1", ("40k", "300k", "900k")),
        pytest.param("1", SIZES, marks=pytest.mark.long),
        pytest.param("2", SIZES, marks=pytest.mark.long),
    ],
)
def test_same_command_resumes_when_there_is_space(
    write: Write, tmp_path: Path, disk: Disk, jobs: str, sizes: Sequence[str]
) -> None:
    file = write(CHAIN)
    code, output = run(file, tmp_path / "whole")
    assert code == 0, output
    ends = []
    for size in sizes:
        code, output = run(file, disk(size) / "outputs", "--jobs", jobs)
        ends.append(code)
        assert "Traceback" not in output, output
        assert "Exception" not in output, output
        if code:
            assert code == 3, output
            assert "the disk is full, or a quota is exceeded (" in output
            assert f"Free space for {tmp_path}/disk/outputs" in output.replace("\n", "")
            assert f"Resume with: python {ROOT / 'runner.py'}" in output
    assert ends.count(3) >= len(sizes) / 2, ends
    code, output = run(file, disk("64m") / "outputs", "--jobs", jobs)
    assert code == 0, output
    assert "failed before" not in output
    assert tables(tmp_path / "disk" / "outputs" / "chain") == tables(tmp_path / "whole" / "chain")


def test_checkpoint_without_space_keeps_the_last_one(disk: Disk) -> None:
    folder = disk("64k")
    checkpoint = Checkpoint(folder / "work")
    checkpoint.save({"x": np.arange(10)}, {"step": 1})
    with pytest.raises(OSError, match="No space") as caught:
        checkpoint.save({"x": np.zeros(10**6)}, {"step": 2})
    assert is_full(caught.value)
    arrays, meta = checkpoint.load() or ({}, {})
    assert meta == {"step": 1}
    assert arrays["x"].tolist() == list(range(10))
    assert [path.name for path in (folder / "work").iterdir()] == ["state.npz"]


def test_lease_without_space_is_not_held(disk: Disk) -> None:
    folder = disk("64k")
    leases = Leases(folder / "leases")
    with (folder / "ballast").open("wb") as ballast, pytest.raises(OSError, match="No space"):
        ballast.write(bytes(2**20))
    with pytest.raises(OSError, match="No space"):
        leases.acquire("f")
    assert not (folder / "leases" / "f").exists()
    (folder / "ballast").unlink()
    assert leases.acquire("f")
    leases.close()


def test_full_disk_is_detected_from_the_exception() -> None:
    assert is_full(OSError(errno.ENOSPC, "No space left on device"))
    assert is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert is_full(OSError("250000 requested and 4096 written"))
    assert is_full(RuntimeError("file write failed: errno = 28, error message = 'No space left on device'"))
    assert is_full(NoRoom("a.test"))
    assert not is_full(OSError(errno.EACCES, "Permission denied"))
    assert not is_full(ValueError("no space"))
