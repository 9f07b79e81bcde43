"""The pictures of what a run's generators made and its localisers found, by the artefacts' own ``pictures``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Artefact, Data, Examples
from temper.core.report_spec import Picture, PictureContext
from temper.engine.language.experiment import Experiment
from temper.engine.language.reference_checks import data_behind
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.results.intact_artefacts import IntactArtefacts

STAGES = 6
"""Stages of a section that are shown, each at the first of its points that is finished."""


class ExamplePictures:
    """The pictures of an experiment as far as the store has what they show."""

    def __init__(self, experiment: Experiment, graph: TaskGraph, sound: IntactArtefacts) -> None:
        self._experiment, self._graph, self._sound = experiment, graph, sound

    def of(self, section: str) -> list[Picture]:
        """Return the pictures of a section's stages, of generators those of their test part."""
        found: list[Picture] = []
        for task in self._first(section):
            with self._sound.showing(task.label):
                if (artefact := self._sound.load(task, task.component.produces)) is not None:
                    found += artefact.pictures(self._context(task))
        return found

    def _context(self, task: Task) -> PictureContext:
        origin = cache(partial(self._origin, task))

        def originals(index: NDArray[np.int64]) -> NDArray[np.float32] | None:
            clean = origin()
            return None if clean is None else np.asarray(clean.x[clean.rows_of(index)])

        return PictureContext(name=task.label, class_names=partial(self._class_names, task), originals=originals)

    def _first(self, section: str) -> Iterator[Task]:
        """Yield the finished tasks to show, of generators their test part."""
        shown: set[str] = set()
        for task in self._graph.tasks.values():
            key = task.label.partition(" ")[0]
            wanted = task.component.section == section and (section != "generate" or task.part == "test")
            wanted = wanted and task.component.produces.pictures is not Artefact.pictures
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

    def _class_names(self, task: Task, count: int) -> list[str]:
        """Return the names of the classes of the data behind a task; their numbers where these are not known."""
        names: tuple[str, ...] = ()
        if (name := data_behind(self._experiment, task.stage, task.point)) is not None:
            names = self._experiment.info(name, task.point).class_names
        return list(names) if len(names) >= count else [str(label) for label in range(count)]
