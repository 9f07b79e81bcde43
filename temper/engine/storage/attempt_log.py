"""The attempt log: which attempts at a stage are running, and which killed their worker."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from temper.core.cluster import JOB, LOG
from temper.system import stop_request
from temper.system.files import replace_file
from temper.system.processes import is_alive

MAX_DEATHS = 2
"""Worker deaths within one run after which a stage fails."""
MAX_PREEMPTIONS = 5
"""Preempted workers within one run after which a stage fails."""
SHARDS = "shards"
"""The run id that all shards of a store share, so that a stage that kills one shard after another fails."""
LAST_LINES = 40

_OPEN: set[Attempt] = set()
"""The running attempts of this process."""


def mark_preempted() -> None:
    """Record that this process received a preemption signal: its death is then not attributed to the running stage."""
    for attempt in tuple(_OPEN):
        attempt.preempted()


class StageDied(Exception):
    """A stage's worker process died too often.

    ``records`` are the attempts that killed their worker, the oldest first; in each, ``end`` is how the process ended,
    if known. ``peak_memory`` is the highest memory observed, in bytes; ``log`` reports where and how each attempt
    ended, with the last lines of its worker's log, if there is one.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.records = sorted(records, key=lambda record: float(record.get("started", 0)))
        self.peak_memory = max(int(record["peak_memory"]) for record in records)
        self.log = "\n".join(map(_description, self.records))
        self.host = ", ".join(dict.fromkeys(str(record["host"]) for record in self.records))
        if all(record.get("preempted") for record in records):
            super().__init__(
                f"its batch system preempted {len(records)} workers before the stage was done or saved a checkpoint; "
                "give workers a longer walltime"
            )
            return
        ends = dict.fromkeys(str(record["end"]) for record in self.records if record.get("end"))
        how = ", ".join(ends) or "killed, out of memory, or a crash in native code"
        memory = f"; its memory was last seen at {self.peak_memory / 2**20:,.0f} MiB" if self.peak_memory else ""
        super().__init__(f"its worker process died {len(records)} times ({how}){memory}")


class AttemptLog:
    """The attempts at one artefact in one run; each is a file that exists while the attempt runs.

    A worker that dies leaves its file behind, which the next attempt finds. Files of other runs do not count: killing a
    whole runner must not fail the stage it was running. Shards count as one run (``SHARDS``), since each is both runner
    and worker.
    """

    def __init__(self, root: Path, fingerprint: str, run: str) -> None:
        self._folder = root / ".attempts" / run / fingerprint

    @contextmanager
    def attempt(self, memory: int = 0) -> Iterator[Attempt]:
        """Record an attempt for the duration of the block; ``memory`` is the resident memory before it, in bytes.

        Raises:
            StageDied: too many attempts of this run killed their worker.
        """
        dead = [record for record in self._records() if not _is_alive(record)]
        for preempted, limit in ((False, MAX_DEATHS), (True, MAX_PREEMPTIONS)):
            counted = [record for record in dead if bool(record.get("preempted")) == preempted]
            if len(counted) >= limit:
                raise StageDied(counted)
        attempt = Attempt(self._folder / f"{uuid.uuid4().hex}.json", memory)
        _OPEN.add(attempt)
        try:
            yield attempt
        finally:
            _OPEN.discard(attempt)
            attempt.end()

    def forget(self) -> None:
        """Delete the records of attempts that killed their worker."""
        for path in self._folder.glob("*.json"):
            path.unlink(missing_ok=True)

    def _records(self) -> Iterator[dict[str, Any]]:
        for path in self._folder.glob("*.json"):
            try:
                yield json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # the attempt has ended meanwhile, or the record is truncated and does not count


class Attempt:
    """One attempt at a stage by this process."""

    def __init__(self, path: Path, memory: int) -> None:
        self._path = path
        self._record: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_start": psutil.Process().create_time(),  # process ids are reused
            "started": time.time(),
            "peak_memory": memory,
            "preempted": stop_request.requested(),
            "log": os.environ.get(LOG),
            "job": os.environ.get(JOB),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def note_memory(self, peak: int) -> None:
        """Record the peak memory so far, in bytes, if it has grown by a tenth: each record is a write to disk."""
        if peak > 1.1 * self._record["peak_memory"]:
            self._record["peak_memory"] = peak
            self._update()

    def preempted(self) -> None:
        """Record that the process received a preemption signal."""
        self._record["preempted"] = True
        self._update()

    def end(self) -> None:
        """Remove the record: the process survived the attempt."""
        self._path.unlink(missing_ok=True)

    def _update(self) -> None:
        """Rewrite the record; on a full disk the old one stays, and publishing the artefact reports the full disk."""
        with suppress(OSError):
            self._write()

    def _write(self) -> None:
        replace_file(self._path, json.dumps(self._record))


def _description(record: Mapping[str, Any]) -> str:
    """Return a description of an attempt that killed its worker."""
    known = [f"process {record['pid']} on {record['host']}"]
    if record.get("job"):
        known.append(f"job {record['job']}")
    if record.get("started"):
        known.append(f"began {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record['started']))}")
    if record["peak_memory"]:
        known.append(f"memory last seen at {record['peak_memory'] / 2**20:,.0f} MiB")
    known.append(record.get("end") or "how it ended is unknown")
    return "\n".join([", ".join(known), *last_lines(record.get("log") or "", LAST_LINES)])


def last_lines(log: str, count: int) -> list[str]:
    """Return the last ``count`` lines of a log, preceded by its name; none if it is empty or unreadable."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [f"the last lines of {log}:", *lines[-count:]] if lines else []


def _is_alive(record: dict[str, Any]) -> bool:
    return record["host"] == socket.gethostname() and is_alive(record["pid"], float(record["process_start"]))
