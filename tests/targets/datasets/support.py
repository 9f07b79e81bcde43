"""Fixtures for tests of data sets: small files, and a run without an engine."""

import atexit
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Data
from temper.core.dataset import Dataset
from temper.core.run import Run


def produced(dataset: Dataset) -> Data:
    return dataset.produce(a_run())


def a_run() -> Run:
    def unused(*_: Any) -> Any:
        raise AssertionError("a data set reads no other stage")

    return Run("data", 0, None, unused, unused, lambda done, total, unit: None)


def arrays(train: int = 20, test: int = 10, *, shape: tuple[int, ...] = (28, 28), classes: int = 10) -> dict[str, Any]:
    """Images in the layout of Keras, whose first pixel is their position; labels 0, 1, ... in turn."""
    found = {}
    for part, n in (("train", train), ("test", test)):
        x = np.random.default_rng(n).integers(0, 256, (n, *shape), np.uint8)
        x.reshape(n, -1)[:, 0] = np.arange(n) % 256
        found |= {f"x_{part}": x, f"y_{part}": (np.arange(n) % classes).astype(np.uint8)}
    return found


def save(path: Path, contents: Mapping[str, Any]) -> Path:
    np.savez(path, **contents)
    return path


@cache
def unpacked(name: str) -> Path:
    """Lay out one of the packed real data sets as its users have it; skip the test where they are absent."""
    script = Path(__file__).resolve().parents[4] / "shared" / "data" / "unpack.py"
    if not script.exists():
        pytest.skip("the real data beside the repository are absent")
    folder = Path(tempfile.mkdtemp(prefix="temper-data-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([sys.executable, script, folder, name], check=True)
    return folder / name
