"""Checks that no schema can express: references resolve, to the right kind, and the data fit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from temper.core.artefacts import Artefact, Data, Examples, Results
from temper.core.component import Component, Field, Kind, Ref, fields_of
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset
from temper.core.errors import KeyPath, did_you_mean
from temper.core.families import Evaluation, Generator, Target
from temper.core.stage import Stage
from temper.engine.catalogue.json_schema import REFERENCE
from temper.engine.language import task_limit
from temper.engine.language.axis_causes import AxisCauses
from temper.engine.language.axis_points import SEED, Point, axes_in, substitute
from temper.engine.language.experiment import Experiment, StageSpec
from temper.engine.language.written_values import map_values

Finding = tuple[str, KeyPath, str]


def reference_problems(experiment: Experiment, known: Mapping[str, StageSpec]) -> Iterator[Finding]:
    """Yield (stage, path within the stage, message) for every problem of the references of stages without other problems.

    ``known`` are all stages of the file, including those with problems of their own: a reference to these is valid.
    """
    bad: set[str] = set()
    for finding in _dangling(experiment, known):
        bad.add(finding[0])
        yield finding
    for finding in _cycles(experiment):
        bad.add(finding[0])
        yield finding
    affected = _affected(experiment, bad | (set(known) - set(experiment.stages)))
    intact = [name for name in experiment.stages if name not in affected]
    if problem := task_limit.problem(experiment, intact):
        yield problem
        return
    yield from _misfits(experiment, affected)


def typed(component: Component) -> Iterator[tuple[KeyPath, Ref[Any], type]]:
    """Yield (path, reference, expected type of artefact) for every reference of a component."""
    for field in fields_of(type(component)):
        yield from _typed(getattr(component, field.name), field.kind, (field.name,))


def _typed(value: Any, kind: Kind, place: KeyPath) -> Iterator[tuple[KeyPath, Ref[Any], type]]:
    if isinstance(value, Ref):
        yield place, value, _target(kind)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _typed(item, kind, (*place, i))
    elif isinstance(value, Component):
        yield from ((place + inner, ref, target) for inner, ref, target in typed(value))


def target_of(component: Component, field_name: str) -> type:
    """Return the expected type of artefact of a field that holds a reference."""
    return next(_target(field.kind) for field in fields_of(type(component)) if field.name == field_name)


def _target(kind: Kind) -> type:
    target = kind.innermost.target
    assert target is not None
    return target


def _dangling(experiment: Experiment, known: Mapping[str, StageSpec]) -> Iterator[Finding]:
    """Check the references as they are written, also of stages with other problems."""
    for name, spec in known.items():
        for place, text, wanted in _written(spec):
            points = list(experiment.points(frozenset(axes_in(text))))
            causes = AxisCauses(points)
            for point in points:
                ref = substitute(text, point)
                if (
                    isinstance(ref, str)
                    and re.match(REFERENCE, ref)
                    and (message := _problem(Ref.parse(ref), wanted, known))
                ):
                    causes.add(place, message, point, tuple(point))
            yield from ((name, *problem) for problem in causes.merged())


def _written(spec: StageSpec) -> list[tuple[KeyPath, str, type]]:
    """Return (path, text, expected type of artefact) for every reference, or axis in the place of one, in a stage's values."""
    found: list[tuple[KeyPath, str, type]] = []

    def note(place: KeyPath, field: Field, kind: Kind, value: Any) -> Any:
        if kind.name == "ref" and isinstance(value, str):
            assert kind.target is not None
            found.append((place, value, kind.target))
        return value

    if spec.raw:  # empty where the type is unknown
        map_values(spec.raw, spec.cls, spec.catalogue, note)
    return found


def _problem(ref: Ref[Any], wanted: type, known: Mapping[str, StageSpec]) -> str:
    if ref.stage not in known:
        fitting = [name for name, spec in known.items() if _fits(spec, wanted)]
        hint = did_you_mean(ref.stage, fitting) or (
            f"; there is {', '.join(fitting)}" if fitting else "; declare it first"
        )
        return f"no stage is called '{ref.stage}'{hint}"
    spec = known[ref.stage]
    if not _fits(spec, wanted):
        what = f"'{ref.stage}' ({spec.section}) gives {_noun(getattr(spec.cls, 'produces', Artefact))}"
        return f"expected a stage that gives {_noun(wanted)}, but {what}"
    if ref.part and not issubclass(spec.cls, Generator | Dataset):
        return f"'{ref.stage}' has no parts; write {ref.stage}"
    if ref.part and wanted is Data:
        return f"the whole data set is meant here; write {ref.stage}"
    return ""


