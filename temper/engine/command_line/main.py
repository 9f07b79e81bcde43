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
from temper.engine.catalogue import json_schema
from temper.engine.catalogue.discovery import Catalogue, discover
from temper.engine.command_line import first_experiment, shipped_experiments
from temper.engine.command_line.describe import description, explanation, failure_lines, listing, plan_lines
from temper.engine.command_line.options import parser
from temper.engine.language import experiment_file
from temper.engine.language.experiment import Experiment
from temper.engine.planning import missing_packages
from temper.engine.progress.terminal import Stream, Terminal, occupy_closed_streams
from temper.engine.report.report_packages import missing_output
from temper.engine.running import outputs_folder
from temper.engine.running.engine import NoWorkers, Unreachable
from temper.engine.running.session import Options, Session
from temper.engine.running.signals import exit_on_interrupt, stop_signals_handled
from temper.engine.storage.store import Damaged
from temper.engine.syntax import extends
from temper.engine.syntax.document import STANDARD_INPUT
from temper.engine.workers import worker_choice
from temper.system import backend, installation, stop_request
from temper.system.files import is_full, open_files_allowed, unusable
from temper.system.installation import CHECKOUT

DONE, FAILED, WRONG, FULL, WITHOUT_WORKERS, INTERRUPTED = 0, 1, 2, 3, 4, 130


_MAX_PROBLEMS = 50
"""Maximum number of problems shown at once: a wrong value on two axes is one problem per point."""
MIN_OPEN_FILES = 64
"""Minimum limit of open files: with less, not even a framework can be imported."""


def program(arguments: Sequence[str]) -> int:
    """Run ``main`` as the only task of this process."""
    occupy_closed_streams()
    try:
        code = main(arguments)
    except KeyboardInterrupt:  # a second one, while the first was being reported
        code = INTERRUPTED
    exit_on_interrupt()
    return code


