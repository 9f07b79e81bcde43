"""The command line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from temper.core.cluster import Cluster
from temper.core.errors import SpecError, SpecProblem, UndertrainedModelError
from temper.engine.command_line import shipped_experiments
from temper.engine.command_line.describe import description, explanation, failure_lines, listing, plan_lines
from temper.engine.command_line.options import parser
from temper.engine.language import experiment_file, extends, json_schema
from temper.engine.language.discovery import Catalogue, discover
from temper.engine.language.document import STANDARD_INPUT
from temper.engine.language.experiment import Experiment
from temper.engine.planning import missing_packages
from temper.engine.progress.terminal import Stream, Terminal, occupy_closed_streams
from temper.engine.report.report_packages import lacking
from temper.engine.running import outputs_folder
from temper.engine.running.engine import NoWorkers, Unreachable
from temper.engine.running.session import Options, Session
from temper.engine.running.signals import exit_on_interrupt, stop_signals_handled
from temper.engine.storage.store import Damaged
from temper.engine.workers import worker_choice
from temper.system import backend, installation, stop_request
from temper.system.files import is_full, open_files_allowed, unusable
from temper.system.installation import CHECKOUT

DONE, FAILED, WRONG, FULL, WITHOUT_WORKERS, INTERRUPTED = 0, 1, 2, 3, 4, 130


_TOLD = 50
"""Faults that are shown at once: a wrong value on two axes is one for each of its points."""
LEAST_FILES = 64
"""Files that may be open at once, without which not even a framework can be imported."""


def program(arguments: Sequence[str]) -> int:
    """Run the program as the whole of a process (``main``)."""
    occupy_closed_streams()
    try:
        code = main(arguments)
    except KeyboardInterrupt:  # a second one, while the first was being told
        code = INTERRUPTED
    exit_on_interrupt()
    return code


def main(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code.

    0 done, 1 a stage failed, 2 the file is wrong, 3 a full disk, 4 no worker is available, 130 interrupted.
    """
    stdout = Stream(sys.stdout)
    out = Terminal(stdout, width=None if stdout.isatty() else 120)
    err = Terminal(Stream(sys.stderr), stderr=True, soft_wrap=True)
    options = parser().parse_args(arguments)
    options.command = list(arguments)
    code = _guarded(options, out, err)
    stdout.flush()
    if stdout.lost:
        err.print(f"standard output cannot be written: {stdout.lost}", style="red")
        return max(code, FULL)
    return code


def _guarded(options: argparse.Namespace, out: Terminal, err: Terminal) -> int:
    """Act, and turn what ended it early into words and an exit code."""
    try:
        with stop_signals_handled(options.grace):
            return _act(options, out)
    except SpecError as wrong:
        for fault in wrong.faults[:_TOLD]:
            err.print(str(fault), style="red")
        if (more := len(wrong.faults) - _TOLD) > 0:
            err.print(f"and {more:,} more faults; mend these first", style="red")
        return WRONG
    except KeyboardInterrupt:
        err.print(f"interrupted; what was finished is kept. {_go_on(options)}")
        return INTERRUPTED
    except NoWorkers as error:
        err.print(f"{error}. What was finished is kept. {_go_on(options)}", style="red")
        return WITHOUT_WORKERS
    except MemoryError:
        err.print(
            f"the memory ran out; what was finished is kept. Give the program more. {_go_on(options)}", style="red"
        )
        return FAILED
    except Exception as error:
        if is_full(error):
            told = f"the disk is full, or a quota used up ({error}); what was finished is kept. Make room for {options.outputs}"
            err.print(f"{told}; --gc removes what no experiment needs. {_go_on(options)}", style="red")
            return FULL
        if (said := unusable(error)) is None:
            raise
        err.print(said, style="red")
        return WRONG


def _go_on(options: argparse.Namespace) -> str:
    return f"Go on with: {shlex.join([*installation.command(), *options.command])}"


def _act(options: argparse.Namespace, out: Terminal) -> int:
    if (files := open_files_allowed()) is not None and files < LEAST_FILES:
        raise SpecError.at("environment", 0, f"only {files} files may be open at once; raise the limit: ulimit -n 1024")
    if options.version:
        out.print(f"Temper {installation.version()}")
        return DONE
    if options.experiments is not None:
        copied = (f"copied to {path}" for path in shipped_experiments.copy(options.experiments, Path()))
        for line in copied if options.experiments else shipped_experiments.listing():
            out.print(line, soft_wrap=True)
        return DONE
    outputs_folder.check(options.outputs)
    if options.gc:
        from temper.engine.storage.garbage_collection import sweep

        removed, size = sweep(options.outputs)
        out.print(f"removed {removed} artefacts, {size / 2**20:,.1f} MiB")
        return DONE
    if options.diff:
        from temper.engine.results.diff import diff

        for line in diff(*(path if path.is_dir() else options.outputs / path for path in options.diff)):
            out.print(line)
        return DONE
    catalogue = discover(options.components)
    if options.write_schemas:
        for path in json_schema.write(catalogue, _schema_folder(catalogue)):
            out.print(f"wrote {path}")
        return DONE
    if options.list is not None or options.describe:
        lines = (
            description(catalogue, options.describe) if options.describe else listing(catalogue, options.list or None)
        )
        for item in lines:
            out.print(item, soft_wrap=isinstance(item, str))
        return DONE
    if not options.files:
        raise SpecError(
            [SpecProblem(" ".join(installation.command()), 0, "", "no experiment file is named; --help shows how")]
        )
    return _experiments(options, catalogue, out)


