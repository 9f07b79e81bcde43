"""Turns a checked experiment into the works to be done: one for each stage, part, cell and point of the axes."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core import backend
from core.component import Part, Plain, Ref
from core.dataset import Dataset
from core.families import Evaluation, Generator, Repair
from core.language.binding import Binding
from core.language.build import plain
from core.language.experiment import SEED, Experiment, Point
from core.naming import named
from core.run import prepared
from core.stage import Preparation, Stage
from core.storage.digest import Digests, of_value

CELL = "#"
"""Stands between a reference and the number of one of the cells it gathers; no name in a file has it."""


@dataclass(frozen=True)
class Input:
    """What a reference of a work leads to: an artefact, or one part of a data set, or a component as it stands.

    A reference to an evaluation leads to one of these for each cell, with the cell's ``point``.
    """

    fingerprint: str = ""
    part: Part | None = None
    definition: Mapping[str, Any] | None = None
    point: Point | None = None


def is_cell_of(key: str, ref: Ref[Any]) -> bool:
    """Whether an input of a work is a cell of the evaluation that a reference gathers."""
    return key.startswith(f"{ref}{CELL}")


@dataclass(frozen=True, eq=False)
class Work:
    """One artefact to be made.

    ``section`` is the stage's, also of what it prepares; ``ingredients`` are what the fingerprint is the digest of; ``inputs`` lead from each reference, as text, to
    what it stands for; ``point`` are the values of the axes the artefact depends on.
    """

    stage: str
    section: str
    label: str
    component: Stage
    part: Part | None
    point: Point
    seed: int
    inputs: Mapping[str, Input]
    ingredients: Mapping[str, Any]
    fingerprint: str
    repaired: bool

    @property
    def needs(self) -> tuple[str, ...]:
        """The fingerprints of the works this one reads."""
        return tuple(dict.fromkeys(i.fingerprint for i in self.inputs.values() if i.fingerprint))


@dataclass(frozen=True)
class Result:
    """One cell of an evaluation: which work holds its rows, and what the rows are about."""

    stage: str
    point: Point
    about: Mapping[str, str]
    fingerprint: str


class Graph:
    """The works of an experiment by fingerprint, each after what it needs, and the cells of its evaluations."""

    def __init__(self, experiment: Experiment, digests: Digests) -> None:
        self._experiment, self._digests = experiment, digests
        self._binding = Binding(experiment)
        self._memo: dict[tuple[Any, ...], str] = {}
        self.works: dict[str, Work] = {}
        self._cells: dict[str, list[Result]] = {}
        self.roots: list[str] = []
        read = {ref.stage for name in experiment.stages for c in experiment.components(name) for ref in c.references()}
        for name, spec in experiment.stages.items():
            if issubclass(spec.cls, Evaluation):
                self.roots.extend(cell.fingerprint for cell in self._evaluation(name))
            elif name not in read:
                # Nothing reads it, so it is wanted for itself.
                for point in experiment.points(experiment.axes_of(name)):
                    part: Part | None = "test" if issubclass(spec.cls, Generator) else None
                    self.roots.append(self._work(Ref(name, part), point))
        self.roots = list(dict.fromkeys(self.roots))
        self.results = [cell for name in experiment.stages for cell in self._cells.get(name, ())]

    def dependents(self, fingerprint: str) -> list[str]:
        """Return the works that need a work, or another that does, each after what it needs."""
        found = {fingerprint}
        open_ = [fingerprint]
        while open_:
            fresh = [reader for reader in self._readers[open_.pop()] if reader not in found]
            found.update(fresh)
            open_.extend(fresh)
        found.discard(fingerprint)
        return sorted(found, key=self._places.__getitem__)

    @cached_property
    def _readers(self) -> Mapping[str, list[str]]:
        """The works that read a work, by its fingerprint."""
        readers: defaultdict[str, list[str]] = defaultdict(list)
        for fingerprint, work in self.works.items():
            for need in work.needs:
                readers[need].append(fingerprint)
        return readers

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {fingerprint: place for place, fingerprint in enumerate(self.works)}

    def _evaluation(self, name: str) -> list[Result]:
        """Return the cells of an evaluation; one that gathers may ask for them before their turn in the file."""
        if name not in self._cells:
            self._cells[name] = list(self._expanded(name))
        return self._cells[name]

    def _expanded(self, name: str) -> Iterator[Result]:
        own = self._experiment.stages[name].own_axes
        for outer in self._experiment.points(own):
            component = self._experiment.component(name, outer)
            assert isinstance(component, Evaluation)
            for cell in component.expand():
                axes = own | self._experiment.axes_read(cell)
                for point in self._experiment.points(axes):
                    if all(point[axis] == value for axis, value in outer.items()):
                        bound = self._binding.bind(cell, None, None, point)
                        yield Result(name, point, cell.about(), self._add(name, bound, None, point))

    def _work(self, ref: Ref[Any], point: Point) -> str:
        """Return the fingerprint of the work behind a bound reference at a point."""
        point = self._own_point(ref, point)
        cls = self._experiment.stages[ref.stage].cls
        part = ref.part if issubclass(cls, Generator) else None
        key = (ref.stage, part, ref.against, tuple(point.items()))
        if key not in self._memo:
            component = self._bound(ref, part, point)
            self._memo[key] = self._add(ref.stage, component, part, point, ref.against)
        return self._memo[key]

    def _preparation(self, ref: Ref[Any], point: Point) -> str:
        """Return the fingerprint of what the stage behind a reference prepares, at its point or one with more axes."""
        point = self._own_point(ref, point)
        made = self._bound(ref, ref.part, point).preparations()[ref.prepared]
        return self._add(ref.stage, made, None, point, ref.against, ref.prepared)

    def _bound(self, ref: Ref[Any], part: Part | None, point: Point) -> Stage:
        return self._binding.bind(self._experiment.component(ref.stage, point), part, ref.against, point)

    def _own_point(self, ref: Ref[Any], point: Point) -> Point:
        """Return a point on those axes only that the stage behind a bound reference varies over."""
        axes = self._experiment.axes_of(ref.stage)
        if ref.against:
            axes |= self._experiment.axes_of(ref.against)
        return {axis: value for axis, value in point.items() if axis in axes}

    def _add(
        self,
        stage: str,
        component: Stage,
        part: Part | None,
        point: Point,
        against: str | None = None,
        name: str = "",
    ) -> str:
        """Add the work of a bound component, which a stage prepares if it has a ``name``; return its fingerprint."""
        component = component.equivalent()
        inputs = dict(self._inputs(component, point))
        for before, preparation in component.preparations().items():
            inputs[str(prepared(before))] = Input(self._add(stage, preparation, None, point, against, before))
        seed = int(point.get(SEED, 0) or 0) if component.stochastic else None
        ingredients = self._ingredients(stage, component, part, seed, inputs)
        fingerprint = of_value(ingredients)
        if fingerprint not in self.works:
            self.works[fingerprint] = Work(
                stage=stage,
                section=self._experiment.stages[stage].section,
                label=_label(stage, name or part, against, component, point),
                component=component,
                part=part,
                point=point,
                seed=seed or 0,
                inputs=inputs,
                ingredients=ingredients,
                fingerprint=fingerprint,
                repaired=isinstance(component, Repair)
                or any(self.works[i.fingerprint].repaired for i in inputs.values() if i.fingerprint),
            )
        return fingerprint

    def _inputs(self, component: Stage, point: Point) -> Iterator[tuple[str, Input]]:
        for ref in component.references():
            if ref.definition:
                yield from self._definition(ref, point)
            elif self._experiment.is_gathered(ref):
                yield from self._gathered(ref, point)
            else:
                yield str(ref), self._input(ref, point)

    def _gathered(self, ref: Ref[Any], point: Point) -> Iterator[tuple[str, Input]]:
        """Yield the cells of an evaluation at a point of the axes that are not gathered.

        A cell that does not depend on one of these stands for all its values.
        """
        for i, cell in enumerate(self._evaluation(ref.stage)):
            if all(cell.point.get(axis, value) == value for axis, value in point.items()):
                yield f"{ref}{CELL}{i}", Input(cell.fingerprint, point=cell.point)

    def _input(self, ref: Ref[Any], point: Point) -> Input:
        cls = self._experiment.stages[ref.stage].cls
        if ref.prepared:
            return Input(self._preparation(ref, point))
        if ref.clean and not issubclass(cls, Dataset):
            return self._input(self._bound(ref, ref.part, point).data, point)  # type: ignore[attr-defined]
        part = ref.part if issubclass(cls, Dataset) else None
        return Input(self._work(dataclasses.replace(ref, clean=False), point), part)

    def _definition(self, ref: Ref[Any], point: Point) -> Iterator[tuple[str, Input]]:
        component = self._bound(ref, "train", point)
        ingredients = {"component": plain(component), "code": self._code(component)}
        yield str(ref), Input(definition={"section": component.section} | ingredients)
        for inner in component.references():
            if inner not in (getattr(component, "model", None), getattr(component, "data", None)):
                yield str(inner), self._input(inner, point)

    def _ingredients(
        self, stage: str, component: Stage, part: Part | None, seed: int | None, inputs: Mapping[str, Input]
    ) -> dict[str, Any]:
        # An evaluation's rows name what they are about, so the names are part of what it returns.
        named = isinstance(component, Evaluation)

        def identity(ref: Ref[Any]) -> dict[str, Any]:
            if self._experiment.is_gathered(ref):
                cells = [[cell.fingerprint, dict(cell.point or {})] for k, cell in inputs.items() if is_cell_of(k, ref)]
                return {"ref": str(ref), "is": cells}
            found = inputs[str(ref)]
            return {"ref": str(ref) if named else None, "is": found.definition or [found.fingerprint, found.part]}

        # What counts is the content of a file, not where it lies.
        values = plain(component, identity, paths=False)
        return {
            "component": values,
            "code": self._code(component),
            "part": part,
            "seed": None if seed is None else [seed, component.stream(stage)],
            "backend": None if isinstance(component, Dataset) else backend.name(),
            "files": [self._digests.content(path) for path in component.files()],
            "reads": [identity(ref) for ref in component.references() if ref.clean],
            "prepared": {name: inputs[str(prepared(name))].fingerprint for name in component.preparations()},
        }

    def _code(self, component: Stage) -> list[str]:
        """Return the digests of the modules that a component and those nested in it are written in."""
        return sorted({self._digests.code(type(part).__module__) for part in component.with_nested()})


def _label(stage: str, what: str | None, against: str | None, component: Stage, point: Mapping[str, Plain]) -> str:
    text = stage + (f".{what}" if what else "") + (f"@{against}" if against else "")
    if isinstance(component, Evaluation | Preparation):
        nested = [part for part in component.with_nested() if part is not component]
        # One nested component may be all that tells a work from its neighbours.
        about = [
            *(ref.stage for ref in component.references() if not ref.clean),
            *(named(p) for p in nested[:1] if len(nested) == 1),
        ]
        text += f"[{', '.join(dict.fromkeys(about))}]"
    return " ".join([text, *(f"{axis}={show_value(value)}" for axis, value in point.items())])


def show_value(value: Plain) -> str:
    """Return the value of an axis as labels show it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
