"""One task as plain values, and how any process that sees the store performs it."""

from __future__ import annotations

import socket
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from temper.core.artefacts import Artefact, Data, Results
from temper.core.checkpoint import Checkpoint
from temper.core.classifier import Classifier
from temper.core.component import Part, Ref
from temper.core.run import DataOrigin, MeasuredValue, Run
from temper.core.stage import Stage
from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.catalogue.sections import FAMILIES
from temper.engine.language.build import build, plain_value
from temper.engine.planning.bound_component import Input, is_cell_of
from temper.engine.planning.task_graph import Task
from temper.engine.running import code_drift
from temper.engine.running.out_of_memory import changes, is_out_of_memory
from temper.engine.running.resource_usage import Meter, RunningCost
from temper.engine.running.signals import interrupts_repeated
from temper.engine.storage.artefact_kinds import artefact_class
from temper.engine.storage.attempt_log import AttemptLog, StageDied
from temper.engine.storage.provenance import versions
from temper.engine.storage.store import CHECKPOINTS, Damaged, Store
from temper.system import backend, threads
from temper.system.files import is_full
from temper.system.stop_request import Stopped

Status = Literal["done", "failed", "damaged", "stopped", "full"]
Report = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class TaskSpec:
    """A task as a process performs it, without the user's file: in the runner's process with the component that was planned.

    ``message`` is what crosses to a worker. There, ``component`` holds plain values, and the worker builds it, once.
    ``reduced`` are the settings that an out-of-memory retry has reduced, as ``out_of_memory.changes`` returns them.
    """

    run: str
    fingerprint: str
    label: str
    stage: str
    section: str
    family: str
    component: Stage | Mapping[str, Any]
    part: Part | None
    seed: int
    inputs: Mapping[str, Input]
    folders: tuple[str, ...]
    threads: int
    reduced: Mapping[str, Sequence[int | str]] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, run: str, catalogue: Catalogue, smaller: Stage | None = None) -> TaskSpec:
        """Return the spec of a task, with its component or with one that needs less memory."""
        return cls(
            run=run,
            fingerprint=task.fingerprint,
            label=task.label,
            stage=task.stage,
            section=task.section,
            family=task.component.section,
            component=smaller or task.component,
            part=task.part,
            seed=task.seed,
            inputs=task.inputs,
            folders=tuple(map(str, catalogue.folders)),
            threads=task.bound.threads,
            reduced=changes(task.component, smaller) if smaller else {},
        )

    def message(self) -> dict[str, Any]:
        """Return the task as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        inputs = {ref: asdict(found) for ref, found in self.inputs.items()}
        return values | {"component": plain_value(self.component), "inputs": inputs}

    @classmethod
    def received(cls, message: Mapping[str, Any]) -> TaskSpec:
        """Return the task of a message."""
        return cls(**{**message, "inputs": {ref: Input(**values) for ref, values in message["inputs"].items()}})


@dataclass(frozen=True)
class TaskOutcome:
    """How a task ended.

    ``cause`` is one line; ``log`` the full traceback; ``damaged`` the input that must be recomputed; ``deaths`` the
    attempt log's records of the workers that the task killed; ``out_of_memory`` whether reduced settings may help.
    ``full`` is a full disk: the stage has not failed, and can be retried when there is space.
    """

    fingerprint: str
    status: Status
    cause: str = ""
    log: str = ""
    damaged: str = ""
    cost: Mapping[str, Any] = field(default_factory=dict)
    host: str = field(default_factory=socket.gethostname)
    deaths: tuple[Mapping[str, Any], ...] = ()
    out_of_memory: bool = False

    @classmethod
    def of_deaths(cls, fingerprint: str, death: StageDied) -> TaskOutcome:
        """Return the outcome of a task that killed its workers."""
        return cls(
            fingerprint,
            "failed",
            str(death),
            death.log,
            cost={"peak_memory": death.peak_memory},
            host=death.host,
            deaths=tuple(death.records),
        )


def perform(task: TaskSpec, root: Path, report: Report) -> TaskOutcome:
    """Compute the artefact of a task and put it in the store; every failure is returned as an outcome."""
    store, attempts, meter = Store(root), AttemptLog(root, task.fingerprint, task.run), Meter()
    checkpoint = Checkpoint(root / CHECKPOINTS / task.fingerprint)
    try:
        component = task.component
        if not isinstance(component, Stage):
            component = component_of(task.family, component, task.folders)
        threads.use(task.threads)  # before the framework starts, which fixes the number
        if component.framework:
            backend.keras()
        with attempts.attempt(meter.memory()) as attempt, meter.watching(attempt.note_memory):
            run = _run(task, component.stream(task.stage), store, report, checkpoint)
            checkpoint.attached = RunningCost(meter, run)
            with interrupts_repeated():
                artefact = component.produce(run)
            meter.cost.images = run.images
        component.review(artefact, run)
        code_drift.check_unchanged_code(component)
    except Stopped:
        return TaskOutcome(task.fingerprint, "stopped")
    except Damaged as damage:
        return TaskOutcome(task.fingerprint, "damaged", str(damage), damaged=damage.fingerprint)
    except StageDied as death:
        return TaskOutcome.of_deaths(task.fingerprint, death)
    except Exception as error:  # noqa: BLE001 - an error in a component fails its own stage only
        if is_full(error):
            return TaskOutcome(task.fingerprint, "full", _one_line(f"{task.label}: {error}"))
        checkpoint.drop()  # resuming from it would fail again
        out_of_memory = is_out_of_memory(error)
        if out_of_memory:  # cached models take the memory that the next attempt needs
            _CACHE_OF_ARTEFACTS.forget()
        cause = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
        return TaskOutcome(
            task.fingerprint,
            "failed",
            _one_line(cause),
            traceback.format_exc(),
            cost=meter.as_dict(),
            out_of_memory=out_of_memory,
        )
    meta: dict[str, Any] = {
        "stage": task.stage,
        "label": task.label,
        "type": component.tag,
        "section": task.section,
    }
    if before := [found.fingerprint for ref, found in task.inputs.items() if Ref.parse(ref).prepared]:
        meta["prepared"] = before
    if task.reduced:
        meta["reduced"] = task.reduced
    if run.remarks:
        meta["remarks"] = [{"text": text, "smoke": smoke} for text, smoke in run.remarks.items()]
    try:
        store.publish(task.fingerprint, artefact, {**meta, "cost": meter.as_dict(), "versions": versions()})
    except Exception as error:
        if is_full(error):
            return TaskOutcome(task.fingerprint, "full", _one_line(f"the artefact of {task.label}: {error}"))
        if not isinstance(error, OSError):
            raise
        cause = f"the artefact could not be written ({error.strerror or error}); the store is unchanged"
        return TaskOutcome(task.fingerprint, "failed", cause, traceback.format_exc(), cost=meter.as_dict())
    # Last: a kill before this line must leave the checkpoint.
    checkpoint.drop()
    attempts.forget()
    return TaskOutcome(task.fingerprint, "done", cost=meter.as_dict())


@cache
def catalogue(folders: tuple[str, ...]) -> Catalogue:
    """Return the available components, including those in the users' ``folders``.

    Raises:
        SpecError: they cannot be loaded.
    """
    return discover(map(Path, folders))


def component_of(family: str, values: Mapping[str, Any], folders: tuple[str, ...]) -> Stage:
    """Return a component of a family from its plain values; ``folders`` hold the users' components."""
    found = catalogue(folders)
    leaf = found.of(FAMILIES[family])[values["type"]]
    assert issubclass(leaf, Stage)
    return build(leaf, values, found)


