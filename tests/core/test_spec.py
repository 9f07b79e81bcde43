"""Experiment files that are wrong: what is said of them, and that nothing but a ``SpecError`` comes of any file.

``tests/core/faults`` holds a file for each class of fault, with all that is said of it beside. After a change,
``TEMPER_REWRITE=1 python -m pytest tests/core/test_spec.py`` writes the messages anew; read the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from core.discovery import Catalogue
from core.faults import SpecError
from core.spec import load

FAULTS = Path(__file__).parent / "faults"
FILES = sorted(path for path in FAULTS.iterdir() if path.suffix in (".yaml", ".json"))
REWRITE = "TEMPER_REWRITE" in os.environ


def said_of(file: str, catalogue: Catalogue) -> str:
    try:
        load(Path(file), catalogue)
    except SpecError as wrong:
        said = str(wrong).replace(str(FAULTS), ".").replace(str(Path.home()), "~") + "\n"
        return re.sub(r"(; choose one of)( \w+,){3} .*", r"\1 ...", said)  # grows with every component
    return "no fault\n"


@pytest.mark.parametrize("file", [path.name for path in FILES])
def test_faults(file: str, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FAULTS)
    expected = (FAULTS / file).with_suffix(".txt")
    said = said_of(file, catalogue)
    if REWRITE:
        expected.write_text(said, encoding="utf-8")
    assert said == expected.read_text(encoding="utf-8")
