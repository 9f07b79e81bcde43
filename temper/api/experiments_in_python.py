"""Runs and plans experiments from Python: what the command line does, without a console."""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temper.api.given_arrays import seeds as checked_seeds
from temper.api.given_arrays import whole_number
from temper.api.in_memory import catalogue, plain
from temper.api.process_state import adopt_backend, adopt_threads, demand_threads
from temper.api.run_results import RunResults
from temper.core.cluster import Cluster
from temper.core.errors import SpecError, StageError
from temper.engine.command_line.describe import plan_lines
from temper.engine.language import experiment_file
from temper.engine.planning.plan import Plan
from temper.engine.planning.shard import Shard
from temper.engine.progress.terminal import Stream, Terminal
from temper.engine.running import outputs_folder
from temper.engine.running.engine import NoWorkers, Unreachable
from temper.engine.running.session import Options, Session
from temper.engine.running.signals import stop_signals_handled
from temper.engine.syntax import document
from temper.engine.workers import worker_choice
from temper.system import stop_request

if TYPE_CHECKING:
    import pandas as pd

GRACE = 20.0
"""Grace period in seconds for saving a checkpoint after a stop signal."""
_MAPPING = "experiment"
"""What messages call an experiment that is no file."""
_Names = str | Sequence[str]
_File = str | Path | Mapping[str, Any]


class RunPlan:
    """What a run would do, task by task: ``print`` it, or read ``frame``."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The tasks in order: ``stage``, ``task``, ``state`` (``cached``, ``run``, ``failed``, ``not needed``), ``reason``, ``seconds``."""
        import pandas as pd

        rows = [
            (step.task.stage, step.task.label, step.state, step.reason, step.seconds)
            for step in self._plan.steps.values()
            if step.state != "left out"
        ]
        return pd.DataFrame(rows, columns=["stage", "task", "state", "reason", "seconds"])

    def __str__(self) -> str:
        return "\n".join(line.plain for line in plan_lines(self._plan))

    __repr__ = __str__


def run(
    experiment: _File,
    *,
    set: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (),
    name: str = "",
    jobs: int = 1,
    gpus: int = 0,
    on: str | Path | None = None,
    shard: str | None = None,
    outputs: str | Path = "outputs",
    components: Sequence[str | Path] = (),
    only: _Names = (),
    force: _Names = (),
    retry_failed: bool = False,
    smoke: bool = False,
    progress: bool = False,
) -> RunResults:
    """Run an experiment and return its results; what is in the store already is not computed again.

    ``experiment`` is a YAML or JSON file, or a mapping of the same form with a ``name``. The other parameters are the options of the
    command line: ``set={"generate.pgd.eps": 0.2}`` overrides values, ``only`` and ``force`` name stages, ``on`` is a cluster file, ``shard``
    ("2/8") this runner's share of a run by several. With ``jobs`` of 2 or more, or ``gpus``, workers
    compute in processes of their own: a script must then call this below ``if __name__ == "__main__":``. Nothing is
    printed unless ``progress`` is true. Stages that fail end no run; they are in ``failures`` of the results.

    Raises:
        SpecError: the experiment or a parameter is wrong; nothing has run.
        StageError: the workers of a cluster are gone; finished tasks are saved.
        KeyboardInterrupt: the run was interrupted; finished tasks are saved.
    """
    with _with_parameter_names():
        options = Options(
            _names("only", only),
            _names("force", force),
            retry_failed,
            _workers(jobs, gpus, on, components),
            None if shard is None else _shard(shard),
        )
        session = _session(experiment, set or {}, seeds, name, outputs, components, smoke, options)
        if session.options.cluster is None:
            adopt_threads(session.experiment.threads)
            demand_threads(session.experiment.threads)
    # Signals reach the main thread alone.
    is_main = threading.current_thread() is threading.main_thread()
    with stop_signals_handled(GRACE) if is_main else nullcontext():
        try:
            session.run(session.plan(), _console(progress))
        except Unreachable as wrong:
            raise SpecError.at("temper.run", 0, str(wrong)) from None
        except NoWorkers as wrong:
            raise StageError(f"{wrong}. What was finished is kept: run it again to continue") from None
        if stop_request.requested():
            stop_request.withdraw()  # what this process calls next is not meant
            raise KeyboardInterrupt
    return RunResults(session.folder, session.store.root, components)


