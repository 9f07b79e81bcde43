"""Dask's scheduler and worker without their HTTP servers.

The servers listen on all interfaces even without a dashboard, and show logs and metrics to everyone, however the other
connections are protected. Dask has no setting that turns them off (2026.8), so the method that starts them does
nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

WORKER = f"{__name__}.Worker"
"""The name by which Dask's command line finds the worker."""


def __getattr__(name: str) -> Any:
    """Return ``Scheduler`` or ``Worker``, whose bases are imported only on access."""
    if name not in ("Scheduler", "Worker"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return _without_http(name)


@cache
def _without_http(name: str) -> type:
    import distributed

    def start_http_server(self: Any, *_: Any, **__: Any) -> None:
        """Start nothing."""

    # Pickled by name to a worker's process.
    members = {"start_http_server": start_http_server, "__module__": __name__, "__qualname__": name}
    return type(name, (getattr(distributed, name),), members)
