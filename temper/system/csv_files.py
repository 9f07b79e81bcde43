"""CSV files: one writer, whose cells no spreadsheet executes, and one reader, which guesses no types."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from temper.core.errors import StageError
from temper.system.files import read_bytes, utf8

Cell = str | int | float | bool | None
Kind = Literal["text", "int", "float", "bool"]
LIMIT = 2**24
"""Size limit in bytes of foreign files; their rows take up to a hundred times as many."""
OWN_LIMIT = 2**30
"""Size limit in bytes of Temper's own files."""
SEPARATORS = (",", ";", "\t")
"""Cell separators: the comma, and those of spreadsheets where the comma is the decimal mark, or in text exports."""
_NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan|∞)"
_FIGURE = re.compile(rf"({_NUMBER})( ± \S+| \[[^\s,]+, [^\s,]+\])?( \(\d+ of \d+ seeds\))?")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")
_WRITTEN_AS = {
    "int": (re.compile(r"[-+]?\d{1,18}"), "a whole number such as 3"),
    "float": (re.compile(_NUMBER.replace("∞", "Infinity")), "a number such as 0.5"),
    "bool": (re.compile(r"[Tt]rue|TRUE|[Ff]alse|FALSE"), "True or False"),
}


class CsvError(StageError):
    """A CSV file cannot be read; ``line`` counts from 1 and is 0 where no line is at fault."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        self.path, self.line, self.message = path, line, message
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")


@dataclass(frozen=True)
class Column:
    """What the cells of a column hold; an empty cell of an ``optional`` one is ``None``, and ``""`` in one of text."""

    kind: Kind = "text"
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """The rows of a file by column, and the line each begins in."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    lines: list[int]


def text(rows: Iterable[Sequence[Cell]]) -> str:
    """Return rows as CSV: numbers such that reading them gives the same bits, ``None`` and nan as empty cells.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, which ``read`` removes.
    """
    lines: list[str] = []
    # csv quotes the characters of the line terminator; so a cell with a carriage return is quoted, too.
    writer = csv.writer(_Sink(lines.append), lineterminator="\r\n")
    for row in rows:
        writer.writerow([_written(cell) for cell in row])
    return "".join(line[:-2] + "\n" for line in lines)


def encoded(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return the content of a CSV file in UTF-8.

    It begins with a byte order mark if it has characters beyond ASCII: without the mark Excel reads ``±`` as ``Â±``;
    pandas removes it.
    """
    content = text(rows)
    return content.encode("ascii") if content.isascii() else codecs.BOM_UTF8 + utf8(content)


def read(path: Path, columns: Mapping[str, Column], limit: int = LIMIT) -> Table:
    """Read a file of at most ``limit`` bytes that has at least the ``columns``; any others hold text.

    UTF-8 is read with and without a byte order mark, with commas, semicolons or tabs between cells.

    Raises:
        CsvError: the file cannot be read, lacks or repeats a column, or a cell has the wrong type.
    """
    content = _decoded(path, limit)
    separator = _separator(path, content, columns)
    found = _Records(path, content, separator)
    header, _ = next(found, ([], 0))
    names = tuple(map(_unescaped, header))
    if missing := [name for name in columns if name not in names]:
        have = ", ".join(names) or "none"
        raise CsvError(
            path,
            0,
            f"there is no column {' and no column '.join(missing)}; expected {', '.join(columns)}, received {have:.300}",
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise CsvError(path, 0, f"expected columns of different names, received '{twice[0]}' twice")
    table = Table(names, [], [])
    for cells, line in found:
        if len(cells) != len(names):
            raise CsvError(path, line, f"expected {len(names)} cells, received {len(cells)}")
        table.rows.append({
            name: _value(path, line, name, columns.get(name, Column()), cell)
            for name, cell in zip(names, cells, strict=True)
        })  # fmt: skip
        table.lines.append(line)
    return table


def records(path: Path, limit: int = LIMIT) -> list[list[str]]:
    """Return the cells of a file of ours of at most ``limit`` bytes as text, record by record.

    Raises:
        CsvError: the file cannot be read.
    """
    return [list(map(_unescaped, cells)) for cells, _ in _Records(path, _decoded(path, limit), ",")]


class _Records:
    """The non-empty records of a file, each with the line it begins in."""

    def __init__(self, path: Path, content: str, separator: str) -> None:
        self._path = path
        self._reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> tuple[list[str], int]:
        cells: list[str] = []
        while not cells:
            line = self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except csv.Error as error:
                raise CsvError(self._path, line, f"is no CSV ({error}); write quotes within quotes twice") from None
        return cells, line


@dataclass(frozen=True)
class _Sink:
    write: Callable[[str], object]


def _written(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if not isinstance(cell, str):
        return repr(float(cell)) if isinstance(cell, float) else str(cell)
    return f"'{cell}" if _FORMULA.match(cell) and not _FIGURE.fullmatch(cell) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell


def _decoded(path: Path, limit: int) -> str:
    try:
        data = read_bytes(path, limit)
    except StageError as error:
        raise CsvError(path, 0, str(error).removeprefix(f"{path}: ")) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CsvError(
            path,
            line,
            f"expected a .csv file in UTF-8, received byte 0x{data[error.start]:02x}; save it as 'CSV UTF-8'",
        ) from None


def _separator(path: Path, content: str, columns: Mapping[str, Column]) -> str:
    """Return the separator that gives the first record most of the columns, a comma if in doubt."""

    def known(separator: str) -> int:
        try:
            names, _ = next(_Records(path, content, separator), ([], 0))
        except CsvError:
            return -1  # a quoted name next to another separator
        return len(set(columns) & set(map(_unescaped, names)))

    return max(SEPARATORS, key=known)


def _value(path: Path, line: int, name: str, column: Column, cell: str) -> Cell:
    if column.kind == "text":
        return None if column.optional and not cell else _unescaped(cell)
    if not cell and column.optional:
        return None
    pattern, expected = _WRITTEN_AS[column.kind]
    if not pattern.fullmatch(cell):
        raise CsvError(path, line, f"expected {expected} as {name}, received {cell!r}")
    if column.kind == "bool":
        return cell.lower() == "true"
    return int(cell) if column.kind == "int" else float(cell)
