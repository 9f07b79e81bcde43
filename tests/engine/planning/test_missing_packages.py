"""Missing packages are reported before anything runs, at the line that needs them, and only where a task to run does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from temper.engine.report import report_packages
from temper.system import packages
from tests.conftest import PLAIN
from tests.system.test_packages import without

Run = Callable[..., tuple[int, str]]
Write = Callable[..., Path]

NESTED = """
name: nested
datasets:
  digits: {type: digits}
targets:
  mlp: {type: dense, dataset: digits, layers: 1, units: 4, epochs: 1}
  other: {type: dense, dataset: digits, layers: 1, units: 5, epochs: 1}
generate:
  patched:
    type: fuzzer
    model: mlp
    augmenter:
      type: inpaint
      backend: {type: fill}
      label_policy: preserve
      mask:
        type: otsu
"""
ATTACK = """
name: attack
datasets: {digits: {type: digits}}
targets: {mlp: {type: dense, dataset: digits, layers: 1, units: 4, epochs: 1}}
generate:
  deep:
    {type: art, attack: DeepFool, model: mlp}
"""


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CHECKOUT", None)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def test_a_run_without_a_backend_ends_before_it_begins(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(monkeypatch, "tensorflow", "keras")
    code, message = run(write(NESTED))
    assert code == 2
    assert (
        "experiment.yaml:6: targets.mlp.type: 'dense' needs packages: tensorflow and keras are not installed" in message
    )
    assert 'pip install "temper[tensorflow]" (' in message
    assert not (tmp_path / "outputs" / "nested").exists()


def test_a_plan_is_shown_despite_missing_packages(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tensorflow")
    code, message = run(write(NESTED), "--plan")
    assert code == 0
    assert "to run, 0 cached" in message
    assert "to run it: " in message
    assert "tensorflow is not installed" in message


def test_what_is_nested_is_reported_at_its_own_line(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "skimage")
    message = run(write(NESTED))[1]
    place = "experiment.yaml:17: generate.patched.augmenter.mask.type"
    assert f"{place}: 'otsu' needs packages: skimage is not installed; pip install \"temper[images]\"" in message


def test_one_more_stage_needs_it(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tensorflow")
    text = NESTED.partition("generate:")[0]
    assert "(1 more stage needs it)" in run(write(text))[1]


def test_what_attacks_cannot_be_checked_without_is_reported_with_the_file(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from temper.generators import art_source

    without(monkeypatch, "art")
    for read in (art_source.attacks, art_source.parameters):  # another test may have read them
        read.cache_clear()
    code, message = run(write(ATTACK), "--plan")
    art_source.attacks.cache_clear()
    assert code == 2
    assert 'experiment.yaml:7: generate.deep.attack: art is not installed: pip install "temper[attacks]"' in message


def test_what_is_done_needs_nothing(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(write(PLAIN))[0] == 0
    without(monkeypatch, "tensorflow", "keras", "scipy")
    code, message = run(write(PLAIN))
    assert code == 0
    assert "0 computed" in message


def test_workers_need_dask(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "distributed")
    code, message = run(write(PLAIN), "--jobs", "2")
    assert code == 2
    assert message.startswith('--jobs: distributed is not installed: pip install "temper[cluster]"')


@pytest.mark.parametrize(
    ("absent", "lost", "kept"), [("matplotlib", "figures", "report.html"), ("jinja2", "report.html", "figures")]
)
def test_tables_are_written_without_what_draws_the_report(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, absent: str, lost: str, kept: str
) -> None:
    file, folder = write(PLAIN), tmp_path / "outputs" / "plain"
    without(monkeypatch, absent)
    for arguments in ([], ["--tables"]):
        assert run(file, *arguments)[0] == 0
    assert (
        f'no {lost} can be written: {absent} is not installed: pip install "temper[report]"' in run(file, "--plan")[1]
    )
    assert (folder / "results.csv").exists()
    assert (folder / kept).exists()
    assert not (folder / lost).exists()
    monkeypatch.undo()
    assert report_packages.missing_output() == ""
    run(file, "--tables")
    assert (folder / lost).exists(), "what was missing is written once it is installed"
