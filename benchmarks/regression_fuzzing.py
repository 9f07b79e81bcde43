"""Regression fuzzing of Temper against the pattern of DRFuzz's artefact: one seed, ten mutants, `model.predict` of each model.

Run:  python benchmarks/regression_fuzzing.py --v1 old.hdf5 --v2 new.h5 --mnist mnist.npz [--mutants 60000] [--loop 400] [--third none]

The third model is the fidelity gate's discriminator. `none` leaves it out on both sides, `lenet` is a fresh network of LeNet-5's
size, `drfuzz` a fresh one of the architecture that DRFuzz trains for MNIST. The loop mutates with Temper's mutation_operators, ten images at a
time, and keeps no books: only what the pattern of its calls costs is measured. It is given fewer mutants, and rates are compared.

CPU seconds are those of all threads of the process. A campaign's are divided into mutating, asking the models, and the rest: choosing,
counting, learning and storing what was found, which is called bookkeeping. A look inside the new version, which
DeepHunter's coverage takes, counts as asking. `floor` are the models alone, compiled, on batches of 2560.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.run import Run
from temper.evaluation.coverage.kmnc import KMNC
from temper.generators.regression import deephunter, mutation_operators
from temper.generators.regression.deephunter import DeepHunter
from temper.generators.regression.diffchaser import DiffChaser
from temper.generators.regression.drfuzz import DRFuzz
from temper.generators.regression.fidelity_gates import AnyFidelity, Fidelity, Gate
from temper.generators.regression.model_versions import Versions, to_float
from temper.generators.regression.pixel_mutations import Pixels, Values
from temper.generators.regression.random_fuzzer import RandomFuzzer
from temper.generators.regression.regression_fuzzer import RegressionFuzzer
from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.editing.logits import to_logits
from temper.nn.model_files.model_file import ModelFile
from temper.nn.shared_stages.activation_readout import read_activations
from temper.nn.shared_stages.training_profile import Profile
from temper.system import backend

OF_EACH = 10
Third = Literal["none", "lenet", "drfuzz"]
V1: Any = Ref("v1")
V2: Any = Ref("v2")
DATA: Any = Ref("mnist", part="test")


def third_network(third: Third) -> Any | None:
    """Return an untrained discriminator of digits, from images to one number each."""
    if third == "none":
        return None
    keras = backend.keras()
    layers = keras.layers
    sizes, units, same = ((6, 16), (120, 84), "valid") if third == "lenet" else ((64, 128), (1024,), "same")
    stack = [keras.Input((28, 28, 1))]
    for i, filters in enumerate(sizes):
        padding = same if i == 0 else "valid"
        stack += [layers.Conv2D(filters, 5, padding=padding, activation="tanh"), layers.MaxPooling2D()]
    stack += [layers.Flatten(), *(layers.Dense(n, "tanh") for n in units), layers.Dense(1)]
    return keras.Sequential(stack)


@dataclass(frozen=True, kw_only=True)
class ScoredRun(Fidelity, Gate):
    """A gate that computes a network's score and lets everything pass, so that all runs mutate alike."""

    tag = "scored"

    third: Annotated[Third, "which network"]

    def gate(self, run: Run) -> Gate:
        return self

    @property
    def network(self) -> Any:
        return third_network(self.third)

    def keeps(self, x: Pixels, roots: Pixels, scores: Values, root_scores: Values) -> NDArray[np.bool_]:
        return np.isfinite(scores) & np.isfinite(root_scores)


