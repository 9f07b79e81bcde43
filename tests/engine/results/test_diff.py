"""``--diff``: equal runs do not differ, and damaged results are reported at their line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from temper.core.errors import SpecError
from temper.engine.results.diff import diff
from temper.system import csv_files

HEADER = ("experiment", "eps", "seed", "stage", "model", "metric", "value", "lower", "upper")
Results = Callable[..., Path]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Write a results folder and return it."""

    def results(name: str, *rows: Sequence[csv_files.Cell], header: Sequence[str] = HEADER, resolved: str = "") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "experiment.resolved.yaml").write_text(resolved or "name: it\n", encoding="utf-8")
        (folder / "results.csv").write_bytes(csv_files.encoded([header, *rows]))
        return folder

    return results


def row(
    model: str = "mlp", value: float | None = 0.5, seed: int | None = 1, eps: str = "0.1"
) -> tuple[csv_files.Cell, ...]:
    return ("it", eps, seed, "accuracy", model, "accuracy", value, 0.4, 0.6)


@pytest.mark.parametrize("model", ["NA", "nan", "null", "007", "1.0", "=1+1", "'x", "a, b", "True"])
def test_equal_results_do_not_differ_whatever_the_model_names(results: Results, model: str) -> None:
    rows = [row(model), row(model, seed=None, value=None), row("inf", value=float("inf"))]
    assert list(diff(results("a", *rows), results("b", *rows))) == []


def test_seeds_and_labels_are_shown_as_written(results: Results) -> None:
    before = results("a", row(seed=1), row(seed=None), row("gone"))
    after = results("b", row(seed=1, value=0.7), row(seed=None, value=None), row("NA", value=0.55))
    assert list(diff(before, after)) == [
        "0.1 1 accuracy mlp accuracy: 0.5 → 0.7  (outside the interval)",
        "0.1 accuracy mlp accuracy: 0.5 → undefined",
        "0.1 1 accuracy gone accuracy: 0.5 → missing",
        "0.1 1 accuracy NA accuracy: missing → 0.55",
    ]


def test_axis_of_only_one_run_is_a_label_if_it_has_several_values(results: Results) -> None:
    header = [name for name in HEADER if name != "eps"]
    before = results("a", [cell for cell in row() if cell != "0.1"], header=header)
    assert list(diff(before, results("b", row()))) == []
    assert list(diff(before, results("c", row(), row(eps="0.2")))) == [
        "1 accuracy mlp accuracy: 0.5 → missing",
        "1 accuracy mlp accuracy 0.1: missing → 0.5",
        "1 accuracy mlp accuracy 0.2: missing → 0.5",
    ]


@pytest.mark.parametrize(
    ("content", "expected_text"),
    [
        (b"", "results.csv: there is no column stage and no column metric"),
        (b"\n\n", "results.csv: there is no column stage"),
        (b"\x00\x01\xff\xfe", "results.csv:1: expected a .csv file in UTF-8"),
        (
            b"stage,metric,value,lower,upper\na,b\n",
            "results.csv:2: expected 5 cells, received 2; rewrite the results with --tables",
        ),
        (b"stage,metric,value,lower,upper\na,b,many,,\n", "results.csv:2: expected a number such as 0.5 as value"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_damaged_results_are_reported_at_their_line(
    results: Results, content: bytes, expected_text: str, first: bool
) -> None:
    good, bad = results("good", row()), results("bad", row())
    (bad / "results.csv").write_bytes(content)
    with pytest.raises(SpecError) as error:
        list(diff(bad, good) if first else diff(good, bad))
    assert expected_text in str(error.value)


@pytest.mark.parametrize(
    ("resolved", "expected"), [("a: [", "experiment.resolved.yaml:"), ("- 1", "the file holds a list")]
)
def test_damaged_settings_are_reported(results: Results, resolved: str, expected: str) -> None:
    with pytest.raises(SpecError) as error:
        list(diff(results("good", row()), results("bad", row(), resolved=resolved)))
    assert expected in str(error.value)


@pytest.mark.parametrize("missing", ["results.csv", "experiment.resolved.yaml"])
def test_folder_without_results_is_reported(results: Results, missing: str) -> None:
    good, bad = results("good", row()), results("bad", row())
    (bad / missing).unlink()
    with pytest.raises(SpecError, match="no such file; name two results folders under outputs/"):
        list(diff(good, bad))
