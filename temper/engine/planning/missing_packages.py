"""The packages that the tasks to run need and that are not installed, each at the line that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from temper.core.component import Component
from temper.core.errors import KeyPath, SpecProblem
from temper.core.stage import Stage
from temper.engine.language.experiment import Experiment
from temper.engine.planning.plan import Plan
from temper.system import packages


def problems(plan: Plan, experiment: Experiment) -> Iterator[SpecProblem]:
    """Yield what to install for the tasks that a plan runs, each command once: at the first line that needs it."""
    lacking = cache(_missing)  # for as long as one plan: the user may install what is missing
    found: dict[str, dict[KeyPath, tuple[str, tuple[str, ...]]]] = {}
    components = {id(step.task.component): step.task for step in plan.having("run")}
    for task in components.values():
        for place, part in task.component.with_places((task.section, task.stage)):
            for command, names in packages.by_command(lacking(type(part))):
                found.setdefault(command, {}).setdefault(place, (part.tag, names))
    for command, places in found.items():
        place = min(places, key=lambda path: experiment.problem((*path, "type"), "").line)
        tag, names = places[place]
        others = len({path[:2] for path in places} - {place[:2]})
        more = f" ({others} more stage{'s need' if others > 1 else ' needs'} it)" if others else ""
        yield experiment.problem(
            (*place, "type"), f"'{tag}' needs packages: {packages.listed(names)} not installed; {command}{more}"
        )


def needed(component: type[Component]) -> tuple[str, ...]:
    """Return the import names of the packages that the code of a component needs beyond those of a light install."""
    models = packages.for_models() if issubclass(component, Stage) and component.framework else ()
    return (*models, *component.requires)


def _missing(component: type[Component]) -> tuple[str, ...]:
    return packages.missing(needed(component))
