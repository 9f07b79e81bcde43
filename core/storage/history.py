"""What is remembered of earlier runs: what each artefact was made of, how long stages took, which failed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from core.artefacts import read_json, write_json
from core.running.graph import Work

LAST = "last_run.json"


class Timings:
    """How long stages took: one line a stage, only ever appended to, so that many runners may share it."""

    def __init__(self, root: Path) -> None:
        self._path = root / "timings.jsonl"
        self._by_label: dict[str, list[float]] = {}
        self._by_type: dict[str, list[float]] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                entry = json.loads(line)
                self._by_label.setdefault(entry["label"], []).append(entry["seconds"])
                self._by_type.setdefault(entry["type"], []).append(entry["seconds"])
            except (ValueError, KeyError, TypeError):
                continue  # a line torn by a kill

    def add(self, work: Work, seconds: float) -> None:
        """Write down how long a work took."""
        entry = {"label": work.label, "type": work.component.tag, "seconds": round(seconds, 3)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (json.dumps(entry) + "\n").encode())
        finally:
            os.close(descriptor)

    def estimate(self, work: Work) -> float | None:
        """Return the seconds a work may take, from works of its label or else of its type; ``None`` if unknown."""
        past = self._by_label.get(work.label) or self._by_type.get(work.component.tag)
        return median(past[-5:]) if past else None


class Failures:
    """The artefacts that could not be made, remembered until their stage changes or is asked for again."""

    def __init__(self, root: Path) -> None:
        self._folder = root / ".failed"

    def get(self, fingerprint: str) -> dict[str, Any] | None:
        """Return what is known of an artefact's failure."""
        try:
            return read_json(self._folder / f"{fingerprint}.json")  # type: ignore[no-any-return]
        except (OSError, ValueError):
            return None

    def add(self, work: Work, cause: str, log: str, cost: Mapping[str, Any]) -> dict[str, Any]:
        """Write a failure down, its log beside it, and return the record."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{work.fingerprint}.log"
        path.write_text(log or cause, encoding="utf-8")
        record = {
            "stage": work.stage,
            "label": work.label,
            "cause": cause,
            "seconds": cost.get("seconds"),
            "peak_memory": cost.get("peak_memory"),
            "log": str(path),
        }
        write_json(self._folder / f"{work.fingerprint}.json", record)
        return record

    def forget(self, fingerprints: Iterable[str]) -> None:
        """Forget failures, so that these artefacts are tried again."""
        wanted = set(fingerprints)
        for path in self._folder.glob("*.*"):
            if path.stem in wanted:
                path.unlink(missing_ok=True)


def write_last_run(folder: Path, works: Iterable[Work]) -> None:
    """Write down what every work of a run is made of: for the next plan's reasons, and for ``--gc``."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {work.label: {"fingerprint": work.fingerprint, "ingredients": work.ingredients} for work in works}
    write_json(folder / LAST, entries)


def last_run(folder: Path) -> dict[str, Any]:
    """Return what ``write_last_run`` wrote, or nothing."""
    try:
        return read_json(folder / LAST)  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}
