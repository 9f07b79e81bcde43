"""The quickstart from the command line: its table, and that a second run finds everything done."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
POINTS = 3.0
"""How far, in points of accuracy, another processor or another library version may move a number."""

pytestmark = pytest.mark.slow


def run(outputs: Path, *more: str, python: Sequence[str] = ()) -> str:
    command = [sys.executable, *python, "runner.py", "experiments/quickstart.yaml", "--outputs", str(outputs), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ("1", "quickstart_robust_accuracy_seed_1.csv"),
        pytest.param("1,2,3", "quickstart_robust_accuracy.csv", marks=pytest.mark.long),
    ],
)
def test_the_quickstart_makes_its_table_once(seeds: str, expected: str, tmp_path: Path) -> None:
    said = run(tmp_path, "--seeds", seeds)
    assert "0 failed" in said
    assert not re.search(r"^[IWE]\d{4} |WARNING", said, re.MULTILINE), "a framework's notes reach the user"
    ours, golden = table(tmp_path / "quickstart" / "robust_accuracy.csv"), table(GOLDEN / expected)
    assert ours[:2] == golden[:2]
    assert [row[0] for row in ours] == [row[0] for row in golden]
    for mine, known in zip(ours[2:], golden[2:], strict=True):
        for a, b in zip(mine[1:], known[1:], strict=True):
            assert abs(float(a.split(" ± ")[0]) - float(b.split(" ± ")[0])) <= POINTS, (mine[0], a, b)

    again = run(tmp_path, "--seeds", seeds, python=["-X", "importtime"])
    assert " 0 computed" in again
    imported = set(re.findall(r"\|\s+(\w+)$", again, re.MULTILINE))
    assert "numpy" in imported
    assert not imported & {"tensorflow", "keras", "torch", "jax", "art", "pandas", "matplotlib"}
