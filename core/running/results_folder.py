"""The folder of an experiment's results: what Temper wrote there is Temper's, everything else is the user's."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from core.artefacts import read_json, write_json
from core.files import replace_file, utf8

MARK = ".report.json"
"""The record of the last report: a digest of all it shows, and each file it wrote with its size and SHA-256."""


class ResultsFolder:
    """Writes the files of a report, and removes those that an earlier report wrote and this one does not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[str, list[Any]] = {}

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file of the report, whose ``name`` may have folders; it replaces its predecessor whole."""
        content = utf8(data) if isinstance(data, str) else data
        replace_file(self.path / name, content)
        self._written[name] = _description(content)

    def is_current(self, key: str) -> bool:
        """Return whether the last report shows what ``key`` is a digest of, with all its files at their size."""
        record = self._record()
        try:
            files = record["files"].items()
            return record["key"] == key and all((self.path / n).stat().st_size == size for n, (size, _) in files)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def finish(self, key: str) -> None:
        """Remove what only an earlier report wrote (a table that is no longer declared), and record this one.

        A file that somebody changed or put there stays.
        """
        for name, written in _files(self._record()).items():
            if name not in self._written and _is_as_written(self.path / name, written):
                (self.path / name).unlink(missing_ok=True)
        write_json(self.path / MARK, {"key": key, "files": self._written})

    def _record(self) -> dict[str, Any]:
        try:
            record = read_json(self.path / MARK)
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


def _files(record: dict[str, Any]) -> dict[str, Any]:
    files = record.get("files")
    return {name: written for name, written in files.items() if _is_inside(name)} if isinstance(files, dict) else {}


def _is_inside(name: str) -> bool:
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _is_as_written(path: Path, written: Any) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return bool(written == _description(content))


def _description(content: bytes) -> list[Any]:
    return [len(content), hashlib.sha256(content).hexdigest()]
