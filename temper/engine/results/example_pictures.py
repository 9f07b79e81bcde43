"""What of a run there is to look at: examples of its generators, and what localisation found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from temper.artefacts.rankings import NeuronRanking, PixelRanking
from temper.artefacts.regression_faults import RegressionFaults
from temper.core.artefacts import Artefact, Data, Examples
from temper.core.attack import PER_CLASS, SHOWN
from temper.core.report_spec import ClassGrid, DirectionGrid, ImageGrid, LayerMap, RelevanceMap
from temper.engine.language.experiment import Experiment
from temper.engine.language.reference_checks import data_behind
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.results.intact_artefacts import IntactArtefacts

DIRECTIONS = 8
"""Directions of faults that are shown, the most frequent ones."""
STAGES = 6
"""Stages of a section that are shown, each at the first of its points that is finished."""


class ExamplePictures:
    """The pictures of an experiment as far as the store has what they show."""

    def __init__(self, experiment: Experiment, graph: TaskGraph, sound: IntactArtefacts) -> None:
        self._experiment, self._graph, self._sound = experiment, graph, sound

    def examples(self) -> list[ImageGrid | ClassGrid]:
        """Return grids for the test part of each generator: its first images and some of each class, or its directions of faults."""
        grids: list[ImageGrid | ClassGrid] = []
        for task in self._first("generate"):
            with self._sound.showing(task.label):
                grids += self._made_by(task)
        return grids

    def localisation(self) -> list[RelevanceMap | LayerMap]:
        """Return a map for each localiser."""
        maps: list[RelevanceMap | LayerMap] = []
        for task in self._first("localise"):
            with self._sound.showing(task.label):
                maps += self._found_by(task)
        return maps

    def _made_by(self, task: Task) -> list[ImageGrid | ClassGrid]:
        if (clean := self._origin(task)) is None:
            return []
        faulty = issubclass(task.component.produces, RegressionFaults)
        made = self._sound.load(task, RegressionFaults if faulty else Examples)
        if made is None or not len(made):
            return []
        if isinstance(made, RegressionFaults):
            return [self._by_direction(task, made, clean)]
        return [self._first_images(task, made, clean), self._by_class(task, made, clean)]

    def _found_by(self, task: Task) -> Iterator[RelevanceMap | LayerMap]:
        kind: type[Artefact] = task.component.produces
        found = self._sound.load(task, kind)
        if isinstance(found, PixelRanking):
            names = self._class_names(task, len(found.relevance))
            yield RelevanceMap(name=task.label, classes=names, relevance=found.relevance)
        elif isinstance(found, NeuronRanking):
            count = len(found.scores)
            layers = [(layer.name, layer.units) for layer in found.layers]
            selected = [found.units_of(label).tolist() for label in range(count)]
            yield LayerMap(
                name=task.label,
                classes=self._class_names(task, count),
                layers=layers,
                scores=found.scores,
                selected=selected,
            )

    def _first(self, section: str) -> Iterator[Task]:
        """Yield the finished tasks to show, of generators their test part."""
        shown: set[str] = set()
        for task in self._graph.tasks.values():
            key = task.label.partition(" ")[0]
            wanted = task.component.section == section and (section != "generate" or task.part == "test")
            if wanted and key not in shown and len(shown) < STAGES and self._sound.has(task):
                shown.add(key)
                yield task

    def _origin(self, task: Task) -> Examples | None:
        """Return the images that a generator started from, each once; ``None`` where they are not there."""
        source = task.inputs.get(str(getattr(task.component, "data", None)))
        if source is None:
            return None
        origin = self._graph.tasks[source.fingerprint]
        if source.part is not None:
            data = self._sound.load(origin, Data)
            return None if data is None else data.part(source.part)
        images = self._sound.load(origin, Examples)
        if images is None:
            return None
        # Of several made of one image none is what another was made of.
        once = len(np.unique(images.index)) == len(images)
        return images if once else self._origin(origin)

    def _by_class(self, task: Task, made: Examples, clean: Examples) -> ClassGrid:
        labels = np.unique(made.y)
        names = self._names_in(task, made)
        chosen = [np.flatnonzero(made.y == label)[:PER_CLASS] for label in labels]
        predicted = [[_said(made, row) for row in rows] for rows in chosen]
        return ClassGrid(
            name=task.label,
            classes=[names[label] for label in labels],
            clean=[np.asarray(clean.x[clean.rows_of(made.index[rows])]) for rows in chosen],
            made=[np.asarray(made.x[rows]) for rows in chosen],
            predicted=[[_named(names, said) for said in row] for row in predicted],
            wrong=[[said not in (None, label) for said in row] for label, row in zip(labels, predicted, strict=True)],
        )

    def _by_direction(self, task: Task, made: RegressionFaults, clean: Examples) -> DirectionGrid:
        pairs, counts = np.unique(np.stack([made.v1, made.v2]), axis=1, return_counts=True)
        names = self._class_names(task, int(pairs.max()) + 1)
        frequent = np.argsort(-counts, kind="stable")[:DIRECTIONS]
        chosen = [_spread(made, pairs[:, direction]) for direction in frequent]
        return DirectionGrid(
            name=task.label,
            classes=[
                f"{names[old]} → {names[new]} ({count:,})"
                for (old, new), count in zip(pairs.T[frequent], counts[frequent], strict=True)
            ],
            clean=[np.asarray(clean.x[clean.rows_of(made.index[rows])]) for rows in chosen],
            made=[np.asarray(made.x[rows]) for rows in chosen],
            predicted=[[names[label] for label in made.v2[rows]] for rows in chosen],
            wrong=[[True] * len(rows) for rows in chosen],
        )

    def _first_images(self, task: Task, made: Examples, clean: Examples) -> ImageGrid:
        take, names = slice(0, SHOWN), self._names_in(task, made)
        return ImageGrid(
            name=task.label,
            clean=np.asarray(clean.x[clean.rows_of(made.index[take])]),
            perturbed=np.asarray(made.x[take]),
            true=[names[label] for label in made.y[take]],
            predicted=[_named(names, _said(made, row)) for row in range(len(made.y[take]))],
        )

    def _names_in(self, task: Task, made: Examples) -> list[str]:
        """Return the names of the classes that images have, or are taken for."""
        said = map(int, made.info.get("predicted", {}).values())
        return self._class_names(task, max(int(made.y.max()), *said, 0) + 1)

    def _class_names(self, task: Task, count: int) -> list[str]:
        """Return the names of the classes of the data behind a work; their numbers where these are not known."""
        names: tuple[str, ...] = ()
        if (name := data_behind(self._experiment, task.stage, task.point)) is not None:
            names = self._experiment.info(name, task.point).class_names
        return list(names) if len(names) >= count else [str(label) for label in range(count)]


def _spread(made: RegressionFaults, pair: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a few rows of one direction, of different images, from the first found to the last."""
    rows = np.flatnonzero((made.v1 == pair[0]) & (made.v2 == pair[1]))
    first = np.sort(rows[np.unique(made.index[rows], return_index=True)[1]])
    evenly = np.unique(np.linspace(0, len(first) - 1, PER_CLASS).round().astype(int))
    return np.asarray(first[evenly])


def _named(names: Sequence[str], label: int | None) -> str:
    return "" if label is None else names[label]


def _said(made: Examples, row: int) -> int | None:
    """Return the class that the attacked model gave an image, ``None`` where it was not asked."""
    label = made.info.get("predicted", {}).get(str(row))
    return None if label is None else int(label)
