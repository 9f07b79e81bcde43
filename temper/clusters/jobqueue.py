"""Workers as jobs of a batch system: Slurm, PBS, LSF, SGE."""

from __future__ import annotations

import re
import shlex
import shutil
import uuid
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import psutil

from temper.clusters import dask_without_http
from temper.core.cluster import JOB, LOG, Cluster, FailedJob, WorkerEnv
from temper.core.component import Range

_ONE_WORD = r"[^\s'\"`\\$;&|<>()#]+"
_WALLTIME = r"(?:(\d+)-)?(\d{1,4}):([0-5]\d):([0-5]\d)"
MEMORY = r"(\d+(?:\.\d+)?)([KMGT])i?B"

# `wait` returns when a signal arrives, although the shard still runs: hence the loop. Exit code 130: interrupted.
_ARRAY_JOB = """\
#!/usr/bin/env bash
{header}
{array}

{prologue}
cd {folder}
# Signals are forwarded, so that the running stage saves a checkpoint; an unfinished shard is requeued.
{command} --shard "{shard}" &
shard=$!
trap 'kill -TERM $shard 2>/dev/null' TERM USR1 USR2 XCPU
wait $shard; code=$?
while kill -0 $shard 2>/dev/null; do wait $shard; code=$?; done
[ $code -ne 130 ] || {requeue}
exit $code
"""


