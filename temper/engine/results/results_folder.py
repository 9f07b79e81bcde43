"""The results folder of an experiment: Temper replaces the files it wrote there, and never the user's."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

from temper.core.artefacts import read_json, write_json
from temper.system.files import replace_file, utf8

RECORD = ".report.json"
"""The record of the last report: a digest of its inputs, and the size and SHA-256 of each file it wrote."""
JOURNAL = ".report.journal"
"""A line for each file, added before it is written, so that files of killed or concurrent reports count as Temper's."""
RENAMED_SUFFIX = "yours"
"""Suffix of the user's files that are renamed because a report needs their names."""
_MAX_JOURNAL = 2**20
"""Size in bytes above which the journal is compacted."""


class ResultsFolder:
    """Writes the files of a report, and removes those that an earlier report wrote and this one does not.

    ``renamed`` lists the user's files that were in the way of the report, each with its old and its new name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.renamed: list[tuple[str, str]] = []
        self._written: dict[str, list[Any]] = {}
        self._ours = self._journal()
        for name, written in _files(self._record()).items():
            self._ours.setdefault(name, []).append(written)

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file of the report, atomically; ``name`` may contain folders.

        An existing file that no report wrote, or that was changed since, is renamed first.
        """
        content = utf8(data) if isinstance(data, str) else data
        written = _description(content)
        if (self.path / name).is_file() and not self._is_ours(name, written):
            self._rename(name)
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(_line(name, written))
        replace_file(self.path / name, content)
        self._written[name] = written

    def is_current(self, key: str) -> bool:
        """Return whether the last report has the digest ``key``, and all its files exist at their full size."""
        record = self._record()
        try:
            files = record["files"].items()
            return record["key"] == key and all((self.path / n).stat().st_size == size for n, (size, _) in files)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def finish(self, key: str) -> None:
        """Record this report, and remove files that only an earlier one wrote (a table that is no longer declared).

        Files that the user changed or added stay.
        """
        for name, written in _files(self._record()).items():
            if name not in self._written and _file_description(self.path / name) == written:
                (self.path / name).unlink(missing_ok=True)
        write_json(self.path / RECORD, {"key": key, "files": self._written})
        with suppress(FileNotFoundError):
            if (self.path / JOURNAL).stat().st_size > _MAX_JOURNAL:
                replace_file(self.path / JOURNAL, "".join(_line(name, one) for name, one in self._written.items()))

    def _is_ours(self, name: str, written: list[Any]) -> bool:
        current = _file_description(self.path / name)
        # Another runner of the same experiment may have written it since this one read the journal.
        return current == written or current in self._ours.get(name, ()) or current in self._journal().get(name, ())

    def _rename(self, name: str) -> None:
        names = chain([f"{name}.{RENAMED_SUFFIX}"], (f"{name}.{RENAMED_SUFFIX}-{number}" for number in count(2)))
        free = next(one for one in names if not (self.path / one).exists())
        (self.path / name).rename(self.path / free)
        self.renamed.append((name, free))

    def _journal(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        with suppress(OSError, UnicodeDecodeError):
            for line in (self.path / JOURNAL).read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, TypeError):  # a line truncated by a kill
                    name, *written = json.loads(line)
                    found.setdefault(str(name), []).append(written)
        return found

    def _record(self) -> dict[str, Any]:
        try:
            record = read_json(self.path / RECORD)
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


def _files(record: dict[str, Any]) -> dict[str, Any]:
    files = record.get("files")
    return {name: written for name, written in files.items() if _is_inside(name)} if isinstance(files, dict) else {}


def _is_inside(name: str) -> bool:
    # A damaged or foreign record must not remove files elsewhere.
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _file_description(path: Path) -> list[Any] | None:
    try:
        return _description(path.read_bytes())
    except OSError:
        return None


def _description(content: bytes) -> list[Any]:
    return [len(content), hashlib.sha256(content).hexdigest()]


def _line(name: str, written: list[Any]) -> str:
    return json.dumps([name, *written]) + "\n"
