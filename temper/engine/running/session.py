"""Runs a checked experiment: plan, execution, report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from collections.abc import Collection as Names
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from temper.core.artefacts import Examples, export_npz
from temper.core.cluster import Cluster
from temper.core.errors import SpecError
from temper.engine.language.experiment import Experiment
from temper.engine.language.resolved_experiment import resolved
from temper.engine.planning import missing_packages, plan
from temper.engine.planning.history import Failures, last_run, write_last_run
from temper.engine.planning.plan import Plan, few
from temper.engine.planning.shard import Shard
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.progress.progress import Progress
from temper.engine.report.report_packages import missing_output
from temper.engine.results.collection import Collection
from temper.engine.results.diff import changed_settings, flat, read_settings
from temper.engine.results.results_folder import ResultsFolder
from temper.engine.running import outputs_folder
from temper.engine.running.execution import Execution, RunOutcome
from temper.engine.running.out_of_memory import OutOfMemoryRetry
from temper.engine.storage import provenance
from temper.engine.storage.digests import Digests, of_value
from temper.engine.storage.store import STORE, Damaged, Store
from temper.engine.workers.compatibility import WorkerRequirements
from temper.engine.workers.engine_choice import create_engine
from temper.system import csv_files
from temper.system.installation import PACKAGE

FAILURE_COLUMNS = ("stage", "label", "cause", "host", "seconds", "peak_memory", "log")
"""The columns of ``failures.csv``."""


@dataclass(frozen=True)
class Options:
    """The command-line options of a run."""

    only: Names[str] = ()
    force: Names[str] = ()
    retry: bool = False
    cluster: Cluster | None = None
    shard: Shard | None = None


@dataclass
class Session:
    """An experiment with its graph, its store and its results folder."""

    experiment: Experiment
    root: Path
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        self.folder = self.root / self.experiment.name
        self.store = Store(self.root / STORE)
        self.digests = Digests(self.store.root / "digests.json")
        self.graph = TaskGraph(self.experiment, self.digests)
        self.digests.code("temper.engine.running.session", plumbing=True)
        self.digests.save_cache()

    def plan(self) -> Plan:
        """Return what a run would do.

        Raises:
            SpecError: the mode cannot be carried out.
        """
        return plan.make(
            self.graph,
            self.store,
            last_run(self.folder),
            mode=self.experiment.mode,
            only=self.options.only,
            force=self.options.force,
            retry=self.options.retry,
        )

    def replaced_settings(self) -> str:
        """Return in one line how the settings differ from those of the results in the folder; empty if they do not."""
        text = resolved(self.experiment)
        try:
            before, now = read_settings(self.folder), dict(flat(yaml.safe_load(text)))
        except SpecError:
            return ""
        return few(list(changed_settings(before, now)))

    def run(self, plan: Plan, console: Console) -> RunOutcome:
        """Execute a plan and write the report, also after an interruption.

        Raises:
            SpecError: a package that a task needs is not installed; or there are results to write, and the results
            folder or
                the store is not writable.
        """
        if problems := list(missing_packages.problems(plan, self.experiment)):
            raise SpecError(problems)
        idle = not plan.having("run") and not plan.having("failed")
        # Finished results can be shown without write permission.
        if idle and not outputs_folder.is_writable(self.folder):
            self.report(console)
            return RunOutcome()
        for folder in (self.folder, self.store.root):
            outputs_folder.check_writable(folder)
        # Before anything is computed, so that --gc keeps it.
        write_last_run(self.folder, self.graph.tasks.values())
        started = time.time()
        outcome = RunOutcome()
        shard = self.options.shard
        with Progress(console, self.folder / (f"log-{shard}.txt" if shard else "log.txt")) as progress:
            try:
                outcome = self._execute(plan, progress)
            finally:
                if plan.having("run"):
                    progress.say("writing tables")
                self.report(console, seconds=time.time() - started, log=progress.log)
        return outcome

    def _execute(self, plan: Plan, progress: Progress) -> RunOutcome:
        if not plan.having("run") and not plan.having("failed"):
            return RunOutcome()
        catalogue, shard = self.experiment.catalogue, self.options.shard
        requirements = WorkerRequirements.of(self.graph, catalogue.folders, self.store.root)
        engine = create_engine(requirements, self.options.cluster, progress)
        try:
            retry_settings = OutOfMemoryRetry(self.experiment.on_out_of_memory)
            return Execution(self.graph, plan, self.store, engine, progress, catalogue, retry_settings, shard).run()
        finally:
            engine.close()

    def export(self, folder: Path) -> Iterator[Path | Damaged]:
        """Write every finished generated set (of the stages in ``only``, if any) as .npz.

        Yields the path of each, or ``Damaged`` for one that is corrupted.
        """
        from temper.engine.report.drawing import file_names

        folder.mkdir(parents=True, exist_ok=True)
        tasks = {
            fingerprint: task.label
            for fingerprint, task in self.graph.tasks.items()
            if task.section == "generate" and (not self.options.only or task.stage in self.options.only)
        }
        for fingerprint, name in zip(tasks, file_names(tasks.values()), strict=True):
            if not self.store.folder(fingerprint).exists():
                continue
            try:
                export_npz(self.store.load(fingerprint, Examples), folder / f"{name}.npz")
            except FileExistsError:
                message = f"{folder / name}.npz exists with other content; export into another folder, or move it"
                raise SpecError.at("--export", 0, message) from None
            except Damaged as damage:
                yield damage
            else:
                yield folder / f"{name}.npz"

    def report(
        self, console: Console, seconds: float | None = None, log: Callable[[str], None] = lambda text: None
    ) -> None:
        """Write the report of the results in the store, unless it is up to date; ``log`` receives the warnings.

        Raises:
            SpecError: the folder is not writable.
        """
        key, results = self._report_key(), ResultsFolder(self.folder)
        if results.is_current(key):
            return
        outputs_folder.check_writable(self.folder)
        from temper.engine.results.report_files import write_report

        collection = Collection(self.experiment, self.graph, self.store)
        reported = collection.reported_experiment(self._provenance(seconds))
        summary = write_report(
            results.write,
            reported,
            collection.rows,
            collection.holes,
            self.experiment.tables,
            self.experiment.expected,
        )
        results.write("experiment.resolved.yaml", reported.resolved)
        results.write("provenance.json", json.dumps(reported.provenance, indent=1) + "\n")
        if reported.failures:
            rows = [[record[column] for column in FAILURE_COLUMNS] for record in reported.failures]
            results.write("failures.csv", csv_files.encoded([FAILURE_COLUMNS, *rows]))
        results.finish(key)
        for name, free in results.renamed:
            path = self.folder / name
            notice = f"{path} was changed or added by hand, and the report needs its name; it is renamed to {free}"
            console.print(notice, style="yellow", soft_wrap=True)
            log(notice)
        for warning in (*summary.warnings, *summary.table_errors):
            console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
            log(f"warning: {warning}")
        if self.experiment.expected:
            console.print(summary.verdict, markup=False, highlight=False)

    def _provenance(self, seconds: float | None) -> dict[str, Any]:
        return {
            "experiment": self.experiment.name,
            "finished": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "command": provenance.command(),
            "seconds": seconds,
            "code": provenance.code(),
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "environment": provenance.environment(),
            "threads": self.experiment.threads,
            "store": {task.label: fingerprint for fingerprint, task in self.graph.tasks.items()},
        }

    def _report_key(self) -> str:
        """Return a digest of everything that the report depends on: results, failures, tables, and Temper's code."""
        present, failed = self.store.present(self.graph.tasks), Failures(self.store.root).among(self.graph.tasks)
        pages = sorted((PACKAGE / "engine" / "report").glob("page.*"))
        inputs = {
            "tasks": [[f, f in present, failed.get(f)] for f in self.graph.tasks],
            "experiment": resolved(self.experiment),
            "missing_output": missing_output(),
            "code": [
                self.digests.code("temper.engine.running.session", plumbing=True),
                *map(self.digests.content, pages),
            ],
        }
        return of_value(inputs)
