"""Composes an experiment: a file, the files it extends, and ``--set`` overrides, with the origin of every value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temper.core.errors import KeyPath, SpecError, SpecProblem, dotted
from temper.engine.syntax.document import Document, parse, read

_SET, _NAME = "--set", "--name"
MAX_LAYERS = 50
"""How many files may extend one another."""
ENTRY = 1
"""The depth of stages and tables in a file; a layer may remove these."""


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

    def fault(self, path: KeyPath, message: str) -> SpecProblem:
        """Return a problem of the value at ``path``, located at this origin."""
        if self.line:
            return SpecProblem(self.file, self.line, dotted(path), message)
        named = self.text.partition("=")[0].strip() == dotted(path)
        return SpecProblem(str(self), 0, "" if named else dotted(path), message)


@dataclass(frozen=True)
class _Value:
    """A plain value of which every part knows its origin."""

    content: Any  # dict[str, _Value] | list[_Value] | a scalar
    origin: ValueOrigin

    def child(self, key: str | int) -> _Value | None:
        inside = isinstance(self.content, dict) and key in self.content
        inside |= isinstance(self.content, list) and isinstance(key, int) and 0 <= key < len(self.content)
        return self.content[key] if inside else None

    def plain(self) -> Any:
        if isinstance(self.content, dict):
            return {key: value.plain() for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain() for value in self.content]
        return self.content


class Layered:
    """An experiment composed of its layers, as plain ``data``; ``unread`` are the problems of the files' own values."""

    def __init__(self, root: _Value, unread: Sequence[tuple[KeyPath, SpecProblem]]) -> None:
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

    def fault(self, path: KeyPath, message: str) -> SpecProblem:
        """Return a problem of the value at ``path``, located at its origin."""
        return self.origin_of(path).fault(path, message)


def load(path: Path, sets: Sequence[str] = (), name: str = "", document: Document | None = None) -> Layered:
    """Compose an experiment from a file, or its ``document``, and ``sets`` of the form ``generate.pgd.eps=0.2``.

    ``extends: other.yaml`` puts another file underneath, which may extend a third. Mappings merge; lists and scalars,
    ``null`` included, replace; but ``null`` in the place of a stage or a table removes it. A mapping with another ``type``
    than the one underneath replaces it as a whole, because the parameters of one type mean nothing to another. Overrides
    follow the same rules, in their order. ``name``, if it is not empty, replaces the experiment's.

    Raises:
        SpecError: a file is missing or not YAML or JSON, files extend each other in a circle, or an override is malformed.
    """
    unread: list[tuple[KeyPath, SpecProblem]] = []
    try:
        root = _load(path, (), unread, document)
        for text in sets:
            root = _merge(root, _override(text, root))
        if name:
            origin = ValueOrigin(_NAME, 0, name, Path())
            root = _merge(root, _Value({"name": _Value(name, origin)}, origin))
    except SpecError as wrong:
        raise SpecError([*wrong.faults, *(fault for _, fault in unread)]) from None
    return Layered(root, unread)


def _load(
    path: Path, above: tuple[Path, ...], unread: list[tuple[KeyPath, SpecProblem]], document: Document | None = None
) -> _Value:
    document = document or read(path)
    unread.extend(document.faults)
    top = _located(document, path.parent)
    extends = top.content.pop("extends", None)
    if extends is None:
        return top
    chain = (*above, path.resolve())
    return _merge(_load(_base(extends, path, chain), chain, unread), top)


def _base(extends: _Value, path: Path, chain: tuple[Path, ...]) -> Path:
    def error(message: str) -> SpecError:
        return SpecError([extends.origin.fault(("extends",), message)])

    if len(chain) >= MAX_LAYERS:
        raise error(
            f"{MAX_LAYERS} files extend each other one by one, and this is not the last; put some of them together"
        )
    name = extends.content
    if not isinstance(name, str) or not name:
        raise error("expected the path of one experiment file, as text")
    base = path.parent / name
    if not os.path.isfile(base):  # noqa: PTH113 - Path.is_file raises where the name is too long
        raise error(f"there is no file {base}; expected a path relative to the file that extends it")
    if base.resolve() in chain:
        circle = " -> ".join(file.name for file in (*chain[chain.index(base.resolve()) :], base.resolve()))
        raise error(f"files extend each other in a circle ({circle}); remove one 'extends'")
    return base


def _located(document: Document, folder: Path) -> _Value:
    source = document.source_lines()

    def locate(content: Any, path: KeyPath) -> _Value:
        if isinstance(content, dict):
            content = {key: locate(item, (*path, key)) for key, item in content.items()}
        elif isinstance(content, list):
            content = [locate(item, (*path, i)) for i, item in enumerate(content)]
        line = document.line_of(path)
        return _Value(content, ValueOrigin(document.file, line, source[line - 1].strip(), folder))

    return locate(document.data, ())


def _merge(base: _Value, over: _Value, depth: int = 0) -> _Value:
    if not isinstance(base.content, dict) or not isinstance(over.content, dict) or _other_type(base, over):
        return over
    merged = dict(base.content)
    for key, value in over.content.items():
        if depth == ENTRY and value.content is None and key in merged and isinstance(merged[key].content, dict):
            del merged[key]
        else:
            merged[key] = _merge(merged[key], value, depth + 1) if key in merged else value
    return replace(over, content=merged)


def _other_type(base: _Value, over: _Value) -> bool:
    types = [value.content["type"].plain() for value in (base, over) if "type" in value.content]
    return len(types) == 2 and types[0] != types[1]


def _override(text: str, root: _Value) -> _Value:
    """Return a ``--set`` argument as a layer."""
    name, equals, written = text.partition("=")
    keys = name.strip().split(".")
    origin = ValueOrigin(_SET, 0, text, Path())

    def error(message: str) -> SpecError:
        return SpecError.at(str(origin), 0, message)

    if not equals or not all(keys):
        raise error("expected KEY=VALUE with a dotted key, such as generate.pgd.eps=0.2")
    if keys == ["extends"]:
        raise error("'extends' cannot be set; state it in a file")
    value: _Value | None = root
    for depth, key in enumerate(keys):
        if value and not isinstance(value.content, dict):
            kind = "list" if isinstance(value.content, list) else "single value"
            raise error(f"'{'.'.join(keys[:depth])}' is a {kind}, not a mapping; set it as a whole")
        value = value and value.child(key)
    try:
        # An empty value is null, as it is in a file.
        document = parse(written if written.strip() else "null", _SET)
    except SpecError as wrong:
        raise SpecError([replace(fault, file=str(origin), line=0) for fault in wrong.faults]) from None
    layer = _stamped(document.data, origin)
    for key in reversed(keys):
        layer = _Value({key: layer}, origin)
    return layer


def _stamped(content: Any, origin: ValueOrigin) -> _Value:
    if isinstance(content, dict):
        content = {key: _stamped(item, origin) for key, item in content.items()}
    elif isinstance(content, list):
        content = [_stamped(item, origin) for item in content]
    return _Value(content, origin)
