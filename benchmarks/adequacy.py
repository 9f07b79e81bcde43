"""Surprise and coverage of Temper against dnn-tip and against the loops over inputs that published code runs.

Run:  python benchmarks/adequacy.py [--images 5000] [--units 128] [--few 100] [--repeats 3]

Traces are drawn at random around the middle of ten classes, and bent at zero as by leaky ReLU: a unit that is always zero in a class
would end SciPy's density estimate, on which dnn-tip's LSA rests. Values change the work but little.
dnn-tip's DSA collects garbage twice for every ten inputs; it is timed so (as shipped), and with that taken out. The loops, and dnn-tip as
shipped, are given a few inputs only, all training images, and their time is extrapolated. Seconds of the processor say more than
those on the clock where other work runs alongside; ratios are of both. Matrix products have one thread unless OPENBLAS_NUM_THREADS says
otherwise, as threads that wait for a busy processor count as work.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from temper.evaluation.coverage.kmnc import KMNC
from temper.evaluation.surprise.dsa import DSA
from temper.evaluation.surprise.lsa import LSA
from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.adequacy.score import NOT_FITTED_ON, Score
from temper.nn.inspection.activations import SOFTMAX, Activations
from temper.nn.inspection.units import UnitLayer

CLASSES = 10
SECTIONS = 1000
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class BenchmarkData:
    """Traces float32 (n, units) and predicted classes int64 (n,) of training images and of inputs."""

    train: Floats
    train_labels: NDArray[np.int64]
    test: Floats
    test_labels: NDArray[np.int64]

    @classmethod
    def drawn(cls, images: int, units: int) -> BenchmarkData:
        """Return as many training images as inputs."""
        rng = np.random.default_rng(0)
        centres = rng.normal(0.5, 1.0, (CLASSES, units))
        labels = rng.integers(0, CLASSES, 2 * images)
        values = centres[labels] + rng.normal(size=(2 * images, units))
        traces = np.maximum(values, 0.1 * values).astype(np.float32)
        return cls(traces[:images], labels[:images], traces[images:], labels[images:])

    def few(self, count: int) -> BenchmarkData:
        """Return all training images and some inputs."""
        return BenchmarkData(self.train, self.train_labels, self.test[:count], self.test_labels[:count])


@dataclass(frozen=True)
class Timed:
    """The time of a method for all inputs, and its result for the inputs it was given."""

    name: str
    cpu: float
    wall: float
    values: NDArray[np.float64]


def timed(name: str, work: Callable[[BenchmarkData], Any], data: BenchmarkData, few: int, repeats: int) -> Timed:
    """Return the least seconds of some runs; of a few inputs, extrapolated to all."""
    given = data.few(few)
    best = (float("inf"), float("inf"))
    values = np.zeros(0)
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        values = np.asarray(work(given), np.float64)
        best = min(best, (time.process_time() - cpu, time.perf_counter() - wall))
    scale = len(data.test) / len(given.test)
    note = "" if scale == 1 else f" ({len(given.test)} inputs, extrapolated)"
    return Timed(name + note, scale * best[0], scale * best[1], values)


def activations(traces: Floats, labels: NDArray[np.int64]) -> Activations:
    """Return the activations of a model whose last hidden layer has these traces."""
    n, units = traces.shape
    logits = np.eye(CLASSES, dtype=np.float32)[labels]
    layers = (UnitLayer("hidden", units, 1, 1), UnitLayer("logits", CLASSES, 1, 1), UnitLayer(SOFTMAX, CLASSES, 1, 1))
    means = np.hstack([traces, logits, logits])
    ends = np.zeros((n, 3), np.float32)
    return Activations(layers, means, means > 0, ends, ends, np.zeros((n, 3), np.int32), logits)


def reference(data: BenchmarkData) -> ReferenceData:
    """Return the training images as scores and criteria are fitted on them."""
    unnamed = cast(Any, SimpleNamespace(info={}))  # what is benchmarked asks for the classes' names at most
    return ReferenceData(unnamed, unnamed, activations(data.train, data.train_labels), cast(Any, None))


def temper(score: Score) -> Callable[[BenchmarkData], Any]:
    """Return Temper's computation: fit on the training images, score the inputs."""

    def work(data: BenchmarkData) -> Any:
        learnt = score.fit(reference(data))
        own = np.full(len(data.test), NOT_FITTED_ON)
        return score.values(learnt, activations(data.test, data.test_labels), own, np.random.default_rng(0))

    return work


