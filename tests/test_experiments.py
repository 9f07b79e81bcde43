"""The experiment files that come with Temper: each is sound, says what it is, and needs no data of ours to be planned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from temper.engine.command_line.main import main
from tests.conftest import ROOT

FOLDER = ROOT / "experiments"
FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".yaml", ".yml", ".json"))


_UNNAMED = "no location of the data; set their folder, or TEMPER_DATA"
WITHOUT_FILES = {
    **{f"guided_retraining_{name}{form}.yaml": _UNNAMED for name in ("gtsrb", "intel") for form in ("", "_short")},
    **{f"generative_repair_{name}.yaml": _UNNAMED for name in ("coco", "camvid_short")},
    "generative_repair_grape.yaml": "relative paths start at the experiment file's folder",
    **dict.fromkeys(("drfuzz_svhn_resnet18.yaml", "drfuzz_svhn_resnet18_short.yaml"), _UNNAMED),
    **dict.fromkeys(
        ("drfuzz_published_models.yaml", "drfuzz_ablation.yaml", "drfuzz_retraining.yaml"),
        "the environment variable DRFUZZ_MODELS is not set; set it, or write the path out",
    ),
}
"""Experiments on files that are not there, without which nothing is known of images and models, and what is said of those."""


def planned(path: Path, code: int, said: str) -> bool:
    """Whether a file was planned, or nothing but its data was missing."""
    if path.name in WITHOUT_FILES and code == 2:
        return all(fault.endswith(WITHOUT_FILES[path.name]) for fault in said.strip().splitlines())
    return code == 0


def ids(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def test_there_are_experiments() -> None:
    assert FILES
    assert FOLDER / "quickstart.yaml" in FILES


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_it_can_be_planned(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([str(path), "--plan", "--outputs", str(tmp_path)])
    said = capsys.readouterr()
    assert planned(path, code, said.err), said.err
    assert code or "to run" in said.out


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_it_can_be_planned_in_small(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([str(path), "--smoke", "--plan", "--outputs", str(tmp_path)])
    said = capsys.readouterr().err
    assert planned(path, code, said), said


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix != ".json"], ids=ids)
def test_its_header_states_its_purpose(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    head = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    schema = re.search(r"\$schema=(\S+)", head[0])
    assert schema
    assert (path.parent / schema[1]).resolve() == ROOT / "schemas" / "experiment.schema.json"
    assert len([line for line in head[1:] if len(line) > 20]) >= 1, "a comment at the top says what the experiment is"
    for command in re.findall(r"runner\.py (\S+)", "\n".join(head)):
        assert command == str(path.relative_to(ROOT)), "the command at the top names another file"


def test_each_has_results_of_its_own() -> None:
    written = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES]
    names = [file.get("name", path.stem) for file, path in zip(written, FILES, strict=True)]
    assert len(set(names)) == len(names)
