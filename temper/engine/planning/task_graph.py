"""Expands a checked experiment into tasks: one for each stage, part, cell and point of the axes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from temper.core.component import Part, Ref
from temper.core.dataset import Dataset
from temper.core.families import Evaluation, Generator, Repair
from temper.core.run import prepared
from temper.core.stage import Stage
from temper.engine.language.axis_points import SEED, Point
from temper.engine.language.build import plain
from temper.engine.language.experiment import Experiment
from temper.engine.planning.bound_component import CELL, BoundComponent, Input
from temper.engine.planning.cell_index import CellIndex, Result
from temper.engine.planning.input_origin import input_for
from temper.engine.planning.reference_defaults import Binding
from temper.engine.storage.digests import Digests, of_value
from temper.engine.storage.store import Store
from temper.system.traversal import reachable


@dataclass(frozen=True, eq=False, slots=True)
class Task:
    """One artefact to compute.

    ``bound`` is what all tasks of the component share; ``section`` is the stage's, also for what it prepares;
    ``inputs`` map each reference, as text, to what it resolves to; ``point`` holds its values of the axes.
    """

    bound: BoundComponent
    section: str
    point: Point
    seed: int
    inputs: Mapping[str, Input]
    fingerprint: str
    repaired: bool

    @property
    def stage(self) -> str:
        """The name of its stage."""
        return self.bound.stage

    @property
    def label(self) -> str:
        """Its name as users see it."""
        return self.bound.label(self.point)

    @property
    def component(self) -> Stage:
        """The component that computes it."""
        return self.bound.component

    @property
    def part(self) -> Part | None:
        """The part requested of a generator."""
        return self.bound.part

    def is_there(self, store: Store) -> bool:
        """Return whether its artefact is in the store.

        Rows are verified here: only the report reads them, and it cannot have damaged ones recomputed.
        """
        has = store.is_intact if self.section == "evaluate" else store.has
        return has(self.fingerprint)

    @property
    def ingredients(self) -> Mapping[str, Any]:
        """What the fingerprint is a digest of."""
        return self.bound.ingredients(self.inputs, self.seed)

    @property
    def needs(self) -> tuple[str, ...]:
        """The fingerprints of the tasks this one reads."""
        return tuple(dict.fromkeys(i.fingerprint for i in self.inputs.values() if i.fingerprint))


class TaskGraph:
    """The tasks of an experiment by fingerprint, each after its inputs, and the cells of its evaluations."""

    def __init__(self, experiment: Experiment, digests: Digests) -> None:
        self._experiment, self.digests = experiment, digests
        self.smoke = experiment.smoke
        self._binding = Binding(experiment)
        self._bounds: dict[tuple[Any, ...], BoundComponent] = {}
        self._memo: dict[tuple[Any, ...], str] = {}
        self._axes: dict[tuple[str, str | None], tuple[str, ...]] = {}
        self._inputs_by_artefact: dict[tuple[str, Part | None], Input] = {}
        self._kept: list[Stage] = []  # ids are keys, and an id is unique only while its component lives
        self.tasks: dict[str, Task] = {}
        self._cells: dict[str, list[Result]] = {}
        self._indexed: dict[str, CellIndex] = {}
        self.roots: list[str] = []
        read = {other for name in experiment.stages for other in experiment.reads(name)}
        for name, spec in experiment.stages.items():
            if issubclass(spec.cls, Evaluation):
                self.roots.extend(cell.fingerprint for cell in self._evaluation(name))
            elif name not in read:
                # Nothing reads it, so it is an output of its own.
                for point in experiment.points(experiment.axes_of(name)):
                    part: Part | None = "test" if issubclass(spec.cls, Generator) else None
                    self.roots.append(self._task(Ref(name, part), point))
        self.roots = list(dict.fromkeys(self.roots))
        self.results = [cell for name in experiment.stages for cell in self._cells.get(name, ())]

    def dependents(self, fingerprint: str) -> list[str]:
        """Return the tasks that need a task, directly or not, each after what it needs."""
        found = set(reachable([fingerprint], self._readers.__getitem__)) - {fingerprint}
        return sorted(found, key=self._places.__getitem__)

    @property
    def bounds(self) -> Collection[BoundComponent]:
        """The components behind the tasks and behind what they read, each once."""
        found = {id(bound): bound for bound in self._bounds.values()}
        found |= {id(task.bound): task.bound for task in self.tasks.values()}
        return found.values()

    @cached_property
    def _readers(self) -> Mapping[str, list[str]]:
        """The tasks that read a task, by its fingerprint."""
        readers: defaultdict[str, list[str]] = defaultdict(list)
        for fingerprint, task in self.tasks.items():
            for need in task.needs:
                readers[need].append(fingerprint)
        return readers

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {fingerprint: place for place, fingerprint in enumerate(self.tasks)}

    def _evaluation(self, name: str) -> list[Result]:
        """Return the cells of an evaluation; one that gathers may need them before their turn in the file."""
        if name not in self._cells:
            self._cells[name] = list(self._expanded(name))
        return self._cells[name]

    def _expanded(self, name: str) -> Iterator[Result]:
        own = self._experiment.stages[name].own_axes
        seen = set()
        for outer in self._experiment.points(own):
            component = self._experiment.component(name, outer)
            assert isinstance(component, Evaluation)
            for cell in component.expand():
                about = cell.about()
                for point in self._experiment.points(own | self._experiment.axes_read(cell), outer):
                    bound = self._bound(name, cell, None, None, point)
                    fingerprint = self._add(bound, point)
                    # The list may already contain the value of an axis: duplicate rows would collide in one cell.
                    if (key := (*point.items(), fingerprint)) not in seen:
                        seen.add(key)
                        yield Result(name, point, about, fingerprint)

    def _task(self, ref: Ref[Any], point: Point) -> str:
        """Return the fingerprint of the task behind a bound reference at a point."""
        point = self._own_point(ref, point)
        part = ref.part if issubclass(self._experiment.stages[ref.stage].cls, Generator) else None
        key = (ref.stage, part, ref.against, *point.items())
        if key not in self._memo:
            self._memo[key] = self._add(self._behind(ref, part, point), point)
        return self._memo[key]

    def _preparation(self, ref: Ref[Any], point: Point) -> str:
        """Return the fingerprint of what the stage behind a reference prepares, at its point or one with more axes."""
        point = self._own_point(ref, point)
        return self._add(self._behind(ref, ref.part, point).given_preparations[ref.prepared], point)

    def _behind(self, ref: Ref[Any], part: Part | None, point: Point) -> BoundComponent:
        return self._bound(ref.stage, self._experiment.component(ref.stage, point), part, ref.against, point)

    def _bound(
        self, stage: str, component: Stage, part: Part | None, against: str | None, point: Point
    ) -> BoundComponent:
        """Return a component with explicit references; these depend on few axes, if any."""
        naming = (point.get(axis) for axis in self._experiment.naming_axes)
        key = (stage, id(component), part, against, *naming)
        if key not in self._bounds:
            bound = self._binding.bind(component, part, against, point)
            experiment = self._experiment
            found = BoundComponent(
                bound, stage, part, against, self.digests, experiment.is_gathered, experiment.threads
            )
            self._bounds[key] = found
            self._kept.append(component)
        return self._bounds[key]

    def _own_point(self, ref: Ref[Any], point: Point) -> Point:
        """Return a point restricted to the axes that the stage behind a bound reference varies over."""
        key = (ref.stage, ref.against)
        if key not in self._axes:
            axes = self._experiment.axes_of(ref.stage)
            if ref.against:
                axes |= self._experiment.axes_of(ref.against)
            self._axes[key] = self._experiment.in_order(axes)
        return {axis: point[axis] for axis in self._axes[key] if axis in point}

    def _add(self, bound: BoundComponent, point: Point) -> str:
        """Add the task of a component at a point; return its fingerprint."""
        inputs = dict(self._inputs(bound, point))
        for name, preparation in bound.preparations.items():
            inputs[str(prepared(name))] = self._to(self._add(preparation, point))
        seed = int(point.get(SEED, 0) or 0) if bound.stochastic else 0
        fingerprint = of_value(bound.ingredients(inputs, seed))
        if fingerprint not in self.tasks:
            self.tasks[fingerprint] = Task(
                bound=bound,
                section=self._experiment.stages[bound.stage].section,
                point=point,
                seed=seed,
                inputs=inputs,
                fingerprint=fingerprint,
                repaired=isinstance(bound.component, Repair)
                or any(self.tasks[i.fingerprint].repaired for i in inputs.values() if i.fingerprint),
            )
        return fingerprint

    def _to(self, fingerprint: str, part: Part | None = None) -> Input:
        """Return the input that resolves to an artefact, shared by all tasks that read it."""
        if (fingerprint, part) not in self._inputs_by_artefact:
            task = self.tasks[fingerprint]
            names = self._experiment.info(task.stage, task.point).class_names if task.section == "datasets" else ()
            self._inputs_by_artefact[fingerprint, part] = input_for(task.bound, task.inputs, fingerprint, part, names)
        return self._inputs_by_artefact[fingerprint, part]

    def _inputs(self, bound: BoundComponent, point: Point) -> Iterator[tuple[str, Input]]:
        for key, ref in zip(bound.keys, bound.references, strict=True):
            if ref.definition:
                yield from self._definition(key, ref, point)
            elif self._experiment.is_gathered(ref):
                yield from self._gathered(ref, point)
            else:
                yield key, self._input(ref, point)

    def _gathered(self, ref: Ref[Any], point: Point) -> Iterator[tuple[str, Input]]:
        """Yield the cells of an evaluation at a point of the axes that are not gathered."""
        if ref.stage not in self._indexed:
            self._indexed[ref.stage] = CellIndex(self._evaluation(ref.stage))
        for i, cell in self._indexed[ref.stage].at(point):
            yield f"{ref}{CELL}{i}", Input(cell.fingerprint, point=cell.point)

    def _input(self, ref: Ref[Any], point: Point) -> Input:
        cls = self._experiment.stages[ref.stage].cls
        if ref.prepared:
            return self._to(self._preparation(ref, point))
        if ref.clean and not issubclass(cls, Dataset):
            return self._input(self._behind(ref, ref.part, point).given.data, point)  # type: ignore[attr-defined]
        return self._to(self._task(ref, point), ref.part if issubclass(cls, Dataset) else None)

    def _definition(self, key: str, ref: Ref[Any], point: Point) -> Iterator[tuple[str, Input]]:
        bound = self._behind(ref, "train", self._own_point(ref, point))
        component = bound.given
        yield key, Input(definition={"section": component.section, "component": plain(component), "code": bound.code})
        for inner in component.references():
            if inner not in (getattr(component, "model", None), getattr(component, "data", None)):
                yield str(inner), self._input(inner, point)
