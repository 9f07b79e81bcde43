"""The attempt ledger: which attempts at a stage ended, and which took their worker process with them."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

MAX_DEATHS = 2
"""Worker deaths within one run after which a stage is given up."""


class StageDied(Exception):
    """A stage's worker process died too often; ``peak_memory`` is the most memory it was seen to use, in bytes."""

    def __init__(self, deaths: int, peak_memory: int) -> None:
        seen = f"; it was last seen using {peak_memory / 2**20:,.0f} MiB" if peak_memory else ""
        super().__init__(
            f"its worker process died {deaths} times (killed, out of memory, or a crash in native code){seen}"
        )
        self.peak_memory = peak_memory


class Ledger:
    """The attempts at one artefact in one run, each a file that is there from its start to its end.

    A worker that dies leaves its file behind; the next attempt sees it. Files of other runs say nothing: a runner
    that was killed as a whole must not put the blame on the stage it was at.
    """

    def __init__(self, root: Path, fingerprint: str, run: str) -> None:
        self._folder = root / ".attempts" / run / fingerprint

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """Record an attempt for the duration of the block.

        Raises:
            StageDied: too many attempts of this run took their worker with them.
        """
        dead = [record for record in self._records() if not _alive(record)]
        if len(dead) >= MAX_DEATHS:
            raise StageDied(len(dead), max(int(record["peak_memory"]) for record in dead))
        attempt = Attempt(self._folder / f"{uuid.uuid4().hex}.json")
        try:
            yield attempt
        finally:
            attempt.end()

    def _records(self) -> Iterator[dict[str, Any]]:
        for path in self._folder.glob("*.json"):
            try:
                yield json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # ended meanwhile, or torn: an attempt that wrote nothing whole can be blamed for nothing


class Attempt:
    """One attempt at a stage by this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_start": psutil.Process().create_time(),
            "started": time.time(),
            "peak_memory": 0,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def note_memory(self, peak: int) -> None:
        """Write down the peak memory so far, in bytes, whenever it has grown by a tenth."""
        if peak > 1.1 * self._record["peak_memory"]:
            self._record["peak_memory"] = peak
            self._write()

    def end(self) -> None:
        """Take the record away: the process survived the attempt."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps(self._record), encoding="utf-8")
        temporary.replace(self._path)


def _alive(record: dict[str, Any]) -> bool:
    if record["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(record["pid"]).create_time() - float(record["process_start"])) < 1.0
    except psutil.NoSuchProcess:
        return False
