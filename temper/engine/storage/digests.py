"""Digests of what an artefact depends on outside its parameters: source code and files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from temper.engine.storage import source_code
from temper.system.files import is_full, kind_of, opened, replace_file
from temper.system.hidden_files import counts

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def of_value(value: Any) -> str:
    """Return a digest of plain values, whatever the order of their keys."""
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()[:24]


class Digests:
    """Digests of files and of modules, remembered between runs by each file's size and times of change.

    The memory only saves reading a file again: what enters a fingerprint is always the content. It carries a digest of its own,
    since one wrong byte of it would be another fingerprint of all that is there.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, Any] = {}
        self._changed = False
        self._code: dict[tuple[str, bool], str] = {}
        self._files: dict[str, Path | None] = {}
        self._sources: dict[str, dict[str, Any]] = {}
        # Without a memory, or with a damaged one, everything is read once more.
        with suppress(OSError, ValueError):
            kept = json.loads(memory.read_text(encoding="utf-8"))
            if isinstance(kept, dict) and kept.get("check") == of_value(kept.get("known")):
                self._known = kept["known"]

    def remember(self) -> None:
        """Write the memory, if anything was learnt and the folder can be written to."""
        if self._changed:
            try:
                replace_file(self._memory, json.dumps({"check": of_value(self._known), "known": self._known}))
            except OSError as error:
                if is_full(error):
                    raise
            self._changed = False

    def content(self, path: Path) -> str:
        """Return the digest of a file, or of every file below a folder with its relative path.

        Links to files and folders count as what they lead to. What systems and tools leave behind in folders and hidden
        files do not count (``temper.system.hidden_files``). What is neither file nor folder, such as a pipe, counts as what it is: who reads
        the folder may fail of it.
        """
        if path.is_dir():
            files = sorted(_files(path))
            return of_value([
                [str(file.relative_to(path)), self.content(file) if file.is_file() else kind_of(file)] for file in files
            ])  # fmt: skip
        return str(self._remembered(f"file:{path}", path, _sha256))

    def code(self, module: str, plumbing: bool = False) -> str:
        """Return the digest of a module and of every module it imports, directly or not: the project's and its users'.

        What cannot change a result does not count: ``temper.engine.storage.source_code`` says what that is. With ``plumbing``, the
        modules count that carry, store and show results.
        """
        key = (module, plumbing)
        if key not in self._code:
            modules = {name: self._source(name)["digest"] for name in sorted(self.closure(module, plumbing))}
            self._code[key] = digest = of_value(list(modules.items()))
            if self._known.get(f"closure:{digest}") != modules:
                self._known[f"closure:{digest}"] = modules
                self._changed = True
        return self._code[key]

    def module(self, name: str) -> str:
        """Return the digest of one module's code, as it was when it was first asked for; nothing for a library or no module."""
        return "" if self._file_of(name) is None else str(self._source(name)["digest"])

    def closure(self, module: str, plumbing: bool = False) -> set[str]:
        """Return a module and all that it imports, directly or not; of the plumbing only where it is asked for."""
        found = {name for name in source_code.with_packages(module) if self._file_of(name) is not None}
        left = sorted(found)
        while left:
            for name in self._source(left.pop())["imports"]:
                if name in found or (source_code.is_plumbing(name) and not plumbing):
                    continue
                if self._file_of(name) is not None:
                    found.add(name)
                    left.append(name)
        return found

    def changed_modules(self, before: Sequence[str], now: Sequence[str]) -> list[str]:
        """Return the modules in which the code behind some digests differs, as far as the memory knows the earlier ones."""
        old, new = self._modules(before), self._modules(now)
        return sorted(name for name in {**old, **new} if old.get(name) != new.get(name)) if old else []

    def _modules(self, digests: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for digest in digests:
            modules = self._known.get(f"closure:{digest}")
            if not isinstance(modules, Mapping):
                return {}
            found |= modules
        return found

    def _file_of(self, module: str) -> Path | None:
        if module not in self._files:
            self._files[module] = source_code.file_of(module)
        return self._files[module]

    def _source(self, module: str) -> dict[str, Any]:
        if module not in self._sources:
            path = self._file_of(module)
            assert path is not None, module
            read = self._remembered(f"module:{module}:{path}", path, lambda path: source_code.parse(path, module))
            self._sources[module] = dict(read)
        return self._sources[module]

    def _remembered(self, key: str, path: Path, compute: Any) -> Any:
        status = path.stat()
        # The time of the last change of the entry cannot be set back, as that of the content can be (touch -r, rsync, tar).
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(key)
        if known is None or known[0] != state:
            self._known[key] = known = [state, compute(path)]
            self._changed = True
        return known[1]


def _files(folder: Path) -> Iterator[Path]:
    """Yield what is below a folder and no folder, what is behind links too."""
    for place, folders, files in os.walk(folder, followlinks=True):
        around = {Path(place).resolve(), *Path(place).resolve().parents}
        # A link to a folder around it would lead in circles.
        folders[:] = [name for name in folders if counts(name) and not _leads_into((Path(place) / name), around)]
        yield from (Path(place) / name for name in files if counts(name))


def _leads_into(folder: Path, around: set[Path]) -> bool:
    return folder.is_symlink() and folder.resolve() in around


def _sha256(path: Path) -> str:
    with opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
