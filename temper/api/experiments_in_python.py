"""Runs and plans experiments from Python: what the command line does, without a console."""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temper.api.in_memory import catalogue, plain
from temper.api.process_state import adopt_backend, adopt_threads, demand_threads
from temper.api.run_results import RunResults
from temper.core.errors import SpecError
from temper.engine.command_line.describe import plan_lines
from temper.engine.language import experiment_file
from temper.engine.planning.plan import Plan
from temper.engine.progress.terminal import Stream, Terminal
from temper.engine.running import outputs_folder
from temper.engine.running.engine import Unreachable
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
    command line: ``set={"generate.pgd.eps": 0.2}`` overrides values, ``only`` and ``force`` name stages. With ``jobs`` of 2 or more, workers
    compute in processes of their own: a script must then call this below ``if __name__ == "__main__":``. Nothing is
    printed unless ``progress`` is true. Stages that fail end no run; they are in ``failures`` of the results.

    Raises:
        SpecError: the experiment or a parameter is wrong; nothing has run.
        KeyboardInterrupt: the run was interrupted; what was finished is kept.
    """
    _demand_whole("jobs", [jobs], 1)
    workers = worker_choice.chosen_cluster(argparse.Namespace(on=None, jobs=jobs, gpus=0), catalogue(components))
    options = Options(_names(only), _names(force), retry_failed, workers)
    session = _session(experiment, set or {}, seeds, name, Path(outputs), components, smoke, options)
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
    options = Options(_names(only), _names(force), retry_failed)
    session = _session(experiment, set or {}, seeds, name, Path(outputs), components, smoke, options)
    return RunPlan(session.plan())


def _session(
    experiment: _File,
    sets: Mapping[str, Any],
    seeds: Sequence[int],
    name: str,
    outputs: Path,
    components: Sequence[str | Path],
    smoke: bool,
    options: Options,
) -> Session:
    adopt_backend("temper")
    _demand_whole("seeds", seeds, 0)
    outputs_folder.check(outputs)
    overrides = [f"{key}={_json(f'set {key}', value)}" for key, value in sets.items()]
    found = catalogue(components)
    if isinstance(experiment, Mapping):
        if not (name or experiment.get("name")):
            raise SpecError.at(_MAPPING, 0, "expected a name, which is that of the results folder; state 'name'")
        text = document.parse(_json(_MAPPING, experiment), _MAPPING, is_json=True)
        path = Path(_MAPPING)
    else:
        text, path = None, Path(experiment)
    try:
        checked = experiment_file.load(path, found, overrides, seeds, smoke, name, text)
    except SpecError as wrong:
        # Line numbers of the text that stands for a mapping mean nothing to its author.
        raise SpecError(replace(p, line=0) if text and p.file == _MAPPING else p for p in wrong.problems) from None
    for option, names in (("only", options.only), ("force", options.force)):
        if unknown := list(checked.unknown_stages(names, option)):
            raise SpecError(unknown)
    if problems := list(worker_choice.thread_problems([checked], [path], options.cluster)):
        raise SpecError(problems)
    return Session(checked, outputs, options)


def _names(given: _Names) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _demand_whole(where: str, given: Sequence[Any], least: int) -> None:
    whole = {number for number in given if isinstance(number, int) and not isinstance(number, bool)}
    if len(whole) != len(given) or not all(least <= number < 2**63 for number in whole):
        raise SpecError.at(where, 0, f"expected different whole numbers from {least}, received {list(given)!r}")


def _json(where: str, value: Any) -> str:
    try:
        return json.dumps(plain(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SpecError.at(where, 0, f"expected plain values, as an experiment file holds them ({error})") from None


def _console(shown: bool) -> Terminal:
    return Terminal(Stream(sys.stderr if shown else io.StringIO()), quiet=not shown, soft_wrap=True)
