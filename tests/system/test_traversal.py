"""Traversal: all that can be reached, once each, circles included."""

from temper.system.traversal import reachable

EDGES = {"a": ["b", "c"], "b": ["d"], "c": ["d", "a"], "d": [], "e": ["a"]}


def test_what_can_be_reached_is_found_once() -> None:
    found = list(reachable(["a"], EDGES.__getitem__))
    assert sorted(found) == ["a", "b", "c", "d"]
    assert found[0] == "a"


def test_nothing_is_reached_from_nowhere() -> None:
    assert list(reachable([], EDGES.__getitem__)) == []
