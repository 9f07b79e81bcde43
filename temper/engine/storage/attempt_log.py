"""The attempt log: which attempts at a stage ended, and which took their worker process with them."""

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
"""Worker deaths within one run after which a stage is given up."""
MAX_EVICTIONS = 5
"""Workers preempted by their batch system within one run after which a stage is given up."""
SHARDS = "shards"
"""The run id that all shards of a store share: a stage that kills them one by one fails in none of them twice."""
LAST_LINES = 40

_OPEN: set[Attempt] = set()
"""The attempts in progress in this process."""


def mark_preempted() -> None:
    """Record that this process received a preemption signal, so that its death is not attributed to the running stage."""
    for attempt in tuple(_OPEN):
        attempt.preempted()


class StageDied(Exception):
    """A stage's worker process died too often.

    ``records`` are the attempts that took their worker with them, the oldest first; in each, ``end`` says how the process
    ended, if known. ``peak_memory`` is the highest memory observed, in bytes; ``log`` reports where and how each attempt
    ended, with the last lines that its worker wrote, if they were kept.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.records = sorted(records, key=lambda record: float(record.get("started", 0)))
        self.peak_memory = max(int(record["peak_memory"]) for record in records)
        self.log = "\n".join(map(_description, self.records))
        self.host = ", ".join(dict.fromkeys(str(record["host"]) for record in self.records))
        if all(record.get("warned") for record in records):
            super().__init__(
                f"its batch system ended {len(records)} workers before the stage was done or could save a checkpoint; give "
                "workers a longer walltime"
            )
            return
        ends = dict.fromkeys(str(record["end"]) for record in self.records if record.get("end"))
        how = ", ".join(ends) or "killed, out of memory, or a crash in native code"
        seen = f"; it was last seen using {self.peak_memory / 2**20:,.0f} MiB" if self.peak_memory else ""
        super().__init__(f"its worker process died {len(records)} times ({how}){seen}")


class AttemptLog:
    """The attempts at one artefact in one run, each a file that exists from its start to its end.

    A worker that dies leaves its file behind; the next attempt sees it. Files of other runs do not count: a runner that
    was killed as a whole must not fail the stage it was at. Shards are one run (``SHARDS``), since each is a runner and a
    worker at once.
    """

    def __init__(self, root: Path, fingerprint: str, run: str) -> None:
        self._folder = root / ".attempts" / run / fingerprint

    @contextmanager
    def attempt(self, memory: int = 0) -> Iterator[Attempt]:
        """Record an attempt for the duration of the block; ``memory`` is the resident memory before it, in bytes.

        Raises:
            StageDied: too many attempts of this run took their worker with them.
        """
        dead = [record for record in self._records() if not _alive(record)]
        for preempted, most in ((False, MAX_DEATHS), (True, MAX_EVICTIONS)):
            counted = [record for record in dead if bool(record.get("warned")) == preempted]
            if len(counted) >= most:
                raise StageDied(counted)
        attempt = Attempt(self._folder / f"{uuid.uuid4().hex}.json", memory)
        _OPEN.add(attempt)
        try:
            yield attempt
        finally:
            _OPEN.discard(attempt)
            attempt.end()

    def forget(self) -> None:
        """Forget the attempts that took their worker with them."""
        for path in self._folder.glob("*.json"):
            path.unlink(missing_ok=True)

    def _records(self) -> Iterator[dict[str, Any]]:
        for path in self._folder.glob("*.json"):
            try:
                yield json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # ended meanwhile, or truncated: an incomplete record counts for nothing


class Attempt:
    """One attempt at a stage by this process."""

    def __init__(self, path: Path, memory: int) -> None:
        self._path = path
        self._record: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_start": psutil.Process().create_time(),
            "started": time.time(),
            "peak_memory": memory,
            "warned": stop_request.requested(),
            "log": os.environ.get(LOG),
            "job": os.environ.get(JOB),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def note_memory(self, peak: int) -> None:
        """Record the peak memory so far, in bytes, whenever it has grown by a tenth."""
        if peak > 1.1 * self._record["peak_memory"]:
            self._record["peak_memory"] = peak
            self._update()

    def preempted(self) -> None:
        """Record that the process received a preemption signal."""
        self._record["warned"] = True
        self._update()

    def end(self) -> None:
        """Remove the record: the process survived the attempt."""
        self._path.unlink(missing_ok=True)

    def _update(self) -> None:
        """Rewrite the record; on a full disk the old one stays, and writing the artefact will report the disk."""
        with suppress(OSError):
            self._write()

    def _write(self) -> None:
        replace_file(self._path, json.dumps(self._record))


def _description(record: Mapping[str, Any]) -> str:
    """Return what is known of an attempt that took its worker with it."""
    known = [f"process {record['pid']} on {record['host']}"]
    if record.get("job"):
        known.append(f"job {record['job']}")
    if record.get("started"):
        known.append(f"began {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record['started']))}")
    if record["peak_memory"]:
        known.append(f"last seen using {record['peak_memory'] / 2**20:,.0f} MiB")
    known.append(record.get("end") or "how it ended is unknown")
    return "\n".join([", ".join(known), *last_lines(record.get("log") or "", LAST_LINES)])


def last_lines(log: str, count: int) -> list[str]:
    """Return the last ``count`` lines of a log under a line that names it; none if it is empty or unreadable."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [f"the last lines of {log}:", *lines[-count:]] if lines else []


def _alive(record: dict[str, Any]) -> bool:
    return record["host"] == socket.gethostname() and is_alive(record["pid"], float(record["process_start"]))
