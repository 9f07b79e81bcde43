"""The syntax of YAML and JSON: text to nodes with lines, without the pitfalls of YAML's scalar types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import yaml

from temper.core.errors import SpecError

PREFIX = "tag:yaml.org,2002:"
STR, INT, FLOAT, BOOL, NULL, MERGE, SEQ, MAP = (
    PREFIX + name for name in ("str", "int", "float", "bool", "null", "merge", "seq", "map")
)
# The core schema of YAML 1.2, decimal: `1e-4` is a number; `yes`, `1:30`, `0x1f` and dates are text.
PATTERNS = {
    NULL: re.compile(r"(?:~|null|Null|NULL|)\Z"),
    BOOL: re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    INT: re.compile(r"[-+]?[0-9]+\Z"),
    FLOAT: re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"),
    MERGE: re.compile(r"<<\Z"),
}
MAX_VALUES = 100_000
"""Limit on the values and keys of a file, counted as written, and again with all aliases expanded."""
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # as PyYAML counts lines
_JSON_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


class _Loader(yaml.SafeLoader):
    """Composes nodes with the scalar types above, up to the limit; it never constructs a value."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self._file, self._composed = file, 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node, and count it."""
        self._composed += 1
        if self._composed > MAX_VALUES:
            raise _too_many(self._file, self.line + 1)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in PATTERNS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)


def compose_yaml(text: str, file: str) -> yaml.Node | None:
    """Return the one YAML document in ``text``, or nothing if there is none.

    Raises:
        SpecError: the text is not YAML, or holds several documents.
    """
    try:
        loader = _Loader(text, file)
    except yaml.reader.ReaderError as error:
        line = len(LINE_BREAK.findall(text, 0, error.position)) + 1
        raise SpecError.at(file, line, f"character U+{error.character:04X} is not allowed; delete it") from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError.at(file, mark.line + 1 if mark else 0, _advice(error)) from None
    except (ValueError, OverflowError):  # the scanner converts "\UFFFFFFFF" and '%YAML 1.<digits>' unchecked
        raise SpecError.at(file, loader.line + 1, "a number in an escape or directive is out of range") from None


def _too_many(file: str, line: int) -> SpecError:
    return SpecError.at(file, line, f"more than {MAX_VALUES} values; use fewer")


def _advice(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or error.context or "this is not YAML").replace("'\\t'", "a tab")
    if "a tab" in problem:
        return "a tab indents this line; YAML wants spaces"
    if "cannot start any token" in problem:
        return f"{problem}; put the value in quotes"
    if "mapping values are not allowed" in problem:
        return "unexpected ':'; put a text with ': ' in quotes, or check the indentation"
    if "found another document" in problem:
        return "a second document starts here; expected one per file, without '---' between"
    context = f" ({error.context})" if error.context and error.context != problem else ""
    return f"not valid YAML{context}: {problem}"


def compose_json(text: str, file: str) -> yaml.Node | None:
    """Return the one JSON value in ``text`` as a YAML node, or nothing if there is none.

    Raises:
        SpecError: the text is not JSON.
    """
    if not text.strip(" \t\r\n"):
        return None
    try:
        # Syntax only. Numbers stay text, because int() refuses a long one; the builder checks them.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise SpecError.at(file, error.lineno, f"not valid JSON: {error.msg} (column {error.colno})") from None
    return _json_node(_json_tokens(text, file))


def _json_tokens(text: str, file: str) -> Iterator[tuple[str, yaml.Mark]]:
    line, end, values = 0, 0, count(1)
    for match in _JSON_TOKEN.finditer(text):
        line += len(LINE_BREAK.findall(text, end, match.start()))
        end = match.start()
        if match[0] not in (",", ":", "]", "}") and next(values) > MAX_VALUES:
            raise _too_many(file, line + 1)
        if match[0] not in (",", ":"):
            yield match[0], yaml.Mark("", end, line, 0, None, 0)


def _json_node(tokens: Iterator[tuple[str, yaml.Mark]]) -> yaml.Node | None:
    """Return the next value of valid JSON as a node, or nothing at a closing bracket."""
    token, mark = next(tokens)
    match token[0]:
        case "]" | "}":
            return None
        case "[":
            return yaml.SequenceNode(SEQ, list(iter(lambda: _json_node(tokens), None)), mark, mark)
        case "{":
            pairs = []
            while (key := _json_node(tokens)) is not None:
                pairs.append((key, _json_node(tokens)))
            return yaml.MappingNode(MAP, pairs, mark, mark)
        case '"':
            return yaml.ScalarNode(STR, json.loads(token), mark, mark)
        case "t" | "f":
            return yaml.ScalarNode(BOOL, token, mark, mark)
        case "n":
            return yaml.ScalarNode(NULL, token, mark, mark)
        case _:  # NaN and Infinity reach this case, too, and are refused as numbers
            tag = INT if PATTERNS[INT].match(token) else FLOAT
            return yaml.ScalarNode(tag, token, mark, mark)
