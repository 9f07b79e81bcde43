"""A running Dask scheduler."""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from temper.core.cluster import Cluster, WorkerEnv
from temper.core.component import File
from temper.core.errors import StageError
from temper.system.files import read_bytes

_ENCRYPTED = ("tls", "wss")
_KINDS = ("tcp", "ucx", "ws", *_ENCRYPTED)
_MAX_BYTES = 2**20
"""Maximum size of a scheduler file in bytes."""
_TLS = ("tls_ca", "tls_cert", "tls_key")


@dataclass(frozen=True, kw_only=True)
class Scheduler(Cluster):
    """A running Dask scheduler, by its address or by the file it has written; the site runs its workers.

    They must be started with one thread each (``dask worker --nthreads 1``), in an environment like the runner's, and
    see the store at the same path; a worker that does not cannot join the run. The scheduler outlives the run.

    Source: Dask's client.
    """

    tag = "scheduler"

    address: Annotated[str | None, "tls://HOST:PORT or tcp://HOST:PORT"] = None
    file: Annotated[str | None, "file that dask scheduler --scheduler-file has written", File()] = None
    tls_ca: Annotated[str | None, "certificate of the authority (CA) that both sides trust, for tls://", File()] = None
    tls_cert: Annotated[str | None, "certificate of the runner", File()] = None
    tls_key: Annotated[str | None, "private key of the runner's certificate", File()] = None
    trusted: Annotated[
        bool,
        "the network is private, for tcp:// to other hosts: whoever reaches the scheduler can run code on its workers",
    ] = False

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.address is None) == (self.file is None):
            yield "", "expected one of address and file, received " + ("none" if self.file is None else "both")
            return
        field = "file" if self.address is None else "address"
        try:
            kind, host, port = self._parsed_address.scheme, self._parsed_address.hostname, self._parsed_address.port
        except (StageError, ValueError, KeyError, TypeError, RecursionError) as error:
            wanted = (
                "what dask scheduler --scheduler-file writes"
                if field == "file"
                else "tcp://HOST:PORT or tls://HOST:PORT"
            )
            yield field, f"expected {wanted}, received {type(error).__name__}: {error}"
            return
        if kind not in _KINDS or not host or not port:
            yield field, f"expected tcp://HOST:PORT or tls://HOST:PORT, received '{self._parsed_address.geturl()}'"
            return
        named = [name for name in _TLS if getattr(self, name) is not None]
        if kind in _ENCRYPTED:
            for name in _TLS:
                if name not in named:
                    yield name, f"is missing; {kind}:// needs {', '.join(_TLS)}"
            if named == list(_TLS):
                yield from self._check_certificates()
        elif named:
            yield (
                named[0],
                f"{kind}:// is not encrypted; give the scheduler a tls:// address, or remove {', '.join(named)}",
            )
        elif not (self.trusted or _is_loopback(host)):
            yield (
                "trusted",
                (
                    f"{kind}://{host} is neither encrypted nor on this machine, and whoever reaches it can run code; "
                    "use tls://, or set `trusted: true` if that network is private"
                ),
            )

    def _check_certificates(self) -> Iterator[tuple[str, str]]:
        assert self.tls_cert is not None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except OSError as error:
            yield "tls_ca", f"expected certificates in PEM, received {error}"
            return
        try:
            # OpenSSL would prompt for a pass phrase, and Dask again wherever it connects.
            context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
        except OSError as error:
            yield (
                "tls_cert",
                f"expected a certificate in PEM and its key in tls_key, without a pass phrase, received {error}",
            )

    @cached_property
    def _parsed_address(self) -> Any:
        text = self.address
        if text is None:
            assert self.file is not None
            text = json.loads(read_bytes(Path(self.file), _MAX_BYTES))["address"]
        return urlsplit(str(text))

    def start(self, env: WorkerEnv) -> Any:
        from distributed.security import Security

        connection = {"address": self._parsed_address.geturl()}
        if self._parsed_address.scheme not in _ENCRYPTED:
            return connection
        security = Security(
            tls_ca_file=self.tls_ca, tls_client_cert=self.tls_cert, tls_client_key=self.tls_key, require_encryption=True
        )
        return {**connection, "security": security}


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
