"""Digests of source code and files, on which an artefact depends besides its parameters."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from temper.engine.storage import code_digest
from temper.system.files import is_full, kind_of, opened, replace_file
from temper.system.hidden_files import counts

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def of_value(value: Any) -> str:
    """Return a digest of plain values, whatever the order of their keys."""
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()[:24]


class Digests:
    """Digests of files and modules, cached between runs by each file's size and change times.

    The cache only saves time: a fingerprint always depends on the content. The cache contains a digest of itself, since
    one corrupted byte would change the fingerprints of all artefacts.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known: dict[str, Any] = {}
        self._changed = False
        self._code: dict[tuple[str, bool], str] = {}
        self._files: dict[str, Path | None] = {}
        self._sources: dict[str, dict[str, Any]] = {}
        # If the cache is missing or damaged, every file is read again.
        with suppress(OSError, ValueError):
            stored = json.loads(cache.read_text(encoding="utf-8"))
            if isinstance(stored, dict) and stored.get("check") == of_value(stored.get("known")):
                self._known = stored["known"]

    def save_cache(self) -> None:
        """Write the cache, if it has changed and the folder is writable."""
        if self._changed:
            try:
                replace_file(self._cache, json.dumps({"check": of_value(self._known), "known": self._known}))
            except OSError as error:
                if is_full(error):
                    raise
            self._changed = False

    def content(self, path: Path) -> str:
        """Return the digest of a file, or of every file below a folder with its relative path.

        Links count as their targets. Hidden files and files that systems and tools leave in folders do not count
        (``temper.system.hidden_files``). Anything that is neither file nor folder, such as a pipe, counts by its kind;
        reading the folder may fail on it.
        """
        if path.is_dir():
            files = sorted(_files(path))
            return of_value([
                [str(file.relative_to(path)), self.content(file) if file.is_file() else kind_of(file)] for file in files
            ])  # fmt: skip
        return str(self._cached(f"file:{path}", path, _sha256))

    def code(self, module: str, plumbing: bool = False) -> str:
        """Return the digest of a module and all it imports of Temper and of users, directly or indirectly.

        Code that cannot change a result does not count; see ``temper.engine.storage.code_digest``. With ``plumbing``,
        the modules that carry, store and show results count too.
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
        """Return the digest of a module's code when first requested; empty for libraries and unknown names."""
        return "" if self._file_of(name) is None else str(self._source(name)["digest"])

    def closure(self, module: str, plumbing: bool = False) -> set[str]:
        """Return a module and all modules it imports, directly or indirectly; plumbing only on request."""
        found = {name for name in code_digest.with_packages(module) if self._file_of(name) is not None}
        left = sorted(found)
        while left:
            for name in self._source(left.pop())["imports"]:
                if name in found or (code_digest.is_plumbing(name) and not plumbing):
                    continue
                if self._file_of(name) is not None:
                    found.add(name)
                    left.append(name)
        return found

    def changed_modules(self, before: Sequence[str], now: Sequence[str]) -> list[str]:
        """Return the modules whose code differs between two lists of digests; none if the earlier are not cached."""
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
            self._files[module] = code_digest.file_of(module)
        return self._files[module]

    def _source(self, module: str) -> dict[str, Any]:
        if module not in self._sources:
            path = self._file_of(module)
            assert path is not None, module
            read = self._cached(
                f"module:{module}:{path}", path, lambda path: code_digest.digest_and_imports(path, module)
            )
            self._sources[module] = dict(read)
        return self._sources[module]

    def _cached(self, key: str, path: Path, compute: Any) -> Any:
        status = path.stat()
        # A file's change time (ctime) cannot be set back, unlike its modification time (touch -r, rsync, tar).
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(key)
        if known is None or known[0] != state:
            self._known[key] = known = [state, compute(path)]
            self._changed = True
        return known[1]


def _files(folder: Path) -> Iterator[Path]:
    """Yield every path below a folder that is not a folder, links followed."""
    for parent, folders, files in os.walk(folder, followlinks=True):
        ancestors = {Path(parent).resolve(), *Path(parent).resolve().parents}
        # A link to a parent folder would loop.
        folders[:] = [
            name for name in folders if counts(name) and not _is_link_to_ancestor(Path(parent) / name, ancestors)
        ]
        yield from (Path(parent) / name for name in files if counts(name))


def _is_link_to_ancestor(folder: Path, ancestors: set[Path]) -> bool:
    return folder.is_symlink() and folder.resolve() in ancestors


def _sha256(path: Path) -> str:
    with opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
