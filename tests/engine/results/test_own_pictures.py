"""A user's own component brings its pictures and its smoke settings with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from temper.core.report_spec import FaultCurves, ImageGrid, RelevanceMap
from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.language.experiment import Experiment
from temper.engine.language.experiment_file import load
from temper.engine.language.smoke_run import shrink
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.results.example_pictures import ExamplePictures
from temper.engine.results.intact_artefacts import IntactArtefacts
from temper.engine.results.model_comparisons import model_comparisons
from temper.engine.storage.digests import Digests
from temper.engine.storage.store import Store
from tests.conftest import PARTS

OWN = '''
"""Components of a user."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np

from temper.core.artefacts import Artefact, ComparedArtefact, Examples
from temper.core.classifier import Classifier
from temper.core.component import Plain, Ref, empty_mapping
from temper.core.families import Localiser
from temper.core.report_spec import FaultCurves, ImageGrid, Picture, PictureContext, RelevanceMap
from temper.core.run import Run


@dataclass(frozen=True, eq=False)
class Heat(Artefact):
    """A number of each class."""

    kind = "own_heat"

    values: np.ndarray

    def save(self, folder: Path) -> None:
        np.save(folder / "values.npy", self.values)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(np.load(folder / "values.npy"))

    def pictures(self, context: PictureContext) -> Iterator[Picture]:
        names = context.class_names(len(self.values))
        yield RelevanceMap(name=context.name, classes=names, relevance=self.values)
        index = np.array([2, 0])
        clean = context.originals(index)
        yield ImageGrid(name=context.name, clean=clean, perturbed=clean, true=names, predicted=["", ""])


class Silent(Heat):
    """An artefact that is not shown."""

    kind = "own_silent"
    pictures = Artefact.pictures


@dataclass(frozen=True, eq=False)
class Counted(ComparedArtefact):
    """A count of each image."""

    kind = "own_counted"

    name: str
    values: np.ndarray

    def save(self, folder: Path) -> None:
        np.save(folder / "values.npy", self.values)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls("counted", np.load(folder / "values.npy"))

    @classmethod
    def comparison(cls, model: str, sets: Mapping[str, Mapping[str, Self]]) -> Iterator[Picture]:
        curves = {label: {name: made.values for name, made in found.items()} for label, found in sets.items()}
        yield FaultCurves(name=model, curves=curves)


@dataclass(frozen=True, kw_only=True)
class Warm(Localiser):
    """Nothing in particular.

    Source: made up for this test.
    """

    tag = "warm"
    produces = Heat
    framework = False

    data: Annotated[Ref[Examples], "images"]
    passes: Annotated[int, "passes over the images"] = 50
    epochs: Annotated[int, "rounds"] = 50
    options: Annotated[Mapping[str, Plain], "numbers"] = empty_mapping()

    @property
    def stochastic(self) -> bool:
        return False

    def smoke_limits(self) -> Mapping[str, int]:
        return {**super().smoke_limits(), "passes": 3}

    def produce(self, run: Run) -> Heat:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Cold(Localiser):
    """Nothing in particular.

    Source: made up for this test.
    """

    tag = "cold"
    produces = Silent
    framework = False

    data: Annotated[Ref[Examples], "images"]

    def produce(self, run: Run) -> Silent:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Counting(Localiser):
    """Nothing in particular.

    Source: made up for this test.
    """

    tag = "counting"
    produces = Counted
    framework = False

    model: Annotated[Ref[Classifier], "the model"]
    examples: Annotated[Ref[Examples], "images"]

    def produce(self, run: Run) -> Counted:
        raise NotImplementedError
'''
FILE = """
name: own
datasets: {grey: {type: plain}}
targets: {mlp: {type: dense, dataset: grey}}
localise:
  warm: {type: warm, data: grey, options: {passes: 9, epochs: 9}}
  cold: {type: cold, data: grey}
  few: {type: warm, data: grey, passes: 2}
  counted: {type: counting, model: mlp, examples: grey}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("own") / "own_pictures"
    folder.mkdir()
    (folder / "warm.py").write_text(OWN.strip() + "\n", encoding="utf-8")
    return discover([PARTS, folder])


@pytest.fixture
def checked(write: Callable[..., Path], own: Catalogue) -> Experiment:
    return load(write(FILE), own)


def test_an_own_artefact_is_shown_as_its_class_says(checked: Experiment, own: Catalogue, tmp_path: Path) -> None:
    graph, store = TaskGraph(checked, Digests(tmp_path / "digests.json")), Store(tmp_path / "store")
    tasks = {task.stage: task for task in graph.tasks.values()}
    data = tasks["grey"].component.produce(SimpleNamespace(images=0))  # type: ignore[arg-type]
    store.publish(tasks["grey"].fingerprint, data, {})
    for name in ("warm", "cold"):
        made = tasks[name].component.produces(np.ones((2, 2, 2, 1)))  # type: ignore[call-arg]
        store.publish(tasks[name].fingerprint, made, {})
    heat, grid = ExamplePictures(checked, graph, IntactArtefacts(store)).of("localise")
    assert isinstance(heat, RelevanceMap)
    assert (heat.name, heat.classes) == ("warm", ["dark", "light"])
    assert isinstance(grid, ImageGrid)
    np.testing.assert_array_equal(grid.clean, data.train.x[data.train.rows_of(np.array([2, 0]))])


def test_own_artefacts_of_a_model_are_compared_as_their_class_says(checked: Experiment, tmp_path: Path) -> None:
    graph, store = TaskGraph(checked, Digests(tmp_path / "digests.json")), Store(tmp_path / "store")
    (task,) = (task for task in graph.tasks.values() if task.stage == "counted")
    store.publish(task.fingerprint, task.component.produces("counted", np.arange(3)), {})  # type: ignore[call-arg]
    (found,) = model_comparisons(graph, IntactArtefacts(store))
    assert isinstance(found, FaultCurves)
    assert found.curves["grey.train"]["counted"].tolist() == [0, 1, 2]


def test_a_smoke_run_reduces_only_the_fields_a_component_lists(checked: Experiment) -> None:
    stages = shrink(checked).stages
    assert stages["warm"].raw["passes"] == 3
    assert stages["warm"].raw["options"] == {"passes": 3, "epochs": 9}
    assert "epochs" not in stages["warm"].raw, "a name alone does not make a parameter a limit"
    assert stages["few"].raw["passes"] == 2
