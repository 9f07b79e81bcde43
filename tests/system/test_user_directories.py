"""Where a user's caches and configuration are, on each system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from temper.system.user_directories import cache_directory, config_directory


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("system", "cache", "config"),
    [
        ("linux", ".cache/temper", ".config/temper"),
        ("darwin", "Library/Caches/temper", "Library/Application Support/temper"),
        ("win32", "AppData/Local/temper/Cache", "AppData/Local/temper/Config"),
    ],
)
def test_each_system_has_its_own(
    monkeypatch: pytest.MonkeyPatch, home: Path, system: str, cache: str, config: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert (cache_directory(), config_directory()) == (home / cache, home / config)


def test_xdg_variables_say_where_and_relative_ones_are_ignored(
    monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert cache_directory() == tmp_path / "caches" / "temper"
    assert config_directory() == home / ".config/temper"


def test_windows_names_its_folder_by_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_directory() == tmp_path / "local/temper/Cache"
