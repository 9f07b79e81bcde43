"""A private Grid Engine on this host for tests: its own cell, ports and processes, independent of the system's.

Facts it rests on: programs find a cell by SGE_ROOT, and the ports by SGE_QMASTER_PORT and SGE_EXECD_PORT; with classic
spooling a cell is a folder of text files; ``host_aliases`` makes one host of all names this one has; SGE_ND keeps
daemons in the foreground.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.clusters.slurm_box import SlurmBox, free_ports

PROGRAMS = ("sge_qmaster", "sge_execd", "qsub", "qstat", "qdel", "qconf")
_LIB, _SHARE = Path("/usr/lib/gridengine"), Path("/usr/share/gridengine")
_INSTALLED = Path("/var/lib/gridengine")
_SEARCHED = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def missing() -> str:
    """Return why Grid Engine cannot run on this host; empty if it can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_SEARCHED) is None]
    lacking += [str(folder) for folder in (_LIB, _SHARE, _INSTALLED) if not folder.is_dir()]
    install = "apt-get install gridengine-master gridengine-exec gridengine-client"
    if lacking:
        return f"no {', '.join(lacking)} on this machine; {install}"
    return "" if os.getuid() == 0 else "a Grid Engine of one's own takes root"


class GridBox:
    """A Grid Engine on this host, in one folder, with a number of slots."""

    def __init__(self, folder: Path, slots: int) -> None:
        self.folder, self._slots = folder, slots
        self._spool, self._common = folder / "spool", folder / "default" / "common"
        first = free_ports(2)
        self.environment = {
            **os.environ,
            "SGE_ROOT": str(folder),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(first),
            "SGE_EXECD_PORT": str(first + 1),
            "SGE_ND": "true",
            "PATH": _SEARCHED,
        }
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for path in (self._common, self._spool / "qmaster" / "job_scripts", self._spool / "execd"):
            path.mkdir(parents=True)
        for name in ("bin", "lib", "util", "utilbin"):
            (self.folder / name).symlink_to(_INSTALLED / name)
        self._configure()
        self._launch("sge_qmaster")
        SlurmBox.wait(lambda: self.call(["qconf", "-sh"]) == 0, 30, "qmaster")
        self._alter("-Msconf", "-ssconf", schedule_interval="0:0:2", flush_submit_sec="1", flush_finish_sec="1")
        self._define("-Ap", _PARALLEL)
        self.call(["qconf", "-as", "localhost"])
        self._launch("sge_execd")
        SlurmBox.wait(lambda: self.call(["qconf", "-se", "localhost"]) == 0, 30, "execd")
        self._define("-Aq", _QUEUE.format(slots=self._slots))
        SlurmBox.wait(lambda: "lx-" in self.output(["qstat", "-f"]), 30, "queue")

    def stop(self) -> None:
        self.call(["qdel", "-f", "-u", "*"])
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for process in psutil.process_iter():  # jobs and their shepherds survive execd
            if self.owns(process):
                process.send_signal(signal.SIGKILL)

    def jobs(self, states: str = "r") -> list[str]:
        """Return the ids of the jobs in the given states, one per array task."""
        return [line.split()[0] for line in self.output(["qstat", "-s", states, "-g", "d"]).splitlines()[2:]]

    def call(self, command: Sequence[str]) -> int:
        return subprocess.run(command, env=self.environment, check=False, capture_output=True).returncode

    def output(self, command: Sequence[str]) -> str:
        return subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True).stdout

    def _launch(self, name: str) -> None:
        program = shutil.which(name, path=_SEARCHED)
        assert program is not None
        with (self.folder / f"{name}.out").open("wb") as log:
            self._daemons.append(
                subprocess.Popen([program], env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )

    def owns(self, process: psutil.Process) -> bool:
        """Return whether a process belongs to this Grid Engine."""
        try:
            return process.pid != os.getpid() and process.environ().get("SGE_ROOT") == str(self.folder)
        except psutil.Error:
            return False

    def _configure(self) -> None:
        spooling = f"{self._common};{self._spool}/qmaster"
        settings = {
            "admin_user": "none", "default_domain": "none", "ignore_fqdn": "true", "spooling_method": "classic",
            "spooling_lib": "libspoolc", "spooling_params": spooling, "binary_path": "/usr/sbin",
            "qmaster_spool_dir": f"{self._spool}/qmaster", "security_mode": "none", "listener_threads": "2",
            "worker_threads": "2", "scheduler_threads": "1", "jvm_threads": "0",
        }  # fmt: skip
        (self._common / "bootstrap").write_text(_lines(settings), encoding="utf-8")
        (self._common / "act_qmaster").write_text("localhost\n", encoding="utf-8")
        names = dict.fromkeys(["localhost", socket.gethostname(), socket.gethostname().partition(".")[0]])
        (self._common / "host_aliases").write_text(" ".join(names) + "\n", encoding="utf-8")
        shipped = _parsed((_SHARE / "default-configuration").read_text(encoding="utf-8"))
        own = {
            "execd_spool_dir": f"{self._spool}/execd",
            "min_uid": "0",
            "min_gid": "0",
            "load_report_time": "00:00:02",
        }
        (self.folder / "configuration").write_text(_lines(shipped | own), encoding="utf-8")
        resources = _SHARE / "util" / "resources"
        self._do(str(_LIB / "spoolinit"), "classic", "libspoolc", spooling, "init")
        for kind, source in (
            ("configuration", str(self.folder / "configuration")),
            ("complexes", str(resources / "centry")),
            ("usersets", str(resources / "usersets")),
            ("managers", psutil.Process().username()),
        ):
            self._do(str(_LIB / "spooldefaults"), kind, source)

    def _define(self, option: str, text: str) -> None:
        path = self.folder / f"defined{option}"
        path.write_text(text, encoding="utf-8")
        self._do("qconf", option, str(path))

    def _alter(self, write: str, read: str, **values: str) -> None:
        self._define(write, _lines(_parsed(self.output(["qconf", read])) | values))

    def _do(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True)


def _parsed(text: str) -> dict[str, str]:
    pairs = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name: value.strip() for name, value in pairs}