def main(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code.

    0 done, 1 a stage failed, 2 the input has problems, 3 the disk is full, 4 no worker is available, 130 interrupted.
    """
    stdout = Stream(sys.stdout)
    out = Terminal(stdout, width=None if stdout.isatty() else 120)
    err = Terminal(Stream(sys.stderr), stderr=True, soft_wrap=True)
    options = parser().parse_args(arguments)
    options.command = list(arguments)
    code = _run_guarded(options, out, err)
    stdout.flush()
    if stdout.lost:
        err.print(f"standard output cannot be written: {stdout.lost}", style="red")
        return max(code, FULL)
    return code


def _run_guarded(options: argparse.Namespace, out: Terminal, err: Terminal) -> int:
    """Run the command, and turn exceptions into messages and exit codes."""
    try:
        with stop_signals_handled(options.grace):
            return _dispatch(options, out)
    except SpecError as wrong:
        for problem in wrong.problems[:_MAX_PROBLEMS]:
            err.print(str(problem), style="red")
        if (more := len(wrong.problems) - _MAX_PROBLEMS) > 0:
            err.print(f"and {more:,} more problems; fix these first", style="red")
        return WRONG
    except KeyboardInterrupt:
        err.print(f"interrupted; finished tasks are saved. {_how_to_resume(options)}")
        return INTERRUPTED
    except NoWorkers as error:
        err.print(f"{error}. Finished tasks are saved. {_how_to_resume(options)}", style="red")
        return WITHOUT_WORKERS
    except MemoryError:
        err.print(
            f"out of memory; finished tasks are saved. Provide more memory. {_how_to_resume(options)}",
            style="red",
        )
        return FAILED
    except Exception as error:
        if is_full(error):
            text = f"the disk is full, or a quota is exceeded ({error}); finished tasks are saved."
            err.print(
                f"{text} Free space for {options.outputs}; --gc removes artefacts that no experiment needs. {_how_to_resume(options)}",
                style="red",
            )
            return FULL
        if (message := unusable(error)) is None:
            raise
        err.print(message, style="red")
        return WRONG


def _how_to_resume(options: argparse.Namespace) -> str:
    return f"Resume with: {shlex.join([*installation.command(), *options.command])}"


def _dispatch(options: argparse.Namespace, out: Terminal) -> int:
    if (files := open_files_allowed()) is not None and files < MIN_OPEN_FILES:
        raise SpecError.at("environment", 0, f"the limit of open files is {files}; raise it: ulimit -n 1024")
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
        from temper.engine.storage.garbage_collection import collect_garbage

        removed, size = collect_garbage(options.outputs)
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
    if options.model or options.data or options.out:
        return _first_experiment(options, catalogue, out)
    if not options.files:
        raise SpecError(
            [
                SpecProblem(
                    " ".join(installation.command()), 0, "", "expected an experiment file; --help shows the usage"
                )
            ]
        )
    return _experiments(options, catalogue, out)


def _first_experiment(options: argparse.Namespace, catalogue: Catalogue, out: Terminal) -> int:
    if not (options.model and options.data):
        raise SpecError.at("--try", 0, "expected both --try MODEL and --data DATA")
    if options.files:
        raise SpecError.at("--try", 0, f"writes a new file; expected no experiment file, received {options.files[0]}")
    schema = (_schema_folder(catalogue).resolve() / "experiment.schema.json").as_uri()
    path = first_experiment.write(options.model, options.data, options.out, catalogue, schema)
    out.print(f"wrote {path}; check the assumptions at its top, then run it:", soft_wrap=True)
    components = [part for folder in options.components for part in ("--components", str(folder))]
    out.print(shlex.join([*installation.command(), str(path), *components]), soft_wrap=True)
    return DONE


def _experiments(options: argparse.Namespace, catalogue: Catalogue, out: Terminal) -> int:
    if options.explain:
        for file in options.files:
            layered = extends.load(file, options.set)
            if layered.unread:
                raise SpecError(problem for _, problem in layered.unread)
            out.print(explanation(layered, options.explain, catalogue))
        return DONE
    try:
        backend.name()
    except ValueError as wrong:
        raise SpecError.at("environment", 0, str(wrong)) from None
    cluster = worker_choice.chosen_cluster(options, catalogue)
    if options.name and len(options.files) > 1:
        raise SpecError.at("--name", 0, f"expected one file, received {len(options.files)}; run them one by one")
    # Every file is checked before the first one runs, so that a problem in the last one costs no computing.
    sessions: list[Session] = []
    read: list[Path] = []
    problems: list[SpecProblem] = []
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
            problems.extend(wrong.problems)
    problems.extend(_duplicate_names([session.experiment for session in sessions], read))
    problems.extend(worker_choice.thread_problems([session.experiment for session in sessions], read, cluster))
    if problems:
        raise SpecError(problems)
    if options.job_script:
        if STANDARD_INPUT in options.files:
            raise SpecError.at("--job-script", 0, "jobs cannot read standard input; use a file")
        # File names may have bytes that the encoding of standard output lacks.
        out.stream.write_path_bytes(worker_choice.job_script(options, catalogue))
        return DONE
    if len(sessions) > 1 and not (options.tables or options.export or options.plan or options.plan_all):
        missing = [p for session in sessions for p in missing_packages.problems(session.plan(), session.experiment)]
        if missing:
            raise SpecError(missing)
    return max(_experiment(session, options, out) for session in sessions)


def _experiment(session: Session, options: argparse.Namespace, out: Terminal) -> int:
    if replaced := session.replaced_settings():
        text = f"a run replaces the results of other settings in {session.folder} ({replaced}); --name NAME keeps both"
        out.print(text, style="yellow", soft_wrap=True)
    if options.tables:
        session.report(out)
        out.print(f"tables: {session.folder}")
        return DONE
    if options.export:
        damaged = 0
        for found in session.export(options.export):
            damaged += isinstance(found, Damaged)
            text = (
                f"{found}; not exported; run the experiment, which recomputes it"
                if isinstance(found, Damaged)
                else f"wrote {found}"
            )
            out.print(text, soft_wrap=True)
        return FAILED if damaged else DONE
    plan = session.plan()
    if options.plan or options.plan_all:
        for step in plan_lines(plan, every=options.plan_all):
            out.print(step, soft_wrap=True)
        for problem in missing_packages.problems(plan, session.experiment):
            out.print(f"to run it: {problem}", style="yellow", soft_wrap=True)
        if missing := missing_output():
            out.print(f"warning: {missing}", style="yellow", soft_wrap=True)
        return DONE
    try:
        outcome = session.run(plan, out)
    except Unreachable as wrong:
        raise SpecError.at("--on", 0, str(wrong)) from None
    if stop_request.requested():
        raise KeyboardInterrupt
    computed, cached = len(outcome.computed), len(plan.having("cached"))
    out.print(
        f"{session.experiment.name}: {computed} computed, {cached} cached, "
        f"{len(outcome.failed)} failed, {len(outcome.skipped)} skipped"
    )
    for line in failure_lines([dict(record) for record in outcome.failed.values()]):
        out.print(line, style="red")
    out.print(f"tables: {session.folder}")
    undertrained = _undertrained(session.experiment, outcome.failed.values())
    if undertrained:
        out.print(f"{undertrained} of these failures result from hardly trained models, as expected in a smoke run")
    return FAILED if len(outcome.failed) > undertrained else DONE


def _undertrained(experiment: Experiment, failures: Iterable[Mapping[str, Any]]) -> int:
    """Return how many failures result from the hardly trained models of a smoke run."""
    expected = f"{UndertrainedModelError.__name__}: "
    return sum(str(record["cause"]).startswith(expected) for record in failures) if experiment.smoke else 0


def _duplicate_names(experiments: Sequence[Experiment], files: Sequence[Path]) -> Iterator[SpecProblem]:
    """Yield a problem for each experiment whose results would replace those of another."""
    first: dict[str, Path] = {}
    for experiment, file in zip(experiments, files, strict=True):
        # Some file systems ignore case.
        other = first.setdefault(experiment.name.lower(), file)
        if other is not file:
            yield SpecProblem(
                str(file), 0, "name", f"'{experiment.name}' is also the name of {other}, whose results would be replaced; "
                "give each file a unique name"
            )  # fmt: skip


def _options(options: argparse.Namespace, cluster: Cluster | None) -> Options:
    return Options(options.only, options.force, options.retry_failed, cluster, options.shard)


def _schema_folder(catalogue: Catalogue) -> Path:
    """Return the folder of the schemas: the user's if they have components of their own, else the checkout's."""
    return (catalogue.folders[0] if catalogue.folders else CHECKOUT or Path()) / "schemas"
