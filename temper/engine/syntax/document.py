"""Reads an experiment file into plain values and the line of each, without the pitfalls of YAML."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from temper.core.errors import KeyPath, SpecError, SpecProblem, StageError, dotted
from temper.engine.syntax.yaml_syntax import (
    BOOL,
    INT,
    LINE_BREAK,
    MAP,
    MAX_VALUES,
    MERGE,
    NULL,
    PATTERNS,
    PREFIX,
    SEQ,
    STR,
    compose_json,
    compose_yaml,
)
from temper.system.files import read_bytes

MAX_DEPTH = 100
MAX_BYTES = 2**20
"""Largest experiment or cluster file; the longest of ours has 10 kB."""
STANDARD_INPUT = Path("<stdin>")
"""The path by which an experiment file is read from standard input."""


@dataclass(frozen=True, eq=False)
class Document:
    """A file as read: ``data`` holds plain mappings, lists and scalars, ``text`` the source.

    ``problems`` are values that could not be read, each with its path; the data omit them, or hold null in their place.
    """

    file: str
    text: str
    data: Any
    lines: Mapping[KeyPath, int]
    problems: tuple[tuple[KeyPath, SpecProblem], ...] = ()

    def line_of(self, path: KeyPath) -> int:
        """Return the line of a key or list item, or of its nearest ancestor that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def source_lines(self) -> list[str]:
        """Return the source, line by line; line 1 is the first item."""
        return LINE_BREAK.split(self.text)


def read(path: Path) -> Document:
    """Read an experiment file in YAML (``.yaml``, ``.yml``) or JSON (``.json``).

    Single values that cannot be read, and keys that are repeated or not text, are the document's ``problems``, so that the
    rest of the file can be checked as well.

    Raises:
        SpecError: the file cannot be read, is larger than ``MAX_BYTES``, is not YAML or JSON, or is not one mapping.
    """
    file = str(path)
    if path != STANDARD_INPUT and path.suffix not in (".yaml", ".yml", ".json"):
        raise SpecError.at(file, 0, f"unknown kind of file '{path.suffix}'; expected .yaml, .yml or .json")
    try:
        text = _content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SpecError.at(file, line, f"byte 0x{error.object[error.start]:02x} is not UTF-8; save as UTF-8") from None
    except StageError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise SpecError.at(file, 0, f"{reason}; expected a YAML or JSON file") from None
    document = _parse(text, file, path.suffix == ".json" or (path == STANDARD_INPUT and text.lstrip().startswith("{")))
    if not isinstance(document.data, dict) and document.problems:
        raise SpecError(problem for _, problem in document.problems)
    if not isinstance(document.data, dict):
        kind = "list" if isinstance(document.data, list) else "single value"
        raise SpecError.at(file, 1, f"the file holds a {kind}; expected a mapping such as 'name: my-experiment'")
    return document


def _content(path: Path) -> bytes:
    if path != STANDARD_INPUT:
        return read_bytes(path, MAX_BYTES)
    content = sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin else b""
    if len(content) > MAX_BYTES:
        raise StageError(f"{path}: the file has more than {MAX_BYTES:,} bytes; expected at most {MAX_BYTES:,}")
    return content


def parse(text: str, file: str, *, is_json: bool = False) -> Document:
    """Return the one YAML or JSON value in ``text``, which may be of any type.

    Raises:
        SpecError: as for ``read``, or with the document's problems; they carry ``file``.
    """
    document = _parse(text, file, is_json)
    if document.problems:
        raise SpecError(problem for _, problem in document.problems)
    return document


def _parse(text: str, file: str, is_json: bool) -> Document:
    try:
        node = compose_json(text, file) if is_json else compose_yaml(text, file)
        if node is None:
            raise SpecError.at(file, 0, "the file is empty; expected a mapping such as 'name: my-experiment'")
        builder = _Builder(file)
        data = builder.build(node, ())
    except RecursionError:
        raise SpecError.at(file, 0, f"values are nested too deeply; at most {MAX_DEPTH} levels are read") from None
    return Document(file, text, data, builder.lines, builder.problems)


