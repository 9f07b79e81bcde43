"""Leases: which runner is making an artefact right now, so that no two make the same one."""

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
"""Seconds between two signs of life of a lease's owner."""
LEASES = ".leases"
"""The folder of leases in a store."""
GRACE = 3600.0
"""Seconds without a sign of life of any runner after which none is taken to be there, whatever clocks say."""
EXPIRY = 60.0
"""Seconds without a sign of life after which a lease is void."""


class Leases:
    """The leases of one runner in a folder shared with others.

    A lease is a file made exclusively; its owner touches it every few seconds. One whose process is gone, or that
    was not touched for a minute (since its owner is stopped, or out of reach), is void. A lease only saves work: should two
    runners make the same artefact all the same, the store keeps one and both go on.
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
        """Return whether some runner may be making something: whether a lease was touched of late."""
        now = time.time()
        return any(now - touched < GRACE for touched in _touched(folder))

    def acquire(self, fingerprint: str) -> bool:
        """Return whether this runner may make the artefact; False while another one is making it."""
        path = self._folder / fingerprint
        return self._create(path) or path in self._held or (self._void(path) and self._take_over(path))

    def release(self, fingerprint: str) -> None:
        """Give a lease back."""
        path = self._folder / fingerprint
        if path in self._held:
            self._held.discard(path)
            if self._is_ours(path):
                path.unlink(missing_ok=True)

    def holder(self, fingerprint: str) -> str:
        """Return who holds a lease and since when, in words; nothing if nobody does, or nobody knows."""
        try:
            owner = json.loads((self._folder / fingerprint).read_text(encoding="utf-8"))
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
            return f"process {int(owner['pid'])} on {owner['host']} since {since}"
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return ""

    def close(self) -> None:
        """Give every lease back."""
        self._stop.set()
        for path in list(self._held):
            self.release(path.name)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            for path in list(self._held):
                # While this process was stopped, another may have taken the lease over.
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
            path.unlink(missing_ok=True)  # a full disk takes the name and not the content
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
        """Return whether the owner of a lease has shown no sign of life for ``EXPIRY`` seconds."""
        age = self._now() - touched
        if age >= -EXPIRY:
            return age > EXPIRY
        # Dated ahead, by a clock that was wrong: what tells is whether the date changes while we watch.
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
        """Put our own lease in the place of a void one, unless another runner is doing so."""
        guard = self._folder / f".void-{path.name}"
        try:
            guard.open("x").close()
        except FileExistsError:
            self._remove_expired(guard)
            return False
        try:
            # Looked at again behind the guard: what was void a moment ago may be another runner's by now.
            if not self._void(path):
                return False
            path.unlink(missing_ok=True)
            return self._create(path)
        finally:
            guard.unlink(missing_ok=True)

    def _remove_expired(self, guard: Path) -> None:
        """Remove a guard whose runner died in the moment it stood there."""
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
