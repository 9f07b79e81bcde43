"""Where each value of an experiment was stated: file, line and text, or ``--set``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temper.core.errors import KeyPath, SpecProblem, dotted


@dataclass(frozen=True)
class ValueOrigin:
    """Where a value was stated.

    ``text`` is the line as written; for ``--set``, whose ``line`` is 0, the argument. Relative paths in the value
    start at ``folder``: that of the file, or the working directory for ``--set``.
    """

    file: str
    line: int
    text: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else f"{self.file} {self.text}"

    def problem(self, path: KeyPath, message: str) -> SpecProblem:
        """Return a problem of the value at ``path``, located at this origin."""
        if self.line:
            return SpecProblem(self.file, self.line, dotted(path), message)
        named = self.text.partition("=")[0].strip() == dotted(path)
        return SpecProblem(str(self), 0, "" if named else dotted(path), message)


@dataclass(frozen=True)
class LocatedValue:
    """A plain value of which every part knows its origin."""

    content: Any  # dict[str, LocatedValue] | list[LocatedValue] | a scalar
    origin: ValueOrigin

    def child(self, key: str | int) -> LocatedValue | None:
        """Return the part at a key or index; ``None`` if there is none."""
        inside = isinstance(self.content, dict) and key in self.content
        inside |= isinstance(self.content, list) and isinstance(key, int) and 0 <= key < len(self.content)
        return self.content[key] if inside else None

    def plain(self) -> Any:
        """Return the value without origins."""
        if isinstance(self.content, dict):
            return {key: value.plain() for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain() for value in self.content]
        return self.content


class Layered:
    """An experiment composed of its layers, as plain ``data``; ``unread`` are the problems of the files' own values."""

    def __init__(self, root: LocatedValue, unread: Sequence[tuple[KeyPath, SpecProblem]]) -> None:
        self._root = root
        self.unread = tuple(unread)
        self.data: dict[str, Any] = root.plain()

    def origin_of(self, path: KeyPath) -> ValueOrigin:
        """Return the origin of a value; of one without, that of its nearest ancestor."""
        value = self._root
        for key in path:
            if (child := value.child(key)) is None:
                break
            value = child
        return value.origin

    def folder_of(self, path: KeyPath) -> Path:
        """Return the folder that relative paths in a value start at."""
        return self.origin_of(path).folder

    def problem(self, path: KeyPath, message: str) -> SpecProblem:
        """Return a problem of the value at ``path``, located at its origin."""
        return self.origin_of(path).problem(path, message)
