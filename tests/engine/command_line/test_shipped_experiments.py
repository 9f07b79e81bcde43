"""--experiments: lists what comes with Temper, and copies it with its dependencies, without overwriting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from temper.engine.catalogue.discovery import Catalogue
from temper.engine.command_line.main import main
from temper.engine.command_line.shipped_experiments import FOLDER, copy
from temper.engine.language import experiment_file

Run = Callable[..., tuple[int, str]]


def test_each_is_listed_with_its_description(run: Run) -> None:
    code, output = run("--experiments")
    lines = output.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert all(len(line.split()) > 3 for line in lines)
    (quickstart,) = (line for line in lines if line.startswith("quickstart "))
    assert "FGSM and PGD against a small network" in quickstart


def test_copy_is_valid(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, catalogue: Catalogue) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--experiments", "quickstart") == (0, "copied to quickstart.yaml\n")
    copied = Path("quickstart.yaml")
    assert experiment_file.load(copied, catalogue).name == "quickstart"
    schema = copied.read_text(encoding="utf-8").splitlines()[0].partition("$schema=file://")[2]
    assert Path(schema).is_file()


def test_files_it_extends_and_reads_are_copied_too(tmp_path: Path) -> None:
    copied = {str(path.relative_to(tmp_path)) for path in copy("drfuzz_svhn_resnet18_short", tmp_path)}
    assert copied == {
        "drfuzz_svhn_resnet18_short.yaml", "drfuzz_svhn_resnet18.yaml", "drfuzz_cifar10_vgg16.yaml", "published/drfuzz_rq1.csv",
    }  # fmt: skip
    assert copied == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}


def test_nothing_is_overwritten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run) -> None:
    monkeypatch.chdir(tmp_path)
    changed = tmp_path / "drfuzz_cifar10_vgg16.yaml"
    changed.write_text("name: mine\n", encoding="utf-8")
    code, output = run("--experiments", "drfuzz_svhn_resnet18")
    assert code == 2
    assert output.startswith("--experiments: drfuzz_cifar10_vgg16.yaml would be overwritten")
    assert [path.name for path in tmp_path.iterdir()] == [changed.name]
    assert changed.read_text(encoding="utf-8") == "name: mine\n"


def test_mistyped_name_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--experiments", "quikstart"]) == 2
    assert "unknown experiment 'quikstart'; did you mean 'quickstart'?" in capsys.readouterr().err
