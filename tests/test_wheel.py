"""The wheel: one import name, all that belongs to it, and a command that works from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.long
BUILD = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of a copy of the checkout."""
    copy, made = tmp_path_factory.mktemp("copy") / "temper", tmp_path_factory.mktemp("made")
    left_out = shutil.ignore_patterns(".*", "outputs", "tests", "__pycache__", "shared")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)
    subprocess.run([sys.executable, "-c", BUILD, str(made)], cwd=copy, check=True, capture_output=True, timeout=300)
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of packages that holds the wheel, and no checkout above it."""
    folder = tmp_path_factory.mktemp("env") / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def temper(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TEMPER_DATA"}
    return subprocess.run(
        [sys.executable, "-m", "temper", *arguments], cwd=folder, env=environment | {"PYTHONPATH": str(installed)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_it_holds_one_import_name_and_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"temper"}
    skipped = {".pyc"}
    ours = {
        str(Path(place, file).relative_to(ROOT))
        for place, _, files in os.walk(ROOT / "temper", followlinks=True)
        for file in files
        if Path(file).suffix not in skipped
    }
    assert ours == names


def test_it_runs_where_no_checkout_is(installed: Path, tmp_path: Path) -> None:
    assert "Temper 0.2.0" in temper(installed, tmp_path, "--version").stdout
    assert temper(installed, tmp_path, "--experiments", "quickstart").returncode == 0
    planned = temper(installed, tmp_path, "quickstart.yaml", "--plan")
    assert "319 to run, 0 cached" in planned.stdout, planned.stderr
    assert "usage: python -m temper" in temper(installed, tmp_path, "--help").stdout


def test_a_job_script_works_in_any_folder(installed: Path, tmp_path: Path) -> None:
    temper(installed, tmp_path, "--experiments", "quickstart")
    done = temper(installed, tmp_path, "quickstart.yaml", "--job-script", "slurm")
    assert done.returncode == 0, done.stderr
    assert f"cd {tmp_path}" in done.stdout
    assert "-m temper quickstart.yaml" in done.stdout


def test_components_of_a_user_are_found(installed: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(ROOT / "tests" / "parts" / "plain.py", mine)
    (tmp_path / "a.yaml").write_text("name: a\ndatasets: {grey: {type: plain}}\n", encoding="utf-8")
    done = temper(installed, tmp_path, "a.yaml", "--components", "mine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "outputs" / "a" / "results.csv").exists()
    assert not any(path.name == "outputs" for path in installed.iterdir())
    assert (
        temper(installed, tmp_path, "a.yaml", "--components", "mine", "--force", "grey", "--jobs", "2").returncode == 0
    )
