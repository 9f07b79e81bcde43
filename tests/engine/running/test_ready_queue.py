"""The ready queue returns tasks in the order of the plan, each after its inputs."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from temper.engine.running.ready_queue import ReadyQueue


def task(name: str, *needs: str) -> Any:
    return SimpleNamespace(fingerprint=name, needs=needs)


def taken(queue: ReadyQueue) -> list[str]:
    found = []
    while (next_ := queue.take()) is not None:
        found.append(next_.fingerprint)
    return found


def test_tasks_wait_for_their_inputs() -> None:
    queue = ReadyQueue([task("a"), task("b", "a"), task("c", "a", "b"), task("d")])
    assert taken(queue) == ["a", "d"]
    assert queue.in_progress == 2
    queue.done("a")
    assert taken(queue) == ["b"]
    queue.done("d")
    queue.done("b")
    assert taken(queue) == ["c"]
    assert len(queue) == 1
    queue.done("c")
    assert not queue
    assert not queue.can_progress


def test_inputs_outside_the_queue_count_as_done() -> None:
    assert taken(ReadyQueue([task("b", "a")])) == ["b"]


def test_requeued_task_can_be_taken_after_its_delay() -> None:
    now = [0.0]
    queue = ReadyQueue([task("a"), task("b")], clock=lambda: now[0])
    assert taken(queue) == ["a", "b"]
    queue.requeue("a", delay=2)
    queue.requeue("b")
    assert taken(queue) == ["b"]
    assert queue.can_progress
    now[0] = 2.0
    assert taken(queue) == ["a"]


def test_dependents_of_a_dropped_task_are_never_taken() -> None:
    queue = ReadyQueue([task("a"), task("b", "a")])
    assert taken(queue) == ["a"]
    queue.drop("a")
    assert taken(queue) == []
    assert not queue.can_progress
    assert "b" in queue


def test_recomputed_task_runs_before_its_dependents() -> None:
    queue = ReadyQueue([task("b", "a"), task("c", "b")])
    assert taken(queue) == ["b"]
    queue.add(task("a"))
    queue.requeue("b")
    assert taken(queue) == ["a"]
    queue.done("a")
    assert taken(queue) == ["b"]
    queue.done("b")
    assert taken(queue) == ["c"]


def test_recomputed_cached_task_runs_before_all_others() -> None:
    """Its dependents may be done, and the task that found the damage waits."""
    queue = ReadyQueue([task("a"), task("b", "old"), task("c"), task("d")])
    first = queue.take()
    assert first is not None
    assert first.fingerprint == "a"
    queue.add(task("old"))
    assert taken(queue) == ["old", "c", "d"]


def test_recomputed_task_of_the_plan_keeps_its_rank() -> None:
    queue = ReadyQueue([task("a"), task("b"), task("c"), task("d")])
    assert taken(queue) == ["a", "b", "c", "d"]
    for name in ("c", "b"):
        queue.done(name)
        queue.add(task(name))
    for name in ("a", "d"):
        queue.requeue(name)
    assert taken(queue) == ["a", "b", "c", "d"]


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_any_graph_is_processed_in_topological_order(rng: random.Random, count: int) -> None:
    tasks = [task(str(i), *(str(j) for j in range(i) if rng.random() < 0.2)) for i in range(count)]
    queue = ReadyQueue(rng.sample(tasks, count))
    finished, out = set[str](), list[str]()
    while queue:
        while (next_ := queue.take()) is not None:
            assert finished.issuperset(next_.needs)
            out.append(next_.fingerprint)
        name = out.pop(rng.randrange(len(out)))
        if rng.random() < 0.8:
            queue.done(name)
            finished.add(name)
        else:
            queue.requeue(name)
    assert finished == {w.fingerprint for w in tasks}


def test_long_queue_is_never_scanned() -> None:
    count, looked = 1000, [0]

    class Counting(SimpleNamespace):
        @property
        def needs(self) -> tuple[str, ...]:
            looked[0] += 1
            return (str(int(self.fingerprint) - 1),) if self.fingerprint != "0" else ()

    queue: ReadyQueue = ReadyQueue([Counting(fingerprint=str(i)) for i in range(count)])  # type: ignore[misc]
    for i in range(count):
        assert taken(queue) == [str(i)]
        queue.done(str(i))
    assert looked[0] <= 3 * count
