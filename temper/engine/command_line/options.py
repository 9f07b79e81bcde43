"""The options of the command line."""

from __future__ import annotations

import argparse
from math import nan
from pathlib import Path

from temper.engine.planning.shard import Shard
from temper.engine.progress.terminal import Parser
from temper.engine.syntax.document import STANDARD_INPUT
from temper.system import installation

LONGEST_GRACE = 7 * 86400.0
"""Seconds that a stage may have to keep what it did: a week."""
MOST = 4096
"""Processes and GPUs of one machine."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = Parser(
        prog=" ".join(installation.command()),
        description="Attacks, hardens and evaluates image classifiers as experiment files say.",
        epilog="Exit codes: 0 done, 1 a stage failed, 2 the file is wrong, 3 the disk is full, 4 no worker is "
        "available, 130 interrupted (the same command resumes).",
    )
    command.add_argument(
        "files", nargs="*", type=_file, metavar="FILE", help="experiment files (YAML or JSON; -: standard input)"
    )
    run = command.add_argument_group("running")
    run.add_argument("--set", action="append", default=[], metavar="K=V", help="override a value: generate.pgd.eps=0.2")
    run.add_argument("--seeds", type=_integers, default=(), metavar="1,2", help="seeds instead of the file's")
    run.add_argument("--name", type=_text, metavar="NAME", help="call the experiment so, and its folder of results")
    run.add_argument("--only", type=_names, default=(), metavar="STAGE", help="only these stages and what they need")
    run.add_argument(
        "--force", type=_names, default=(), metavar="STAGE", help="recompute these and what depends on them"
    )
    run.add_argument("--retry-failed", action="store_true", help="try stages again that failed before")
    where = run.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="worker processes (default: 1, in-process)"
    )
    where.add_argument(
        "--on", type=_text, metavar="CLUSTER", help="run on the workers of a cluster file: temper/clusters/slurm.yaml"
    )
    where.add_argument("--shard", type=_shard, metavar="K/N", help="run as one of N runners that share the store")
    where.add_argument(
        "--job-script", type=_text, metavar="CLUSTER", help="print an array job of shards for a cluster file, and stop"
    )
    run.add_argument("--gpus", type=_positive, default=0, metavar="N", help="GPUs to share out among --jobs")
    run.add_argument(
        "--grace",
        type=_seconds,
        default=20.0,
        metavar="S",
        help="grace period for saving a checkpoint after a stop signal, in seconds",
    )
    run.add_argument("--smoke", action="store_true", help="run everything on tiny data, kept apart from real results")
    run.add_argument(
        "--components", action="append", type=_path, default=[], metavar="FOLDER", help="your own components"
    )
    run.add_argument(
        "--outputs", type=_path, default=Path("outputs"), metavar="FOLDER", help="where results go (default: outputs)"
    )
    look = command.add_argument_group("looking")
    look.add_argument("--plan", action="store_true", help="check the files, say what would run and why, and stop")
    look.add_argument(
        "--plan-all", action="store_true", help="as --plan, with a line for each task, however many there are"
    )
    look.add_argument("--explain", type=_text, metavar="KEY", help="say where a value comes from: generate.pgd.eps")
    look.add_argument("--tables", action="store_true", help="write the tables from what is finished so far")
    look.add_argument(
        "--export", type=_path, metavar="FOLDER", help="write the generated sets that are finished as .npz files"
    )
    look.add_argument("--diff", nargs=2, type=_path, metavar=("RUN_A", "RUN_B"), help="compare two results folders")
    look.add_argument("--list", nargs="?", const="", metavar="SECTION", help="list the components (of a section)")
    look.add_argument(
        "--describe", type=_text, metavar="TYPE", help="describe a component: parameters, bounds, defaults, source"
    )
    look.add_argument(
        "--experiments",
        nargs="?",
        const="",
        metavar="NAME",
        help="list the experiments that come with Temper, or copy one here",
    )
    look.add_argument("--version", action="store_true", help="print the version of Temper")
    keep = command.add_argument_group("housekeeping")
    keep.add_argument("--write-schemas", action="store_true", help="write schemas/ from the components")
    keep.add_argument("--gc", action="store_true", help="remove stored artefacts no experiment's last run refers to")
    return command


def _integers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    numbers = tuple(int(part) for part in parts if part.isdecimal() and len(part) < 19)  # sixty-four bits
    if len(numbers) != len(parts) or len(set(numbers)) != len(numbers):
        raise argparse.ArgumentTypeError(f"expected different whole numbers such as 1,2,3, received {text!r}")
    return numbers


def _names(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, text.split(",")))
    if not names:
        raise argparse.ArgumentTypeError(f"expected names of stages such as mlp,pgd, received {text!r}")
    return names


def _text(text: str) -> str:
    if not text.strip():  # of a shell's variable that is not set
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
    if not 0 <= seconds <= LONGEST_GRACE:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to {LONGEST_GRACE:,.0f}, received {text!r}")
    return seconds


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(MOST)) or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST}, received {text!r}")
    return int(text)
