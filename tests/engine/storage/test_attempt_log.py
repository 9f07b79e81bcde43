"""The attempt log: a stage that kills its worker fails, one that a killed runner was computing does not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from temper.engine.storage import attempt_log
from temper.engine.storage.attempt_log import MAX_DEATHS, MAX_PREEMPTIONS, AttemptLog, StageDied, mark_preempted
from temper.system.installation import IMPORT_FOLDER

ATTEMPT = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from temper.engine.storage.attempt_log import AttemptLog, mark_preempted
with AttemptLog(Path({folder!r}), "f", "run").attempt() as attempt:
    attempt.note_memory({memory})
    if {preempted}:
        mark_preempted()
    print("started", flush=True)
    time.sleep(60)
"""


def records(root: Path, run: str = "run") -> list[Path]:
    return list((root / ".attempts" / run / "f").glob("*.json"))


def die(root: Path, memory: int = 0, preempted: bool = False) -> None:
    """Start an attempt in another process and kill it."""
    project = str(IMPORT_FOLDER)
    code = ATTEMPT.format(root=project, folder=str(root), memory=memory, preempted=preempted)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        child.send_signal(signal.SIGKILL)


def test_ended_attempt_leaves_no_record(tmp_path: Path) -> None:
    with AttemptLog(tmp_path, "f", "run").attempt():
        assert len(records(tmp_path)) == 1
    assert records(tmp_path) == []
    with pytest.raises(RuntimeError), AttemptLog(tmp_path, "f", "run").attempt():
        raise RuntimeError
    assert records(tmp_path) == []


def test_one_death_is_tolerated_two_are_not(tmp_path: Path) -> None:
    assert MAX_DEATHS == 2
    die(tmp_path, 3 * 2**20)
    with AttemptLog(tmp_path, "f", "run").attempt():
        pass
    die(tmp_path, 5 * 2**20)
    with pytest.raises(StageDied, match=r"died 2 times .*; its memory was last seen at 5 MiB") as caught:
        AttemptLog(tmp_path, "f", "run").attempt().__enter__()
    assert caught.value.peak_memory == 5 * 2**20


def test_preemptions_are_tolerated_up_to_a_limit(tmp_path: Path) -> None:
    for _ in range(MAX_PREEMPTIONS - 1):
        die(tmp_path, preempted=True)
    die(tmp_path)
    with AttemptLog(tmp_path, "f", "run").attempt():
        pass
    die(tmp_path, preempted=True)
    with pytest.raises(
        StageDied, match=f"preempted {MAX_PREEMPTIONS} workers before .* give workers a longer walltime"
    ):
        AttemptLog(tmp_path, "f", "run").attempt().__enter__()


def test_last_log_lines_of_a_dead_worker_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "job.err"
    log.write_text("\n".join(f"line {i}" for i in range(100)), encoding="utf-8")
    monkeypatch.setenv(attempt_log.LOG, str(log))
    die(tmp_path)
    die(tmp_path)
    with pytest.raises(StageDied) as caught:
        AttemptLog(tmp_path, "f", "run").attempt().__enter__()
    assert caught.value.log.count("job.err:\nline 60\n") == 2
    assert caught.value.log.endswith("line 99")


def test_details_of_each_death_are_reported(tmp_path: Path) -> None:
    die(tmp_path, 3 * 2**20)
    die(tmp_path)
    with pytest.raises(StageDied) as caught:
        AttemptLog(tmp_path, "f", "run").attempt().__enter__()
    first, second = caught.value.records
    message = StageDied([{**second, "end": "killed by SIGBUS"}, {**first, "end": "killed by SIGKILL"}])
    assert "died 2 times (killed by SIGKILL, killed by SIGBUS); its memory was last seen at 3 MiB" in str(message)
    assert message.host == socket.gethostname()
    lines = message.log.splitlines()
    assert lines[0].startswith(f"process {first['pid']} on {socket.gethostname()}, began ")
    assert lines[0].endswith(", memory last seen at 3 MiB, killed by SIGKILL")
    assert lines[1].endswith(", killed by SIGBUS")


def test_preemption_marks_only_attempts_of_this_process(tmp_path: Path) -> None:
    with AttemptLog(tmp_path, "f", "run").attempt():
        (path,) = records(tmp_path)
        assert not json.loads(path.read_text(encoding="utf-8"))["preempted"]
        mark_preempted()
        assert json.loads(path.read_text(encoding="utf-8"))["preempted"]


def test_deaths_of_other_runs_and_stages_do_not_count(tmp_path: Path) -> None:
    die(tmp_path)
    die(tmp_path)
    with AttemptLog(tmp_path, "f", "another run").attempt(), AttemptLog(tmp_path, "g", "run").attempt():
        assert len(records(tmp_path)) == 2
        assert len(records(tmp_path, "another run")) == 1


def test_deaths_can_be_forgotten(tmp_path: Path) -> None:
    die(tmp_path)
    die(tmp_path)
    AttemptLog(tmp_path, "f", "run").forget()
    with AttemptLog(tmp_path, "f", "run").attempt():
        assert len(records(tmp_path)) == 1


def test_attempts_running_in_other_processes_do_not_count(tmp_path: Path) -> None:
    first, second, third = (AttemptLog(tmp_path, "f", "run") for _ in range(3))
    with first.attempt(), second.attempt(), third.attempt():
        assert len(records(tmp_path)) == 3


def test_worker_of_another_host_counts_as_dead(tmp_path: Path) -> None:
    # The runner retries only after the previous worker is gone.
    folder = tmp_path / ".attempts" / "run" / "f"
    folder.mkdir(parents=True)
    for number in range(2):
        record = {"host": "elsewhere", "pid": os.getpid(), "process_start": time.time(), "peak_memory": 0}
        (folder / f"{number}.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(StageDied):
        AttemptLog(tmp_path, "f", "run").attempt().__enter__()


@pytest.mark.parametrize("text", ["", "{", '{"host": '])
def test_truncated_record_does_not_count(tmp_path: Path, text: str) -> None:
    die(tmp_path)
    (tmp_path / ".attempts" / "run" / "f" / "torn.json").write_text(text, encoding="utf-8")
    with AttemptLog(tmp_path, "f", "run").attempt():
        pass


def test_memory_is_recorded_when_it_has_grown_by_a_tenth(tmp_path: Path) -> None:
    with AttemptLog(tmp_path, "f", "run").attempt() as attempt:
        (path,) = records(tmp_path)
        seen = []
        for peak in (100, 105, 120, 50):
            attempt.note_memory(peak)
            seen.append(json.loads(path.read_text(encoding="utf-8"))["peak_memory"])
    assert seen == [100, 100, 120, 120]


def test_record_names_host_and_process(tmp_path: Path) -> None:
    with AttemptLog(tmp_path, "f", "run").attempt():
        (path,) = records(tmp_path)
        record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["host"], record["pid"]) == (socket.gethostname(), os.getpid())


def test_record_is_written_once_if_memory_does_not_grow(tmp_path: Path) -> None:
    # A file that is replaced and soon removed only causes needless writes.
    with AttemptLog(tmp_path, "f", "run").attempt(100) as attempt:
        (path,) = (tmp_path / ".attempts" / "run" / "f").glob("*.json")
        inode = path.stat().st_ino
        attempt.note_memory(105)
        assert path.stat().st_ino == inode
        assert json.loads(path.read_text(encoding="utf-8"))["peak_memory"] == 100
        attempt.note_memory(200)
        assert json.loads(path.read_text(encoding="utf-8"))["peak_memory"] == 200
