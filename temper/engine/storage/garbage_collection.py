"""``--gc``: removes artefacts that no experiment's last run refers to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from temper.core.errors import SpecError
from temper.engine.planning.history import LAST, referred
from temper.engine.storage.leases import LEASES, Leases
from temper.engine.storage.store import CHECKPOINTS, STORE, Store

MIN_AGE = 24 * 3600.0
"""Age in seconds from which unreferenced artefacts are removed: another runner may just have computed a newer one."""


def collect_garbage(outputs: Path) -> tuple[int, int]:
    """Remove stored artefacts, failure records and temporary files that no experiment under ``outputs`` needs.

    Every run records its tasks before it starts, so the artefacts of running experiments are kept.

    Returns:
        the number of removed artefacts, and their size in bytes.

    Raises:
        SpecError: an experiment's record is damaged, so that artefacts it needs might be removed.
    """
    store = Store(outputs / STORE)
    kept = set(_referred(outputs))
    removed = size = 0
    for fingerprint in list(store.fingerprints()):
        if fingerprint not in kept and _is_old(store.folder(fingerprint)):
            size += store.size(fingerprint)
            store.drop(fingerprint)
            removed += 1
    # A run of several days does not touch its workers' start files or the record of a long attempt again.
    unused = () if Leases.any_active(store.root / LEASES) else (".attempts", ".dask")
    for name in (".tmp", CHECKPOINTS, *unused):
        for leftover in (store.root / name).glob("*"):
            if _is_old(leftover) and not (name == CHECKPOINTS and leftover.name in kept):
                _remove(leftover)
    for record in (store.root / ".failed").glob("*"):
        if record.stem not in kept and _is_old(record):
            record.unlink(missing_ok=True)
    return removed, size


def _referred(outputs: Path) -> Iterator[str]:
    for folder in outputs.iterdir() if outputs.is_dir() else ():
        try:
            yield from referred(folder)
        except ValueError:
            message = (
                "is damaged, so the artefacts that its experiment needs are unknown; run it again, or delete the file"
            )
            raise SpecError.at("--gc", 0, f"{folder / LAST} {message}") from None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > MIN_AGE
    except FileNotFoundError:
        return False
