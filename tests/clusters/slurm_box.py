"""A private Slurm on this host for tests: its own configuration, ports and processes, independent of the system's.

Facts it rests on: Debian builds slurmd so that several nodes may run on one host (``slurmd -N``); without cgroups jobs
are followed by process group; a munge of its own gives it credentials of its own; clients find it by SLURM_CONF.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sinfo", "sbatch", "squeue", "scancel", "scontrol")
_CGROUPS = Path("/sys/fs/cgroup")


def missing() -> str:
    """Return why Slurm cannot run on this host; empty if it can."""
    lacking = [name for name in PROGRAMS if _which(name) is None]
    return (
        f"no {', '.join(lacking)} on this machine; apt-get install slurmctld slurmd slurm-client munge"
        if lacking
        else ""
    )


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class SlurmBox:
    """A Slurm with several nodes, in one folder."""

    def __init__(self, folder: Path, nodes: int, cpus: int) -> None:
        self.folder, self._nodes, self._cpus = folder, nodes, cpus
        self.conf = folder / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("run", "log", "state", "spool", "key"):
            (self.folder / name).mkdir(parents=True, mode=0o755 if name == "run" else 0o700)
        self.folder.chmod(0o755)
        key = self.folder / "key" / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._configure()
        munge = self.folder / "run" / "munge.socket"
        self._launch(
            ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}",
             f"--pid-file={self.folder}/run/munged.pid", f"--log-file={self.folder}/log/munged.log",
             f"--seed-file={self.folder}/key/seed"]
        )  # fmt: skip
        self.wait(lambda: munge.exists(), 10, "munged")
        self._launch(["slurmctld", "-D", "-f", str(self.conf)])
        self.wait(lambda: self.call(["scontrol", "ping"], check=False) == 0, 20, "slurmctld")
        for number in range(1, self._nodes + 1):
            self._launch(["slurmd", "-D", "-N", f"n{number}", "-f", str(self.conf)])
        self.wait(lambda: self.output(["sinfo", "-h", "-N", "-o", "%T"]).count("idle") == self._nodes, 30, "nodes")

    def stop(self) -> None:
        self.call(["scancel", "--user", str(os.getuid())], check=False)
        deadline = time.monotonic() + 10
        while self.output(["squeue", "-h"]).strip() and time.monotonic() < deadline:
            time.sleep(0.1)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for process in psutil.process_iter(["name"]):  # slurmstepd survives slurmd
            if (process.info["name"] or "").startswith("slurmstepd") and self.owns(process):
                process.send_signal(signal.SIGKILL)

    def jobs(self) -> list[str]:
        """Return the ids of the running jobs."""
        return self.output(["squeue", "-h", "-t", "RUNNING", "-o", "%i"]).split()

    def call(self, command: Sequence[str], check: bool = True) -> int:
        return subprocess.run(command, env=self.environment, check=check, capture_output=True).returncode

    def output(self, command: Sequence[str]) -> str:
        return subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True).stdout

    @staticmethod
    def wait(done: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not there after {seconds} s")
            time.sleep(0.1)

    def _launch(self, command: list[str]) -> None:
        with (self.folder / "log" / f"{command[0]}-{len(self._daemons)}.out").open("wb") as log:
            self._daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )

    def owns(self, process: psutil.Process) -> bool:
        """Return whether a process belongs to this Slurm."""
        try:
            return process.environ().get("SLURM_CONF") == str(self.conf)
        except psutil.Error:
            return False

    def _configure(self) -> None:
        host, me = socket.gethostname().split(".")[0], psutil.Process().username()
        follows = all(os.access(_CGROUPS / name / "cgroup.procs", os.W_OK) for name in ("freezer", "memory", "cpuset"))
        first = free_ports(self._nodes + 1)
        lines = f"""
            ClusterName=box
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={first}
            SlurmUser={me}
            SlurmdUser={me}
            AuthType=auth/munge
            # A requeued job waits until its credentials have expired.
            AuthInfo=socket={self.folder}/run/munge.socket,cred_expire=15
            CredType=cred/munge
            StateSaveLocation={self.folder}/state
            SlurmdSpoolDir={self.folder}/spool/%n
            SlurmctldPidFile={self.folder}/run/slurmctld.pid
            SlurmdPidFile={self.folder}/run/%n.pid
            SlurmctldLogFile={self.folder}/log/slurmctld.log
            SlurmdLogFile={self.folder}/log/%n.log
            ProctrackType={"proctrack/cgroup" if follows else "proctrack/pgid"}
            TaskPlugin=task/none
            JobAcctGatherType=jobacct_gather/none
            MpiDefault=none
            SwitchType=switch/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_Core_Memory
            SlurmdParameters=config_overrides
            SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
            KillWait=10
            InactiveLimit=0
            ReturnToService=2
            JobRequeue=1
            AccountingStorageType=accounting_storage/none
            NodeName=n[1-{self._nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first + 1}-{first + self._nodes}] CPUs={self._cpus} RealMemory={self._cpus * 1024} State=UNKNOWN
            PartitionName=main Nodes=n[1-{self._nodes}] Default=YES MaxTime=INFINITE State=UP
        """
        self.conf.write_text("\n".join(line.strip() for line in lines.strip().splitlines()) + "\n", encoding="utf-8")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n", encoding="utf-8")


def free_ports(count: int) -> int:
    """Return the first of ``count`` consecutive free ports."""
    start = 21000 + os.getpid() % 1000 * 8  # two boxes that start at the same time must not try the same ports
    for first in range(start, start + 2000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise OSError(f"no {count} free ports in a row")


@contextmanager
def slurm_box(folder: Path, nodes: int = 2, cpus: int = 3) -> Iterator[SlurmBox]:
    """Start a Slurm for the duration of the block."""
    box = SlurmBox(folder, nodes, cpus)
    try:
        box.start()
        yield box
    finally:
        box.stop()