def _lines(values: dict[str, str]) -> str:
    return "".join(f"{name} {value}\n" for name, value in values.items())


_PARALLEL = """\
pe_name smp
slots 99
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""
_NONE = [
    "load_thresholds",
    "suspend_thresholds",
    "ckpt_list",
    "prolog",
    "epilog",
    "starter_method",
    "suspend_method",
    "resume_method",
    "terminate_method",
    "owner_list",
    "user_lists",
    "xuser_lists",
    "subordinate_list",
    "complex_values",
    "projects",
    "xprojects",
    "calendar",
]
_UNLIMITED = [
    f"{kind}_{what}" for what in ["rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem"] for kind in "sh"
]
_QUEUE = (
    "qname all.q\nhostlist localhost\nseq_no 0\nnsuspend 1\nsuspend_interval 00:05:00\npriority 0\nmin_cpu_interval 00:05:00\n"
    "processors UNDEFINED\nqtype BATCH\npe_list smp\nrerun FALSE\nslots {slots}\ntmpdir /tmp\nshell /bin/bash\n"
    "shell_start_mode unix_behavior\nnotify 00:00:20\ninitial_state default\n"
    + "".join(f"{name} NONE\n" for name in _NONE)
    + "".join(f"{name} INFINITY\n" for name in _UNLIMITED)
)


@contextmanager
def grid_box(folder: Path, slots: int = 3) -> Iterator[GridBox]:
    """Start a Grid Engine for the duration of the block."""
    box = GridBox(folder, slots)
    try:
        box.start()
        yield box
    finally:
        box.stop()
