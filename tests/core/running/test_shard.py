"""Shards begin with different works and know all of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.running.shard import Shard


def test_each_work_is_the_first_choice_of_one_shard() -> None:
    works: list[Any] = [SimpleNamespace(fingerprint=f"{i:024x}") for i in range(10)]
    orders = [Shard(k, 3).order(works) for k in (1, 2, 3)]
    for k, order in enumerate(orders):
        assert [int(w.fingerprint, 16) for w in order[: len(range(k, 10, 3))]] == list(range(k, 10, 3))
        assert sorted(order, key=lambda w: w.fingerprint) == works


def test_text() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2-of-8"


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/2/3", "1.0/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ValueError, match="expected K/N with K from 1 to N, such as 2/8"):
        Shard.parse(text)
