"""A Dask scheduler that runs already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from core.cluster import Cluster, Premises
from core.component import File

_KINDS = ("tcp://", "tls://", "ucx://", "ws://", "wss://")


@dataclass(frozen=True, kw_only=True)
class Scheduler(Cluster):
    """A Dask scheduler that runs already, by its address or by the file it has written; its workers are the site's own.

    They must be started with one thread each (``dask worker --nthreads 1``), in an environment like the runner's, and see the
    store at the same place. The scheduler stays when the run ends.

    Source: Dask's client.
    """

    tag = "scheduler"

    address: Annotated[str | None, "tcp://HOST:PORT or tls://HOST:PORT"] = None
    file: Annotated[str | None, "what dask scheduler --scheduler-file has written", File()] = None

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.address is None) == (self.file is None):
            yield "", "expected one of address and file, received " + ("none" if self.file is None else "both")
        if self.address is not None and not self.address.startswith(_KINDS):
            yield "address", f"expected tcp://HOST:PORT or tls://HOST:PORT, received '{self.address}'"

    def start(self, premises: Premises) -> Any:
        return self.address or {"scheduler_file": self.file}
