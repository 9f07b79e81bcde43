"""What crosses to Dask's scheduler and workers.

All of it is defined inside functions, so that it is pickled by value and imports Temper only where it runs: a scheduler needs no
Temper, and a worker without it can say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

JOINED, BEGAN, PROGRESS = "temper-joined", "temper-began", "temper-progress"
"""The topics on which workers speak to runners. Each event is the token of the run and what belongs to the topic."""


def admission(terms: Mapping[str, Any]) -> Any:
    """Return the plugin by which every worker, now or later, says whether it agrees with the terms of a run.

    One that does offers a resource, which the tasks of the run ask for, named like the token of the terms. The event ``JOINED`` has its address, how people
    are told of it, the job it lives in and its objection, if it has one.
    """
    from distributed import WorkerPlugin

    class Admission(WorkerPlugin):  # type: ignore[misc]
        name = terms["token"]

        async def setup(self, worker: Any) -> None:
            import asyncio
            import os
            import socket

            from distributed import Status

            try:
                from temper.engine.workers.compatibility import WorkerRequirements
                from temper.engine.workers.preemption import handle_preemption
                from temper.engine.workers.worker_log import keep_log

                asked = WorkerRequirements(**terms)
            except Exception as error:  # noqa: BLE001 - whatever is called core there is not this version of Temper
                why = f"it cannot import this version of Temper ({type(error).__name__}: {error}); start it with the project on PYTHONPATH"
            else:
                keep_log()
                handle_preemption(worker)
                why = await asyncio.to_thread(asked.objection)
            where = f"{socket.gethostname().partition('.')[0]}:{os.getpid()}"
            job = os.environ.get("TEMPER_JOB", "")
            worker.log_event("temper-joined", (terms["token"], worker.address, where, job, why))
            if not why:
                await worker.set_resources(**{terms["token"]: 1})
                # Only a worker that starts to run is given what waits for one.
                worker.status = Status.paused
                worker.status = Status.running

    return Admission()


def performer(root: str, token: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return the function that performs a task on a worker, for a run with a store and a token."""

    def perform(values: Mapping[str, Any]) -> dict[str, Any]:
        from dataclasses import asdict
        from pathlib import Path

        from distributed import get_worker

        from temper.engine.running import task
        from temper.engine.running.engine import here

        worker, given = get_worker(), task.TaskSpec(**values)
        worker.log_event("temper-began", (token, given.fingerprint, here()))

        def report(*what: Any) -> None:
            worker.log_event("temper-progress", (token, *what))

        return asdict(task.perform(given, Path(root), report))

    return perform
