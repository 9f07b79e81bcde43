"""Published numbers beside ours: which lines meet which numbers, what is refused, and the files of the experiments."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from temper.core.artefacts import Row
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.core.run import MeasuredValue, Run
from temper.evaluation.published import Published
from tests.conftest import ROOT

COUNTS: Any = Ref("counts")
LINES = "scenario,tool,examples,metric,value,source\n"
TWO = LINES + "SUPPLY,1,DRFuzz,urf,8767,Table 1\nPRUNE,1,DRFuzz,urf,9071,Table 1\nSUPPLY,1,DiffChaser,urf,1185,\n"


def row(metric: str = "urf", examples: str = "drfuzz", value: float = 100, group: str = "", **values: Any) -> Row:
    return Row(
        metric=metric, value=value, n=60, unit="count", higher_is_better=None, examples=examples, group=group, **values
    )


def published(folder: Path, text: str = TWO, **values: Any) -> Published:
    path = folder / "published.csv"
    path.write_text(text, encoding="utf-8")
    defaults = {"of": COUNTS, "file": str(path), "where": {"scenario": "SUPPLY"}, "names": {"drfuzz": "DRFuzz"}}
    return Published(**(defaults | values))


def measure(evaluation: Published, rows: Sequence[Row], **point: Any) -> list[Row]:
    run = Run(
        "it", 1, None, lambda ref: None, lambda ref: {}, lambda done, total, unit: None,
        gather=lambda ref: [MeasuredValue(one, point) for one in rows],
    )  # fmt: skip
    return list(evaluation.measure(run))


def test_numbers_stand_side_by_side(tmp_path: Path) -> None:
    rows = measure(published(tmp_path), [row(lower=90.0, upper=110.0, note="ours"), row(examples="random"), row("rfi")])
    said = [(r.examples, r.group, r.metric, r.value, r.unit) for r in rows]
    assert said == [
        ("drfuzz", "urf", "measured", 100, "count"),
        ("drfuzz", "urf", "published", 8767, "count"),
        ("drfuzz", "urf", "ratio", 100 / 8767, "ratio"),
        ("random", "urf", "measured", 100, "count"),
    ]
    assert [(r.n, r.lower, r.upper, r.note) for r in rows[:2]] == [
        (60, 90.0, 110.0, "ours"),
        (0, None, None, "Table 1"),
    ]


def test_an_axis_chooses_the_line(tmp_path: Path) -> None:
    rows = measure(published(tmp_path, where={}), [row()], scenario="PRUNE")
    assert [r.value for r in rows if r.metric == "published"] == [9071]


def test_group_numbers_are_omitted_and_zeros_and_differences_have_no_ratio(tmp_path: Path) -> None:
    text = LINES + "SUPPLY,1,DRFuzz,urf,0,\n"
    rows = measure(published(tmp_path, text), [row(group="blur"), row()])
    assert [(r.metric, r.value) for r in rows] == [("measured", 100), ("published", 0)]
    change = Row(metric="urf", value=1.0, n=9, unit="percentage points", higher_is_better=True, examples="drfuzz")
    assert [r.metric for r in measure(published(tmp_path), [change])] == ["measured", "published"]


def test_several_lines_for_one_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="2 lines match 'urf' of 'drfuzz'; select one with `where`"):
        measure(published(tmp_path, where={}), [row()])


def test_of_a_value_of_an_axis_that_was_not_published_there_are_our_numbers_alone(tmp_path: Path) -> None:
    rows = measure(published(tmp_path, where={}), [row()], scenario="QUANTISED")
    assert [(r.metric, r.value) for r in rows] == [("measured", 100)]


def test_a_file_of_other_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match="no line has the labels of a number of 'counts'; set their spelling in the file with `names`"
    ):
        measure(published(tmp_path, names={}), [row("urf")])


@pytest.mark.parametrize(
    ("text", "where", "field", "said"),
    [
        (TWO, {"scenaro": 1}, "where", "the file has no column 'scenaro'; did you mean 'scenario'?"),
        (TWO, {"scenario": "FIXING"}, "where", "none of the 3 lines of the file has these values"),
        ("metric,worth\n", {}, "file", "there is no column value; expected metric, value, received metric, worth"),
        ("metric,value\nurf,many\n", {}, "file", ":2: expected a number such as 0.5 as value, received 'many'"),
        ("metric,value\nurf\n", {}, "file", ":2: expected 2 cells, received 1"),
    ],
)
def test_what_is_wrong_is_said_before_it_runs(tmp_path: Path, text: str, where: Any, field: str, said: str) -> None:
    ((where_said, message),) = published(tmp_path, text, where=where).check()
    assert where_said == field
    assert said in message


def test_a_number_chooses_like_its_text(tmp_path: Path) -> None:
    assert not list(published(tmp_path, where={"tool": 1, "scenario": "PRUNE"}).check())


def test_the_published_tables_add_up_to_the_published_ratios() -> None:
    """DRFuzz's abstract: 1,177 % and 539 % more distinct faults than DiffChaser and DeepHunter, of twenty subjects."""
    evaluation = Published(of=COUNTS, file=str(ROOT / "experiments" / "published" / "drfuzz_rq1.csv"))
    totals: dict[str, float] = {}
    for subject in range(1, 21):
        one = Published(of=COUNTS, file=evaluation.file, where={"id": subject})
        for tool in ("drfuzz", "deephunter", "diffchaser"):
            (number,) = [r.value for r in measure(one, [row(examples=tool)]) if r.metric == "published"]
            totals[tool] = totals.get(tool, 0) + number
    assert totals["drfuzz"] / totals["diffchaser"] == pytest.approx(12.77, abs=0.005)
    assert totals["drfuzz"] / totals["deephunter"] == pytest.approx(6.39, abs=0.005)


def test_the_published_retrainings_have_the_means_that_were_taken_of_them() -> None:
    """Means over twenty subjects of a version retrained on DRFuzz's faults, on those of each tool, and its change on clean images."""
    path = ROOT / "experiments" / "published" / "drfuzz_rq3.csv"
    assert not list(Published(of=COUNTS, file=str(path)).check())
    with path.open(encoding="utf-8-sig") as stream:
        lines = [line for line in csv.DictReader(stream) if line["model"] == "drfuzz"]
    means = {
        name: fmean(float(line["value"]) for line in lines if line["examples"] == name)
        for name in ("drfuzz", "deephunter", "diffchaser", "clean")
    }
    assert means == pytest.approx({"drfuzz": 0.826, "deephunter": 0.713, "diffchaser": 0.715, "clean": 0.98}, abs=0.006)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metric,value,value\nurf,1,2\n", "expected columns of different names, received 'value' twice"),
        ("metric,value\nurf,nan\n", "expected a finite number as value, received nan"),
        ("metric,value\nurf,inf\n", "expected a finite number as value, received inf"),
    ],
)
def test_files_that_say_two_things_or_none_are_a_fault(tmp_path: Path, text: str, said: str) -> None:
    ((field, message),) = published(tmp_path, text, where={}).check()
    assert field == "file"
    assert said in message


def test_a_percentage_is_no_share(tmp_path: Path) -> None:
    evaluation = published(tmp_path, "\ufeffmetric,value\naccuracy,97.5\n", where={}, names={})
    assert list(evaluation.check()) == []
    share = Row.proportion("accuracy", 9, 10, higher_is_better=True)
    with pytest.raises(StageError, match=r"expected a share in \[0, 1\] as value of 'accuracy', received 97.5"):
        measure(evaluation, [share])
