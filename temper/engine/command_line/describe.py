"""The texts that the command line prints about components, values, plans and failures."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from temper.core.component import Component, Field, fields_of, summary
from temper.core.errors import KeyPath, SpecError, SpecProblem, did_you_mean
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.catalogue.schema_validation import show
from temper.engine.catalogue.sections import SECTIONS
from temper.engine.language.build import plain
from temper.engine.planning.plan import Plan, State, Step
from temper.engine.progress.duration import duration
from temper.engine.syntax.value_origin import Layered

MAX_LISTED = 200
"""Maximum number of tasks that a plan lists one by one."""
_STYLES: Mapping[State, str] = {"cached": "green", "run": "", "failed": "red", "not needed": "dim", "left out": "dim"}


def listing(catalogue: Catalogue, section: str | None) -> Iterator[Text | str]:
    """Yield the components of a section, or of all of them, one line each.

    Raises:
        SpecError: there is no such section.
    """
    families = dict(SECTIONS) | {
        family.__name__.lower(): family for family in catalogue.families() if family not in SECTIONS.values()
    }
    if section is not None and section not in families:
        # A section of the file is more likely meant than a family of nested components.
        hint = (
            did_you_mean(section, SECTIONS)
            or did_you_mean(section, families)
            or f"; choose one of {', '.join(families)}"
        )
        raise SpecError([SpecProblem("--list", 0, "", f"unknown section '{section}'{hint}")])
    for name, family in families.items():
        if section in (None, name):
            yield Text(f"{name}:", style="bold")
            for tag, leaf in catalogue.of(family).items():
                yield f"  {tag:22} {summary(leaf)}"


def description(catalogue: Catalogue, tag: str) -> Iterator[Text | str | Table]:
    """Yield the description of a component type: docstring, parameters, bounds and defaults.

    Raises:
        SpecError: there is no such type.
    """
    leaves = catalogue.tagged(tag)
    if not leaves:
        hint = did_you_mean(tag, catalogue.tags) or "; --list shows all types"
        raise SpecError([SpecProblem("--describe", 0, "", f"unknown type '{tag}'{hint}")])
    for leaf in leaves:
        yield Text(f"{_section(leaf)}: type: {tag}", style="bold")
        yield inspect.cleandoc(leaf.__doc__ or "")
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in ("parameter", "type", "bounds", "default", "meaning"):
            table.add_column(column, overflow="fold")
        for field in fields_of(leaf):
            table.add_row(field.name, str(field.kind), _bounds(field), _default(field), field.help)
        yield table


def _section(leaf: type[Component]) -> str:
    return str(getattr(leaf, "section", "nested"))


def _bounds(field: Field) -> str:
    if field.bounds is None:
        return ""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return ", ".join(
        f"{sign} {value:g}" for name, sign in signs.items() if (value := getattr(field.bounds, name)) is not None
    )


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if isinstance(field.default, Component):
        return str(plain(field.default))
    return show(field.default) if not isinstance(field.default, tuple) else str(list(field.default))


def explanation(layered: Layered, key: str, catalogue: Catalogue) -> str:
    """Return a value of an experiment and its origin: file and line, ``--set``, or a component's default.

    Raises:
        SpecError: there is no such value.
    """
    path: KeyPath = tuple(
        int(k) if k.isdecimal() and len(k) < 10 else k for k in key.replace("[", ".").replace("]", "").split(".")
    )
    value: Any = layered.data
    for i, step in enumerate(path):
        if step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value)):
            value = value[step]
        elif isinstance(value, dict) and i == 2 and len(path) == 3:
            return _defaulted(value, path, key, catalogue)
        else:
            known = [str(k) for k in value] if isinstance(value, dict) else []
            raise SpecError([layered.problem(path[:i], f"unknown key '{step}'{did_you_mean(str(step), known)}")])
    origin = layered.origin_of(path)
    shown = "a mapping" if isinstance(value, dict) else show(value)
    return f"{key} = {shown}\n  from {origin}" + (f"\n  {origin.text}" if origin.line else "")


def _defaulted(stage: dict[str, object], path: KeyPath, key: str, catalogue: Catalogue) -> str:
    family = SECTIONS.get(str(path[0]))
    leaf = catalogue.of(family).get(str(stage.get("type"))) if family else None
    fields = {field.name: field for field in fields_of(leaf)} if leaf else {}
    field = fields.get(str(path[2]))
    if leaf is None or field is None or field.required:
        hint = did_you_mean(str(path[2]), fields)
        raise SpecError([SpecProblem("--explain", 0, key, f"no such value{hint}")])
    return f"{key} = {_default(field)}\n  default of {leaf.tag}: {field.help}"


def plan_lines(plan: Plan, every: bool = False) -> Iterator[Text]:
    """Yield the plan and a summary: a line per task, or per stage and state if there are many tasks.

    With ``every``, each task has a line, however many there are.
    """
    steps = [step for step in plan.steps.values() if step.state != "left out"]
    if len(steps) <= MAX_LISTED or every:
        width = max((len(step.task.label) for step in steps), default=0)
        yield from (
            Text(f"{step.task.label:{width}}  {_state_text(step)}", style=_STYLES[step.state]) for step in steps
        )
    else:
        yield from _stage_lines(steps)
    yield Text(_summary(plan), style="bold")


def _state_text(step: Step) -> str:
    text = {"run": f"run, because {step.reason}", "failed": f"failed: {step.reason}"}.get(step.state, step.state)
    return text + (f"  about {duration(step.seconds)}" if step.seconds is not None else "")


def _stage_lines(steps: Sequence[Step]) -> Iterator[Text]:
    groups: dict[tuple[str, State], list[Step]] = {}
    for step in steps:
        groups.setdefault((step.task.stage, step.state), []).append(step)
    width = max(len(stage) for stage, _ in groups)
    for (stage, state), members in groups.items():
        reasons = Counter(step.reason for step in members if step.reason)
        reason = max(reasons, key=reasons.__getitem__, default="")
        others = f", and {len(reasons) - 1:,} other reason{'s' * (len(reasons) > 2)}" if len(reasons) > 1 else ""
        because = (", because " if state == "run" else ": ") + reason + others if reason else ""
        seconds = [step.seconds for step in members if step.seconds is not None]
        time = f"  about {duration(sum(seconds))}" if seconds else ""
        yield Text(f"{stage:{width}}  {len(members):>9,} {state}{because}{time}", style=_STYLES[state])
    yield Text(f"{len(steps):,} tasks; --plan-all lists each, --only STAGE those of one stage", style="dim")


def _summary(plan: Plan) -> str:
    run = plan.having("run")
    known = [step.seconds for step in run if step.seconds is not None]
    counts = [f"{len(run)} to run", f"{len(plan.having('cached'))} cached"]
    if plan.having("failed"):
        counts.append(f"{len(plan.having('failed'))} failed before")
    estimate = ""
    if known:
        rest = f" and {len(run) - len(known)} of unknown duration" if len(known) < len(run) else ""
        estimate = f"; about {duration(sum(known))}{rest}"
    return ", ".join(counts) + estimate


def failure_lines(failures: Sequence[dict[str, object]]) -> Iterator[str]:
    """Yield a line for each failure, for the end of a run."""
    for failure in failures:
        peak = failure.get("peak_memory")
        memory = f", peak memory {int(str(peak)) / 2**20:,.0f} MiB" if peak else ""
        yield f"{failure['label']}: {failure['cause']}{memory}; log: {failure['log']}"
