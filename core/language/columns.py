"""The columns that the results of an evaluation vary over, known before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from core.component import Plain
from core.families import Evaluation
from core.faults import KeyPath
from core.language.build import at
from core.language.experiment import SEED, Experiment

Varies = dict[str, tuple[Plain, ...]]
LABELS = ("model", "examples")


def varies(experiment: Experiment, name: str) -> Varies:
    """Return the columns the results of an evaluation vary over, each with its values in file order."""
    found: dict[str, dict[Plain, None]] = {level: {} for level in LABELS}
    axes = set(experiment.stages[name].own_axes)
    cls = experiment.stages[name].cls
    assert issubclass(cls, Evaluation)
    for component in experiment.components(name):
        assert isinstance(component, Evaluation)
        for cell in component.expand():
            axes |= experiment.axes_read(cell)
            labels = [(level, label) for level, label in cell.about().items()] + list(_kept(experiment, cell))
            for level, label in labels:
                found[level].setdefault(label)
    columns: Varies = {level: tuple(labels) for level, labels in found.items() if labels}
    columns["metric"] = cls.metrics
    columns |= {axis: experiment.values(axis) for axis in experiment.axes if axis in axes}
    return columns | ({SEED: experiment.seeds} if SEED in axes else {})


def _kept(experiment: Experiment, cell: Evaluation) -> Iterator[tuple[str, Plain]]:
    """Yield the labels of the results that a cell reads, of the levels that it does not gather."""
    for ref in cell.references():
        if experiment.is_gathered(ref):
            columns = varies(experiment, ref.stage)
            for level in LABELS:
                yield from ((level, label) for label in columns.get(level, ()) if not cell.gathers(level))


def unsuited(experiment: Experiment) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for every evaluation that cannot use the results it reads."""
    for name, spec in experiment.stages.items():
        found: dict[tuple[str, str], None] = {}
        for point in experiment.points(spec.own_axes):
            component = experiment.component(name, point)
            for ref in component.references() if isinstance(component, Evaluation) else ():
                if experiment.is_gathered(ref):
                    assert isinstance(component, Evaluation)
                    for field, message in component.suits(varies(experiment, ref.stage)):
                        found.setdefault((field, message + at(point)))
        yield from (((spec.section, name, *((field,) if field else ())), message) for field, message in found)
