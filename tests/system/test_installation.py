"""How Temper is started, and which version it is."""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata

import pytest

from temper.engine.storage import provenance
from temper.engine.workers.worker_env import worker_env
from temper.system import installation
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("started", "command"),
    [
        ("/usr/local/bin/temper", ("temper",)),
        (r"C:\venv\Scripts\temper.exe", ("temper",))
        if sys.platform == "win32"
        else ("venv/bin/temper.exe", ("temper",)),
        ("runner.py", ("python", "runner.py")),
        ("../checkout/runner.py", ("python", "../checkout/runner.py")),
        (str(installation.PACKAGE / "__main__.py"), ("python", "-m", "temper")),
    ],
)
def test_the_command_is_the_one_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, started: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "argv", [started, "a.yaml", "--plan"])
    assert installation.command() == command
    assert provenance.command() == " ".join([*command, "a.yaml", "--plan"])


def test_the_version_is_that_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert installation.version() == project["version"]
    assert provenance.versions()["temper"] == project["version"]
    monkeypatch.setattr(installation, "CHECKOUT", None)
    monkeypatch.setattr(metadata, "version", {"temper": "9.9"}.get)
    assert installation.version() == "9.9"


def test_an_installed_temper_is_on_no_search_path(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    # site-packages on PYTHONPATH would come before the standard library.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert worker_env(ROOT / "outputs").environment["PYTHONPATH"] == str(ROOT)
    monkeypatch.setattr(installation, "CHECKOUT", None)
    assert worker_env(ROOT / "outputs").environment["PYTHONPATH"] == ""
