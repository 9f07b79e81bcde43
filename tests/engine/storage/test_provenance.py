"""Provenance: environment variables that change numbers are recorded, and shared with workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from temper.engine.storage.provenance import environment
from temper.engine.workers.worker_env import worker_env


def test_numeric_settings_are_recorded_and_passed_to_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TF_ENABLE_ONEDNN_OPTS" not in environment()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert environment().items() >= {"CUDA_VISIBLE_DEVICES": "1", "TF_ENABLE_ONEDNN_OPTS": "0"}.items()
    assert "PATH" not in environment()
    handed = worker_env(tmp_path).environment
    assert handed["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert "CUDA_VISIBLE_DEVICES" not in handed
