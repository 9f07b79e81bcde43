"""Digests of what an artefact depends on outside its parameters: source code and files."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.files import replace_file
from core.language.discovery import ROOT

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def of_value(value: Any) -> str:
    """Return a digest of plain values, whatever the order of their keys."""
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()[:24]


class Digests:
    """Digests of files and of modules, remembered between runs by each file's size and time of change.

    The memory only saves reading a file again: what enters a fingerprint is always the content. It carries a digest of its own,
    since one wrong byte of it would be another fingerprint of all that is there.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        self._code: dict[str, str] = {}
        # Without a memory, or with a damaged one, everything is read once more.
        with suppress(OSError, ValueError):
            kept = json.loads(memory.read_text(encoding="utf-8"))
            if isinstance(kept, dict) and kept.get("check") == of_value(kept.get("known")):
                self._known = kept["known"]

    def remember(self) -> None:
        """Write the memory, if anything was learnt."""
        if self._changed:
            replace_file(self._memory, json.dumps({"check": of_value(self._known), "known": self._known}))
            self._changed = False

    def content(self, path: Path) -> str:
        """Return the digest of a file, or of every file below a folder with its relative path."""
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return of_value([[str(file.relative_to(path)), self.content(file)] for file in files])
        return str(self._remembered("file", path, _sha256))

    def code(self, module: str) -> str:
        """Return the digest of a module and of every module of the project it imports, directly or not.

        Comments, formatting and docstrings do not count.
        """
        if module not in self._code:
            closure = sorted(self._closure(module))
            self._code[module] = of_value([[name, self._source(name)["digest"]] for name in closure])
        return self._code[module]

    def _closure(self, module: str) -> set[str]:
        found, open_ = {module}, [module]
        while open_:
            for name in self._source(open_.pop())["imports"]:
                if name not in found:
                    found.add(name)
                    open_.append(name)
        return found

    def _source(self, module: str) -> dict[str, Any]:
        path = _module_file(module)
        assert path is not None, module
        return dict(self._remembered("module", path, _parse))

    def _remembered(self, what: str, path: Path, compute: Any) -> Any:
        status = path.stat()
        key, state = f"{what}:{path}", [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self._known.get(key)
        if known is None or known[0] != state:
            self._known[key] = known = [state, compute(path)]
            self._changed = True
        return known[1]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _parse(path: Path) -> dict[str, Any]:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return {"digest": digest, "imports": sorted(set(_imports(tree)))}


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the project's (and the users') modules that a module imports."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if _module_file(name))


def _module_file(name: str) -> Path | None:
    relative = Path(*name.split(".")).with_suffix(".py")
    if (ROOT / relative).is_file():
        return ROOT / relative
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    # A user's component lives outside the project and its environment.
    if file and not getattr(loaded, "__path__", None) and not _installed(Path(file)):
        return Path(file)
    return None


def _installed(path: Path) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in path.parts) or path.is_relative_to(
        Path(importlib.util.__file__).parent.parent
    )
