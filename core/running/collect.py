"""Gathers what a run has in the store for the report: tidy rows, holes, costs, pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from core.artefacts import Results
from core.attack import Attack
from core.component import Plain
from core.dataset import Dataset
from core.families import Evaluation
from core.language.experiment import SEED
from core.language.experiment import Experiment as Checked
from core.language.resolved import resolved
from core.report.spec import Experiment
from core.running.cell_index import Result
from core.running.graph import Graph, Work
from core.running.memory import in_words
from core.running.pictures import Pictures
from core.running.score_pictures import score_pictures
from core.running.sound import Sound
from core.storage.history import Failures
from core.storage.store import Damaged, Store

if TYPE_CHECKING:
    import pandas as pd

STRENGTH = ("eps", "max_iter", "num_random_init")
"""Parameters of which a larger value can only make an attack stronger."""


class Collection:
    """The results of an experiment as far as the store has them."""

    def __init__(self, experiment: Checked, graph: Graph, store: Store) -> None:
        self._experiment, self._graph, self._store = experiment, graph, store
        self._failed = Failures(store.root).among(graph.works)
        self.rows: list[dict[str, Any]] = []
        self.holes: list[dict[str, Any]] = []
        for result in graph.results:
            self._add(result)

    def frame(self) -> pd.DataFrame:
        """Return the tidy rows in the order of the file."""
        import pandas as pd

        columns = [
            "experiment", *self._experiment.axes, SEED, "stage", "model", "examples", "group", "metric", "value", "n",
            "lower", "upper", "unit", "higher_is_better", "note",
        ]  # fmt: skip
        return pd.DataFrame(self.rows, columns=columns)

    def around(self, provenance: Mapping[str, Any]) -> Experiment:
        """Return what the report says around the numbers."""
        experiment = self._experiment
        sound = Sound(self._store)
        pictures = Pictures(experiment, self._graph, sound)
        order: dict[str, dict[str, list[Plain]]] = {}
        for result in self._graph.results:
            for level, label in result.about.items():
                labels = order.setdefault(result.stage, {}).setdefault(level, [])
                if label not in labels:
                    labels.append(label)
        reduced = {work.label: meta["reduced"] for work, meta in self._made if "reduced" in meta}
        models = {str(label) for levels in order.values() for label in levels.get("model", ())}
        examples, localisation = pictures.examples(), pictures.localisation()
        scores = score_pictures(self._graph, sound)
        return Experiment(
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
            reduced={label: in_words(numbers) for label, numbers in reduced.items()},
            costs=list(self._costs()),
            failures=list(self.failures()),
            resolved=resolved(experiment),
            examples=examples,
            localisation=localisation,
            scores=scores,
            damaged=tuple(sound.damaged),
            remarks=(*self._remarks(), *sound.left_out),
            classes=self._classes(),
        )

    def failures(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of every work that failed."""
        for fingerprint in self._graph.works:
            record = self._failed.get(fingerprint)
            if record and not self._store.has(fingerprint):
                yield record

    def _remarks(self) -> Iterator[str]:
        """Yield what stages remark on their artefacts, each sentence once where all works of a stage say it."""
        said: dict[tuple[str, str], list[str]] = {}
        works: Counter[str] = Counter()
        for work, meta in self._made:
            works[work.stage] += 1
            for remark in meta.get("remarks", ()):
                if remark["smoke"] or not self._experiment.smoke:
                    said.setdefault((work.stage, remark["text"]), []).append(work.label)
        for (stage, text), labels in said.items():
            yield from (f"{who}: {text}" for who in ([stage] if works[stage] == len(labels) else labels))

    def _add(self, result: Result) -> None:
        where = {"experiment": self._experiment.name, **result.point, "stage": result.stage}
        try:
            found = self._store.load(result.fingerprint, Results)
        except Damaged:
            self.holes.append({**where, **result.about, "reason": self._reason(result.fingerprint)})
            return
        self.rows.extend({**where, **vars(row)} for row in found.rows)

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
        seen, open_ = set(), list(self._graph.works[fingerprint].needs)
        while open_:
            need = open_.pop()
            if need not in seen:
                seen.add(need)
                yield need
                open_.extend(self._graph.works[need].needs)

    def _classes(self) -> dict[str, tuple[str, ...]]:
        """Return the names of each data set's classes, by its label: its name alone where they are everywhere the same."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for work in self._graph.works.values():
            if isinstance(work.component, Dataset):
                names = self._experiment.info(work.stage, work.point).class_names
                found.setdefault(work.stage, {})[work.label] = names
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
            for parameter in STRENGTH:
                value = spec.raw.get(parameter)
                if issubclass(spec.cls, Attack) and isinstance(value, str):
                    yield value[1:], parameter

    def _costs(self) -> Iterator[dict[str, Any]]:
        for work, meta in self._made:
            if work.section == "datasets":
                continue
            yield {"stage": work.label, "type": work.component.tag, **meta["cost"]}

    @cached_property
    def _made(self) -> list[tuple[Work, dict[str, Any]]]:
        """The works that are there, of all but evaluations, with what was written down with their artefacts."""
        wanted = [work for work in self._graph.works.values() if work.section != "evaluate"]
        present = self._store.present(work.fingerprint for work in wanted)
        return [(work, self._store.meta(work.fingerprint)) for work in wanted if work.fingerprint in present]
