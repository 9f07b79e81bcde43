"""What a report wrote is replaced and removed by the next; what a user put beside it stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.running.results_folder import MARK, ResultsFolder
from tests.conftest import PLAIN

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


def report(folder: Path, key: str, **files: str) -> None:
    results = ResultsFolder(folder)
    for name, text in files.items():
        results.write(name.replace("__", "/"), text)
    results.finish(key)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {MARK}


def test_what_an_earlier_report_wrote_goes(tmp_path: Path) -> None:
    report(tmp_path, "1", a="1", figures__b="2")
    assert names(tmp_path) == {"a", "figures/b"}
    report(tmp_path, "2", c="3")
    assert names(tmp_path) == {"c"}


def test_what_the_user_put_there_or_changed_stays(tmp_path: Path) -> None:
    report(tmp_path, "1", a="1", b="2", figures__c="3")
    mine = ("notes.ipynb", "figures/mine.png", "sub/deep/data.csv", "plan.txt", "x.tmp")
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine", encoding="utf-8")
    (tmp_path / "b").write_text("2, and what I think of it", encoding="utf-8")
    for key in ("2", "3", "4"):
        report(tmp_path, key, a=key)
    assert names(tmp_path) == {"a", "b", *mine}


def test_it_is_current_as_long_as_nothing_is_missing(tmp_path: Path) -> None:
    assert not ResultsFolder(tmp_path).is_current("1")
    report(tmp_path, "1", a="1", b="2")
    assert ResultsFolder(tmp_path).is_current("1")
    assert not ResultsFolder(tmp_path).is_current("2")
    (tmp_path / "b").write_text("more", encoding="utf-8")
    assert not ResultsFolder(tmp_path).is_current("1")
    (tmp_path / "b").unlink()
    assert not ResultsFolder(tmp_path).is_current("1")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"key": "1"}', '{"key": "1", "files": []}', '{"files": {"a": 1}}'])
def test_a_damaged_record_removes_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1", encoding="utf-8")
    (tmp_path / MARK).write_text(text, encoding="utf-8")
    assert not ResultsFolder(tmp_path).is_current("1")
    report(tmp_path, "1", b="2")
    assert names(tmp_path) == {"a", "b"}


def test_a_record_reaches_no_file_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    report(folder, "1", a="1")
    (tmp_path / "a").write_text("1", encoding="utf-8")
    record = json.loads((folder / MARK).read_text(encoding="utf-8"))
    written = record["files"]["a"]
    record["files"] |= {"../a": written, str(tmp_path / "a"): written, "b/../../a": written}
    (folder / MARK).write_text(json.dumps(record), encoding="utf-8")
    report(folder, "2", b="2")
    assert (tmp_path / "a").exists()


def test_a_run_leaves_a_users_files_alone(run: Run, write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "plain"
    run(write(PLAIN))
    (folder / "notes.md").write_text("mine", encoding="utf-8")
    for by in ("[0.1]", "[0.2]", "[0.1, 0.2]"):
        assert run(write(PLAIN.replace("[0.1, 0.2]", by)))[0] == 0
    assert (folder / "notes.md").read_text(encoding="utf-8") == "mine"
    run(write(PLAIN.replace("  shade: {", "  other: {")))
    assert not (folder / "shade.csv").exists(), "a table that is no longer declared"
    assert (folder / "other.csv").exists()