@dataclass(frozen=True, kw_only=True)
class JobQueue(Cluster):
    """One job per worker, submitted while there are tasks for it and ended when there are none.

    ``queue_class`` is the class of dask-jobqueue for the batch system, ``submit_command`` the program that submits
    jobs, ``job_id_variable`` the environment variable that holds a job's id. ``single_job_directives`` are for jobs
    outside arrays; ``array_directive`` declares an array job, ``array_index_variable`` numbers its jobs from 1, and
    ``requeue_command`` is the shell command by which an interrupted one requeues itself.
    """

    queue_class: ClassVar[str]
    submit_command: ClassVar[str]
    job_id_variable: ClassVar[str]
    single_job_directives: ClassVar[tuple[str, ...]] = ()
    array_directive: ClassVar[str]
    array_index_variable: ClassVar[str]
    requeue_command: ClassVar[str]

    requires = (*Cluster.requires, "dask_jobqueue")
    # Without an estimate Dask assumes half a second per stage, and requests one worker only.
    settings: ClassVar = {"distributed.scheduler.unknown-task-duration": "1h"}

    memory: Annotated[str, "memory of a worker: 16GB"]
    walltime: Annotated[str, "time limit of a worker, as HH:MM:SS; a stage may take longer if it saves checkpoints"]
    cores: Annotated[
        int, "processors of a worker; a stage computes on `threads` of the experiment file", Range(ge=1)
    ] = 1
    gpus: Annotated[int, "GPUs of a worker", Range(ge=0)] = 0
    account: Annotated[str | None, "account or project to charge"] = None
    interface: Annotated[str | None, "network interface by which workers reach the runner: ib0"] = None
    setup: Annotated[tuple[str, ...], "shell lines before a worker starts: module load cuda"] = ()
    options: Annotated[tuple[str, ...], "further options of the batch system, as written in a job script"] = ()
    tls: Annotated[bool, "encrypt and authenticate: without it, whoever reaches the port can run code"] = True

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.walltime_seconds:
            yield "walltime", f"expected HH:MM:SS or D-HH:MM:SS, received '{self.walltime}'"
        found = re.fullmatch(MEMORY, self.memory)
        if not found or not float(found[1]):
            yield "memory", f"expected a number and a unit (KB, MB, GB, TB) such as 16GB, received '{self.memory}'"
        for field in fields(self):
            value = getattr(self, field.name)
            for text in value if isinstance(value, tuple) else ():
                # A job script has one directive per line, and the shell runs any other line.
                if not text.isprintable():
                    yield field.name, f"expected one line of printable characters, received {text!r}"
            # Further words would be options to the batch system, and commands to the shell.
            if isinstance(value, str) and not (value.isprintable() and re.fullmatch(_ONE_WORD, value)):
                yield (
                    field.name,
                    f"expected one word without quotes (options with spaces go in `options`), received {value!r}",
                )

    @property
    def processors(self) -> int:
        return self.cores

    def unavailable(self) -> str:
        if shutil.which(self.submit_command) is None:
            return f"{self.submit_command} is not on this machine; start the run on a submit host"
        present = psutil.net_if_addrs()
        if self.interface and self.interface not in present:
            return f"interface: '{self.interface}' is not on this machine; it has {', '.join(sorted(present))}"
        return ""

    def start(self, env: WorkerEnv) -> Any:
        import dask_jobqueue
        from distributed.security import Security

        job = self._job_arguments()
        job["job_extra_directives"] += self.single_job_directives
        queue = getattr(dask_jobqueue, self.queue_class)
        cluster = queue(
            job_cls=_job_class(queue.job_cls, str(env.folder)),
            scheduler_cls=dask_without_http.Scheduler,
            worker_extra_args=["--worker-class", dask_without_http.WORKER],
            # A nanny would kill its worker eight seconds after a preemption signal, whatever the batch system allows.
            nanny=False,
            # The signals go to the job's first process, which must be the worker and not a shell.
            python=f"exec {shlex.quote(env.python)}",
            interface=self.interface,
            local_directory=str(env.folder),
            security=Security.temporary() if self.tls else None,
            protocol="tls" if self.tls else "tcp",
            shared_temp_directory=str(env.folder),
            scheduler_options={"dashboard": False},
            silence_logs="critical",
            death_timeout=60,  # seconds until a worker without a scheduler ends, and frees its job
            **self._common_arguments(env),
            **job,
        )
        cluster.adapt(minimum=0, maximum=self.workers, interval="2s")
        cluster.log_folder = _log_folder(env)
        return cluster

    def failed_jobs(self, started: Any, joined: Collection[str]) -> Sequence[FailedJob]:
        # Dask removes the spec of a job that it replaces or abandons before the job itself.
        jobs = {name: job for name, job in dict(started.workers).items() if name in started.worker_spec}
        refused = [FailedJob(name, job.key, "", job.rejection, "") for name, job in jobs.items() if job.rejection]
        unconnected = {job.job_id: (name, job) for name, job in jobs.items() if job.job_id and job.job_id not in joined}
        ended = self.ended_jobs(unconnected) if unconnected else set()
        logs = started.log_folder
        return [
            *refused,
            *(self._failed_job(name, job.job_id, logs) for id_, (name, job) in unconnected.items() if id_ in ended),
        ]

    def _failed_job(self, name: str, job: str, logs: Path) -> FailedJob:
        end = self.worker_exit({"job": job}).end or "how is unknown"
        return FailedJob(name, job, job, end, str(logs / _log_name(job)))

    def replace_job(self, started: Any, failed: FailedJob) -> None:
        from distributed import Status

        def discard_job() -> None:
            if (job := started.workers.pop(failed.name, None)) is not None:
                job.status = Status.closed

        # Dask submits a job for a spec without one at its next check.
        started.loop.add_callback(discard_job)

    def ended_jobs(self, jobs: Collection[str]) -> set[str]:
        """Return which of some jobs have certainly ended; none where the batch system cannot be queried."""
        return set()

    def array_job(self, command: Sequence[str], env: WorkerEnv) -> str:
        import dask_jobqueue

        queue = getattr(dask_jobqueue, self.queue_class)
        job = queue.job_cls(
            scheduler="tcp://none", name="temper", **self._common_arguments(env), **self._job_arguments()
        )
        return _ARRAY_JOB.format(
            header=job.job_header,
            array=self.array_directive.format(count=self.workers),
            prologue="\n".join(self._prologue(env, f"${{{self.job_id_variable}}}-${{{self.array_index_variable}}}")),
            folder=shlex.quote(str(Path.cwd())),
            command=shlex.join([env.python, *command]),
            shard=f"${{{self.array_index_variable}}}/{self.workers}",
            requeue=self.requeue_command,
        )

    def _common_arguments(self, env: WorkerEnv) -> dict[str, Any]:
        logs = _log_folder(env)
        logs.mkdir(parents=True, exist_ok=True)
        return {
            # A worker computes one stage at a time, in a process of one thread for Dask.
            "cores": 1,
            "processes": 1,
            "memory": self.memory,
            "job_name": "temper",
            "job_script_prologue": self._prologue(env, f"${{{self.job_id_variable}}}"),
        }

    def _prologue(self, env: WorkerEnv, name: str) -> list[str]:
        """Return the first shell lines of every job; the shell variables in ``name`` make its log's name unique."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in env.environment.items()]
        log = f'{shlex.quote(str(_log_folder(env)))}/"{_log_name(name)}"'
        # The shell opens the log, since batch systems differ in how a directive may write a path with a space.
        return [
            *exports,
            f'export {LOG}={log} {JOB}="${{{self.job_id_variable}}}"',
            f'exec >>"${{{LOG}}}" 2>&1',
            *self.setup,
        ]

    def _job_arguments(self) -> dict[str, Any]:
        """Return the arguments of the dask-jobqueue class other than those that all batch systems share."""
        job = self.job_arguments()
        # The job's shell writes the log itself, see `_prologue`.
        return {**job, "job_extra_directives": [*job["job_extra_directives"], "-o /dev/null", "-e /dev/null"]}

    @abstractmethod
    def job_arguments(self) -> dict[str, Any]:
        """Return the arguments of the dask-jobqueue class that are specific to this batch system."""

    @property
    def walltime_seconds(self) -> int:
        """The walltime in seconds; 0 if it cannot be parsed."""
        found = re.fullmatch(_WALLTIME, self.walltime)
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds

    @property
    def walltime_hms(self) -> str:
        """The walltime as HH:MM:SS, for batch systems without days."""
        minutes, seconds = divmod(self.walltime_seconds, 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"


def _job_class(base: type, folder: str) -> type:
    """Return a dask-jobqueue job class that quotes paths and records why the batch system rejected a job.

    ``folder`` holds all files that a job's command names. The class sets a job's status when it ends, which
    dask-jobqueue does not: Dask closes a cluster only when its jobs have failed or closed.
    """
    from distributed import Status

    class Job(base):  # type: ignore[misc]
        rejection = key = ""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            command: str = self._command_template  # type: ignore[has-type]
            self._command_template = command.replace(folder, shlex.quote(folder))

        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:
                self.rejection = " ".join(str(error).rpartition("stderr:")[2].split()) or type(error).__name__
                self.key = uuid.uuid4().hex
                self.status = Status.failed
                raise

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    return Job


def _log_name(name: str) -> str:
    return f"temper-{name}.log"


def _log_folder(env: WorkerEnv) -> Path:
    """Return the folder of the jobs' logs."""
    return env.folder / "jobs"
