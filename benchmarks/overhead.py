"""Engine cost per stage: 1,000 tiny stages in one process, with two workers, in two shards and on Slurm.

Run:  python benchmarks/overhead.py [--stages 1000] [--modes alone,workers,shards,slurm]

The stages add a number to six images of 2 x 2 pixels, and take the mean of the result. Each process, workers included, records its time in planning
(reading the file, tasks, fingerprints, checking the store), claiming (the lease, checking whether the artefact exists by now), recording the
attempt, publishing (files, digests, rename), settling (releasing the lease, task times, messages, the ready queue) and the report (tables,
figures and the page, once a run). CPU seconds, and wall-clock seconds where it waits for the file system; both grow under other load.
*Turnaround* is the wall-clock time from the first claim to the last stage's end, divided by the number of stages. For Slurm, a private one is
started on this host, as in the tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from temper.system.installation import IMPORT_FOLDER as ROOT
from tests.clusters.slurm_box import missing, slurm_box

TIMED = """
import os
import time
from functools import wraps

from temper.engine.running.execution import Execution
from temper.engine.running.session import Session
from temper.engine.storage.leases import Leases
from temper.engine.storage.attempt_log import Attempt
from temper.engine.storage.store import Store

LOG = os.open(os.path.join(os.environ["TEMPER_OVERHEAD"], f"{os.getpid()}.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def timed(cls, name, phase):
    inner = getattr(cls, name)

    @wraps(inner)
    def outer(*arguments, **named):
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return inner(*arguments, **named)
        finally:
            spent = time.perf_counter() - wall, time.thread_time() - cpu
            os.write(LOG, f"{phase} {spent[0]} {spent[1]} {time.time()}\\n".encode())

    setattr(cls, name, outer)


if not hasattr(Session.plan, "__wrapped__"):
    for cls, names, phase in (
        (Session, ("__post_init__", "plan"), "plan"),
        (Leases, ("acquire",), "claim"),
        (Execution, ("_made_meanwhile",), "claim"),
        (Attempt, ("__init__", "end"), "attempt"),
        (Store, ("publish",), "publish"),
        (Execution, ("_settle",), "settle"),
        (Session, ("report",), "report"),
    ):
        for name in names:
            timed(cls, name, phase)
"""
FEWEST = 20
"""Stages of the smallest run: one of shifts at each of ten points, and their means."""
CLUSTER = 'type: slurm\nworkers: 2\ncores: 1\nmemory: 1GB\nwalltime: "00:20:00"\ninterface: lo\n'
PHASES = ("plan", "claim", "attempt", "publish", "settle", "report")


def experiment(stages: int) -> str:
    """Return an experiment of this many tasks: half of them images, half of them means, and the data."""
    names = [f"lighter_{i}" for i in range(stages // FEWEST)]
    shifts = {
        name: f"{{type: shift, data: grey, noise: {{type: fixed, by: $by}}, seconds: {i * 1e-9}}}"
        for i, name in enumerate(names)
    }
    return f"""
name: tiny
axes: {{by: {[round(0.05 * (i + 1), 2) for i in range(10)]}}}
datasets: {{grey: {{type: plain}}}}
generate: {{{", ".join(f"{name}: {shift}" for name, shift in shifts.items())}}}
evaluate: {{shade: {{type: shade, examples: {names}}}}}
"""


def run(folder: Path, runners: Sequence[Sequence[str]], environment: Mapping[str, str]) -> float:
    """Run the experiment with runners of these options at once; return the seconds on the clock."""
    logs = folder / "times"
    logs.mkdir(parents=True)
    (folder / "timers").mkdir()
    (folder / "timers" / "timed.py").write_text(TIMED, encoding="utf-8")
    command = [
        sys.executable,
        str(ROOT / "runner.py"),
        str(folder.parent / "tiny.yaml"),
        "--outputs",
        str(folder / "outputs"),
    ]
    command += ["--components", str(ROOT / "tests" / "parts"), "--components", str(folder / "timers")]
    started = time.perf_counter()
    with (folder / "said.txt").open("wb") as said:
        processes = [
            subprocess.Popen(
                [*command, *options], stdout=said, stderr=said, env={**environment, "TEMPER_OVERHEAD": str(logs)}
            )
            for options in runners
        ]
        codes = [process.wait() for process in processes]
        if any(codes):
            raise SystemExit((folder / "said.txt").read_text(encoding="utf-8")[-2000:])
    return time.perf_counter() - started


def read(folder: Path) -> tuple[dict[str, list[float]], float]:
    """Return seconds on the clock and of the processor for each phase, and the seconds from the first claim to the last release."""
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    moments: list[float] = []
    for path in (folder / "times").glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            phase, *numbers = line.split()
            wall, cpu, moment = map(float, numbers)
            spent[phase][0] += wall
            spent[phase][1] += cpu
            if phase in ("claim", "settle"):
                moments.append(moment)
    return spent, max(moments) - min(moments)


def main() -> None:
    """Measure every mode and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=1000, help=f"stages of a run, at least {FEWEST}")
    parser.add_argument("--modes", default="alone,workers,shards,slurm", help="which to measure")
    chosen = parser.parse_args()
    if chosen.stages < FEWEST:
        parser.error(f"--stages: expected at least {FEWEST}, received {chosen.stages}")
    print("| ms a stage, processor (clock) |", " | ".join(PHASES), "| turnaround | whole run, s |")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "tiny.yaml").write_text(experiment(chosen.stages), encoding="utf-8")
        (home / "slurm.yaml").write_text(CLUSTER, encoding="utf-8")
        modes: dict[str, list[list[str]]] = {
            "alone": [[]],
            "workers": [["--jobs", "2"]],
            "shards": [["--shard", "1/2"], ["--shard", "2/2"]],
            "slurm": [["--on", str(home / "slurm.yaml")]],
        }
        for mode in chosen.modes.split(","):
            if mode == "slurm" and missing():
                print(f"slurm is left out: {missing()}")
                continue
            with slurm_box(home / "box") if mode == "slurm" else nullcontext() as box:
                seconds = run(home / mode, modes[mode], box.environment if box else os.environ)
            spent, turnaround = read(home / mode)
            cells = [
                f"{1e3 * spent[p][1] / chosen.stages:.2f} ({1e3 * spent[p][0] / chosen.stages:.2f})" for p in PHASES
            ]
            print(
                f"| {mode} |",
                " | ".join(cells),
                f"| {1e3 * turnaround / chosen.stages:.1f} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