def plan(
    experiment: _File,
    *,
    set: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (),
    name: str = "",
    outputs: str | Path = "outputs",
    components: Sequence[str | Path] = (),
    only: _Names = (),
    force: _Names = (),
    retry_failed: bool = False,
    smoke: bool = False,
) -> RunPlan:
    """Return what ``run`` with the same arguments would do, and why; imports no framework and writes nothing to ``outputs``.

    Raises:
        SpecError: the experiment or a parameter is wrong.
    """
    with _with_parameter_names():
        options = Options(_names("only", only), _names("force", force), retry_failed)
        session = _session(experiment, set or {}, seeds, name, outputs, components, smoke, options)
    return RunPlan(session.plan())


def _session(
    experiment: _File,
    sets: Mapping[str, Any],
    seeds: Sequence[int],
    name: str,
    outputs: str | Path,
    components: Sequence[str | Path],
    smoke: bool,
    options: Options,
) -> Session:
    adopt_backend("temper")
    outputs_folder.check(Path(outputs))
    if not isinstance(sets, Mapping):
        raise SpecError.at("set", 0, f'expected a mapping such as {{"generate.pgd.eps": 0.2}}, received {sets!r}')
    overrides = [f"{key}={_json(f'set {key}', value)}" for key, value in sets.items()]
    path, text = Path(_MAPPING), None
    if isinstance(experiment, Mapping):
        if not (name or experiment.get("name")):
            raise SpecError.at(_MAPPING, 0, "expected a name, which is that of the results folder; state 'name'")
        text = document.parse(_json(_MAPPING, experiment), _MAPPING, is_json=True)
    else:
        path = Path(experiment)
    checked = experiment_file.load(path, catalogue(components), overrides, checked_seeds(seeds), smoke, name, text)
    wrong = [
        problem for names in ("only", "force") for problem in checked.unknown_stages(getattr(options, names), names)
    ]
    if wrong := wrong or list(worker_choice.thread_problems([checked], [path], options.cluster)):
        raise SpecError(wrong)
    return Session(checked, Path(outputs), options)


@contextmanager
def _with_parameter_names() -> Iterator[None]:
    """Name parameters where messages name options, and no lines of the text that a mapping is turned into."""
    try:
        yield
    except SpecError as wrong:
        problems = (replace(p, file=p.file.removeprefix("--")) for p in wrong.problems)
        raise SpecError(replace(p, line=0) if p.file == _MAPPING else p for p in problems) from None


def _workers(jobs: int, gpus: int, on: str | Path | None, components: Sequence[str | Path]) -> Cluster | None:
    jobs, gpus = whole_number("jobs", jobs, 1), whole_number("gpus", gpus, 0)
    if on is not None and (jobs, gpus) != (1, 0):
        raise SpecError.at("on", 0, "a cluster file states its own workers; leave jobs and gpus out")
    chosen = argparse.Namespace(on=None if on is None else str(on), jobs=jobs, gpus=gpus)
    return worker_choice.chosen_cluster(chosen, catalogue(components))


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(str(text))
    except ValueError as wrong:
        raise SpecError.at("shard", 0, str(wrong)) from None


def _names(where: str, given: _Names) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(name, str) for name in names):
        raise SpecError.at(where, 0, f"expected names of stages, received {given!r}")
    return names


def _json(where: str, value: Any) -> str:
    try:
        return json.dumps(plain(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SpecError.at(where, 0, f"expected plain values, as an experiment file holds them ({error})") from None


def _console(shown: bool) -> Terminal:
    return Terminal(Stream(sys.stderr if shown else io.StringIO()), quiet=not shown, soft_wrap=True)
