"""The agenda gives works out in the order of the plan, each after what it needs."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.running.agenda import Agenda


def work(name: str, *needs: str) -> Any:
    return SimpleNamespace(fingerprint=name, needs=needs)


def taken(agenda: Agenda) -> list[str]:
    found = []
    while (next_ := agenda.take()) is not None:
        found.append(next_.fingerprint)
    return found


def test_works_wait_for_what_they_need() -> None:
    agenda = Agenda([work("a"), work("b", "a"), work("c", "a", "b"), work("d")])
    assert taken(agenda) == ["a", "d"]
    assert agenda.out == 2
    agenda.done("a")
    assert taken(agenda) == ["b"]
    agenda.done("d")
    agenda.done("b")
    assert taken(agenda) == ["c"]
    assert len(agenda) == 1
    agenda.done("c")
    assert not agenda
    assert not agenda.waits


def test_needs_that_are_not_on_the_agenda_are_there_already() -> None:
    assert taken(Agenda([work("b", "a")])) == ["b"]


def test_what_was_given_back_is_offered_again_at_its_time() -> None:
    now = [0.0]
    agenda = Agenda([work("a"), work("b")], clock=lambda: now[0])
    assert taken(agenda) == ["a", "b"]
    agenda.give_back("a", delay=2)
    agenda.give_back("b")
    assert taken(agenda) == ["b"]
    assert agenda.waits
    now[0] = 2.0
    assert taken(agenda) == ["a"]


def test_what_waits_for_a_dropped_work_is_never_given_out() -> None:
    agenda = Agenda([work("a"), work("b", "a")])
    assert taken(agenda) == ["a"]
    agenda.drop("a")
    assert taken(agenda) == []
    assert not agenda.waits
    assert "b" in agenda


def test_a_work_that_is_done_again_goes_before_what_needs_it() -> None:
    agenda = Agenda([work("b", "a"), work("c", "b")])
    assert taken(agenda) == ["b"]
    agenda.add(work("a"))
    agenda.give_back("b")
    assert taken(agenda) == ["a"]
    agenda.done("a")
    assert taken(agenda) == ["b"]
    agenda.done("b")
    assert taken(agenda) == ["c"]


def test_a_work_that_was_there_and_is_done_again_goes_before_all_others() -> None:
    """Its readers may be far along, and whoever found the damage waits."""
    agenda = Agenda([work("a"), work("b", "old"), work("c"), work("d")])
    first = agenda.take()
    assert first is not None
    assert first.fingerprint == "a"
    agenda.add(work("old"))
    assert taken(agenda) == ["old", "c", "d"]


def test_a_work_of_the_plan_that_is_done_again_goes_at_its_own_place() -> None:
    agenda = Agenda([work("a"), work("b"), work("c"), work("d")])
    assert taken(agenda) == ["a", "b", "c", "d"]
    for name in ("c", "b"):
        agenda.done(name)
        agenda.add(work(name))
    for name in ("a", "d"):
        agenda.give_back(name)
    assert taken(agenda) == ["a", "b", "c", "d"]


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_any_graph_is_worked_off_in_an_order_that_respects_it(rng: random.Random, count: int) -> None:
    works = [work(str(i), *(str(j) for j in range(i) if rng.random() < 0.2)) for i in range(count)]
    agenda = Agenda(rng.sample(works, count))
    finished, out = set[str](), list[str]()
    while agenda:
        while (next_ := agenda.take()) is not None:
            assert finished.issuperset(next_.needs)
            out.append(next_.fingerprint)
        name = out.pop(rng.randrange(len(out)))
        if rng.random() < 0.8:
            agenda.done(name)
            finished.add(name)
        else:
            agenda.give_back(name)
    assert finished == {w.fingerprint for w in works}


def test_a_long_agenda_is_never_looked_through() -> None:
    count, looked = 1000, [0]

    class Counting(SimpleNamespace):
        @property
        def needs(self) -> tuple[str, ...]:
            looked[0] += 1
            return (str(int(self.fingerprint) - 1),) if self.fingerprint != "0" else ()

    agenda: Agenda = Agenda([Counting(fingerprint=str(i)) for i in range(count)])  # type: ignore[misc]
    for i in range(count):
        assert taken(agenda) == [str(i)]
        agenda.done(str(i))
    assert looked[0] <= 3 * count
