"""Pictures of a run: examples of generators, and localisation results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from temper.artefacts.rankings import PixelRanking
from temper.core.report_spec import ClassGrid, ImageGrid, LayerMap, RelevanceMap
from temper.engine.language.experiment import Experiment
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.results.example_pictures import ExamplePictures
from temper.engine.results.intact_artefacts import IntactArtefacts
from temper.engine.storage.digests import Digests
from temper.engine.storage.store import Store
from tests.conftest import PLAIN

SHOWN = PLAIN.replace("generate:", "localise:\n  blamed: {type: blame, data: grey}\ngenerate:")


def test_report_shows_examples_and_localisation(
    run: Callable[..., tuple[int, str]],
    write: Callable[..., Path],
    experiment: Callable[..., Experiment],
    tmp_path: Path,
) -> None:
    code, output = run(write(SHOWN))
    assert code == 0, output
    figures = {path.stem for path in (tmp_path / "outputs" / "plain" / "figures").iterdir()}
    assert figures >= {
        "units_blamed", "examples_lighter.test-by-0.1", "classes_lighter.test-by-0.1", "classes_random.test-seed-1",
    }  # fmt: skip
    page = (tmp_path / "outputs" / "plain" / "report.html").read_text(encoding="utf-8")
    assert '<a href="#localisation">' in page
    assert "blamed: score of each unit" in page

    store = Store(tmp_path / "outputs" / ".store")
    pictures = ExamplePictures(
        experiment(SHOWN), TaskGraph(experiment(SHOWN), Digests(store.root / "digests.json")), IntactArtefacts(store)
    )
    (blamed,) = pictures.of("localise")
    assert isinstance(blamed, LayerMap)
    assert (blamed.layers, blamed.classes, blamed.selected) == (
        [("conv", 3), ("dense", 2)],
        ["dark", "light"],
        [[0], []],
    )
    grid = next(grid for grid in pictures.of("generate") if isinstance(grid, ClassGrid))
    assert grid.classes == ["dark", "light"]
    first = next(grid for grid in pictures.of("generate") if isinstance(grid, ImageGrid))
    assert first.true == ["dark"] * 3 + ["light"] * 3
    assert [len(images) for images in grid.made] == [3, 3]
    np.testing.assert_allclose(grid.made[0] - grid.clean[0], 0.1, atol=1e-6)
    assert grid.predicted == [[""] * 3] * 2


def test_damaged_artefacts_are_skipped_and_reported(
    run: Callable[..., tuple[int, str]], write: Callable[..., Path], tmp_path: Path
) -> None:
    """One byte of an image has changed, which tables do not depend on."""
    path = write(SHOWN)
    run(path)
    store = tmp_path / "outputs" / ".store"
    (spoilt,) = (
        meta.parent / "x.npy"
        for meta in store.glob("*/meta.json")
        if json.loads(meta.read_text(encoding="utf-8"))["label"] == "lighter.test by=0.1"
    )
    content = bytearray(spoilt.read_bytes())
    content[-1] ^= 1
    spoilt.chmod(0o644)
    spoilt.write_bytes(content)
    (tmp_path / "outputs" / "plain" / ".report.json").unlink()
    code, output = run(path, "--tables")
    assert code == 0, output
    assert "lighter.test by=0.1: the stored artefact is corrupted and not shown; --force recomputes it" in output
    page = (tmp_path / "outputs" / "plain" / "report.html").read_text(encoding="utf-8")
    assert "examples_lighter.test-by-0.2" not in page


@pytest.mark.parametrize(
    "broken",
    [
        "temper.core.artefacts.Examples.pictures",
        "temper.engine.results.example_pictures.ExamplePictures._class_names",
    ],
)
def test_failing_pictures_are_skipped_and_reported(
    run: Callable[..., tuple[int, str]],
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    def fail(*arguments: object) -> None:
        raise IndexError("class 7 of 2")

    monkeypatch.setattr(broken, fail)
    code, output = run(write(SHOWN))
    assert code == 0, output
    assert "lighter.test by=0.1: its pictures are skipped: class 7 of 2" in output
    assert (tmp_path / "outputs" / "plain" / "shade.csv").exists()


def test_unfinished_tasks_have_no_pictures(experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    pictures = ExamplePictures(
        experiment(SHOWN), TaskGraph(experiment(SHOWN), Digests(tmp_path / "digests.json")), IntactArtefacts(store)
    )
    assert pictures.of("generate") == []
    assert pictures.of("localise") == []


def test_classes_have_the_names_of_the_data_set(experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    checked = experiment("""
        datasets: {grey: {type: plain}}
        targets: {mlp: {type: dense, dataset: grey}}
        localise: {lrp: {type: relevance, model: mlp}}
    """)
    store = Store(tmp_path / "store")
    graph = TaskGraph(checked, Digests(tmp_path / "digests.json"))
    task = next(task for task in graph.tasks.values() if task.stage == "lrp")
    store.publish(task.fingerprint, PixelRanking(np.ones((2, 2, 2, 1))), {})
    (found,) = ExamplePictures(checked, graph, IntactArtefacts(store)).of("localise")
    assert isinstance(found, RelevanceMap)
    assert found.classes == ["dark", "light"]