def dnn_tip(name: str, collect: bool) -> Callable[[BenchmarkData], Any]:
    """Return dnn-tip's computation, without its output; without ``collect`` it collects no garbage."""
    from dnn_tip import surprise

    def work(data: BenchmarkData) -> Any:
        if name == "dsa":
            return surprise.DSA(data.train, data.train_labels)(data.test, data.test_labels)
        modal = surprise.MultiModalSA.build_by_class(data.train, data.train_labels, lambda x, _: surprise.LSA(x))
        return modal(data.test, data.test_labels)

    def quietly(data: BenchmarkData) -> Any:
        surprise.gc = gc if collect else SimpleNamespace(collect=lambda: 0)
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            return work(data)

    return quietly


def looped_dsa(data: BenchmarkData) -> Any:
    """Return the scores as the definition has them, in float64, one input after another."""
    train = data.train.astype(np.float64)
    scores = []
    for x, label in zip(data.test.astype(np.float64), data.test_labels, strict=True):
        same = train[data.train_labels == label]
        apart = np.linalg.norm(same - x, axis=1)
        others = train[data.train_labels != label]
        scores.append(apart.min() / np.linalg.norm(others - same[apart.argmin()], axis=1).min())
    return scores


def looped_lsa(learnt: BenchmarkData) -> Callable[[BenchmarkData], Any]:
    """Return what scores one input after another by SciPy's kernel density estimates, made before, in float64."""
    from scipy.stats import gaussian_kde

    kernels = [gaussian_kde(learnt.train[learnt.train_labels == c].astype(np.float64).T) for c in range(CLASSES)]
    return lambda data: [
        -kernels[c].logpdf(x.astype(np.float64))[0] for x, c in zip(data.test, data.test_labels.tolist(), strict=True)
    ]


def temper_kmnc(data: BenchmarkData) -> Any:
    """Return the coverage of the inputs, as KMNC of the hidden layer."""
    criterion = KMNC(layers=("hidden",), k=SECTIONS)
    seen = activations(data.test, data.test_labels)
    coverage = criterion.coverage(criterion.profile(reference(data)), seen)
    coverage.update(seen)
    return [coverage.value]


def dnn_tip_kmnc(data: BenchmarkData) -> Any:
    """Return the same from dnn-tip, which marks every section of every unit for every input."""
    from dnn_tip.neuron_coverage import KMNC as Theirs

    _, profiles = Theirs([data.train.min(axis=0)], [data.train.max(axis=0)], SECTIONS)([data.test])
    return [profiles.any(axis=0).mean()]


def shown(title: str, rows: list[Timed], exact: NDArray[np.float64] | None) -> None:
    """Print seconds, how many times as fast the first is as each, and how far each is from the exact values."""
    print(f"\n{title}\n{'':54}{'CPU s':>9}{'wall s':>9}{'CPU ratio':>11}{'wall ratio':>11}{'difference':>12}")
    first = rows[0]
    for row in rows:
        difference = "" if exact is None else f"{np.abs(row.values[: len(exact)] - exact[: len(row.values)]).max():.1e}"
        ratios = f"{row.cpu / first.cpu:>11.1f}{row.wall / first.wall:>11.1f}"
        print(f"{row.name:<54}{row.cpu:>9.2f}{row.wall:>9.2f}{ratios}{difference:>12}")


def main() -> None:
    """Compare DSA, LSA and KMNC."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000, help="training images, and inputs")
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--few", type=int, default=100, help="inputs that the slow ones are given")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    n, few, data = given.images, given.few, BenchmarkData.drawn(given.images, given.units)
    print(f"{n} training images, {n} inputs, {given.units} units, {CLASSES} classes, {os.cpu_count()} CPU cores")
    looped = timed("loop over inputs", looped_dsa, data, few, 1)
    rows = [
        timed("Temper", temper(DSA()), data, n, given.repeats),
        timed("dnn-tip without garbage collection", dnn_tip("dsa", False), data, n, 1),
        timed("dnn-tip as shipped", dnn_tip("dsa", True), data, max(few, 10 * CLASSES), 1),
    ]
    shown("DSA", [*rows, looped], looped.values)
    looped = timed("loop over inputs, without learning", looped_lsa(data), data, few, 1)
    rows = [
        timed("Temper", temper(LSA()), data, n, given.repeats),
        timed("dnn-tip", dnn_tip("lsa", True), data, n, 1),
    ]
    shown("LSA", [*rows, looped], looped.values)
    inputs = BenchmarkData.drawn(10_000, given.units)
    rows = [
        timed("Temper", temper_kmnc, inputs, 10_000, given.repeats),
        timed("dnn-tip", dnn_tip_kmnc, inputs, 500, 1),
    ]
    shown(f"KMNC of 10,000 inputs, {SECTIONS} sections", rows, None)


if __name__ == "__main__":
    main()
