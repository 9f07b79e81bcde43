"""A checked experiment: the contents of a file, with references, axes and defaults resolved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Literal

from temper.core.component import Plain, Ref
from temper.core.data_info import DataInfo
from temper.core.dataset import Dataset
from temper.core.errors import KeyPath, SpecProblem, did_you_mean, dotted
from temper.core.families import Evaluation
from temper.core.report_spec import ExpectedSpec, TableSpec
from temper.core.stage import Stage
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.axis_points import SEED, Point, axis_places, points, substitute
from temper.engine.language.build import build
from temper.system.threads import DEFAULT

Mode = Literal["both", "only_attack", "only_adv_training"]


@dataclass(frozen=True, eq=False)
class StageSpec:
    """One stage of a file: its name, its component's class and its plain values, ``$axis`` names included."""

    name: str
    cls: type[Stage]
    raw: Mapping[str, Any]
    catalogue: Catalogue
    _built: dict[tuple[Plain, ...], Stage] = field(default_factory=dict, init=False, repr=False)

    @property
    def section(self) -> str:
        """The section the stage is in."""
        return self.cls.section

    @cached_property
    def axis_places(self) -> tuple[tuple[KeyPath, str], ...]:
        """The path within the stage and the axis of each parameter that uses one."""
        return tuple(axis_places(self.raw))

    @cached_property
    def own_axes(self) -> frozenset[str]:
        """The axes the stage's own parameters use."""
        return frozenset(self._axes)

    @cached_property
    def _axes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(axis for _, axis in self.axis_places))

    def values(self, point: Point) -> Mapping[str, Any]:
        """Return the stage's plain values at a point."""
        return substitute(self.raw, point) if self._axes else self.raw

    def component(self, point: Point, values: Mapping[str, Any] | None = None) -> Stage:
        """Return the component at a point, built once, from its ``values`` there if the caller has them.

        Axes that the stage does not use are ignored.
        """
        key = tuple(map(point.get, self._axes))
        if key not in self._built:
            self._built[key] = build(self.cls, self.values(point) if values is None else values, self.catalogue)
        return self._built[key]


@dataclass(frozen=True, eq=False)
class Experiment:
    """A checked experiment file.

    ``on_out_of_memory`` are the divisors of out-of-memory retries, by ``field`` or ``stage.field``; ``threads`` is how many
    threads each stage computes on.
    """

    name: str
    description: str
    mode: Mode
    seeds: tuple[int, ...]
    axes: Mapping[str, tuple[Plain, ...]]
    stages: Mapping[str, StageSpec]
    tables: tuple[TableSpec, ...]
    expected: tuple[ExpectedSpec, ...]
    catalogue: Catalogue
    on_out_of_memory: Mapping[str, int] = field(default_factory=dict)
    threads: int = DEFAULT
    smoke: bool = False
    problem: Callable[[KeyPath, str], SpecProblem] = lambda path, message: SpecProblem("", 0, dotted(path), message)
    """Places a message on a value, such as ``generate.pgd.eps``, at the line that states it."""

    def values(self, axis: str) -> tuple[Plain, ...]:
        """Return the values of an axis, the seeds included."""
        return self.seeds if axis == SEED else self.axes[axis]

    def in_order(self, axes: Collection[str]) -> tuple[str, ...]:
        """Return axes in the order of the file, the seeds last."""
        return tuple(axis for axis in (*self.axes, SEED) if axis in axes)

    def points(self, axes: frozenset[str], fixed: Point = MappingProxyType({})) -> Iterator[dict[str, Plain]]:
        """Return every combination of the axes' values, in the order of the file; ``fixed`` axes have the given values."""
        return points({axis: self.values(axis) for axis in self.in_order(axes)}, fixed)

    @cached_property
    def naming_axes(self) -> tuple[str, ...]:
        """The axes of which a value may name a stage, so that references may differ along them."""
        return tuple(
            axis
            for axis, values in self.axes.items()
            if any(isinstance(value, str) and Ref.parse(value).stage in self.stages for value in values)
        )

    def component(self, name: str, point: Point) -> Stage:
        """Return the component of a stage at a point; axes it does not use are ignored."""
        return self.stages[name].component(point)

    def info(self, name: str, point: Point) -> DataInfo:
        """Return the metadata of a data set at a point, computed once: a data set may have to list all its files."""
        dataset = self.component(name, point)
        if id(dataset) not in self._infos:
            assert isinstance(dataset, Dataset)
            self._infos[id(dataset)] = dataset.info()
        return self._infos[id(dataset)]

    @cached_property
    def _infos(self) -> dict[int, DataInfo]:
        return {}

    def unknown_stages(self, names: Iterable[str], option: str) -> Iterator[SpecProblem]:
        """Yield a problem for each name given to an option of a run that is no stage's."""
        for name in names:
            if name not in self.stages:
                hint = did_you_mean(name, self.stages) or f"; there is {', '.join(self.stages)}"
                yield SpecProblem(option, 0, "", f"no stage is called '{name}'{hint}")

    def components(self, name: str) -> Iterator[Stage]:
        """Yield the stage's component at every point of its own axes."""
        for point in self.points(self.stages[name].own_axes):
            yield self.component(name, point)

    @cache  # noqa: B019 - an experiment lives as long as the program
    def reads(self, name: str) -> tuple[str, ...]:
        """Return the stages that a stage reads at any point, each once."""
        return tuple(dict.fromkeys(ref.stage for component in self.components(name) for ref in component.references()))

    @cache  # noqa: B019
    def axes_of(self, name: str) -> frozenset[str]:
        """Return the axes a stage's artefact varies over: its own and those of everything it reads."""
        found = set(self.stages[name].own_axes)
        for component in self.components(name):
            found |= self.axes_read(component)
        return frozenset(found)

    def axes_read(self, component: Stage) -> frozenset[str]:
        """Return the axes a component varies over through its inputs, without those it gathers."""
        found = {SEED} if component.stochastic else set()
        for ref in component.references():
            axes = self.axes_of(ref.stage) | (self.axes_of(ref.against) if ref.against else frozenset())
            if isinstance(component, Evaluation) and self.is_gathered(ref):
                axes = frozenset(axis for axis in axes if not component.gathers(axis))
            found |= axes
        return frozenset(found)

    def is_gathered(self, ref: Ref[Any]) -> bool:
        """Whether a reference resolves to an evaluation: to the rows of all its cells rather than to one artefact."""
        return issubclass(self.stages[ref.stage].cls, Evaluation)

    def dataset_of(self, component: Stage, point: Point) -> str:
        """Return the name of the data set a component's model was built for, at a point of the axes."""
        ref = getattr(component, "dataset", None) or getattr(component, "model", None)
        ref = ref or next(iter(getattr(component, "models", ())), None)
        if not isinstance(ref, Ref):
            raise TypeError(f"{type(component).__name__} has neither a data set nor a model")
        if issubclass(self.stages[ref.stage].cls, Dataset):
            return ref.stage
        return self.dataset_of(self.component(ref.stage, point), point)
