"""Result files: complete, reproducible, and lossless for numbers."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from temper.core.report_spec import ClassGrid, ImageGrid, RelevanceMap, TableSpec
from temper.engine.report import drawing, figures
from temper.engine.report.drawing import MAX_NAME, file_name, file_names
from temper.engine.results.report_files import write_report
from temper.engine.results.results_csv import columns, result_rows
from temper.system import csv_files
from tests.engine.report.demo import (
    BY_EPS,
    COLUMNS,
    TABLE,
    demo_expected,
    demo_experiment,
    demo_holes,
    demo_rows,
    into,
    row,
)


def read(text: str) -> pd.DataFrame:
    # A model may be called NA, or 01: only an empty cell is missing, and names are text.
    return pd.read_csv(StringIO(text), keep_default_na=False, na_values=[""], dtype={"model": str, "note": str})


def test_exactly_the_expected_files_are_written(tmp_path: Path) -> None:
    report = write_report(
        into(tmp_path), demo_experiment(), demo_rows(), demo_holes(), [TABLE, BY_EPS], demo_expected()
    )
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "by_eps.csv",
        "by_eps.tex",
        "expected.csv",
        "figures/by_eps_by_eps.png",
        "figures/by_eps_heatmap.png",
        "figures/examples_pgd-eps-0.1.png",
        "figures/table_2_by_eps.png",
        "figures/table_2_heatmap.png",
        "report.html",
        "results.csv",
        "table_2.csv",
        "table_2.tex",
    ]
    assert report.verdict == "3 of 5 cells reproduced (1 missed, 1 missing)"
    assert len(report.warnings) == 2
    assert report.table_errors == ()


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        write_report(into(tmp_path), demo_experiment(), demo_rows(), demo_holes(), [TABLE], demo_expected())
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert contents() == contents()


@pytest.mark.parametrize("channels", [2, 4, 5, 8])
def test_images_that_cannot_be_drawn_are_skipped_and_reported(tmp_path: Path, channels: int) -> None:
    x = np.random.default_rng(0).random((2, 6, 6, channels), np.float32)
    grid = ImageGrid(name="many", clean=x, perturbed=x, true=["a", "b"], predicted=["a", "b"])
    by_class = ClassGrid(name="many", classes=("a",), clean=[x], made=[x], predicted=[["", ""]], wrong=[[False, False]])
    relevance = RelevanceMap(name="map", classes=("a", "b"), relevance=x - 0.5)
    experiment = replace(
        demo_experiment(), examples=[grid, by_class, *demo_experiment().examples], localisation=[relevance]
    )
    report = write_report(into(tmp_path), experiment, demo_rows(), demo_holes(), [TABLE])

    message = (
        f"a figure of many is skipped: expected images of 1 or 3 channels, received {channels}; they cannot be drawn"
    )
    assert [warning for warning in report.warnings if "skipped" in warning] == [message]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "examples_pgd-eps-0.1.png", "relevance_map.png", "table_2_by_eps.png", "table_2_heatmap.png",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [RuntimeError("no font"), ValueError(), MemoryError("full")])
def test_failing_figure_does_not_affect_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise error

    monkeypatch.setattr(drawing, "grid_figure", fail)
    monkeypatch.setattr(figures, "_heatmap", fail)
    report = write_report(into(tmp_path), demo_experiment(), demo_rows(), demo_holes(), [TABLE])
    output = str(error) or type(error).__name__
    assert [warning for warning in report.warnings if "skipped" in warning] == [
        f"a figure of table_2_heatmap is skipped: {output}", f"a figure of pgd, eps 0.1 is skipped: {output}"
    ]  # fmt: skip
    assert (tmp_path / "figures" / "table_2_by_eps.png").exists()
    assert "skipped" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_table_that_cannot_be_built_does_not_affect_others(tmp_path: Path) -> None:
    bad = TableSpec(name="bad", source="robustness", metric="accuracy")
    report = write_report(into(tmp_path), demo_experiment(), demo_rows(), (), [bad, TABLE])
    (fault,) = report.table_errors
    assert fault.startswith("table 'bad': ")
    assert "they differ in eps" in fault
    assert not (tmp_path / "bad.csv").exists()
    assert (tmp_path / "table_2.csv").exists()
    assert "they differ in eps" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_results_keep_whole_numbers_whole() -> None:
    lines = csv_files.text(result_rows(demo_rows(), COLUMNS)).splitlines()
    assert (
        lines[1]
        == "demo,,,robustness,mlp,mnist,,accuracy,0.9656,10000,0.9618453046865882,0.9689971160306377,proportion,True,"
    )
    assert lines[2].startswith("demo,0.1,1,robustness,mlp,fgsm,,accuracy,0.3109,10000,")


numbers = st.floats(allow_nan=False, width=64)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)
words = words.filter(
    lambda word: not word.lstrip("'").startswith(tuple("=+-@\t\n＝＋－＠"))
)  # pandas leaves the apostrophe


@given(
    st.lists(
        st.fixed_dictionaries(
            {"value": numbers, "lower": st.none() | numbers, "model": words, "note": words, "n": st.integers(0, 2**31)}
            | {"seed": st.none() | st.integers(0, 2**31), "eps": st.none() | st.floats(0, 1)}
        ),
        min_size=1,
    )
)
def test_results_survive_a_round_trip_bit_by_bit(rows: list[dict[str, Any]]) -> None:
    names = ["value", "lower", "model", "note", "n", "seed", "eps"]
    back = read(csv_files.text(result_rows(rows, names)))
    for name in names:
        for given_row, found in zip(rows, back[name], strict=True):
            assert found == given_row[name] or (pd.isna(found) and given_row[name] in (None, ""))


@pytest.mark.parametrize("axis", ["self", "index", "columns", "axis", "name", "0"])
def test_axis_may_have_any_name(axis: str) -> None:
    rows = [row("mlp", "pgd", 1, eps=None, seed=s) | {axis: a} for s, a in ((1, 3), (2, None))]
    written = csv_files.text(result_rows(rows, columns([axis])))
    assert read(written)[axis].tolist()[0] == 3
    assert f",{axis}" in written.splitlines()[0]
    assert ",3.0" not in written


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([1, None, 2.0], "1  2"),
        ([1, 0.5], "1.0 0.5"),
        ([True, 2], "True 2"),
        (["a", None, "01"], "a  01"),
        ([2**62 + 1], str(2**62 + 1)),
    ],
)
def test_numbers_of_a_column_have_one_format(values: list[Any], written: str) -> None:
    rows = [{"axis": value, "value": 1} for value in values]
    lines = csv_files.text(result_rows(rows, ("axis", "value"))).splitlines()[1:]
    assert lines == [f"{cell},1.0" for cell in written.split(" ")]


def test_model_named_na_survives_a_round_trip() -> None:
    rows = [row("NA", 'a,b\n"c"', 1, eps=None, seed=None)]
    back = read(csv_files.text(result_rows(rows, COLUMNS)))
    assert (back["model"][0], back["examples"][0]) == ("NA", 'a,b\n"c"')


@pytest.mark.parametrize(
    ("name", "expected"), [("pgd, eps 8/255", "pgd-eps-8-255"), ("../up", "..-up"), ("a_b", "a_b")]
)
def test_file_names(name: str, expected: str) -> None:
    assert file_name(name) == expected


def test_long_file_name_is_shortened_to_a_unique_one() -> None:
    long, other = (file_name("x" * 300 + end) for end in ("a", "b"))
    assert len(long) == len(other) == MAX_NAME
    assert long != other
    assert file_name("x" * MAX_NAME) == "x" * MAX_NAME


def test_file_names_are_unique() -> None:
    names = ["a b", "a/b", "A-B", "a-b-2", "c"]
    assert file_names(names) == ["a-b", "a-b-2", "A-B-3", "a-b-2-2", "c"]


def test_smoke_run_is_marked_in_every_publishable_file(tmp_path: Path) -> None:
    for name, smoke in (("real", False), ("smoke", True)):
        experiment = demo_experiment(smoke=smoke)
        write_report(into(tmp_path / name), experiment, demo_rows(), demo_holes(), [TABLE, BY_EPS], demo_expected())
    tables = [path.relative_to(tmp_path / "real") for path in (tmp_path / "real").glob("*.tex")]
    tables += [path.with_suffix(".csv") for path in tables]
    assert len(tables) == 4
    for path in tables:
        watermarked, plain = ((tmp_path / name / path).read_text(encoding="utf-8") for name in ("smoke", "real"))
        assert "SMOKE RUN" in watermarked
        assert "SMOKE" not in plain
    pictures = [path.relative_to(tmp_path / "real") for path in (tmp_path / "real" / "figures").iterdir()]
    assert len(pictures) == 5
    for path in pictures:
        assert reddened(tmp_path / "smoke" / path) > reddened(tmp_path / "real" / path) + 500, path


def reddened(picture: Path) -> int:
    """Return how many pixels of a picture have the colour of the watermark on white."""
    with Image.open(picture) as image:
        red, green, blue = np.asarray(image.convert("RGB"), np.int64).transpose(2, 0, 1)
    return int(((red > green + 60) & (abs(green - blue) < 8)).sum())
