"""What a framework that was loaded before Temper keeps, and what is refused because of it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

import temper
from temper.api import process_state
from temper.system import threads


class Threading:
    """Stands for ``tf.config.threading``."""

    def __init__(self, computed: bool) -> None:
        self.computed, self.numbers = computed, dict[str, int]()

    def _set(self, name: str, number: int) -> None:
        if self.computed:
            raise RuntimeError(f"{name} cannot be modified after initialization")
        self.numbers[name] = number

    def set_intra_op_parallelism_threads(self, number: int) -> None:
        self._set("intra", number)

    def set_inter_op_parallelism_threads(self, number: int) -> None:
        self._set("inter", number)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have TensorFlow loaded by somebody else, before it or after it has computed something."""
    monkeypatch.setattr(threads, "_STATE", {})
    monkeypatch.setattr(process_state, "_FOREIGN", set())
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.delitem(sys.modules, "keras", raising=False)

    def load(computed: bool) -> Threading:
        found = Threading(computed)
        tensorflow = SimpleNamespace(config=SimpleNamespace(threading=found))
        monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)  # type: ignore[arg-type]
        return found

    return load


def test_a_framework_that_has_not_computed_yet_gets_the_threads_of_the_experiment(loaded: Any) -> None:
    found = loaded(computed=False)
    process_state.adopt_threads(3)
    assert found.numbers == {"intra": 3, "inter": 3}
    process_state.demand_threads(3)


def test_one_that_has_computed_on_other_threads_is_refused(loaded: Any) -> None:
    loaded(computed=True)
    process_state.adopt_threads()
    with pytest.raises(temper.SpecError, match=r"TensorFlow has computed in this process before.*set jobs=2"):
        process_state.demand_threads(1)


def test_one_that_was_started_on_as_many_threads_is_taken(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(computed=True)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    process_state.adopt_threads()
    process_state.demand_threads(1)


def test_an_experiment_of_other_threads_than_the_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_state, "_FOREIGN", set())
    monkeypatch.setattr(threads, "_STATE", {"framework": 1})
    process_state.demand_threads(1)
    with pytest.raises(temper.SpecError, match="computes on 1 threads, the experiment on 4; set jobs=2"):
        process_state.demand_threads(4)


def test_the_backend_is_that_of_the_keras_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def keras(backend: str) -> Any:
        return SimpleNamespace(config=SimpleNamespace(backend=lambda: backend))

    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setitem(sys.modules, "keras", keras("torch"))
    process_state.adopt_backend("temper.run")
    assert process_state.backend.name() == "torch"
    monkeypatch.setitem(sys.modules, "keras", keras("openvino"))
    with pytest.raises(temper.SpecError, match=r"^temper.run: KERAS_BACKEND: expected .* received 'openvino'"):
        process_state.adopt_backend("temper.run")