@dataclass
class Clock:
    """CPU seconds spent inside a function."""

    seconds: float = 0.0

    @contextmanager
    def on(self, place: Any, name: str) -> Iterator[None]:
        """Measure the calls of a function while the block runs."""
        function = getattr(place, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.process_time() - start

        with patch.object(place, name, timed):
            yield


@dataclass(frozen=True)
class MeasuredRun:
    """CPU seconds of a campaign, its mutants, and what it found."""

    mutants: int
    cpu: float
    wall: float
    mutating: float
    asking: float
    found: str

    @property
    def rate(self) -> float:
        """Mutants per CPU second."""
        return self.mutants / self.cpu


def campaign(fuzzer: RegressionFuzzer, inputs: dict[str, Any]) -> MeasuredRun:
    """Run a fuzzer and say where its time went; compiling and looking at the seeds are not counted."""
    mutating, asking = Clock(), Clock()
    started: list[tuple[float, float, float, float, int]] = []

    def tell(done: int, total: int, to_float: str) -> None:
        if not started:  # the first round compiles
            started.append((time.process_time(), time.monotonic(), mutating.seconds, asking.seconds, done))

    run = Run("fuzz", 1, "test", lambda ref: inputs[ref.prepared or ref.stage], lambda ref: {}, tell)
    with (
        mutating.on(mutation_operators, "mutate"),
        asking.on(Versions, "ask"),
        asking.on(deephunter, "read_activations"),
    ):
        found = fuzzer.produce(run)
        cpu, wall, mutated, asked, done = started[0]
        last = found.curve[-1]
        return MeasuredRun(
            mutants=last.mutants - done,
            cpu=time.process_time() - cpu,
            wall=time.monotonic() - wall,
            mutating=mutating.seconds - mutated,
            asking=asking.seconds - asked,
            found=f"{last.rfi} / {last.urf} / {last.seeds} / {last.v2_failures}",
        )


def loop(inputs: dict[str, Any], third: Third, mutants: int) -> float:
    """Return the mutants per CPU second of the artefact's pattern."""
    models = [inputs["v1"].model, inputs["v2"].model]
    models += [] if third == "none" else [third_network(third)]
    rng, chosen = np.random.default_rng(1), mutation_operators.drfuzz()
    x = np.rint(inputs["mnist"].x * 255).astype(np.uint8)

    def rounds(count: int) -> None:
        for _ in range(count):
            seed = np.repeat(x[rng.integers(len(x), size=1)], OF_EACH, axis=0)
            made = chosen[rng.integers(len(chosen))].mutate(seed, rng)
            for model in models:
                model.predict(to_float(made), verbose=0)

    rounds(1)
    start = time.process_time()
    rounds(mutants // OF_EACH)
    return mutants / (time.process_time() - start)


def floor(inputs: dict[str, Any], third: Third, repeats: int = 8) -> float:
    """Return the images per CPU second of the models alone."""
    versions = Versions(inputs["v1"], inputs["v2"], third_network(third))
    x = np.rint(inputs["mnist"].x[:2560] * 255).astype(np.uint8)
    versions.predict(x)
    start = time.process_time()
    for _ in range(repeats):
        versions.predict(x)
    return repeats * len(x) / (time.process_time() - start)


def profile(model: Classifier, train: Examples) -> Profile:
    """Return what KMNC learns of the training images."""
    seen = read_activations(model, train.x)
    return Profile(KMNC().profile(ReferenceData(model, train, seen, lambda ref: seen)))


def main() -> None:
    """Compare the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, what in (("v1", "the old version"), ("v2", "the new version"), ("mnist", "mnist.npz of Keras")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--mutants", type=int, default=60_000, help="mutants that Temper makes")
    parser.add_argument("--loop", type=int, default=400, help="mutants that the loop makes")
    parser.add_argument("--third", choices=("none", "lenet", "drfuzz"), nargs="*", default=["none", "lenet"])
    chosen = parser.parse_args()
    with np.load(chosen.mnist) as stored:
        train, test = (
            Examples(
                x=to_float(stored[f"x_{part}"][..., None]), y=stored[f"y_{part}"].astype(np.int64),
                index=np.arange(len(stored[f"y_{part}"])),
            )
            for part in ("train", "test")
        )  # fmt: skip
    inputs: dict[str, Any] = {"mnist": test}
    inputs |= {name: Classifier(to_logits(ModelFile(getattr(chosen, name)).load())) for name in ("v1", "v2")}
    inputs["profile"] = profile(inputs["v2"], train)
    print(
        f"{'':34}{'mutants/CPU s':>14}{'/ loop':>8}{'mutating':>10}{'models':>8}{'books':>7}  RFI / URF / seeds / v2 wrong"
    )
    for third in chosen.third:
        slow = loop(inputs, third, chosen.loop)
        gate: Fidelity = AnyFidelity() if third == "none" else ScoredRun(third=third)
        common: dict[str, Any] = {
            "model": V2, "reference": V1, "data": DATA, "mutants": chosen.mutants, "fidelity": gate,
        }  # fmt: skip
        fuzzers: dict[str, RegressionFuzzer] = {
            "drfuzz, 256 seeds a round": DRFuzz(**common),
            "drfuzz, 1 seed a round": DRFuzz(**common | {"round_seeds": 1, "mutants": chosen.mutants // 10}),
            "random_fuzzer": RandomFuzzer(**common),
            "deephunter, KMNC": DeepHunter(**common, guidance=KMNC()),
            "diffchaser": DiffChaser(**common),
        }
        print(f"third model {third}: loop {slow:,.0f}, floor {floor(inputs, third):,.0f} per CPU s", flush=True)
        for name, fuzzer in fuzzers.items():
            done = campaign(fuzzer, inputs)
            books = done.cpu - done.mutating - done.asking
            shares = "".join(
                f"{part / done.cpu:>{width}.0%}" for part, width in ((done.mutating, 10), (done.asking, 8), (books, 7))
            )
            print(f"  {name:32}{done.rate:>14,.0f}{done.rate / slow:>8,.0f}{shares}  {done.found}", flush=True)


if __name__ == "__main__":
    main()
