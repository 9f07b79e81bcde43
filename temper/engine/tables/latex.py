"""Writes a table as LaTeX, for a document that loads booktabs."""

from __future__ import annotations

import re
from itertools import groupby

from temper.core.report_spec import SMOKE
from temper.engine.tables.cells import NOT_MEASURED, Cell
from temper.engine.tables.matrix import Key, Matrix

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: f"${char}$" for char in "<>|"},
    '"': "''",
    **{char: "\\" + char for char in "&%$#_{}"},
    "±": r"$\pm$",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "ε": r"$\varepsilon$",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "…": r"\dots{}",
    "’": "'",
    "\u00a0": "~",
    "\n": " ",
    "\r": " ",
}


def escape(text: str) -> str:
    """Return text that LaTeX prints literally; line breaks become spaces."""
    return "".join(_SPECIAL.get(char, char) for char in text)


def latex(matrix: Matrix) -> str:
    """Return the table as a floating booktabs ``table`` whose caption describes the numbers."""
    spec = matrix.spec
    stubs = len(spec.rows)
    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{table}[t]",
        "  \\centering",
        f"  \\caption{{{escape(_caption(matrix))}}}",
        f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', spec.name)}}}",
        f"  \\begin{{tabular}}{{{'l' * stubs}{'r' * len(matrix.columns)}}}",
        "    \\toprule",
        *(f"    {line}" for line in _header(matrix)),
        "    \\midrule",
        *(f"    {_line([*map(escape, labels), *body])}" for labels, body in _body(matrix)),
        "    \\bottomrule",
        "  \\end{tabular}",
        *([f"  \\par\\smallskip{{\\bfseries {SMOKE} on tiny data: no results.\\par}}"] if matrix.smoke else []),
        *(f"  \\par\\smallskip{{\\footnotesize {escape(note)}.\\par}}" for note in matrix.hole_notes),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _caption(matrix: Matrix) -> str:
    return f"{matrix.title.rstrip('. ')}. {matrix.statement}".strip()


def _header(matrix: Matrix) -> list[str]:
    """Return the header: outer levels span their inner ones, with a rule below each span."""
    heads, depths = len(matrix.spec.rows), len(matrix.spec.columns)
    lines = []
    for depth in range(depths):
        last = depth == depths - 1
        names = _corner(matrix, depth)
        if last:
            lines.append(_line([*names, *(escape(text) for text in matrix.column_labels(depth))]))
            continue
        cells, rules, at = list(names), [], heads + 1
        for text, width in _spans(matrix, depth):
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{escape(text)}}}")
            rules.append(f"\\cmidrule(lr){{{at}-{at + width - 1}}}")
            at += width
        lines += [_line(cells), " ".join(rules)]
    return lines


def _corner(matrix: Matrix, depth: int) -> list[str]:
    """Return the headings above the row labels: their names on the last line, else the name of the column level."""
    spec = matrix.spec
    if depth < len(spec.columns) - 1:
        return [""] * len(spec.rows)
    if len(spec.rows) > 1:
        return [escape(name) for name in spec.rows]
    return [escape(spec.rows[0] if depth == 0 else f"{spec.rows[0]} / {spec.columns[depth]}")]


def _spans(matrix: Matrix, depth: int) -> list[tuple[str, int]]:
    prefixes = [column[: depth + 1] for column in matrix.columns]
    level = matrix.spec.columns[depth]
    return [(matrix.label(level, key[depth]), len(list(same))) for key, same in groupby(prefixes)]


def _body(matrix: Matrix) -> list[tuple[list[str], list[str]]]:
    """Return the labels and cells of each row; a label equal to the one above is omitted."""
    best, body = matrix.best, []
    above: Key = ()
    for row in matrix.rows:
        labels = matrix.row_labels(row)
        shown = ["" if row[: i + 1] == above[: i + 1] and i < len(row) - 1 else text for i, text in enumerate(labels)]
        body.append((shown, [_cell(matrix, row, column, (row, column) in best) for column in matrix.columns]))
        above = row
    return body


def _cell(matrix: Matrix, row: Key, column: Key, bold: bool) -> str:
    cell = matrix.cells[row, column]
    if not cell.values:
        return _hole(cell)
    text = escape(re.sub(r"-(?=[\d∞])", "−", matrix.text(row, column)))
    return f"\\textbf{{{text}}}" if bold else text


def _hole(cell: Cell) -> str:
    if cell.hole == NOT_MEASURED:
        return "--"
    return f"\\textit{{{escape(cell.hole.split(':')[0])}}}"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
