"""Collects a run's results from the store for the report: tidy rows, missing cells, costs, pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from temper.core.artefacts import Results
from temper.core.attack import Attack
from temper.core.component import Plain
from temper.core.dataset import Dataset
from temper.core.families import Evaluation
from temper.core.report_spec import ReportedExperiment
from temper.engine.language.axis_points import SEED
from temper.engine.language.experiment import Experiment as Checked
from temper.engine.language.resolved_experiment import resolved
from temper.engine.planning.cell_index import Result
from temper.engine.planning.history import Failures
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.report.report_warnings import STRENGTHS
from temper.engine.results.example_pictures import ExamplePictures
from temper.engine.results.intact_artefacts import IntactArtefacts
from temper.engine.results.model_comparisons import model_comparisons
from temper.engine.running.out_of_memory import changes_in_words
from temper.engine.storage.store import Damaged, Store
from temper.system.traversal import reachable


class Collection:
    """The results of an experiment that are in the store."""

    def __init__(self, experiment: Checked, graph: TaskGraph, store: Store) -> None:
        self._experiment, self._graph, self._store = experiment, graph, store
        self._failed = Failures(store.root).among(graph.tasks)
        self.rows: list[dict[str, Any]] = []
        self.holes: list[dict[str, Any]] = []
        for result in graph.results:
            self._add(result)

    def reported_experiment(self, provenance: Mapping[str, Any]) -> ReportedExperiment:
        """Return everything in the report other than the numbers."""
        experiment = self._experiment
        intact = IntactArtefacts(self._store)
        pictures = ExamplePictures(experiment, self._graph, intact)
        order: dict[str, dict[str, list[Plain]]] = {}
        for result in self._graph.results:
            for level, label in result.about.items():
                labels = order.setdefault(result.stage, {}).setdefault(level, [])
                if label not in labels:
                    labels.append(label)
        reduced = {task.label: meta["reduced"] for task, meta in self._finished if "reduced" in meta}
        models = {str(label) for levels in order.values() for label in levels.get("model", ())}
        examples, localisation = pictures.of("generate"), pictures.of("localise")
        scores = model_comparisons(self._graph, intact)
        return ReportedExperiment(
            name=experiment.name,
            description=experiment.description,
            mode=experiment.mode,
            smoke=experiment.smoke,
            seeds=experiment.seeds,
            axes=experiment.axes,
            order=order,
            protocols=self._protocols(),
            strength=dict(self._strength()),
            model_axes={label: tuple(experiment.axes_of(label)) for label in models & set(experiment.stages)},
            provenance={**provenance, "reduced": reduced},
            reduced={label: changes_in_words(numbers) for label, numbers in reduced.items()},
            costs=list(self._costs()),
            failures=list(self.failures()),
            resolved=resolved(experiment),
            examples=examples,
            localisation=localisation,
            scores=scores,
            damaged=tuple(intact.damaged),
            remarks=(*self._remarks(), *intact.skipped),
            classes=self._classes(),
        )

    def failures(self) -> Iterator[dict[str, Any]]:
        """Yield the record of every failed task."""
        for fingerprint in self._graph.tasks:
            record = self._failed.get(fingerprint)
            if record and not self._store.has(fingerprint):
                yield record

    def _remarks(self) -> Iterator[str]:
        """Yield the remarks of stages on their artefacts; one that all tasks of a stage share is yielded once."""
        labels_of: dict[tuple[str, str], list[str]] = {}
        tasks: Counter[str] = Counter()
        for task, meta in self._finished:
            tasks[task.stage] += 1
            for remark in meta.get("remarks", ()):
                if remark["smoke"] or not self._experiment.smoke:
                    labels_of.setdefault((task.stage, remark["text"]), []).append(task.label)
        for (stage, text), labels in labels_of.items():
            yield from (f"{who}: {text}" for who in ([stage] if tasks[stage] == len(labels) else labels))

    def _add(self, result: Result) -> None:
        where = {"experiment": self._experiment.name, **result.point, "stage": result.stage}
        try:
            found = self._store.load(result.fingerprint, Results)
        except Damaged:
            self.holes.append({**where, **result.about, "reason": self._reason(result.fingerprint)})
            return
        # Each row has every column, empty where it does not depend on it.
        empty = dict.fromkeys((*self._experiment.axes, SEED))
        self.rows.extend({**empty, **where, **vars(row)} for row in found.rows)

    def _reason(self, fingerprint: str) -> str:
        record = self._failed.get(fingerprint)
        if record:
            return f"failed: {record['cause']}"
        for need in self._ancestors(fingerprint):
            record = self._failed.get(need)
            if record and not self._store.has(need):
                return f"skipped: {record['label']} failed"
        return "pending"

    def _ancestors(self, fingerprint: str) -> Iterator[str]:
        tasks = self._graph.tasks
        return reachable(tasks[fingerprint].needs, lambda need: tasks[need].needs)

    def _classes(self) -> dict[str, tuple[str, ...]]:
        """Return the class names of each data set, by task label, or by stage where they are the same at all points."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for task in self._graph.tasks.values():
            if isinstance(task.component, Dataset):
                names = self._experiment.info(task.stage, task.point).class_names
                found.setdefault(task.stage, {})[task.label] = names
        return {
            label: names
            for stage, by_label in found.items()
            for label, names in (
                by_label if len(set(by_label.values())) > 1 else {stage: next(iter(by_label.values()))}
            ).items()
        }

    def _protocols(self) -> dict[str, str]:
        found = {}
        for name, spec in self._experiment.stages.items():
            protocol = getattr(next(self._experiment.components(name)), "protocol", None)
            if issubclass(spec.cls, Evaluation) and protocol:
                found[name] = str(protocol).replace("_", "-")
        return found

    def _strength(self) -> Iterator[tuple[str, str]]:
        for spec in self._experiment.stages.values():
            for parameter in STRENGTHS:
                value = spec.raw.get(parameter)
                if issubclass(spec.cls, Attack) and isinstance(value, str):
                    yield value[1:], parameter  # without the $ of a reference to an axis

    def _costs(self) -> Iterator[dict[str, Any]]:
        for task, meta in self._finished:
            if task.section == "datasets":
                continue
            yield {"stage": task.label, "type": task.component.tag, **meta["cost"]}

    @cached_property
    def _finished(self) -> list[tuple[Task, dict[str, Any]]]:
        """The finished tasks other than evaluations, with the metadata of their artefacts."""
        wanted = [task for task in self._graph.tasks.values() if task.section != "evaluate"]
        present = self._store.present(task.fingerprint for task in wanted)
        return [(task, self._store.meta(task.fingerprint)) for task in wanted if task.fingerprint in present]
