"""Checkpoints: the last complete state is restored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from temper.core.checkpoint import Checkpoint, Steps, restore_stream, stream_state
from temper.system import stop_request


def test_a_saved_state_is_restored_unchanged(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "work", interval=0)
    assert kept.load() is None
    assert kept.due
    kept.save({"x": np.arange(3)}, {"epoch": 1, "of": "ä"})
    kept.save({"x": np.arange(4), "y": np.zeros((2, 2), np.float32)}, {"epoch": 2})
    loaded = Checkpoint(tmp_path / "work").load()
    assert loaded is not None
    arrays, meta = loaded
    assert meta == {"epoch": 2}
    assert arrays["x"].tolist() == [0, 1, 2, 3]
    assert arrays["y"].dtype == np.float32
    kept.drop()
    assert kept.load() is None
    assert not (tmp_path / "work").exists()


def test_a_truncated_state_is_ignored(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path, interval=0)
    kept.save({"x": np.arange(1000)}, {})
    state = tmp_path / "state.npz"
    state.write_bytes(state.read_bytes()[:500])
    assert kept.load() is None


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", _meta=np.array([{}], object))
    assert Checkpoint(tmp_path).load() is None


def test_it_is_due_once_per_interval_and_never_without_a_folder(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path, interval=3600)
    assert not kept.due
    nowhere = Checkpoint()
    assert not nowhere.due
    nowhere.save({}, {})
    assert nowhere.load() is None


def test_a_stop_request_makes_it_due_and_stops_the_task_after_saving(tmp_path: Path) -> None:
    kept, nowhere = Checkpoint(tmp_path, interval=3600), Checkpoint()
    stop_request.request()
    try:
        assert kept.due
        assert not nowhere.due
        with pytest.raises(stop_request.Stopped):
            kept.save({"x": np.arange(3)}, {})
        nowhere.save({}, {})
    finally:
        stop_request.withdraw()
    loaded = kept.load()
    assert loaded is not None
    assert loaded[0]["x"].tolist() == [0, 1, 2]
    kept.save({}, {})


def test_finished_steps_and_the_current_one_are_saved_together(tmp_path: Path) -> None:
    steps = Steps(Checkpoint(tmp_path, interval=0))
    assert steps.finished("0") is None
    assert steps.in_progress("0").load() is None
    steps.finish("0", {"a.b": np.arange(2)}, {"loss": 1})
    second = steps.in_progress("01")
    assert second.due
    second.save({"x": np.arange(3)}, {"epoch": 4})

    steps = Steps(Checkpoint(tmp_path, interval=3600))
    finished, in_progress = steps.finished("0"), steps.in_progress("01").load()
    assert finished is not None
    assert finished[0]["a.b"].tolist() == [0, 1]
    assert finished[1] == {"loss": 1}
    assert in_progress is not None
    assert in_progress[0]["x"].tolist() == [0, 1, 2]
    assert in_progress[1] == {"epoch": 4}
    assert steps.finished("01") is None
    assert steps.in_progress("0").load() is None
    assert not steps.in_progress("01").due

    steps.finish("01", {}, {})
    assert Steps(Checkpoint(tmp_path)).finished("01") is None


def test_a_restored_stream_continues_where_the_saved_one_stopped() -> None:
    """Spawned streams included, which the generator's own state does not count."""
    first = np.random.default_rng([1, 2])
    first.random(3)
    first.spawn(2)
    state = json.loads(json.dumps(stream_state(first)))
    second = np.random.default_rng([1, 2])
    for _ in range(2):  # a state may be loaded twice
        restore_stream(second, state)
    assert second.random(4).tolist() == first.random(4).tolist()
    ours, theirs = (stream.spawn(1)[0].random(4).tolist() for stream in (second, first))
    assert ours == theirs
