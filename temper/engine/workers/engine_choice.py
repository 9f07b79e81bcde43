"""Chooses the engine of a run."""

from __future__ import annotations

from temper.core.cluster import Cluster
from temper.engine.running.engine import Engine, InProcess, Watcher
from temper.engine.workers.compatibility import WorkerRequirements


def create_engine(requirements: WorkerRequirements, cluster: Cluster | None, watcher: Watcher) -> Engine:
    """Return the engine for the workers of a cluster, or for the runner's own process if there is none.

    Raises:
        Unreachable: no usable scheduler answers at the given address.
    """
    if cluster is None:
        return InProcess(requirements, watcher)
    from temper.engine.workers.dask_engine import DaskEngine

    return DaskEngine(requirements, cluster, watcher)
