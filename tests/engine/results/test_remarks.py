"""Remarks of stages on their artefacts, which become warnings of the report, also for cached artefacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]

ODD = """
name: odd
seeds: [1, 2]
datasets: {grey: {type: plain}}
generate: {strange: {type: trouble, data: grey, how: remark}}
evaluate: {shade: {type: shade, examples: [strange]}}
"""


def test_remark_is_a_warning_in_every_report_with_the_artefact(run: Run, write: Write, tmp_path: Path) -> None:
    for text in (ODD, ODD + "description: made before\n"):
        code, output = run(write(text))
        assert code == 0, output
        assert output.count("warning: strange: these images are odd.") == 1
    report = tmp_path / "outputs" / "odd" / "report.html"
    assert report.read_text(encoding="utf-8").count("strange: these images are odd.") == 1


def test_seed_dependent_remark_names_its_task_and_smoke_runs_skip_training_remarks(run: Run, write: Write) -> None:
    code, output = run(write(ODD.replace("how: remark", "how: judged")))
    assert code == 0, output
    assert [line for line in output.splitlines() if line.startswith("warning:")] == [
        f"warning: strange.test seed={seed}: taught nothing with seed {seed}." for seed in (1, 2)
    ]
    code, output = run(write(ODD.replace("how: remark", "how: judged")), "--smoke")
    assert code == 0, output
    assert "taught nothing" not in output
    code, output = run(write(ODD), "--smoke")
    assert "warning: strange: these images are odd." in output
