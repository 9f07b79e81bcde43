"""Runs, plans and results from Python: the same as the command line's, in objects."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import temper
from temper.api import run_results
from temper.artefacts.rankings import NeuronRanking
from temper.core.artefacts import Data, Examples
from temper.core.classifier import Classifier
from temper.engine.running.engine import NoWorkers
from temper.engine.running.session import Session
from temper.system import installation, stop_request
from tests.conftest import PARTS, PLAIN, ROOT, tables

TABLES = """
localise:
  blamed: {type: blame, data: grey}
tables:
  by_level: {from: shade, rows: by, columns: examples}
  deep: {from: shade, rows: [examples, metric], columns: [by, seed], where: {examples: [grey, random]}}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file and the folder of its results, run once."""
    folder = tmp_path_factory.mktemp("python")
    file = folder / "plain.yaml"
    file.write_text(PLAIN + TABLES, encoding="utf-8")
    temper.run(file, outputs=folder / "outputs", components=[PARTS])
    return file, folder / "outputs" / "plain"


@pytest.fixture
def results(done: tuple[Path, Path]) -> Any:
    return temper.open(done[1])


def test_importing_temper_imports_nothing_heavy() -> None:
    probe = (
        "import sys, temper; dir(temper); temper.SpecError; assert not hasattr(temper, 'nothing')\n"
        "print({'numpy', 'pandas', 'keras', 'tensorflow', 'yaml', 'rich', 'jsonschema'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_name_of_the_module_is_there_and_documented() -> None:
    for name in temper.__all__:
        assert getattr(temper, name).__doc__
    assert [name for name in dir(temper) if not name.startswith("_")] == sorted(temper.__all__)


def test_the_version_is_that_of_the_package() -> None:
    assert temper.__version__ == installation.version()


@pytest.mark.parametrize(
    ("call", "absent", "message"),
    [
        (lambda results: results.frame, "pandas", r"results\.frame: pandas is not installed: pip install .*\[report\]"),
        (lambda results: results.table("by_level"), "pandas", r"results\.table: pandas is not installed: pip install "),
        (lambda results: results.load("grey"), "keras", r"results\.load\('grey'\): keras is not installed: pip "),
    ],
)
def test_a_missing_package_is_named_with_its_command(
    results: Any, monkeypatch: pytest.MonkeyPatch, call: Callable[[Any], Any], absent: str, message: str
) -> None:
    monkeypatch.setattr(run_results, "artefact_class", lambda *_: Classifier)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == absent else find(name, *more))
    with pytest.raises(temper.SpecError, match=message):
        call(results)


def test_a_run_writes_what_the_command_line_writes_and_prints_nothing(
    run: Callable[..., tuple[int, str]], done: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = temper.run(done[0], outputs=tmp_path / "python", components=[PARTS])
    assert capsys.readouterr() == ("", "")
    assert run(done[0])[0] == 0
    assert tables(found.folder) == tables(tmp_path / "outputs" / "plain")
    assert found.failures == []


def test_a_run_in_another_thread_is_the_same(done: tuple[Path, Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(temper.run, done[0], outputs=tmp_path, components=[PARTS], only="grey").result()
    assert len(found.load("grey").test) == 6


def test_a_run_that_was_asked_to_stop_ends_as_an_interrupt(
    done: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(session: Session, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Session, "run", stop)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        temper.run(done[0], outputs=tmp_path, components=[PARTS])
    assert signal.getsignal(signal.SIGTERM) is before
    assert not stop_request.requested()


def test_progress_is_reported_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    temper.run(yaml.safe_load(PLAIN), outputs=tmp_path, components=[PARTS], progress=True)
    said = capsys.readouterr()
    assert "writing tables" in said.err
    assert not said.out


def test_overrides_seeds_and_stages_are_those_of_the_command_line(done: tuple[Path, Path], tmp_path: Path) -> None:
    settings: Any = {"set": {"axes.by": (np.float64(0.3),), "datasets.grey.images": 4}, "seeds": [5], "name": "other"}
    found = temper.run(done[0], outputs=tmp_path, components=[PARTS], only=["random", "grey"], **settings)
    assert found.folder == tmp_path / "other"
    resolved = yaml.safe_load((found.folder / "experiment.resolved.yaml").read_text(encoding="utf-8"))
    assert (resolved["axes"], resolved["seeds"], resolved["datasets"]["grey"]["images"]) == ({"by": [0.3]}, [5], 4)
    assert len(found.load("random")) == 4
    assert len(found.frame) == 0


def test_a_shard_computes_what_others_have_not(done: tuple[Path, Path], tmp_path: Path) -> None:
    found = temper.run(done[0], outputs=tmp_path, components=[PARTS], shard="2/3", seeds=np.array([1, 2]))
    assert (found.folder / "log-2-of-3.txt").is_file()
    pd.testing.assert_frame_equal(found.frame, temper.open(done[1]).frame)


def test_workers_that_are_gone_end_a_run_with_advice(
    done: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise NoWorkers("no worker is left")

    monkeypatch.setattr(Session, "run", gone)
    with pytest.raises(temper.StageError, match=r"no worker is left. What was finished is kept: run it again"):
        temper.run(done[0], outputs=tmp_path, components=[PARTS])


def test_a_plan_says_what_would_run(done: tuple[Path, Path], tmp_path: Path) -> None:
    fresh = temper.plan(done[0], outputs=tmp_path / "new", components=[PARTS], only="grey")
    assert fresh.frame.to_dict("records") == [
        {"stage": "grey", "task": "grey", "state": "run", "reason": "never run", "seconds": None}
    ]
    assert "1 to run, 0 cached" in str(fresh)
    assert not (tmp_path / "new" / "plain").exists()
    again = temper.plan(done[0], outputs=done[1].parent, components=[PARTS])
    assert set(again.frame["state"]) == {"cached"}


def test_the_frame_has_numbers_as_numbers(results: Any) -> None:
    frame = results.frame
    lighter = frame[frame["examples"] == "lighter"]
    assert sorted(lighter["by"].unique()) == [0.1, 0.2]
    assert frame["value"].dtype == "float64"
    assert str(frame["seed"].dtype) == "Int64"
    assert set(frame["seed"].dropna()) == {1, 2}
    assert lighter["seed"].isna().all()
    assert (frame["n"] == 6).all()


def test_a_table_is_indexed_by_its_levels(results: Any) -> None:
    table = results.table("by_level")
    assert table.index.name == "by"
    assert list(table.index) == [0.1, 0.2]
    assert (table.columns.name, list(table.columns)) == ("examples", ["grey", "lighter", "random"])
    numbers = results.table("by_level", numbers=True)
    rows = results.frame.query("examples == 'lighter' and by == 0.2")
    assert numbers.loc[0.2, "lighter"] == pytest.approx(rows["value"].iloc[0], rel=1e-3)
    assert table.loc[0.1, "random"].startswith(f"{numbers.loc[0.1, 'random']:.4g}"[:4])
    assert "±" in table.loc[0.1, "random"]


def test_a_table_of_several_levels_has_them_all(results: Any) -> None:
    table = results.table("deep", numbers=True)
    assert table.index.names == ["examples", "metric"]
    assert table.columns.names == ["by", "seed"] or table.columns.nlevels == 2
    for seed in (1, 2):
        one = results.frame.query("examples == 'random' and seed == @seed")["value"].iloc[0]
        cell = table.xs("random", level="examples").xs(seed, axis=1, level="seed").to_numpy().ravel()
        assert cell == pytest.approx(one, rel=1e-3)


def test_what_stages_made_is_loaded(results: Any) -> None:
    data, grey = results.load("grey"), results.load("grey", part="train")
    assert isinstance(data, Data)
    np.testing.assert_array_equal(grey.x, data.train.x)
    lighter = results.load("lighter", by=0.2, seed=2)  # it does not depend on the seed
    assert isinstance(lighter, Examples)
    np.testing.assert_allclose(lighter.x, np.clip(data.test.x + 0.2, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(results.load("lighter", by="1/5").x, lighter.x)
    first, second = (results.load("random", seed=seed).x for seed in (1, 2))
    assert not np.array_equal(first, second)
    assert isinstance(results.load("blamed"), NeuronRanking)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "ligher"}, "no stage 'ligher' made anything that can be loaded; did you mean 'lighter'"),
        ({"stage": "shade"}, "no stage 'shade' made anything that can be loaded"),
        ({"stage": "lighter"}, r"'lighter' made 2 artefacts; choose by by \(0.1, 0.2\)"),
        ({"stage": "random"}, r"'random' made 2 artefacts; choose by seed \(1, 2\)"),
        ({"stage": "random", "seed": 3}, "'random' was not made at seed 3; there is 1, 2"),
        ({"stage": "random", "sed": 1}, "there is no axis 'sed'; did you mean 'seed'"),
        ({"stage": "random", "part": "train", "seed": 1}, "'random' was not made with part train; there is test"),
        ({"stage": "random", "part": "all", "seed": 1}, "expected a part of train, validation, test, received 'all'"),
        ({"stage": "random", "against": "m", "seed": 1}, "'random' was not made with against m"),
        ({"stage": "blamed", "part": "test"}, "'blamed' of localise: has no parts"),
    ],
)
def test_what_cannot_be_loaded_is_said(results: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(temper.SpecError, match=message):
        results.load(**arguments)


def test_a_moved_folder_keeps_its_numbers_and_says_what_it_lost(done: tuple[Path, Path], tmp_path: Path) -> None:
    moved = shutil.copytree(done[1], tmp_path / "moved")
    results = temper.open(moved)
    pd.testing.assert_frame_equal(results.frame, temper.open(done[1]).frame)
    assert list(results.table("by_level").index) == [0.1, 0.2]
    with pytest.raises(
        temper.SpecError, match=r"blamed is not here: there is no store at .*temper.open\(folder, store="
    ):
        results.load("blamed")
    store = done[1].parent / ".store"
    assert isinstance(temper.open(moved, store=store).load("blamed"), NeuronRanking)
    (tmp_path / "empty").mkdir()
    with pytest.raises(temper.SpecError, match=r"blamed is not in .*unfinished, failed, or removed by --gc"):
        temper.open(moved, store=tmp_path / "empty").load("blamed")


@pytest.mark.parametrize("name", ["provenance.json", "experiment.resolved.yaml", "by_level.csv"])
def test_a_file_that_is_missing_is_named(name: str, done: tuple[Path, Path], tmp_path: Path) -> None:
    moved = shutil.copytree(done[1], tmp_path / "moved")
    (moved / name).unlink()
    results = temper.open(moved)
    with pytest.raises(temper.SpecError, match=rf"{name}: there is no such file in the results folder"):
        results.load("blamed") if name == "provenance.json" else results.table("by_level")


def test_results_of_an_older_version_say_so(done: tuple[Path, Path], tmp_path: Path) -> None:
    moved = shutil.copytree(done[1], tmp_path / "moved")
    (moved / "provenance.json").write_text('{"experiment": "plain"}', encoding="utf-8")
    with pytest.raises(temper.SpecError, match="does not say where artefacts are"):
        temper.open(moved).load("blamed")
    (moved / "results.csv").write_text("stage,metric\nshade,mean\n", encoding="utf-8")
    with pytest.raises(temper.SpecError, match="there is no column model"):
        _ = temper.open(moved).frame


def test_a_folder_without_results_is_refused(done: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(temper.SpecError, match=r"outputs: holds no results.csv; .* holds those of plain"):
        temper.open(done[1].parent)
    with pytest.raises(temper.SpecError, match=r"plane: is no folder; .* holds those of plain"):
        temper.open(done[1].parent / "plane")
    with pytest.raises(temper.SpecError, match=r"holds no results.csv; name the results folder of a run"):
        temper.open(tmp_path)


def test_a_table_that_is_not_there_is_refused(results: Any) -> None:
    assert results.tables == ["shade", "by_level", "deep"]
    with pytest.raises(temper.SpecError, match="there is no table 'by_lvel'; did you mean 'by_level'"):
        results.table("by_lvel")
    assert "tables shade, by_level, deep" in repr(results)


def test_a_stage_that_fails_is_in_the_failures(tmp_path: Path) -> None:
    experiment = yaml.safe_load(PLAIN)
    experiment["generate"]["broken"] = {"type": "trouble", "data": "grey", "how": "raise"}
    found = temper.run(experiment, outputs=tmp_path, components=[PARTS])
    (failure,) = found.failures
    assert failure["stage"] == "broken"
    assert failure["cause"] == "RuntimeError: asked to fail"
    assert failure["seconds"] >= 0
    with pytest.raises(temper.SpecError, match=r"broken.test is not in .*unfinished, failed"):
        found.load("broken")


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"name": None}, {}, "experiment: expected a name"),
        ({"seeds": [1, "two"]}, {}, r"^experiment: seeds\[1\]: "),
        ({"axes": {"by": [object()]}}, {}, "experiment: expected plain values"),
        ({}, {"set": {"axes.by": float("nan")}}, "set axes.by: expected plain values"),
        ({}, {"set": {"generate.lighter": {"type": "shft"}}}, "did you mean 'shift'"),
        ({}, {"only": "grye"}, "only: no stage is called 'grye'; did you mean 'grey'"),
        ({}, {"force": ["nothing"]}, "force: no stage is called 'nothing'"),
        ({}, {"jobs": 0}, "jobs: expected a whole number from 1, received"),
        ({}, {"seeds": [1, 1]}, "seeds: expected different whole numbers"),
        ({}, {"components": ["nowhere"]}, "no such folder"),
        ({}, {"seeds": [1, 1]}, r"seeds: expected different whole numbers, received \[1, 1\]"),
        ({}, {"seeds": 3}, "seeds: expected a list of whole numbers, received 3"),
        ({}, {"set": ["axes.by=1"]}, r"set: expected a mapping such as .* received \['axes.by=1'\]"),
        ({}, {"only": [1]}, r"only: expected names of stages, received \[1\]"),
        ({}, {"on": "slum"}, "^on: there is no cluster file 'slum'; did you mean 'slurm'"),
        ({}, {"on": "slurm", "jobs": 2}, "on: a cluster file states its own workers; leave jobs and gpus out"),
        ({}, {"gpus": 2}, "^gpus: expected at most the 1 workers, received 2"),
        ({}, {"shard": "3/2"}, "shard: expected K/N with K from 1 to N, such as 2/8, received '3/2'"),
    ],
)
def test_a_wrong_experiment_is_refused_before_any_work(
    change: dict[str, Any], arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    experiment = yaml.safe_load(PLAIN) | change
    with pytest.raises(temper.SpecError, match=message):
        temper.run(experiment, **{"outputs": tmp_path, "components": [PARTS], **arguments})
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_said_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(temper.SpecError, match=r"nothing.yaml"):
        temper.plan(tmp_path / "nothing.yaml")
