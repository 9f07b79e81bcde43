"""The plan of a run: for each task, whether its artefact exists or must be computed, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from temper.core.errors import SpecError, SpecProblem
from temper.engine.language.experiment import Mode
from temper.engine.planning.history import Failures, Timings
from temper.engine.planning.task_graph import Task, TaskGraph
from temper.engine.storage.digests import Digests
from temper.engine.storage.store import Store
from temper.system.traversal import reachable

State = Literal["cached", "run", "failed", "not needed", "left out"]


@dataclass(frozen=True)
class Step:
    """One task of a plan; ``seconds`` is an estimate from past runs."""

    task: Task
    state: State
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """The steps of a run, each after the steps it needs."""

    steps: Mapping[str, Step]
    forced: frozenset[str] = field(default=frozenset())

    def having(self, state: State) -> list[Step]:
        """Return the steps in a state."""
        return [step for step in self.steps.values() if step.state == state]


def make(
    graph: TaskGraph,
    store: Store,
    last: Mapping[str, Any],
    *,
    mode: Mode = "both",
    only: Collection[str] = (),
    force: Collection[str] = (),
    retry: bool = False,
) -> Plan:
    """Return the plan for a graph.

    Raises:
        SpecError: ``only_adv_training`` lacks generated data in the store.
    """
    timings, failures = Timings(store.root, smoke=graph.smoke), Failures(store.root)
    wanted = _wanted(graph, mode, only)
    forced = _forced(graph, force)
    present = {f for f in store.present(graph.tasks) if f not in forced and graph.tasks[f].is_there(store)}
    needed = _needed(graph, wanted, present)
    if mode == "only_adv_training":
        _demand_generated(graph, needed)
    reached, failed = _reach(graph, wanted), failures.among(graph.tasks)
    steps = {}
    for fingerprint, task in graph.tasks.items():
        failure = None if retry or fingerprint in forced else failed.get(fingerprint)
        if fingerprint in present:
            step = Step(task, "cached")
        elif fingerprint not in needed:
            step = Step(task, "not needed" if fingerprint in reached else "left out")
        elif failure:
            step = Step(task, "failed", f"{failure['cause']}; --retry-failed tries again")
        else:
            reason = "forced" if fingerprint in forced else _reason(task, last, store, graph.digests)
            step = Step(task, "run", reason, timings.estimate(task))
        steps[fingerprint] = step
    return Plan(steps, frozenset(forced))


def _wanted(graph: TaskGraph, mode: Mode, only: Collection[str]) -> list[str]:
    """Return the tasks that are requested."""
    if only:
        return [f for f, task in graph.tasks.items() if task.stage in only]
    if mode == "only_attack":
        # Generated data are requested themselves, even where only a repaired model would read them.
        made = [f for f, task in graph.tasks.items() if task.section == "generate" and not task.repaired]
        return [*made, *(f for f in graph.roots if not graph.tasks[f].repaired)]
    return graph.roots


def _reach(graph: TaskGraph, wanted: Collection[str]) -> set[str]:
    return set(reachable(wanted, lambda fingerprint: graph.tasks[fingerprint].needs))


def _needed(graph: TaskGraph, wanted: Collection[str], present: Collection[str]) -> set[str]:
    """Return the tasks that must run: requested tasks without an artefact, and what these in turn lack."""

    def missing(fingerprints: Iterable[str]) -> list[str]:
        return [fingerprint for fingerprint in fingerprints if fingerprint not in present]

    return set(reachable(missing(wanted), lambda fingerprint: missing(graph.tasks[fingerprint].needs)))


def _forced(graph: TaskGraph, stages: Collection[str]) -> set[str]:
    forced: set[str] = set()
    for fingerprint, task in graph.tasks.items():
        if task.stage in stages or forced.intersection(task.needs):
            forced.add(fingerprint)
    return forced


def _demand_generated(graph: TaskGraph, needed: Collection[str]) -> None:
    missing = [w for f, w in graph.tasks.items() if f in needed and w.section == "generate" and not w.repaired]
    if missing:
        raise SpecError(
            SpecProblem(
                "mode", 0, f"generate.{task.stage}",
                f"only_adv_training takes generated data from the store, and {task.label} is not there; "
                "run with mode: only_attack (or both) first",
            )
            for task in missing
        )  # fmt: skip


def _reason(task: Task, last: Mapping[str, Any], store: Store, digests: Digests) -> str:
    before = last.get(task.label) if last else None
    if before is None:
        return "never run"
    if before["fingerprint"] == task.fingerprint:
        return "its artefact is damaged" if store.folder(task.fingerprint).exists() else "not finished"
    return few(list(_changes(before["ingredients"], dict(task.ingredients), digests)))


def few(texts: Sequence[str]) -> str:
    """Return the first three of some texts in a line, and how many more there are."""
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], digests: Digests) -> Iterator[str]:
    """Yield the differences between the ingredients of the stored artefact and those planned now."""
    yield from _differences(before["component"], now["component"], "")
    if before["code"] != now["code"]:
        modules = digests.changed_modules(before["code"], now["code"])
        yield "code changed" + (f" ({few(modules)})" if modules else "")
    if before["files"] != now["files"]:
        yield "file changed"
    if before["backend"] != now["backend"]:
        yield f"backend {before['backend']} → {now['backend']}"
    if before["threads"] != now["threads"]:
        yield f"threads {before['threads']} → {now['threads']}"


def _differences(before: Any, now: Any, name: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping) and "is" not in now:
        for key in {**before, **now}:
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        reference = isinstance(now, Mapping | list)
        yield f"{name} changed" if reference else f"{name} {_short(before)} → {_short(now)}"


def _short(value: Any) -> str:
    return "none" if value is None else str(value)
