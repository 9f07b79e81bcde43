"""Composes an experiment: a file, the files it extends, and ``--set`` overrides, with the origin of every value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from temper.core.errors import KeyPath, SpecError, SpecProblem
from temper.engine.syntax.document import Document, read
from temper.engine.syntax.set_overrides import override
from temper.engine.syntax.value_origin import Layered, LocatedValue, ValueOrigin

_NAME = "--name"
MAX_LAYERS = 50
"""How many files may extend one another."""
ENTRY = 1
"""The depth of stages and tables in a file; a layer may remove these."""


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
            root = _merge(root, override(text, root))
        if name:
            origin = ValueOrigin(_NAME, 0, name, Path())
            root = _merge(root, LocatedValue({"name": LocatedValue(name, origin)}, origin))
    except SpecError as wrong:
        raise SpecError([*wrong.problems, *(problem for _, problem in unread)]) from None
    return Layered(root, unread)


def _load(
    path: Path, above: tuple[Path, ...], unread: list[tuple[KeyPath, SpecProblem]], document: Document | None = None
) -> LocatedValue:
    document = document or read(path)
    unread.extend(document.problems)
    top = _located(document, path.parent)
    extends = top.content.pop("extends", None)
    if extends is None:
        return top
    chain = (*above, path.resolve())
    return _merge(_load(_base(extends, path, chain), chain, unread), top)


def _base(extends: LocatedValue, path: Path, chain: tuple[Path, ...]) -> Path:
    def error(message: str) -> SpecError:
        return SpecError([extends.origin.problem(("extends",), message)])

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


def _located(document: Document, folder: Path) -> LocatedValue:
    source = document.source_lines()

    def locate(content: Any, path: KeyPath) -> LocatedValue:
        if isinstance(content, dict):
            content = {key: locate(item, (*path, key)) for key, item in content.items()}
        elif isinstance(content, list):
            content = [locate(item, (*path, i)) for i, item in enumerate(content)]
        line = document.line_of(path)
        return LocatedValue(content, ValueOrigin(document.file, line, source[line - 1].strip(), folder))

    return locate(document.data, ())


def _merge(base: LocatedValue, over: LocatedValue, depth: int = 0) -> LocatedValue:
    if not isinstance(base.content, dict) or not isinstance(over.content, dict) or _other_type(base, over):
        return over
    merged = dict(base.content)
    for key, value in over.content.items():
        if depth == ENTRY and value.content is None and key in merged and isinstance(merged[key].content, dict):
            del merged[key]
        else:
            merged[key] = _merge(merged[key], value, depth + 1) if key in merged else value
    return replace(over, content=merged)


def _other_type(base: LocatedValue, over: LocatedValue) -> bool:
    types = [value.content["type"].plain() for value in (base, over) if "type" in value.content]
    return len(types) == 2 and types[0] != types[1]
