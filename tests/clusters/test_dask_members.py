"""The undocumented members of Dask that Temper uses, with the reasons. Review each of them after an upgrade."""

from __future__ import annotations

import importlib
import inspect
import re
from importlib import metadata
from typing import Any

import dask
import distributed  # noqa: F401 - its settings
import pytest

from temper.system.installation import PACKAGE

SEEN = {"distributed": "2026.8.0", "dask-jobqueue": "0.9.0"}
"""The versions in which the members below were reviewed."""
MEMBERS = [
    # temper/clusters/local.py: a nanny knows its worker's exit code and does not publish it.
    ("distributed.nanny:Nanny", "_on_worker_exit_sync"),
    ("distributed.nanny:Nanny", "pid"),
    # temper/clusters/dask_without_http.py: no setting disables the HTTP servers.
    ("distributed.scheduler:Scheduler", "start_http_server"),
    ("distributed.worker:Worker", "start_http_server"),
    # temper/clusters/jobqueue.py, temper/engine/workers/failed_jobs.py, temper/engine/workers/compatible_workers.py: which jobs were requested, and which connected.
    ("distributed.deploy.spec:SpecCluster", "worker_spec"),
    ("distributed.deploy.spec:SpecCluster", "workers"),
    ("distributed.deploy.cluster:Cluster", "observed"),
    ("distributed.deploy.cluster:Cluster", "requested"),
    # temper/clusters/jobqueue.py: a job's command, which is not quoted; its header, for arrays; its id.
    ("dask_jobqueue.core:Job", "_command_template"),
    ("dask_jobqueue.core:Job", "job_header"),
    ("dask_jobqueue.core:Job", "job_id"),
    ("dask_jobqueue.core:JobQueueCluster", "job_cls"),
    # temper/engine/workers/preemption.py: whether a stage is running; pausing, so that none starts.
    ("distributed.worker_state_machine:WorkerState", "executing_count"),
    ("distributed.worker:Worker", "close_gracefully"),
    ("distributed.core:Status", "paused"),
    # temper/engine/workers/dask_messages.py: a worker's resources, and the status change after which it receives queued tasks.
    ("distributed.worker:Worker", "set_resources"),
    ("distributed.scheduler:SchedulerState", "bulk_schedule_unrunnable_after_adding_worker"),
    # temper/engine/workers/dask_engine.py: the state of the connection, and the scheduler's Python version.
    ("distributed.client:Client", "status"),
    ("distributed.client:Client", "get_versions"),
]
SETTINGS = [
    "distributed.scheduler.allowed-failures",
    "distributed.scheduler.worker-ttl",
    "distributed.scheduler.unknown-task-duration",
    "distributed.worker.daemon",
    "distributed.worker.memory.target",
    "distributed.worker.memory.spill",
    "distributed.worker.memory.pause",
    "distributed.worker.memory.terminate",
    "distributed.admin.system-monitor.gil.enabled",
]


def member(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("package", SEEN)
def test_members_were_reviewed_for_the_installed_version(package: str) -> None:
    assert metadata.version(package) == SEEN[package], "look at each member here, then change SEEN"


@pytest.mark.parametrize(("place", "name"), MEMBERS)
def test_member_exists(place: str, name: str) -> None:
    owner = member(place)
    assert hasattr(owner, name) or re.search(rf"self\.{name}\b", inspect.getsource(owner))


def test_nanny_hook_receives_an_exit_code() -> None:
    owner = member("distributed.nanny:Nanny")
    assert list(inspect.signature(owner._on_worker_exit_sync).parameters) == ["self", "exitcode"]
    assert "on_exit=self._on_worker_exit_sync" in inspect.getsource(owner)


def test_worker_that_becomes_running_receives_queued_tasks() -> None:
    changed = inspect.getsource(member("distributed.scheduler:Scheduler").handle_worker_status_change)
    assert "bulk_schedule_unrunnable_after_adding_worker" in changed


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting_exists(setting: str) -> None:
    assert dask.config.get(setting, "no such setting") != "no such setting"


def test_all_overridden_settings_are_listed() -> None:
    """In the code of the clusters and the engine."""
    made = set()
    for folder in ("clusters", "engine/workers", "engine/running"):
        for path in (PACKAGE / folder).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            made |= set(re.findall(r'"(distributed\.(?:scheduler|worker|admin)\.[a-z.-]+)"\s*:', text))
            for name in re.findall(r'"DASK_(\w+)"', text):
                made.add(name.lower().replace("__", "."))
    assert made == set(SETTINGS)


def test_no_other_private_member_is_used() -> None:
    listed = {name for _, name in MEMBERS}
    for folder in ("clusters", "engine/workers", "engine/running"):
        for path in (PACKAGE / folder).glob("*.py"):
            used = set(re.findall(r"super\(\)\.(_[a-z]\w+)", path.read_text(encoding="utf-8")))
            assert used <= listed, path
