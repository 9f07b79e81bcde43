"""The workers that a command line requests: their cluster, the threads they can provide, and their job script."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from temper.core.cluster import Cluster
from temper.core.errors import SpecError, SpecProblem, did_you_mean
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.experiment import Experiment
from temper.engine.storage.store import STORE
from temper.engine.workers import cluster_file
from temper.engine.workers.worker_env import worker_env
from temper.system import packages
from temper.system.installation import PACKAGE
from temper.system.user_directories import config_directory


def chosen_cluster(options: argparse.Namespace, catalogue: Catalogue) -> Cluster | None:
    """Return the cluster of the workers; ``None`` if the runner is the only worker."""
    if options.on:
        path = _named_cluster("--on", options.on)
        cluster = cluster_file.load(path, catalogue)
        if advice := packages.advice(cluster.requires):
            raise SpecError.at("--on", 0, advice)
        if why := cluster.unavailable():
            raise SpecError.at(str(path), 0, why)
        return cluster
    if options.jobs == 1 and not options.gpus:
        return None
    local = catalogue.of(Cluster)["local"](workers=options.jobs, gpus=options.gpus)  # type: ignore[call-arg]
    if advice := packages.advice(local.requires):
        raise SpecError.at("--jobs", 0, advice)
    problems = [SpecProblem("--gpus", 0, "", message) for _, message in local.check()]
    if problems:
        raise SpecError(problems)
    assert isinstance(local, Cluster)
    return local


def thread_problems(
    experiments: Sequence[Experiment], files: Sequence[Path], cluster: Cluster | None
) -> Iterator[SpecProblem]:
    """Yield a problem for each experiment whose threads the workers cannot provide."""
    for experiment, file in zip(experiments, files, strict=False):
        wanted = experiment.threads
        if cluster is None and wanted != experiments[0].threads:
            yield SpecProblem(
                str(file), 0, "threads", f"the process uses {experiments[0].threads} threads for {files[0]} and cannot "
                f"change to {wanted}; run the files one by one, or with --jobs 2"
            )  # fmt: skip
        if cluster is not None and cluster.processors is not None and cluster.processors < wanted:
            yield SpecProblem(
                str(file), 0, "threads", f"expected at most the {cluster.processors} cores of each job, received {wanted}; "
                "raise `cores` in the cluster file"
            )  # fmt: skip


def job_script(options: argparse.Namespace, catalogue: Catalogue) -> str:
    """Return the array job of shards that a command line requests.

    Raises:
        SpecError: the cluster is not a batch system, or its file has problems.
    """
    cluster = cluster_file.load(_named_cluster("--job-script", options.job_script), catalogue)
    arguments: list[str] = options.command
    position = next(i for i, argument in enumerate(arguments) if argument.startswith("--job-script"))
    # The shards run the same command without this option.
    rest = arguments[:position] + arguments[position + 1 + (arguments[position] == "--job-script") :]
    script = cluster.array_job(["-m", "temper", *rest], worker_env(options.outputs / STORE))
    if script is None:
        raise SpecError.at(
            options.job_script, 0, f"type '{cluster.tag}' is not a batch system; name the cluster file of one"
        )
    return script


def _named_cluster(option: str, text: str) -> Path:
    """Return the path of a cluster file; ``slurm`` is the user's own or, if there is none, the shipped one.

    Raises:
        SpecError: there is none of this name.
    """
    path = Path(text)
    if path.suffix or path.exists():
        return path
    folders = [PACKAGE / "clusters"]
    with suppress(RuntimeError):  # a user without a home folder
        folders.append(config_directory() / "clusters")
    named = {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}
    if text not in named:
        hint = did_you_mean(text, named) or f"; choose one of {', '.join(named)}"
        raise SpecError.at(option, 0, f"there is no cluster file '{text}'{hint}, or name a file, such as ./{text}.yaml")
    return named[text]
