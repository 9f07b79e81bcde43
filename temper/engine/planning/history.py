"""What is recorded of earlier runs: the ingredients of each artefact, the duration of stages, the failures."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from temper.core.artefacts import read_json, write_json
from temper.engine.planning.task_graph import Task
from temper.system.files import replacing, utf8

LAST = "last_run.json"


class Timings:
    """How long stages took: one line per stage in an append-only file, so that many runners can share it.

    A smoke run uses the same labels but takes seconds, so the two kinds of run are estimated separately.
    """

    def __init__(self, root: Path, *, smoke: bool) -> None:
        self._path, self._smoke = root / "timings.jsonl", smoke
        self._by_label: dict[str, list[float]] = {}
        self._by_type: dict[str, list[float]] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                entry = json.loads(line)
                if entry.get("smoke", False) != smoke:
                    continue
                self._by_label.setdefault(entry["label"], []).append(entry["seconds"])
                self._by_type.setdefault(entry["type"], []).append(entry["seconds"])
            except (ValueError, KeyError, TypeError):
                continue  # a line truncated when a runner was killed

    def add(self, task: Task, seconds: float) -> None:
        """Record how long a task took."""
        entry = {"label": task.label, "type": task.component.tag, "seconds": round(seconds, 3), "smoke": self._smoke}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (json.dumps(entry) + "\n").encode())
        finally:
            os.close(descriptor)

    def estimate(self, task: Task) -> float | None:
        """Return the estimated seconds of a task, from tasks of its label or else of its type; ``None`` if unknown."""
        if not self._by_label:
            return None  # spares the labels, which take long where there are many tasks
        past = self._by_label.get(task.label) or self._by_type.get(task.component.tag)
        return median(past[-5:]) if past else None


class Failures:
    """The artefacts that failed, remembered until their stage changes or a retry is requested."""

    def __init__(self, root: Path) -> None:
        self._folder = root / ".failed"

    def get(self, fingerprint: str) -> dict[str, Any] | None:
        """Return the record of an artefact's failure; ``None`` if there is none."""
        try:
            return read_json(self._folder / f"{fingerprint}.json")  # type: ignore[no-any-return]
        except (OSError, ValueError):
            return None

    def fingerprints(self) -> set[str]:
        """Return the artefacts that failed."""
        return {path.stem for path in self._folder.glob("*.json")}

    def among(self, fingerprints: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the failure records among many artefacts; listing the folder once rules out most of them."""
        failed = self.fingerprints()
        found = ((fingerprint, self.get(fingerprint)) for fingerprint in fingerprints if fingerprint in failed)
        return {fingerprint: record for fingerprint, record in found if record is not None}

    def add(self, task: Task, cause: str, log: str, cost: Mapping[str, Any], host: str) -> dict[str, Any]:
        """Record a failure on a host, store its log next to the record, and return the record."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{task.fingerprint}.log"
        path.write_bytes(utf8(log or cause))
        record = {
            "stage": task.stage,
            "label": task.label,
            "cause": cause,
            "host": host,
            "seconds": cost.get("seconds"),
            "peak_memory": cost.get("peak_memory"),
            "log": str(path),
        }
        write_json(self._folder / f"{task.fingerprint}.json", record)
        return record

    def forget(self, fingerprints: Iterable[str]) -> None:
        """Forget failures, so that these artefacts are tried again."""
        wanted = set(fingerprints)
        for path in self._folder.glob("*.*"):
            if path.stem in wanted:
                path.unlink(missing_ok=True)


def write_last_run(folder: Path, tasks: Iterable[Task]) -> None:
    """Record the ingredients of every task of a run, for the next plan's reasons and for ``--gc``.

    The file is one JSON object with a line per task, so that any number of tasks can be written and read one by one.
    A file with the same tasks is left alone, as many runners may start the same run.
    """
    tasks = list(tasks)
    there: list[str] = []
    with suppress(OSError, ValueError):
        there = list(referred(folder))
    if there != [task.fingerprint for task in tasks] or not tasks:
        with replacing(folder / LAST) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(_lines(tasks))


def last_run(folder: Path) -> Mapping[str, Any]:
    """Return what ``write_last_run`` wrote, by label, or nothing."""
    return _LastRun(folder / LAST)


def referred(folder: Path) -> Iterator[str]:
    """Yield the fingerprint of every task of the last run, including tasks that share a label.

    Raises:
        ValueError: there is a file, but it is truncated.
    """
    for _, entry in _entries(folder / LAST):
        found = _FINGERPRINT.match(entry)
        yield found[1] if found else json.loads(entry)["fingerprint"]


_FINGERPRINT = re.compile(r'{"fingerprint": "(\w+)"')
_DECODER = json.JSONDecoder()


def _lines(tasks: Iterable[Task]) -> Iterator[str]:
    before = "{\n"
    for task in tasks:
        entry = {"fingerprint": task.fingerprint, "ingredients": task.ingredients}
        yield f"{before}{json.dumps(task.label)}: {json.dumps(entry)}"
        before = ",\n"
    yield "{}" if before == "{\n" else "\n}\n"


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (label, entry as JSON text) for every task in the file of a last run."""
    try:
        with path.open(encoding="utf-8") as stream:
            is_by_line, line = stream.readline() == "{\n", stream.readline()
            if is_by_line and line.startswith('"'):
                while line != "}\n":
                    label, end = _DECODER.raw_decode(line)  # of a line that is not there, no JSON
                    yield label, line[end + 2 :].rstrip(",\n")
                    line = stream.readline()
                return
        # Written by an earlier version, with several lines per task; or without any task.
        found = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no tasks")
    yield from ((label, json.dumps(entry)) for label, entry in found.items())


class _LastRun(Mapping[str, Any]):
    """The tasks of the last run by label, read as text and parsed on access."""

    def __init__(self, path: Path) -> None:
        self._entries: dict[str, str] = {}
        with suppress(OSError, ValueError):  # without the file a plan gives no reasons, which is harmless
            self._entries = dict(_entries(path))

    def __getitem__(self, label: str) -> Any:
        return json.loads(self._entries[label])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
