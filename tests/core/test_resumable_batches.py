"""Arrays filled batch by batch: each batch once, with the same result after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from temper.core.checkpoint import Checkpoint
from temper.core.resumable_batches import fill_in_batches
from temper.core.run import Run
from tests.conftest import stopped_again_and_again


def fill(n: int, size: int, checkpoint: Checkpoint | None, made: list[tuple[int, int]]) -> tuple[Any, list[int]]:
    """Fill an array with its rows' numbers plus random ones; return it and the progress."""
    told: list[int] = []
    run = Run(
        "fill",
        1,
        None,
        lambda ref: None,
        lambda ref: {},
        lambda done, total, unit: told.append(done),
        checkpoint=checkpoint,
    )
    rng = run.rng()

    def make(rows: slice) -> Any:
        made.append((rows.start, rows.stop))
        return np.arange(rows.start, rows.stop)[:, None] + rng.random((rows.stop - rows.start, 2))

    return fill_in_batches(run, np.empty((n, 2)), size, make, rng), told


@pytest.mark.parametrize(("n", "size", "stops"), [(10, 3, 3), (9, 3, 2), (2, 5, 0), (0, 5, 0)])
def test_the_result_does_not_depend_on_interruptions(n: int, size: int, stops: int, tmp_path: Path) -> None:
    batches = [(start, min(start + size, n)) for start in range(0, n, size)]
    made: list[tuple[int, int]] = []
    whole, told = fill(n, size, None, made)
    assert made == batches
    assert told == [stop for _, stop in batches]
    np.testing.assert_array_equal(np.floor(whole), np.tile(np.arange(n)[:, None], (1, 2)))
    made.clear()
    kept = Checkpoint(tmp_path, interval=3600)
    (pieces, _), stopped = stopped_again_and_again(lambda: fill(n, size, kept, made))
    assert stopped == stops
    assert made == batches, "no batch is made twice"
    np.testing.assert_array_equal(whole, pieces)
