"""``--gc``: removes what no experiment's last run refers to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from core.storage.history import referred
from core.storage.store import CHECKPOINTS, STORE, Store

GRACE = 24 * 3600.0
"""Seconds for which an artefact is kept whatever refers to it: another runner may just have made it."""


def sweep(outputs: Path) -> tuple[int, int]:
    """Remove stored artefacts, failures and leftovers that no experiment under ``outputs`` needs.

    Every run writes down its works before it starts, so what a running experiment has made or will read is kept.

    Returns:
        how many artefacts were removed, and the bytes they took.
    """
    store = Store(outputs / STORE)
    kept = set(_referred(outputs))
    removed = size = 0
    for fingerprint in list(store.fingerprints()):
        if fingerprint not in kept and _old(store.folder(fingerprint)):
            size += store.size(fingerprint)
            store.drop(fingerprint)
            removed += 1
    for name in (".tmp", ".attempts", ".dask", CHECKPOINTS):
        for leftover in (store.root / name).glob("*"):
            if _old(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
    for record in (store.root / ".failed").glob("*"):
        if record.stem not in kept and _old(record):
            record.unlink(missing_ok=True)
    return removed, size


def _referred(outputs: Path) -> Iterator[str]:
    for folder in outputs.iterdir() if outputs.is_dir() else ():
        yield from referred(folder)


def _old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > GRACE
    except FileNotFoundError:
        return False
