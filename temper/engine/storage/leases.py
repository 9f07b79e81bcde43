"""Leases: which runner is computing an artefact, so that no two compute the same one."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from temper.system.processes import is_alive

BEAT = 5.0
"""Seconds between heartbeats of a lease's owner."""
LEASES = ".leases"
"""The folder of leases in a store."""
GRACE = 3600.0
"""Seconds without a heartbeat of any runner after which none is assumed to run, whatever the clocks say."""
EXPIRY = 60.0
"""Seconds without a heartbeat after which a lease is void."""


class Leases:
    """The leases of one runner in a folder shared with others.

    A lease is a file created exclusively; its owner touches it every few seconds. A lease is void when its process is gone,
    or when it was not touched for a minute (its owner is stopped, or unreachable). Leases only save duplicate work: if two
    runners compute the same artefact all the same, the store keeps one and both continue.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._held: set[Path] = set()
        self._dated_ahead: dict[tuple[Path, float], float] = {}
        self._owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "token": uuid.uuid4().hex,
        }
        self._stop = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="leases").start()

    @staticmethod
    def under_way(folder: Path) -> bool:
        """Return whether any runner may be computing something: whether a lease was touched recently."""
        now = time.time()
        return any(now - touched < GRACE for touched in _touched(folder))

    def acquire(self, fingerprint: str) -> bool:
        """Return whether this runner may compute the artefact; False while another one is computing it."""
        path = self._folder / fingerprint
        return self._create(path) or path in self._held or (self._void(path) and self._take_over(path))

    def release(self, fingerprint: str) -> None:
        """Release a lease."""
        path = self._folder / fingerprint
        if path in self._held:
            self._held.discard(path)
            if self._is_ours(path):
                path.unlink(missing_ok=True)

    def holder(self, fingerprint: str) -> str:
        """Return who holds a lease and since when, as text; empty if nobody does or its owner is unknown."""
        try:
            owner = json.loads((self._folder / fingerprint).read_text(encoding="utf-8"))
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
            return f"process {int(owner['pid'])} on {owner['host']} since {since}"
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return ""

    def close(self) -> None:
        """Release every lease."""
        self._stop.set()
        for path in list(self._held):
            self.release(path.name)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            for path in list(self._held):
                # While this process was stopped, another may have taken over the lease.
                if self._is_ours(path):
                    with suppress(FileNotFoundError):
                        os.utime(path)
                else:
                    self._held.discard(path)

    def _is_ours(self, path: Path) -> bool:
        try:
            return bool(json.loads(path.read_text(encoding="utf-8"))["token"] == self._owner["token"])
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError):
            return True  # unreadable for a moment

    def _create(self, path: Path) -> bool:
        try:
            with path.open("x", encoding="utf-8") as stream:
                json.dump({**self._owner, "since": time.time()}, stream)
        except FileExistsError:
            return False
        except OSError:
            path.unlink(missing_ok=True)  # on a full disk the file exists but its content is lost
            raise
        self._held.add(path)
        return True

    def _void(self, path: Path) -> bool:
        try:
            touched = path.stat().st_mtime
            owner = json.loads(path.read_text(encoding="utf-8"))
            if owner["host"] == self._owner["host"] and not is_alive(int(owner["pid"]), float(owner["started"])):
                return True
        except FileNotFoundError:
            return True
        except (ValueError, KeyError, TypeError):
            pass  # being written, or its writer died while writing
        return self._is_silent(path, touched)

    def _is_silent(self, path: Path, touched: float) -> bool:
        """Return whether the owner of a lease has sent no heartbeat for ``EXPIRY`` seconds."""
        age = self._now() - touched
        if age >= -EXPIRY:
            return age > EXPIRY
        # Its time lies in the future, set by a wrong clock: the lease is alive if the time changes while we watch.
        first = self._dated_ahead.setdefault((path, touched), time.monotonic())
        return time.monotonic() - first > EXPIRY

    def _now(self) -> float:
        """Return the file system's clock, which on a shared one is not this host's."""
        probe = self._folder / f".clock-{self._owner['token']}"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _take_over(self, path: Path) -> bool:
        """Replace a void lease with our own, unless another runner is doing so."""
        guard = self._folder / f".void-{path.name}"
        try:
            guard.open("x").close()
        except FileExistsError:
            self._remove_expired(guard)
            return False
        try:
            # Checked again under the guard: another runner may have taken the void lease by now.
            if not self._void(path):
                return False
            path.unlink(missing_ok=True)
            return self._create(path)
        finally:
            guard.unlink(missing_ok=True)

    def _remove_expired(self, guard: Path) -> None:
        """Remove a guard whose runner died while holding it."""
        try:
            expired = self._now() - guard.stat().st_mtime > EXPIRY
        except FileNotFoundError:
            return
        if expired:
            guard.unlink(missing_ok=True)


def _touched(folder: Path) -> Iterator[float]:
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            yield path.stat().st_mtime
