"""Functions and messages that cross to Dask's scheduler and workers.

All of it is defined inside functions, so that it is pickled by value and imports Temper only where it runs: a scheduler
needs no Temper, and a worker without it can say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

JOINED, BEGAN, PROGRESS = "temper-joined", "temper-began", "temper-progress"
"""The topics on which workers report to runners. Each event carries the token of the run, then the topic's own values."""


def admission(terms: Mapping[str, Any]) -> Any:
    """Return the plugin by which every worker, now or later, reports whether it meets the requirements of a run.

    A compatible worker offers a resource named after the token, which the tasks of the run request. The event ``JOINED``
    carries its address, its name for users, the job it lives in and its objection, if it has one.
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
            except Exception as error:  # noqa: BLE001 - a package called temper may be another version, or something else
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
                # Dask assigns waiting tasks only to a worker whose status changes to running.
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

        worker, given = get_worker(), task.TaskSpec.received(values)
        worker.log_event("temper-began", (token, given.fingerprint, here()))

        def report(*what: Any) -> None:
            worker.log_event("temper-progress", (token, *what))

        return asdict(task.perform(given, Path(root), report))

    return perform
