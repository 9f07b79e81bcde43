"""Turns a checked experiment into the works to be done: one for each stage, part, cell and point of the axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from core import backend
from core.artefacts import Data
from core.build import changed, map_references, plain
from core.component import Part, Plain, Ref
from core.dataset import Dataset
from core.digest import Digests, of_value
from core.experiment import SEED, Experiment, Point
from core.families import Evaluation, Generator, Repair
from core.references import typed
from core.run import PREPARED
from core.stage import Stage


@dataclass(frozen=True)
class Input:
    """What a reference of a work leads to: an artefact, or one part of a data set, or a component as it stands."""

    fingerprint: str = ""
    part: Part | None = None
    definition: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Work:
    """One artefact to be made.

    ``ingredients`` are what the fingerprint is the digest of; ``inputs`` lead from each reference, as text, to
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
        self._memo: dict[tuple[Any, ...], str] = {}
        self.works: dict[str, Work] = {}
        self.results: list[Result] = []
        self.roots: list[str] = []
        read = {ref.stage for name in experiment.stages for c in experiment.components(name) for ref in c.references()}
        for name, spec in experiment.stages.items():
            if issubclass(spec.cls, Evaluation):
                self._evaluation(name)
            elif name not in read:
                # Nothing reads it, so it is wanted for itself.
                for point in experiment.points(experiment.axes_of(name)):
                    part: Part | None = "test" if issubclass(spec.cls, Generator) else None
                    self.roots.append(self._work(Ref(name, part), point))
        self.roots = list(dict.fromkeys(self.roots))

    def _evaluation(self, name: str) -> None:
        own = self._experiment.stages[name].own_axes
        for outer in self._experiment.points(own):
            component = self._experiment.component(name, outer)
            assert isinstance(component, Evaluation)
            for cell in component.expand():
                axes = own | self._axes(cell)
                for point in self._experiment.points(axes):
                    if all(point[axis] == value for axis, value in outer.items()):
                        self._cell(name, cell, point)

    def _axes(self, component: Stage) -> frozenset[str]:
        axes: set[str] = {SEED} if component.stochastic else set()
        for ref in component.references():
            axes |= self._experiment.axes_of(ref.stage)
            if ref.against:
                axes |= self._experiment.axes_of(ref.against)
        return frozenset(axes)

    def _cell(self, name: str, cell: Evaluation, point: Point) -> None:
        bound = self._bind(cell, None, None, point)
        fingerprint = self._add(name, bound, None, point)
        self.results.append(Result(name, point, cell.about(), fingerprint))
        self.roots.append(fingerprint)

    def _work(self, ref: Ref[Any], point: Point) -> str:
        """Return the fingerprint of the work behind a bound reference at a point."""
        axes = self._experiment.axes_of(ref.stage)
        if ref.against:
            axes |= self._experiment.axes_of(ref.against)
        point = {axis: value for axis, value in point.items() if axis in axes}
        cls = self._experiment.stages[ref.stage].cls
        part = ref.part if issubclass(cls, Generator) else None
        key = (ref.stage, part, ref.against, tuple(point.items()))
        if key not in self._memo:
            stage = self._experiment.component(ref.stage, point)
            before = {}
            if isinstance(stage, Generator) and stage.prepares:
                learner = self._bind(stage, "train", ref.against, point)
                before[str(PREPARED)] = Input(self._add(ref.stage, learner, None, point, ref.against))
            component = self._bind(stage, part, ref.against, point)
            self._memo[key] = self._add(ref.stage, component, part, point, ref.against, before)
        return self._memo[key]

    def _bind(self, component: Stage, part: Part | None, against: str | None, point: Point) -> Stage:
        """Return a component with every reference made explicit: its part, and the model it is turned against."""
        model = getattr(component, "model", None)
        own = model.stage if isinstance(model, Ref) else None
        for ref in self._experiment.implied(component, point):
            component = changed(component, data=ref)
        whole = {ref for _, ref, target in typed(component) if target is Data}

        def explicit(field: str, ref: Ref[Any]) -> Ref[Any]:
            is_whole = ref in whole
            ref = self._turned(ref, own, against, point)
            cls = self._experiment.stages[ref.stage].cls
            if issubclass(cls, Generator | Dataset) and ref.part is None and not is_whole:
                meant = component.part_of(field)
                if meant == "definition":
                    return dataclasses.replace(ref, definition=True)
                # A generator reads the part of its data that it is asked to make.
                ref = dataclasses.replace(ref, part=part if part and field == "data" else meant)
            return ref

        return map_references(component, explicit)  # type: ignore[no-any-return]

    def _turned(self, ref: Ref[Any], own: str | None, against: str | None, point: Point) -> Ref[Any]:
        """Return a reference of a component whose model is replaced: the new model, or what is derived from it."""
        spec = self._experiment.stages[ref.stage]
        if against is not None and own is not None:
            if ref.stage == own:
                return dataclasses.replace(ref, stage=against)
            if issubclass(spec.cls, Dataset):
                return ref
            if self._model_of(ref.stage, point) == own:
                return dataclasses.replace(ref, against=against)
        if ref.against and self._model_of(ref.stage, point) in (None, ref.against):
            # Made without a model, or against this very one: there is nothing to make anew.
            return dataclasses.replace(ref, against=None)
        return ref

    def _model_of(self, stage: str, point: Point) -> str | None:
        model = getattr(self._experiment.component(stage, point), "model", None)
        return model.stage if isinstance(model, Ref) else None

    def _add(
        self,
        stage: str,
        component: Stage,
        part: Part | None,
        point: Point,
        against: str | None = None,
        before: Mapping[str, Input] = MappingProxyType({}),
    ) -> str:
        inputs = dict(self._inputs(component, point)) | dict(before)
        seed = int(point.get(SEED, 0) or 0) if component.stochastic else None
        ingredients = self._ingredients(stage, component, part, seed, inputs)
        fingerprint = of_value(ingredients)
        if fingerprint not in self.works:
            self.works[fingerprint] = Work(
                stage=stage,
                section=component.section,
                label=_label(stage, part, against, component, point),
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
            else:
                yield str(ref), self._input(ref, point)

    def _input(self, ref: Ref[Any], point: Point) -> Input:
        cls = self._experiment.stages[ref.stage].cls
        if ref.clean and not issubclass(cls, Dataset):
            made = self._bind(self._experiment.component(ref.stage, point), ref.part, ref.against, point)
            return self._input(made.data, point)  # type: ignore[attr-defined]
        part = ref.part if issubclass(cls, Dataset) else None
        return Input(self._work(dataclasses.replace(ref, clean=False), point), part)

    def _definition(self, ref: Ref[Any], point: Point) -> Iterator[tuple[str, Input]]:
        component = self._bind(self._experiment.component(ref.stage, point), "train", ref.against, point)
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
            found = inputs[str(ref)]
            return {"ref": str(ref) if named else None, "is": found.definition or [found.fingerprint, found.part]}

        # What counts is the content of a file, not where it lies.
        values = plain(component, identity, paths=False)
        return {
            "component": values,
            "code": self._code(component),
            "part": part,
            "seed": None if seed is None else [seed, stage],
            "backend": None if isinstance(component, Dataset) else backend.name(),
            "files": [self._digests.content(path) for path in component.files()],
            "reads": [identity(ref) for ref in component.references() if ref.clean],
            "prepared": inputs[str(PREPARED)].fingerprint if str(PREPARED) in inputs else None,
        }

    def _code(self, component: Stage) -> list[str]:
        """Return the digests of the modules that a component and those nested in it are written in."""
        return sorted({self._digests.code(type(part).__module__) for part in component.with_nested()})


def _label(stage: str, part: Part | None, against: str | None, component: Stage, point: Mapping[str, Plain]) -> str:
    learns = part is None and isinstance(component, Generator)
    text = stage + (f".{part}" if part else "") + (".prepare" if learns else "") + (f"@{against}" if against else "")
    if isinstance(component, Evaluation):
        text += f"[{', '.join(dict.fromkeys(ref.stage for ref in component.references() if not ref.clean))}]"
    return " ".join([text, *(f"{axis}={show_value(value)}" for axis, value in point.items())])


def show_value(value: Plain) -> str:
    """Return the value of an axis as labels show it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