def _run(task: TaskSpec, stream: str, store: Store, report: Report, checkpoint: Checkpoint) -> Run:
    inputs = task.inputs

    def load(ref: Ref[Any]) -> Any:
        found = inputs[str(ref)]
        if found.definition is not None:
            return component_of(found.definition["section"], found.definition["component"], task.folders)
        artefact = _CACHE_OF_ARTEFACTS.get(store, found.fingerprint, catalogue(task.folders))
        return artefact.part(found.part) if isinstance(artefact, Data) and found.part else artefact

    def cost(ref: Ref[Any]) -> Mapping[str, Any]:
        meta: dict[str, Any] = store.meta(inputs[str(ref)].fingerprint)
        if "prepared" not in meta:
            return dict(meta["cost"])
        prepared = _preparations(store, meta)
        return {**meta["cost"], "preparation_seconds": sum(float(one["cost"]["seconds"]) for one in prepared.values())}

    def progress(done: int, total: int, unit: str) -> None:
        report(task.fingerprint, done, total, unit)

    def gather(ref: Ref[Results]) -> list[MeasuredValue]:
        cells = [found for key, found in inputs.items() if is_cell_of(key, ref)]
        return [
            MeasuredValue(row, cell.point or {}) for cell in cells for row in store.load(cell.fingerprint, Results).rows
        ]

    def origin(ref: Ref[Any]) -> DataOrigin:
        found = inputs[str(ref)]
        return DataOrigin(found.origin, found.perturbed, tuple(found.classes))

    return Run(task.stage, task.seed, task.part, load, cost, progress, gather, stream, checkpoint, origin)


def _preparations(store: Store, meta: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the metadata of all preparations of an artefact, nested ones included, each once."""
    found: dict[str, Mapping[str, Any]] = {}
    for fingerprint in meta.get("prepared", ()):
        found[fingerprint] = store.meta(fingerprint)
        found |= _preparations(store, found[fingerprint])
    return found


class _ArtefactCache:
    """A cache of the artefacts read last, so that consecutive stages share a model and its compiled programs."""

    def __init__(self, max_bytes: int, max_artefacts: int) -> None:
        """Limit the size of all models, and the number of artefacts: each set of examples keeps a file open."""
        self._max_bytes, self._max_artefacts = max_bytes, max_artefacts
        self._artefacts: OrderedDict[tuple[Path, str], tuple[Artefact, int]] = OrderedDict()

    def get(self, store: Store, fingerprint: str, found: Catalogue) -> Artefact:
        key = (store.root, fingerprint)
        if key not in self._artefacts:
            artefact = store.load(fingerprint, artefact_class(store, fingerprint, found))
            # Arrays stay on disk until they are read, so only models count.
            size = store.size(fingerprint) if isinstance(artefact, Classifier) else 0
            self._artefacts[key] = artefact, size
            while len(self._artefacts) > 1 and self._too_many():
                self._artefacts.popitem(last=False)
        self._artefacts.move_to_end(key)
        return self._artefacts[key][0]

    def forget(self) -> None:
        """Release all artefacts."""
        self._artefacts.clear()

    def _too_many(self) -> bool:
        size = sum(size for _, size in self._artefacts.values())
        return len(self._artefacts) > self._max_artefacts or size > self._max_bytes


_CACHE_OF_ARTEFACTS = _ArtefactCache(max_bytes=2**29, max_artefacts=64)


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = " ".join(lines) if len(lines) < 3 else lines[0]
    return line if len(line) <= 300 else line[:297] + "..."
