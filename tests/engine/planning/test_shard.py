"""Shards begin with different tasks and know all of them."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from temper.engine.planning.shard import Shard
from tests.conftest import PARTS, start

POISON = """
name: poison
datasets: {grey: {type: plain}}
generate: {bad: {type: trouble, data: grey, how: HOW, unless: FREE, counter: COUNTER}}
evaluate: {shade: {type: shade, examples: [grey, bad]}}
"""


@pytest.fixture
def poison(write: Callable[..., Path], tmp_path: Path) -> Callable[[str], Path]:
    """Write an experiment with a stage that does harm until the file ``free`` is there."""

    def poison(how: str) -> Path:
        text = POISON.replace("HOW", how).replace("FREE", str(tmp_path / "free"))
        return write(text.replace("COUNTER", str(tmp_path / "count")))

    return poison


def shard(file: Path, number: int, *more: str) -> Any:
    outputs = file.parent / "outputs"
    return start(file, "--components", PARTS, "--outputs", outputs, "--shard", f"{number}/4", *more)


def end_of(file: Path, number: int, *more: str) -> tuple[int, str]:
    process = shard(file, number, *more)
    message, _ = process.communicate(timeout=120)
    return process.returncode, message


def test_each_task_is_the_first_choice_of_one_shard() -> None:
    tasks: list[Any] = [SimpleNamespace(fingerprint=f"{i:024x}") for i in range(10)]
    orders = [Shard(k, 3).order(tasks) for k in (1, 2, 3)]
    for k, order in enumerate(orders):
        assert [int(w.fingerprint, 16) for w in order[: len(range(k, 10, 3))]] == list(range(k, 10, 3))
        assert sorted(order, key=lambda w: w.fingerprint) == tasks


def test_text() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2-of-8"


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/2/3", "1.0/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ValueError, match="expected K/N with K from 1 to N, such as 2/8"):
        Shard.parse(text)


@pytest.mark.slow
def test_a_stage_that_kills_shards_is_a_failure_for_all_of_them(poison: Callable[[str], Path], tmp_path: Path) -> None:
    file = poison("kill")
    assert [end_of(file, number)[0] for number in (1, 2)] == [-signal.SIGKILL] * 2
    code, message = end_of(file, 3)
    assert code == 1, message
    with (tmp_path / "outputs" / "poison" / "failures.csv").open(encoding="utf-8-sig") as stream:
        (failure,) = csv.DictReader(stream)
    assert failure["cause"].startswith("its worker process died 2 times")
    code, message = end_of(file, 4)
    assert code == 1, message
    # Tried again it may kill one more, which is the first of its new deaths.
    assert end_of(file, 1, "--retry-failed")[0] == -signal.SIGKILL
    (tmp_path / "free").touch()
    code, message = end_of(file, 2)
    assert code == 0, message
    assert not list((tmp_path / "outputs" / ".store" / ".attempts").rglob("*.json"))


@pytest.mark.slow
def test_shards_that_were_warned_before_they_were_killed_do_not_count(
    poison: Callable[[str], Path], tmp_path: Path
) -> None:
    file, count = poison("hang"), tmp_path / "count"
    for number in (1, 2, 3):
        process = shard(file, number)
        deadline = time.monotonic() + 60
        while not count.exists() or len(count.read_text(encoding="utf-8").splitlines()) < number:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        process.kill()
        process.communicate(timeout=30)
    (tmp_path / "free").touch()
    code, message = end_of(file, 4)
    assert code == 0, message
