"""Attack jobs run in batches that are refilled as images are broken, so that the last ones do not run alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels
from temper.core.classifier import Classifier

State = Mapping[str, NDArray[Any]]
"""What the jobs of a batch have reached: arrays whose first axis is the job."""

_FULL = 64
"""Batches smaller than this leave the processor idle: they are filled with further jobs of the same images."""


@dataclass(frozen=True)
class Jobs:
    """Attacks on single images, in the order in which they are to start: int64 arrays (m,).

    ``rows`` are the images, ``targets`` the classes to move towards (-1 for none), ``numbers`` the random streams.
    """

    rows: NDArray[np.int64]
    targets: NDArray[np.int64]
    numbers: NDArray[np.int64]


class Kernel(Protocol):
    """One attack as a state machine for single images, run on batches of them."""

    def begin(self, victim: Classifier, x: Images, y: Labels, jobs: Jobs) -> State:
        """Return the state of jobs before their first iteration; ``x`` and ``y`` are all images."""
        ...

    def advance(self, victim: Classifier, state: State, width: int) -> State:
        """Return the state after some iterations, run as one batch padded to ``width`` jobs.

        ``broken`` (n,) holds whether an adversarial image was found, which is then in ``current`` (n, h, w, c);
        ``left`` (n,) the iterations that remain.
        """
        ...


def break_images(
    kernel: Kernel, victim: Classifier, x: Images, y: Labels, jobs: Jobs, width: int
) -> tuple[Images, NDArray[np.bool_]]:
    """Return images (n, h, w, c) after the jobs on them, and whether each was broken, bool (n,).

    The first successful job of an image ends its other jobs. At most ``width`` jobs run at once.
    """
    made, broken = np.array(x), np.zeros(len(x), bool)
    rows = np.zeros(0, np.int64)
    state: State = {}
    waiting = np.arange(len(jobs.rows))
    while len(rows) or len(waiting):
        waiting = waiting[~broken[jobs.rows[waiting]]]
        chosen = _chosen(jobs.rows[waiting], rows, width)
        if len(chosen):
            picked = waiting[chosen]
            waiting = np.delete(waiting, chosen)
            new = Jobs(jobs.rows[picked], jobs.targets[picked], jobs.numbers[picked])
            state = _joined(state, kernel.begin(victim, x, y, new))
            rows = np.concatenate([rows, new.rows])
        if not len(rows):
            break
        state = kernel.advance(victim, state, width if len(rows) > min(_FULL, width) else min(_FULL, width))
        for job in np.flatnonzero(state["broken"]):
            if not broken[rows[job]]:
                broken[rows[job]] = True
                made[rows[job]] = state["current"][job]
        running = ~broken[rows] & (np.asarray(state["left"]) > 0)
        state = {name: array[running] for name, array in state.items()}
        rows = rows[running]
    return made, broken


def _chosen(waiting: NDArray[np.int64], running: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return the positions of the waiting jobs that start now, given the images of waiting and of running jobs.

    Images without a running job come first. Others are only worth a place that would be empty: their work is lost if an
    earlier job of the same image succeeds.
    """
    free = width - len(running)
    first = np.zeros(len(waiting), bool)
    first[np.unique(waiting, return_index=True)[1]] = True
    fresh = np.flatnonzero(first & ~np.isin(waiting, running))[:free]
    spare = min(_FULL, width) - len(running) - len(fresh)
    if spare <= 0:
        return fresh
    others = np.setdiff1d(np.arange(len(waiting)), fresh)[:spare]
    return np.concatenate([fresh, others])


def _joined(state: State, new: State) -> State:
    return {name: np.concatenate([state[name], new[name]]) for name in new} if state else new