class _Builder:
    """Converts nodes into plain values, recording lines and problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {(): 1}
        self._problems: dict[tuple[int, str], tuple[KeyPath, SpecProblem]] = {}  # what an alias repeats is one problem
        self._open: set[int] = set()
        self._count = 0

    @property
    def problems(self) -> tuple[tuple[KeyPath, SpecProblem], ...]:
        return tuple(self._problems.values())

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self._tally(node, path)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if len(path) >= MAX_DEPTH:
            return self._problem(node, path[:1], f"values are nested more than {MAX_DEPTH} levels deep")
        if id(node) in self._open:
            return self._problem(node, path, "an alias refers to the value it stands in; write the value out")
        self._open.add(id(node))
        try:
            return self._collection(node, path)
        finally:
            self._open.remove(id(node))

    def _collection(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.SequenceNode) and node.tag == SEQ:
            for i, item in enumerate(node.value):
                self.lines[*path, i] = item.start_mark.line + 1
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == MAP:
            pairs = self._pairs(node, path)
            for key, (key_node, _) in pairs.items():
                self.lines[*path, key] = key_node.start_mark.line + 1
            return {key: self.build(value, (*path, key)) for key, (_, value) in pairs.items()}
        return self._unknown_tag(node, path)

    def _pairs(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the keys of a mapping and of those merged into it (``<<``), which its own keys override."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value in node.value:
            self._tally(key_node, path)
            if key_node.tag == MERGE:
                merged = self._merged(key_node, value, path) | merged
            elif (key := self._key(key_node, path)) is None:
                continue
            elif key in own:
                first = own[key][0].start_mark.line + 1
                self._problem(key_node, (*path, key), f"repeated key; first written in line {first}, keep one of them")
            else:
                own[key] = key_node, value
        return merged | own

    def _merged(self, key_node: yaml.Node, value: yaml.Node, path: KeyPath) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode) or id(source) in self._open:
                self._problem(
                    key_node, path, "'<<' merges something else; expected an alias of another mapping, or a list"
                )
                continue
            self._open.add(id(source))
            merged = self._pairs(source, path) | merged  # the first source named wins
            self._open.remove(id(source))
        return merged

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._problem(node, path, "a list or mapping is used as a key; expected text")
            return None
        if node.tag != STR:
            self._problem(node, path, f"the key '{node.value[:40]}' is not text; put it in quotes")
            return None
        return self._text(node, path)

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        value, tag = node.value, node.tag
        if tag == STR:
            return self._text(node, path)
        if tag == MERGE:  # as a value, '<<' is plain text
            return value
        if tag not in PATTERNS:
            return self._unknown_tag(node, path)
        shown = value if len(value) <= 40 else value[:37] + "..."
        if not PATTERNS[tag].match(value):
            return self._problem(node, path, f"{shown} is not a finite {tag.removeprefix(PREFIX)}; write it plainly")
        if tag == NULL:
            return None
        if tag == BOOL:
            return value.lower() == "true"
        if tag == INT:
            # 64 bits, as in numpy and every framework; the length check spares int() numbers it refuses.
            if len(value) > 40 or not -(2**63) <= int(value) < 2**63:
                return self._problem(node, path, f"the number {shown} is too large; expected at most 64 bits")
            return int(value)
        if not math.isfinite(float(value)):
            return self._problem(node, path, f"the number {shown} is too large; expected at most 1.8e308")
        return float(value)

    def _text(self, node: yaml.ScalarNode, path: KeyPath) -> str | None:
        value: str = node.value
        bad = next((c for c in value if c == "\0" or "\ud800" <= c <= "\udfff"), None)
        if bad is None:
            return value
        self._problem(node, path, f"the escaped character U+{ord(bad):04X} is no text; write the character itself")
        return None

    def _unknown_tag(self, node: yaml.Node, path: KeyPath) -> None:
        tag = node.tag.replace(PREFIX, "!!")
        self._problem(node, path, f"the tag {tag} is not allowed here; write a plain value")

    def _problem(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        line = node.start_mark.line + 1
        self._problems.setdefault((line, message), (path, SpecProblem(self.file, line, dotted(path), message)))

    def _tally(self, node: yaml.Node, path: KeyPath) -> None:
        self._count += 1
        if self._count > MAX_VALUES:  # a few lines of nested aliases can expand to billions of values
            self._problem(node, path[:1], f"more than {MAX_VALUES} values with all aliases written out; use fewer")
            raise SpecError(problem for _, problem in self.problems)