def _fits(spec: StageSpec, wanted: type) -> bool:
    produces = getattr(spec.cls, "produces", None)
    if produces is None:  # a stage of unknown type, reported elsewhere
        return True
    if issubclass(produces, Results):  # rows are no substitute for another artefact
        return issubclass(Results, wanted) and wanted is not Artefact
    return issubclass(produces, wanted) or (wanted is Examples and produces is Data)


def _noun(artefact: type) -> str:
    names = {"Data": "a data set", "Examples": "examples", "Classifier": "a model", "Results": "results"}
    return names.get(artefact.__name__, artefact.__name__)


def _cycles(experiment: Experiment) -> Iterator[Finding]:
    finished: set[str] = set()

    def walk(name: str, chain: tuple[str, ...]) -> Iterator[Finding]:
        if name in chain:
            circle = " -> ".join((*chain[chain.index(name) :], name))
            yield chain[-1], (), f"the stages need each other in a circle ({circle}); break it"
            return
        if name in finished or name not in experiment.stages:
            return
        for other in experiment.reads(name):
            yield from walk(other, (*chain, name))
        finished.add(name)

    for name in experiment.stages:
        yield from walk(name, ())


def _affected(experiment: Experiment, bad: set[str]) -> set[str]:
    """Return the bad stages and all that depend on them."""
    affected = set(bad)
    changed = True
    while changed:
        changed = False
        for name in set(experiment.stages) - affected:
            if not affected.isdisjoint(experiment.reads(name)):
                affected.add(name)
                changed = True
    return affected


def _misfits(experiment: Experiment, affected: set[str]) -> Iterator[Finding]:
    """Yield mismatches of images or classes: of a model and its data set, or between the inputs of one stage."""
    if not experiment.seeds:
        return  # a problem reported elsewhere leaves nothing to check
    datasets = [spec for spec in experiment.stages.values() if issubclass(spec.cls, Dataset)]
    shaping = {*experiment.naming_axes, *(axis for spec in datasets for axis in spec.own_axes)}
    for name, spec in experiment.stages.items():
        if name in affected:
            continue
        # Which data a stage works on, and how these look, depends on no other axes: one value of these is enough.
        axes = experiment.axes_of(name) - {SEED}
        points = list(experiment.points(axes & (shaping | spec.own_axes)))
        others = {axis: experiment.values(axis)[0] for axis in (*axes, SEED)}
        causes = AxisCauses(points)
        for point in points:
            for field, message in _misfits_at(experiment, name, others | point):
                causes.add((field,) if field else (), message, point)
        yield from ((name, *problem) for problem in causes.merged())


def _misfits_at(experiment: Experiment, name: str, point: Point) -> Iterator[tuple[str, str]]:
    component = experiment.component(name, point)
    if isinstance(component, Target):
        yield from component.fits(next(iter(_infos(experiment, component, point).values())))
        return
    if isinstance(component, Generator) and (data := data_behind(experiment, name, point)) is not None:
        info = experiment.info(data, point)
        for nested in component.with_nested():
            prefix = "" if nested is component else f"{nested.tag}: "
            yield from (("" if prefix else field, prefix + message) for field, message in nested.fits(info))
    # Each cell of an evaluation reads all its inputs; one mismatch is enough to report.
    for cell in component.expand() if isinstance(component, Evaluation) else (component,):
        for (first, one), (other, two) in itertools.pairwise(_infos(experiment, cell, point).items()):
            if (one.shape, one.num_classes) != (two.shape, two.num_classes):
                yield "", f"'{first}' works on {_form(one)}, but '{other}' on {_form(two)}; they must agree"
                return


def _infos(experiment: Experiment, component: Stage, point: Point) -> dict[str, DataInfo]:
    """Return the metadata of the data behind each stage a component reads."""
    found = {}
    for ref in component.references():
        if experiment.is_gathered(ref):  # rows, of whatever images
            continue
        if (name := data_behind(experiment, ref.stage, point)) is not None:
            found[ref.stage] = experiment.info(name, point)
    return found


def data_behind(experiment: Experiment, stage: str, point: Point) -> str | None:
    """Return the data set that a stage's images come from, or that its model was built for."""
    component = experiment.component(stage, point)
    if isinstance(component, Dataset):
        return stage
    origins = (getattr(component, name, None) for name in ("dataset", "model", "data"))
    ref = next((origin for origin in origins if isinstance(origin, Ref)), None)
    return data_behind(experiment, ref.stage, point) if ref else None


def _form(info: DataInfo) -> str:
    return f"{'x'.join(map(str, info.shape))} images of {info.num_classes} classes"