def _experiments(options: argparse.Namespace, catalogue: Catalogue, out: Terminal) -> int:
    if options.explain:
        for file in options.files:
            layered = extends.load(file, options.set)
            if layered.unread:
                raise SpecError(fault for _, fault in layered.unread)
            out.print(explanation(layered, options.explain, catalogue))
        return DONE
    try:
        backend.name()
    except ValueError as wrong:
        raise SpecError.at("environment", 0, str(wrong)) from None
    cluster = worker_choice.chosen(options, catalogue)
    if options.name and len(options.files) > 1:
        raise SpecError.at(
            "--name", 0, f"names the results of one file, received {len(options.files)}; run them one by one"
        )
    # Every file is read before the first one runs, so that a fault in the last costs nothing.
    sessions: list[Session] = []
    read: list[Path] = []
    faults: list[SpecProblem] = []
    for file in options.files:
        try:
            experiment = experiment_file.load(
                file, catalogue, options.set, options.seeds, options.smoke, options.name or ""
            )
            if unknown := list(experiment.unknown_stages([*options.only, *options.force], "--only/--force")):
                raise SpecError(unknown)
            sessions.append(Session(experiment, options.outputs, _options(options, cluster)))
            read.append(file)
        except SpecError as wrong:
            faults.extend(wrong.faults)
    faults.extend(_namesakes([session.experiment for session in sessions], read))
    faults.extend(worker_choice.misfits([session.experiment for session in sessions], read, cluster))
    if faults:
        raise SpecError(faults)
    if options.job_script:
        if STANDARD_INPUT in options.files:
            raise SpecError.at("--job-script", 0, "jobs cannot read standard input; name a file")
        out.stream.write_path_bytes(worker_choice.job_script(options, catalogue))
        return DONE
    if len(sessions) > 1 and not (options.tables or options.export or options.plan or options.plan_all):
        missing = [p for session in sessions for p in missing_packages.problems(session.plan(), session.experiment)]
        if missing:
            raise SpecError(missing)
    return max(_experiment(session, options, out) for session in sessions)


def _experiment(session: Session, options: argparse.Namespace, out: Terminal) -> int:
    if replaced := session.replaced():
        told = f"{session.folder} holds the results of other settings, which a run replaces ({replaced}); --name NAME keeps both"
        out.print(told, style="yellow", soft_wrap=True)
    if options.tables:
        session.report(out)
        out.print(f"tables: {session.folder}")
        return DONE
    if options.export:
        damaged = 0
        for found in session.export(options.export):
            damaged += isinstance(found, Damaged)
            told = (
                f"{found}; not exported; run the experiment, which makes it again"
                if isinstance(found, Damaged)
                else f"wrote {found}"
            )
            out.print(told, soft_wrap=True)
        return FAILED if damaged else DONE
    plan = session.plan()
    if options.plan or options.plan_all:
        for step in plan_lines(plan, every=options.plan_all):
            out.print(step, soft_wrap=True)
        for problem in missing_packages.problems(plan, session.experiment):
            out.print(f"to run it: {problem}", style="yellow", soft_wrap=True)
        if without := lacking():
            out.print(f"warning: {without}", style="yellow", soft_wrap=True)
        return DONE
    try:
        tally = session.run(plan, out)
    except Unreachable as wrong:
        raise SpecError.at("--on", 0, str(wrong)) from None
    if stop_request.requested():
        raise KeyboardInterrupt
    made, cached = len(tally.made), len(plan.having("cached"))
    out.print(
        f"{session.experiment.name}: {made} made, {cached} cached, {len(tally.failed)} failed, {len(tally.skipped)} skipped"
    )
    for line in failure_lines([dict(record) for record in tally.failed.values()]):
        out.print(line, style="red")
    out.print(f"tables: {session.folder}")
    excused = _excused(session.experiment, tally.failed.values())
    if excused:
        told = f"{excused} of these stages could not do their work with models that have hardly learnt, which is no failure of a smoke run"
        out.print(told)
    return FAILED if len(tally.failed) > excused else DONE


def _excused(experiment: Experiment, failures: Iterable[Mapping[str, Any]]) -> int:
    """Return how many failures are to be expected of the tiny models of a smoke run."""
    expected = f"{UndertrainedModelError.__name__}: "
    return sum(str(record["cause"]).startswith(expected) for record in failures) if experiment.smoke else 0


def _namesakes(experiments: Sequence[Experiment], files: Sequence[Path]) -> Iterator[SpecProblem]:
    """Yield the faults of experiments whose results would replace each other's."""
    first: dict[str, Path] = {}
    for experiment, file in zip(experiments, files, strict=True):
        # Some file systems take capital letters for small ones.
        other = first.setdefault(experiment.name.lower(), file)
        if other is not file:
            yield SpecProblem(
                str(file), 0, "name", f"'{experiment.name}' names the results of {other}, too, which these would replace; give each "
                "file a name of its own"
            )  # fmt: skip


def _options(options: argparse.Namespace, cluster: Cluster | None) -> Options:
    return Options(options.only, options.force, options.retry_failed, cluster, options.shard)


def _schema_folder(catalogue: Catalogue) -> Path:
    """Return where schemas are kept: the checkout's, or the user's with components of their own."""
    return (catalogue.folders[0] if catalogue.folders else CHECKOUT or Path()) / "schemas"
