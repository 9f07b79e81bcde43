"""DRFuzz: the batched algorithm against the serial one, its parts, and resuming after a kill."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from temper.generators.regression.drfuzz import DRFuzz, occurrence_numbers
from temper.generators.regression.fidelity_gates import DistanceFidelity
from temper.generators.regression.model_versions import Versions
from temper.generators.regression.mutation_operators import drfuzz
from temper.generators.regression.operator_selection import kernel
from tests.conftest import ROOT
from tests.generators.regression.toys import CLASSES, TOGETHER, content, fuzz, images, interrupted, versions


def fuzzer(**values: Any) -> DRFuzz:
    return DRFuzz(**(TOGETHER | {"mutants": 3000} | values))


# The serial algorithm, written out image by image.


@dataclass
class Entry:
    x: Any
    source: int
    generation: int
    parent: Entry | None
    p1: Any
    p2: Any
    selected: int = 0
    alive: bool = True

    def weight(self) -> float:
        a = math.log(20) / 20
        return math.exp(-a * (self.generation + self.selected / 2)) if self.alive and self.selected <= 10 else 0.0


def serial(mutants: int, of_each: int, seed: int) -> list[tuple[bytes, int, int, int]]:
    """Return the faults as (image, source, wrong label, generation) that the published algorithm finds."""
    operators, n = drfuzz(), len(drfuzz())
    asked = Versions(*versions())
    data = images()
    x = np.rint(data.x * 255).astype(np.uint8)
    start = asked.predict(x)
    right = (start.p1.argmax(1) == data.y) & (start.p2.argmax(1) == data.y)
    pool = [Entry(x[i], int(i), 0, None, start.p1[i], start.p2[i]) for i in np.flatnonzero(right)]
    record = {(e.source, k): e.p2[k] - e.p1[k] for e in pool for k in range(CLASSES) if k != data.y[e.source]}
    seen: dict[int, set[int]] = {}
    used, faithful, rewarded = np.zeros(n), np.zeros(n), np.zeros(n)
    faults, last, made = [], None, 0
    rng = np.random.default_rng([seed, *_stream()])
    steps = np.cumsum(kernel("mcmc_redraw", n), axis=1)
    while made + of_each <= mutants:
        living = [entry for entry in pool if entry.weight() > 0]
        arrivals = rng.standard_exponential(len(living), np.float32) / np.array(
            [e.weight() for e in living], np.float32
        )
        parent = living[int(arrivals.argmin())]
        shuffled = rng.permutation(n)
        scores = rewarded * faithful / np.maximum(used, 1) ** 2
        order = sorted(shuffled.tolist(), key=lambda operator: -scores[operator])
        if last is None:
            last = order[int(rng.integers(n))]
        else:
            rank, draw = order.index(last), rng.random()
            last = order[min(int(np.sum(steps[rank] <= draw)), n - 1)]
        batch = operators[last].mutate(np.repeat(parent.x[None], of_each, axis=0), rng)
        answers = asked.predict(batch)
        made += of_each
        used[last] += 1
        y, source = int(data.y[parent.source]), parent.source
        parent_drop = parent.p1[y] - parent.p2[y]
        kept, reached, gained, any_faithful = [], set(), False, False
        before = dict(record)
        for image, p1, p2 in zip(batch, answers.p1, answers.p2, strict=True):
            if np.array_equal(image, parent.x):
                continue
            any_faithful = True
            c1, c2 = int(p1.argmax()), int(p2.argmax())
            if c1 != y:
                continue
            d = p1[y] - p2[y]
            fault = c2 != y
            if fault:
                faults.append((image.tobytes(), source, c2, parent.generation + 1))
                reached.add(c2)
            fixed = parent_drop - d > 0.15 and (parent_drop > 0 > d or d < parent_drop < 0)
            new = any(p2[k] - p1[k] > before[source, k] for k in range(CLASSES) if k != y)
            if fault or (new and not fixed):
                for k in range(CLASSES):
                    if k != y:
                        record[source, k] = max(record[source, k], p2[k] - p1[k])
                gained |= bool(2 / 3 * (parent.p2[y] - p2[y]) + 1 / 3 * (p1[y] - p2[y]) > 0)
            if not fault and new and not fixed:
                kept.append(Entry(image, source, parent.generation + 1, parent, p1, p2))
        faithful[last] += any_faithful
        rewarded[last] += gained
        parent.selected += 1
        if reached:
            seen.setdefault(source, set()).update(reached)
            ancestor: Entry | None = parent
            while ancestor is not None:
                lean = max((k for k in range(CLASSES) if k != y), key=lambda k: ancestor.p2[k] - ancestor.p1[k])
                if lean in reached:
                    ancestor.alive = False
                ancestor = ancestor.parent
        pool += kept
        if len(seen.get(source, ())) == CLASSES - 1:
            for entry in pool:
                entry.alive &= entry.source != source
    return faults


def _stream() -> tuple[int, int]:
    return crc32(b"fuzz"), crc32(b"fuzzing")


@pytest.mark.parametrize("seed", [1, 2])
def test_one_seed_per_round_equals_the_serial_algorithm(seed: int) -> None:
    found = fuzz(fuzzer(mutants=1200, round_seeds=1, mutants_per_seed=5), seed)
    expected = serial(1200, 5, seed)
    pixels = np.rint(found.x * 255).astype(np.uint8)
    ours = [
        (image.tobytes(), int(index) - 100, int(wrong), int(generation))
        for image, index, wrong, generation in zip(pixels, found.index, found.v2, found.generation, strict=True)
    ]
    assert len(expected) > 5
    assert max(generation for *_, generation in expected) > 2
    assert ours == expected


def test_reported_faults_are_faults() -> None:
    found = fuzz(fuzzer())
    old, new = versions()
    assert np.array_equal(old.predict(found.x), found.v1)
    assert np.array_equal(new.predict(found.x), found.v2)
    assert np.array_equal(found.v1, found.y)
    assert (found.v2 != found.y).all()
    data = images()
    assert np.array_equal(data.y[data.rows_of(found.index)], found.y)
    assert not set(found.index.tolist()) & set(found.initial_index.tolist())
    wrong = (old.predict(data.x) == data.y) & (new.predict(data.x) != data.y)
    assert np.array_equal(found.initial_index, data.index[wrong])
    assert np.array_equal(found.initial_v2, new.predict(data.x)[wrong])
    assert found.seed_count == len(data) - wrong.sum()


def test_the_accounting_follows_from_the_faults() -> None:
    found = fuzz(fuzzer())
    last = found.curve[-1]
    assert last.mutants == 3000
    assert last.rfi == len(found)
    assert last.urf == len(set(zip(found.index.tolist(), found.v2.tolist(), strict=True)))
    assert last.seeds == len(set(found.index.tolist()))
    totals = {
        name: sum(getattr(count, name) for count in found.operators) for name in ("mutants", "faults", "both_fail")
    }
    assert totals == {"mutants": 3000, "faults": last.rfi, "both_fail": last.v2_failures - last.rfi}
    assert [point.mutants for point in found.curve] == sorted({point.mutants for point in found.curve})
    assert (np.diff(found.found_at) > 0).all()
    assert found.found_at[-1] <= 3000
    middle = found.curve[len(found.curve) // 2]
    assert (found.found_at <= middle.mutants).sum() == middle.rfi
    assert ((found.trace >= 0).sum(axis=1) == found.generation).all()
    assert found.generation.max() > 1


def test_the_same_seed_finds_the_same_faults() -> None:
    assert content(fuzz(fuzzer())) == content(fuzz(fuzzer()))
    assert content(fuzz(fuzzer())) != content(fuzz(fuzzer(), seed=2))


@pytest.mark.parametrize("left_out", ["mcmc", "diversity", "decay", "trimming", "banning"])
def test_every_part_can_be_ablated_and_matters(left_out: Any) -> None:
    without, whole = (fuzz(fuzzer(ablate=part, mutants=12_000)) for part in (left_out, "nothing"))
    assert content(without) != content(whole)
    assert without.curve[-1].mutants == 12_000


def test_without_fidelity_every_mutant_passes() -> None:
    gated = fuzz(fuzzer(fidelity=DistanceFidelity()))
    without = fuzz(fuzzer(fidelity=DistanceFidelity(), ablate="fidelity"))
    assert content(without) == content(fuzz(fuzzer()))
    assert sum(count.faithful for count in gated.operators) < sum(count.faithful for count in without.operators)


def test_the_gate_compares_with_the_root() -> None:
    found = fuzz(fuzzer(fidelity=DistanceFidelity(alpha=0.5, beta=0.3), mutants=20_000))
    data = images()
    apart = np.abs(found.x - data.x[data.rows_of(found.index)]) * 255
    few = (apart > 0.5).sum(axis=(1, 2, 3)) < 0.5 * 64
    assert len(found)
    assert (few | (apart.max(axis=(1, 2, 3)) < 76.5 + 1e-3)).all()
    assert found.generation.max() > 1


def test_as_published_noise_overflows_and_unproductive_seeds_do_not_decay() -> None:
    found, published = fuzz(fuzzer()), fuzz(fuzzer(as_published=True))
    noise = [count.operator for count in found.operators].index("gauss_noise")
    assert published.operators[noise].faults + published.operators[noise].both_fail > 0
    assert content(found) != content(published)


def test_a_spent_budget_ends_a_campaign() -> None:
    assert fuzz(fuzzer(mutants=105, round_seeds=4)).curve[-1].mutants == 100
    calls = fuzz(fuzzer(model_calls=5, round_seeds=1)).curve[-1]
    assert (calls.model_calls, calls.mutants) == (5, 40), "the first call looks at the seeds"
    assert fuzz(fuzzer(seconds=1e-6)).curve[-1].mutants == 0


def test_an_empty_pool_ends_a_campaign() -> None:
    drained = fuzz(fuzzer(mutants=100_000, mutants_per_seed=1, fidelity=DistanceFidelity(alpha=0, beta=0)))
    assert drained.info["exhausted"]
    assert len(drained) == 0
    assert drained.curve[-1].mutants == 11 * drained.seed_count


def test_contradictory_settings_are_reported_before_anything_runs() -> None:
    assert [field for field, _ in fuzzer(reference=TOGETHER["model"]).check()] == ["reference"]
    assert [field for field, _ in fuzzer(mutants=5).check()] == ["mutants"]
    assert [field for field, _ in fuzzer(ablate="mcmc", operator_selection="uniform").check()] == ["ablate"]
    assert [field for field, _ in fuzzer(ablate="fidelity").check()] == ["ablate"]
    assert not list(fuzzer(ablate="fidelity", fidelity=DistanceFidelity()).check())


def test_images_of_one_seed_are_processed_in_turn() -> None:
    assert occurrence_numbers(np.array([5, 3, 5, 5, 3, 1])).tolist() == [0, 0, 1, 2, 1, 0]


def test_progress_reports_counters() -> None:
    said: list[tuple[int, int, str]] = []
    found = fuzz(fuzzer(), progress=lambda *report: said.append(report))
    done, total, text = said[-1]
    assert (done, total) == (3000, 3000)
    expected = f"mutants, {len(found)} regression faults, {found.curve[-1].urf} distinct, "
    assert re.fullmatch(re.escape(expected) + r"[\d,]+ mutants/s", text)


@pytest.mark.parametrize("after", [500, 2990])
def test_an_interrupted_campaign_resumes(after: int, tmp_path: Path) -> None:
    resumed, taken_up = interrupted(fuzzer(), after, tmp_path / "state")
    assert taken_up >= after
    assert content(resumed) == content(fuzz(fuzzer()))


_ENDLESS = """
import sys
from pathlib import Path
from tests.generators.regression.test_drfuzz import fuzzer
from tests.generators.regression.toys import fuzz
def tell(done, total, unit):
    if not tell.told:
        print(done, flush=True)
        tell.told = done >= 3000
tell.told = False
fuzz(fuzzer(mutants=20000, round_seeds=8), folder=Path(sys.argv[1]), progress=tell)
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_faults(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, str(tmp_path / "state")],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    until = time.monotonic() + 120
    while int(process.stdout.readline() or 3000) < 3000 and time.monotonic() < until:
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    first: list[int] = []
    whole = fuzzer(mutants=20_000, round_seeds=8)
    resumed = fuzz(whole, folder=tmp_path / "state", interval=3600, progress=lambda *said: first.append(said[0]))
    assert first[0] >= 2900, "what was done before the kill was not done again"
    assert content(resumed) == content(fuzz(whole))
