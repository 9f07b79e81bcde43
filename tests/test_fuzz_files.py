"""Whatever is in a file: a fault with its path, or what can be made of it; within a limit of memory, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fuzz_files import KINDS_OF_FILES

ROUNDS = os.environ.get("TEMPER_FUZZ", "400")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_a_damaged_file_is_a_fault_within_the_limit(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz_files", kind, ROUNDS, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
