"""CSV files: what is written is what is read, whoever has saved the file in between, and nothing is executed."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temper.system.csv_files import LIMIT, Column, CsvError, encoded, read, text

characters = st.characters(codec="utf-8", exclude_characters="\ufeff")
awkward = st.sampled_from(
    ["", "NA", "nan", "inf", "007", "1.0", "± 2", "a,b", "a;b", "\t", '"', "'", "'=1", "=1+1", "-", "@x", "\r", "\n"]
)
texts = st.text(characters, max_size=6) | st.lists(awkward, max_size=3).map("".join)
COLUMNS = {
    "name": Column(), "count": Column("int", optional=True), "size": Column("float", optional=True), "is": Column("bool", optional=True),
}  # fmt: skip
rows_of_all_kinds = st.lists(
    st.tuples(
        texts,
        st.none() | st.integers(-(10**17), 10**17),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
    ),
    max_size=5,
)


@given(rows_of_all_kinds)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_survive_a_round_trip(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    path = tmp_path / "it.csv"
    path.write_bytes(encoded([tuple(COLUMNS), *rows]))
    found = [tuple(row.values()) for row in read(path, COLUMNS).rows]
    assert found == rows
    assert [[type(cell) for cell in row] for row in found] == [[type(cell) for cell in row] for row in rows]


@given(st.lists(texts, min_size=1, max_size=5, unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_of_columns_come_back(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "it.csv"
    path.write_bytes(encoded([names, ["x"] * len(names)]))
    assert read(path, {}).columns == tuple(names)


@given(texts.filter(lambda cell: "\0" not in cell))
def test_no_cell_of_text_begins_as_a_formula(cell: str) -> None:
    (shown,) = pd.read_csv(io.StringIO(text([["name"], [cell + "!"]])), keep_default_na=False, dtype=str)["name"]
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert shown.removeprefix("'") in (cell + "!", (cell + "!").removeprefix("'"))


@pytest.mark.parametrize(
    "figure", ["-1", "+5", "-0.52 ± 0.10", "-∞", "-1.5e-05", "-2 [-3.5, 1]", "-1.00 ± 0.20 (2 of 3 seeds)", "-inf"]
)
def test_a_number_of_a_table_is_no_formula(figure: str) -> None:
    assert text([[figure]]).strip('"\n') == figure


@pytest.mark.parametrize(
    "formula", ["=1+1", "-1+2", "+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "-", "−=1"[1:], "＝1"]
)
def test_a_formula_gets_an_apostrophe(formula: str) -> None:
    assert text([[formula]]).lstrip('"').startswith(f"'{formula[0]}")


def test_numbers_that_are_negative_stay_numbers() -> None:
    assert text([[-1, -0.5, float("-inf"), float("nan"), None, True]]) == "-1,-0.5,-inf,,,True\n"


def test_excel_and_pandas_read_the_same() -> None:
    data = encoded([["mean ± sd", "b"], ["1 ± 2", "NA"]])
    assert data.startswith(b"\xef\xbb\xbf")  # Excel reads UTF-8 only where a byte order mark says so
    assert list(pd.read_csv(io.BytesIO(data)).columns) == ["mean ± sd", "b"]


VALUE = {"metric": Column(), "value": Column("float")}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_save_is_read(tmp_path: Path, mark: bytes, separator: str, end: str) -> None:
    lines = ["metric|value|note", '"accuracy"|0.5|"a\r\nb"', "", "NA|-1e3|007", ""]
    path = tmp_path / "it.csv"
    path.write_bytes(mark + end.join(lines).replace("|", separator).encode())
    table = read(path, VALUE)
    assert table.rows == [
        {"metric": "accuracy", "value": 0.5, "note": "a\r\nb"},
        {"metric": "NA", "value": -1000.0, "note": "007"},
    ]
    assert table.lines == [2, 5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ": there is no column metric and no column value; expected metric, value, received none"),
        (b"metric,worth\n", ": there is no column value; expected metric, value, received metric, worth"),
        (b"metric,value,value\n", ": expected columns of different names, received 'value' twice"),
        (b"metric,value\na\n", ":2: expected 2 cells, received 1"),
        (b"metric,value\na,1\nb,1,2\n", ":3: expected 2 cells, received 3"),
        (b"metric;value\na;0,975\n", ":2: expected a number such as 0.5 as value, received '0,975'"),
        (b"metric,value\na,\n", ":2: expected a number such as 0.5 as value, received ''"),
        (b"metric,value\na,1_000\n", ":2: expected a number such as 0.5 as value, received '1_000'"),
        (b'metric,value\n"a,1\n', ":2: is no CSV (unexpected end of data)"),
        (b"metric,value\n\xb1,1\n", ":2: expected a .csv file in UTF-8, received byte 0xb1; save it as 'CSV UTF-8'"),
        ("metric,value\n".encode("utf-16"), ":1: expected a .csv file in UTF-8, received byte 0xff"),
    ],
)
def test_a_file_that_is_something_else_is_a_fault_at_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "it.csv"
    path.write_bytes(content)
    with pytest.raises(CsvError) as fault:
        read(path, VALUE)
    assert str(fault.value).startswith(f"{path}{said}")


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(CsvError, match="cannot be read"):
        read(tmp_path / "none.csv", {})
    with pytest.raises(CsvError, match="expected a regular file"):
        read(tmp_path, {})


def test_a_large_file_or_header_makes_no_large_message(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    path.write_bytes(b"value\n" + b"1\n" * (LIMIT // 2))
    with pytest.raises(CsvError, match=r"the file has 16,777,222 bytes; expected at most 16,777,216"):
        read(path, VALUE)
    path.write_bytes(";".join(map(str, range(100_000))).encode())
    with pytest.raises(CsvError, match=r"there is no column metric and no column value; .* received 0, 1") as fault:
        read(path, VALUE)
    assert len(str(fault.value)) < 500 + len(str(path))


@pytest.mark.parametrize(
    ("kind", "bad"), [("int", "1.0"), ("int", "x"), ("bool", "1"), ("float", "x"), ("int", "9" * 30)]
)
def test_a_cell_of_another_kind_is_refused(tmp_path: Path, kind: Any, bad: str) -> None:
    path = tmp_path / "it.csv"
    path.write_bytes(encoded([["a"], [bad]]))
    with pytest.raises(CsvError, match=r":2: expected .* as a, received"):
        read(path, {"a": Column(kind)})


def test_undefined_and_missing_are_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    path.write_bytes(encoded([["a", "b"], [math.nan, None]]))
    assert read(path, {"a": Column("float", optional=True), "b": Column("int", optional=True)}).rows == [
        {"a": None, "b": None}
    ]
