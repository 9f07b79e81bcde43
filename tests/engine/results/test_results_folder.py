"""Files of a report are replaced and removed by the next one; files of the user stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from temper.engine.results.results_folder import JOURNAL, RECORD, ResultsFolder
from tests.conftest import PLAIN

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


def report(folder: Path, key: str, **files: str) -> None:
    results = ResultsFolder(folder)
    for name, text in files.items():
        results.write(name.replace("__", "/"), text)
    results.finish(key)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {RECORD, JOURNAL}


def test_files_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    report(tmp_path, "1", a="1", figures__b="2")
    assert names(tmp_path) == {"a", "figures/b"}
    report(tmp_path, "2", c="3")
    assert names(tmp_path) == {"c"}


def test_files_that_the_user_added_or_changed_stay(tmp_path: Path) -> None:
    report(tmp_path, "1", a="1", b="2", figures__c="3")
    mine = ("notes.ipynb", "figures/mine.png", "sub/deep/data.csv", "plan.txt", "x.tmp")
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine", encoding="utf-8")
    (tmp_path / "b").write_text("2, and what I think of it", encoding="utf-8")
    for key in ("2", "3", "4"):
        report(tmp_path, key, a=key)
    assert names(tmp_path) == {"a", "b", *mine}


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_report_replaces_no_user_file(tmp_path: Path) -> None:
    """A user's file with the name of a new table, or a table that the user edited; twice."""
    report(tmp_path, "1", a="1", figures__c="3")
    for number, suffix in (("2", ""), ("3", "-2")):
        for name in ("a", "b", "figures/c"):
            (tmp_path / name).write_text(f"mine {name} {number}", encoding="utf-8")
        report(tmp_path, number, a=number, b=number, figures__c=number)
        for name in ("a", "b", "figures/c"):
            assert text(tmp_path / name) == number
            assert text(tmp_path / f"{name}.yours{suffix}") == f"mine {name} {number}"


def test_files_of_killed_and_concurrent_reports_are_not_the_users(tmp_path: Path) -> None:
    report(tmp_path, "1", a="1")
    killed, other = ResultsFolder(tmp_path), ResultsFolder(tmp_path)
    killed.write("a", "2")
    killed.write("b", "2")
    other.write("a", "3")
    killed.write("a", "4")
    other.finish("other")
    report(tmp_path, "5", a="5", b="5")
    assert names(tmp_path) == {"a", "b"}
    assert text(tmp_path / "a") == "5"


@pytest.mark.parametrize("journal", [b'["a", 1', b"\xff", b"null\n[]\n3\n"])
def test_damaged_journal_does_not_stop_a_report(journal: bytes, tmp_path: Path) -> None:
    report(tmp_path, "1", a="1")
    (tmp_path / JOURNAL).write_bytes(journal)
    report(tmp_path, "2", a="2")
    assert text(tmp_path / "a") == "2"


def test_journal_is_compacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temper.engine.results.results_folder._MAX_JOURNAL", 1000)
    for number in range(50):
        report(tmp_path, str(number), a=str(number))
    assert (tmp_path / JOURNAL).stat().st_size < 1200
    report(tmp_path, "last", a="last")
    assert names(tmp_path) == {"a"}


def test_folder_is_current_while_no_file_is_missing(tmp_path: Path) -> None:
    assert not ResultsFolder(tmp_path).is_current("1")
    report(tmp_path, "1", a="1", b="2")
    assert ResultsFolder(tmp_path).is_current("1")
    assert not ResultsFolder(tmp_path).is_current("2")
    (tmp_path / "b").write_text("more", encoding="utf-8")
    assert not ResultsFolder(tmp_path).is_current("1")
    (tmp_path / "b").unlink()
    assert not ResultsFolder(tmp_path).is_current("1")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"key": "1"}', '{"key": "1", "files": []}', '{"files": {"a": 1}}'])
def test_damaged_record_removes_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1", encoding="utf-8")
    (tmp_path / RECORD).write_text(text, encoding="utf-8")
    assert not ResultsFolder(tmp_path).is_current("1")
    report(tmp_path, "1", b="2")
    assert names(tmp_path) == {"a", "b"}


def test_record_cannot_remove_files_outside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    report(folder, "1", a="1")
    (tmp_path / "a").write_text("1", encoding="utf-8")
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    written = record["files"]["a"]
    record["files"] |= {"../a": written, str(tmp_path / "a"): written, "b/../../a": written}
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    report(folder, "2", b="2")
    assert (tmp_path / "a").exists()


def test_run_keeps_user_files(run: Run, write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "plain"
    run(write(PLAIN))
    (folder / "notes.md").write_text("mine", encoding="utf-8")
    for by in ("[0.1]", "[0.2]", "[0.1, 0.2]"):
        assert run(write(PLAIN.replace("[0.1, 0.2]", by)))[0] == 0
    assert (folder / "notes.md").read_text(encoding="utf-8") == "mine"
    (folder / "other.csv").write_text("mine", encoding="utf-8")
    _, output = run(write(PLAIN.replace("  shade: {", "  other: {")))
    assert "other.csv was changed or added by hand" in output
    assert text(folder / "other.csv.yours") == "mine"
    assert not (folder / "shade.csv").exists(), "a table that is no longer declared"
    assert (folder / "other.csv").exists()
