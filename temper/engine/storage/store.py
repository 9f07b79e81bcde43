"""The store: artefacts by fingerprint, written atomically and verified when read."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from temper.core.artefacts import Artefact, read_json, write_json

A = TypeVar("A", bound=Artefact)
META = "meta.json"
STORE = ".store"
"""The folder of the store in the outputs folder."""
CHECKPOINTS = ".checkpoints"
"""The folder of checkpoints of interrupted tasks."""
_PARSE_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading corrupted metadata raises."""


class Damaged(Exception):
    """A stored artefact is missing or corrupted; ``fingerprint`` names it."""

    def __init__(self, fingerprint: str, what: str) -> None:
        super().__init__(f"stored artefact {fingerprint}: {what}")
        self.fingerprint = fingerprint


class Store:
    """A folder of artefacts, shared by any number of runners.

    An artefact is written under a temporary name and then renamed, so that a kill at any moment leaves all of it or
    nothing; ``meta.json`` lists its files with size and SHA-256.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()

    def folder(self, fingerprint: str) -> Path:
        """Return the folder of an artefact."""
        return self.root / fingerprint

    def has(self, fingerprint: str) -> bool:
        """Return whether an artefact exists with all its files at their full size."""
        try:
            meta = self.meta(fingerprint)
            folder = self.folder(fingerprint)
            return all((folder / name).stat().st_size == size for name, (size, _) in meta["files"].items())
        except _PARSE_ERRORS:
            return False

    def present(self, fingerprints: Iterable[str]) -> set[str]:
        """Return those of many artefacts that exist; the store is listed once, which rules out most of the others."""
        there = {path.name for path in self.root.iterdir()} if self.root.is_dir() else set()
        return {fingerprint for fingerprint in fingerprints if fingerprint in there and self.has(fingerprint)}

    def meta(self, fingerprint: str) -> dict[str, Any]:
        """Return the metadata of an artefact."""
        return read_json(self.folder(fingerprint) / META)  # type: ignore[no-any-return]

    def load(self, fingerprint: str, kind: type[A]) -> A:
        """Return an artefact, its content verified once per process.

        Raises:
            Damaged: it is missing or corrupted.
        """
        self._verify(fingerprint)
        return kind.load(self.folder(fingerprint))

    def is_intact(self, fingerprint: str) -> bool:
        """Return whether an artefact is intact; all of it is read, once per process."""
        try:
            self._verify(fingerprint)
        except Damaged:
            return False
        return self.has(fingerprint)

    def _verify(self, fingerprint: str) -> None:
        if fingerprint in self._verified:
            return
        folder = self.folder(fingerprint)
        try:
            files = self.meta(fingerprint)["files"]
            for name, (_, digest) in files.items():
                if _sha256(folder / name) != digest:
                    raise Damaged(fingerprint, f"{name} has changed since it was written")
        except _PARSE_ERRORS as error:
            raise Damaged(fingerprint, str(error)) from error
        self._verified.add(fingerprint)

    def publish(self, fingerprint: str, artefact: Artefact, meta: Mapping[str, Any]) -> None:
        """Move an artefact to its final folder; if another runner was faster, its artefact stays."""
        # A unique name: several processes may publish the same artefact at once.
        temporary = self.root / ".tmp" / f"{fingerprint}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        temporary.mkdir(parents=True)
        try:
            artefact.save(temporary)
            files = {
                str(path.relative_to(temporary)): [path.stat().st_size, _sha256(path)] for path in _files(temporary)
            }
            write_json(temporary / META, {**meta, "kind": artefact.kind, "files": files})
            if self.folder(fingerprint).exists() and not self.has(fingerprint):
                self.drop(fingerprint)  # damaged
            try:
                temporary.rename(self.folder(fingerprint))
            except OSError:
                if not self.has(fingerprint):  # no other runner has published it meanwhile
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def drop(self, fingerprint: str) -> None:
        """Remove an artefact; a process that has mapped its files can still read them."""
        self._verified.discard(fingerprint)
        trash = self.root / ".tmp" / f"dropped-{fingerprint}-{uuid.uuid4().hex[:8]}"
        trash.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Renamed first: a kill while files are deleted must not leave half an artefact.
            self.folder(fingerprint).rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)

    def fingerprints(self) -> Iterator[str]:
        """Yield the fingerprint of every artefact."""
        if self.root.is_dir():
            yield from (entry.name for entry in self.root.iterdir() if (entry / META).is_file())

    def size(self, fingerprint: str) -> int:
        """Return the size of an artefact in bytes."""
        return sum(path.stat().st_size for path in _files(self.folder(fingerprint)))


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
