"""Each experiment that comes with Temper runs in small to its end, on the data it is for, and says that it is no result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.cli import main
from tests.test_experiments import FILES, ids

SETS = ("mnist", "fashion_mnist", "cifar10", "gtsrb", "intel", "camvid", "svhn", "coco", "grape")

pytestmark = [pytest.mark.long, pytest.mark.shared]


@pytest.fixture(scope="module")
def data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all data sets, as their makers lay them out."""
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, str(shared / "data" / "unpack.py"), str(folder), *SETS], check=True)
    return folder


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "experiments"], ids=ids)
def test_it_runs_in_small(
    path: Path, data: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPER_DATA", str(data))
    monkeypatch.setenv("DRFUZZ_MODELS", str(shared / "models" / "drfuzz"))
    options = ["--smoke", "--outputs", str(tmp_path)]
    if "grape" in path.name:
        options += ["--set", f"datasets.leaves.root={data / 'grape' / 'train'}"]
    assert main([str(path), *options]) == 0
    (results,) = tmp_path.glob("*.smoke")
    tables = [*results.glob("*.tex"), *(table.with_suffix(".csv") for table in results.glob("*.tex"))]
    assert tables
    assert all("SMOKE RUN" in table.read_text(encoding="utf-8") for table in tables)
