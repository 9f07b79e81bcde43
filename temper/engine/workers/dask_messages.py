"""Functions that run on Dask's scheduler and workers, and the messages they send.

They are defined inside functions, so that they are pickled by value and import Temper only where they run: a scheduler
needs no Temper, and a worker without it can report that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

JOINED, BEGAN, PROGRESS = "temper-joined", "temper-began", "temper-progress"
"""The topics on which workers report to runners. Each event carries the run's token, then the topic's values."""


def compatibility_plugin(requirements: Mapping[str, Any]) -> Any:
    """Return the plugin with which every present and future worker reports whether it meets a run's requirements.

    A compatible worker offers a resource named after the token, which the run's tasks require. The event ``JOINED``
    carries the worker's address, its name as users see it, its batch job, and why it is incompatible, if it is.
    """
    from distributed import WorkerPlugin

    class CompatibilityPlugin(WorkerPlugin):  # type: ignore[misc]
        name = requirements["token"]

        async def setup(self, worker: Any) -> None:
            import asyncio
            import os
            import socket

            from distributed import Status

            try:
                from temper.engine.workers.compatibility import WorkerRequirements
                from temper.engine.workers.preemption import handle_preemption
                from temper.engine.workers.worker_log import redirect_output

                required = WorkerRequirements(**requirements)
            except Exception as error:  # noqa: BLE001 - temper may be another version or project
                why = (
                    f"it cannot import this version of Temper ({type(error).__name__}: {error}); "
                    "add the project to its PYTHONPATH"
                )
            else:
                redirect_output()
                handle_preemption(worker)
                why = await asyncio.to_thread(required.incompatibility)
            where = f"{socket.gethostname().partition('.')[0]}:{os.getpid()}"
            job = os.environ.get("TEMPER_JOB", "")
            worker.log_event("temper-joined", (requirements["token"], worker.address, where, job, why))
            if not why:
                await worker.set_resources(**{requirements["token"]: 1})
                # Dask assigns waiting tasks only to a worker whose status changes to running.
                worker.status = Status.paused
                worker.status = Status.running

    return CompatibilityPlugin()


def task_function(root: str, token: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return the function that performs a task on a worker, for the run with a token and the store at ``root``."""

    def perform(values: Mapping[str, Any]) -> dict[str, Any]:
        from dataclasses import asdict
        from pathlib import Path

        from distributed import get_worker

        from temper.engine.running import task
        from temper.engine.running.engine import worker_name

        worker, spec = get_worker(), task.TaskSpec.received(values)
        worker.log_event("temper-began", (token, spec.fingerprint, worker_name()))

        def report(*progress: Any) -> None:
            worker.log_event("temper-progress", (token, *progress))

        return asdict(task.perform(spec, Path(root), report))

    return perform
