"""LaTeX: escaping, bold cells, and as many cells in every line as the table has columns."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.report_spec import ReportedExperiment, TableSpec
from temper.engine.tables.latex import escape, latex
from temper.engine.tables.pivot import build
from tests.engine.report.demo import BY_EPS, TABLE, demo_experiment, demo_holes, demo_rows, row

GOLDEN = Path(__file__).parent / "golden"


def demo(spec: TableSpec) -> str:
    return latex(build(spec, demo_rows(), demo_holes(), demo_experiment()))


def one(**columns: Any) -> str:
    frame = [row("a", "pgd", 1, eps=None, seed=None) | columns]
    return latex(build(replace(TABLE, columns=("examples",)), frame, (), ReportedExperiment(name="x")))


@pytest.mark.parametrize("spec", [TABLE, BY_EPS], ids=lambda spec: spec.name)
def test_golden_latex(spec: TableSpec) -> None:
    assert demo(spec) == (GOLDEN / f"{spec.name}.tex").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50% of $5 #1", r"a\_b \& 50\% of \$5 \#1"),
        ("{x} ~ ^", r"\{x\} \textasciitilde{} \textasciicircum{}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a < b > c | d", "a $<$ b $>$ c $|$ d"),
        ("96 ± 1", r"96 $\pm$ 1"),
        ("two\n\nlines", "two  lines"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_no_special_character_survives_unescaped(text: str) -> None:
    bare = re.sub(r"\\(?:text[a-z]+\{\}|[&%$#_{}])|\$[<>|]\$", "", escape(text))
    assert not re.search(r"[\\&%$#_{}~^<>|]", bare)


@pytest.mark.parametrize("spec", [TABLE, BY_EPS, replace(TABLE, columns=("eps", "examples"))])
def test_every_line_has_all_columns(spec: TableSpec) -> None:
    text = demo(spec)
    match = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert match
    width = len(match[1])
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) > 3
    for line in lines:
        cells = re.split(r"(?<!\\)&", line)
        spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        assert len(cells) - len(spans) + sum(spans) == width


def test_environments_and_braces_are_closed() -> None:
    text = demo(TABLE)
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


def test_caption_contains_seeds_n_and_protocol() -> None:
    match = re.search(r"\\caption\{(.*)\}", demo(TABLE))
    assert match
    for part in (r"Robust accuracy (\%) on MNIST.", "over 3 seeds (1, 2, 3)", "n~=~10,000", "Protocol: transfer"):
        assert part in match[1]


def test_bold_cells_missing_cells_and_notes() -> None:
    text = demo(TABLE)
    assert r"\textbf{92.17 $\pm$ 0.21} & \textbf{95.80" in text
    assert r"\textit{failed} \\" in text
    assert r"failed: out of memory at 14.2 GB (pgd\_robust dgn\_susp 0.3)." in text


def test_negative_numbers_have_a_minus_sign() -> None:
    assert "a & $-$1.500 " in one(value=-1.5, unit="score")
    assert r"a & $-$$\infty$ " in one(value=float("-inf"), unit="score")


def test_unmeasured_cell_is_a_dash() -> None:
    frame = [row("a", "x", 1, eps=None, seed=None), row("b", "y", 1, eps=None, seed=None)]
    text = latex(build(replace(TABLE, columns=("examples",)), frame, (), ReportedExperiment(name="x")))
    assert r"a & 0.01 & -- \\" in text


def test_names_from_the_file_cannot_run_latex_commands() -> None:
    assert r"\textbackslash{}input\{secret\} & 0.01" in one(model=r"\input{secret}")
