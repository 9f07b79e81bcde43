"""Leases: locks that expire, so that no two runners compute the same artefact."""

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

HEARTBEAT = 5.0
"""Seconds between the heartbeats of a lease's owner."""
LEASES = ".leases"
"""The folder of the leases in a store."""
ACTIVE = 3600.0
"""Seconds without any heartbeat after which no runner is assumed to be active, even if clocks differ."""
EXPIRY = 60.0
"""Seconds without a heartbeat after which a lease is void."""


class Leases:
    """The leases of one runner in a folder shared with others.

    A lease is a file created exclusively; its owner touches it every few seconds. A lease is void when its process is
    gone, or when it has not been touched for a minute (its owner is stopped or unreachable). Leases only save duplicate
    work: if two runners do compute the same artefact, the store keeps one and both continue.
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
        threading.Thread(target=self._send_heartbeats, daemon=True, name="leases").start()

    @staticmethod
    def any_active(folder: Path) -> bool:
        """Return whether any runner may be active: whether a lease was touched recently."""
        now = time.time()
        return any(now - touched < ACTIVE for touched in _touched(folder))

    def acquire(self, fingerprint: str) -> bool:
        """Return whether this runner may compute the artefact; False while another one is computing it."""
        path = self._folder / fingerprint
        return self._create(path) or path in self._held or (self._is_void(path) and self._take_over(path))

    def release(self, fingerprint: str) -> None:
        """Release a lease."""
        path = self._folder / fingerprint
        if path in self._held:
            self._held.discard(path)
            if self._is_ours(path):  # another runner may have taken it over
                path.unlink(missing_ok=True)

    def holder(self, fingerprint: str) -> str:
        """Return who holds a lease and since when, as text; empty if it is free or its owner is unknown."""
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

    def _send_heartbeats(self) -> None:
        while not self._stop.wait(HEARTBEAT):
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
            return True  # it may be unreadable for a moment

    def _create(self, path: Path) -> bool:
        try:
            with path.open("x", encoding="utf-8") as stream:
                json.dump({**self._owner, "since": time.time()}, stream)
        except FileExistsError:
            return False
        except OSError:
            path.unlink(missing_ok=True)  # on a full disk the file exists without content
            raise
        self._held.add(path)
        return True

    def _is_void(self, path: Path) -> bool:
        try:
            touched = path.stat().st_mtime
            owner = json.loads(path.read_text(encoding="utf-8"))
            if owner["host"] == self._owner["host"] and not is_alive(int(owner["pid"]), float(owner["started"])):
                return True
        except FileNotFoundError:
            return True
        except (ValueError, KeyError, TypeError):
            pass  # its owner is writing it, or died while writing
        return self._is_silent(path, touched)

    def _is_silent(self, path: Path, touched: float) -> bool:
        """Return whether the owner of a lease has sent no heartbeat for ``EXPIRY`` seconds."""
        age = self._now() - touched
        if age >= -EXPIRY:
            return age > EXPIRY
        # Its time lies in the future because of a wrong clock: the lease is alive if the time changes meanwhile.
        first = self._dated_ahead.setdefault((path, touched), time.monotonic())
        return time.monotonic() - first > EXPIRY

    def _now(self) -> float:
        """Return the file system's time; on a shared one, its clock is not this host's."""
        probe = self._folder / f".clock-{self._owner['token']}"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _take_over(self, path: Path) -> bool:
        """Replace a void lease with our own, unless another runner is already doing so."""
        guard = self._folder / f".void-{path.name}"
        try:
            guard.open("x").close()
        except FileExistsError:
            self._remove_expired(guard)
            return False
        try:
            # Checked again under the guard: another runner may have taken the void lease by now.
            if not self._is_void(path):
                return False
            path.unlink(missing_ok=True)
            return self._create(path)
        finally:
            guard.unlink(missing_ok=True)

    def _remove_expired(self, guard: Path) -> None:
        """Remove the guard of a runner that died while holding it."""
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
