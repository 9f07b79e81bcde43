"""The options of the command line."""

from __future__ import annotations

import argparse
from math import nan
from pathlib import Path

from temper.engine.planning.shard import Shard
from temper.engine.progress.terminal import Parser
from temper.engine.syntax.document import STANDARD_INPUT
from temper.system import installation

MAX_GRACE = 7 * 86400.0
"""Maximum grace period in seconds: a week."""
MAX_PROCESSES = 4096
"""Maximum number of processes, and of GPUs, of one machine."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = Parser(
        prog=" ".join(installation.command()),
        description="Attacks, hardens and evaluates image classifiers as described in experiment files.",
        epilog="Exit codes: 0 done, 1 a stage failed, 2 a problem in the input, 3 the disk is full, 4 no worker is "
        "available, 130 interrupted (the same command resumes).",
    )
    command.add_argument(
        "files", nargs="*", type=_file, metavar="FILE", help="experiment files (YAML or JSON; -: standard input)"
    )
    first = command.add_argument_group("a first experiment")
    first.add_argument(
        "--try",
        dest="model",
        type=_path,
        metavar="MODEL",
        help="write an experiment that attacks a saved model (needs --data)",
    )
    first.add_argument(
        "--data", type=_text, metavar="DATA", help="its images: a folder, an .npz file, or the name of a data set"
    )
    first.add_argument("--out", type=_path, metavar="FILE", help="file to write (default: try-<model>.yaml)")
    run = command.add_argument_group("running")
    run.add_argument("--set", action="append", default=[], metavar="K=V", help="override a value: generate.pgd.eps=0.2")
    run.add_argument("--seeds", type=_integers, default=(), metavar="1,2", help="seeds that override those of the file")
    run.add_argument("--name", type=_text, metavar="NAME", help="name of the experiment and of its results folder")
    run.add_argument(
        "--only", type=_names, default=(), metavar="STAGE", help="run only these stages and those they depend on"
    )
    run.add_argument(
        "--force", type=_names, default=(), metavar="STAGE", help="recompute these stages and those that depend on them"
    )
    run.add_argument("--retry-failed", action="store_true", help="retry stages that failed in an earlier run")
    where = run.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="worker processes (default: 1, in-process)"
    )
    where.add_argument(
        "--on", type=_text, metavar="CLUSTER", help="run on the workers of a cluster file: temper/clusters/slurm.yaml"
    )
    where.add_argument("--shard", type=_shard, metavar="K/N", help="run as shard K of N runners that share the store")
    where.add_argument(
        "--job-script", type=_text, metavar="CLUSTER", help="print a job script that runs the shards as an array job"
    )
    run.add_argument(
        "--gpus", type=_positive, default=0, metavar="N", help="number of GPUs, assigned to --jobs in turn"
    )
    run.add_argument(
        "--grace",
        type=_seconds,
        default=20.0,
        metavar="S",
        help="grace period for saving a checkpoint after a stop signal, in seconds",
    )
    run.add_argument("--smoke", action="store_true", help="run everything on tiny data, separate from real results")
    run.add_argument(
        "--components",
        action="append",
        type=_path,
        default=[],
        metavar="FOLDER",
        help="folder with components of your own",
    )
    run.add_argument(
        "--outputs",
        type=_path,
        default=Path("outputs"),
        metavar="FOLDER",
        help="folder of the results (default: outputs)",
    )
    inspect = command.add_argument_group("inspection")
    inspect.add_argument("--plan", action="store_true", help="check the files, and show what would run and why")
    inspect.add_argument("--plan-all", action="store_true", help="like --plan, with a line for every task")
    inspect.add_argument("--explain", type=_text, metavar="KEY", help="show a value and its origin: generate.pgd.eps")
    inspect.add_argument("--tables", action="store_true", help="write the tables of the results so far")
    inspect.add_argument(
        "--export", type=_path, metavar="FOLDER", help="write the finished generated sets as .npz files"
    )
    inspect.add_argument("--diff", nargs=2, type=_path, metavar=("RUN_A", "RUN_B"), help="compare two results folders")
    inspect.add_argument("--list", nargs="?", const="", metavar="SECTION", help="list the components (of a section)")
    inspect.add_argument(
        "--describe", type=_text, metavar="TYPE", help="describe a component: parameters, bounds, defaults, source"
    )
    inspect.add_argument(
        "--experiments",
        nargs="?",
        const="",
        metavar="NAME",
        help="list the experiments that come with Temper, or copy one to this folder",
    )
    inspect.add_argument("--version", action="store_true", help="print the version of Temper")
    housekeeping = command.add_argument_group("housekeeping")
    housekeeping.add_argument("--write-schemas", action="store_true", help="write schemas/ from the components")
    housekeeping.add_argument(
        "--gc", action="store_true", help="remove stored artefacts that no experiment's last run refers to"
    )
    return command


def _integers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    numbers = tuple(int(part) for part in parts if part.isdecimal() and len(part) < 19)  # fits into 64 bits
    if len(numbers) != len(parts) or len(set(numbers)) != len(numbers):
        raise argparse.ArgumentTypeError(f"expected different whole numbers such as 1,2,3, received {text!r}")
    return numbers


def _names(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, text.split(",")))
    if not names:
        raise argparse.ArgumentTypeError(f"expected names of stages such as mlp,pgd, received {text!r}")
    return names


def _text(text: str) -> str:
    if not text.strip():  # an unset shell variable
        raise argparse.ArgumentTypeError(f"expected a name, received {text!r}")
    return text


def _path(text: str) -> Path:
    return Path(_text(text))


def _file(text: str) -> Path:
    return STANDARD_INPUT if text == "-" else _path(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = nan
    if not 0 <= seconds <= MAX_GRACE:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to {MAX_GRACE:,.0f}, received {text!r}")
    return seconds


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(MAX_PROCESSES)) or not 1 <= int(text) <= MAX_PROCESSES:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MAX_PROCESSES}, received {text!r}")
    return int(text)
