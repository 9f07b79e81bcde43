"""Hit spectra and synthesis of Temper against the loops over images and neurons that DeepFault runs.

Run:  python benchmarks/localisation.py [--images 10000] [--loop 50] [--units 5] [--repeats 3]

A 5 x 30 network with fresh weights and random images of 28 x 28 pixels: neither values nor pixels change the work. The loops
are written as the artefact's are: a spectrum looks at one activation of one image after another, and a synthesis takes the
gradient of one neuron of one image at a time, through a function that is compiled once. They are given fewer
images, and rates are compared.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.generators.synthesis import Synthesis
from temper.localisation.hit_spectrum import count
from temper.nn.inspection.gradients import value_and_gradient
from temper.nn.inspection.units import Probe
from temper.system import backend


def network() -> Classifier:
    """Return the 5 x 30 network of DeepFault, untrained."""
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((28, 28, 1)), layers.Flatten()]
    for _ in range(5):
        stack += [layers.Dense(30, use_bias=False), layers.LeakyReLU(0.01)]
    return Classifier(keras.Sequential([*stack, layers.Dense(10, use_bias=False)]))


def looped_spectrum(probe: Probe, x: Any, right: Any) -> Any:
    """Return the counts (units, 4) of one class, one activation after another."""
    *values, _ = probe.model.predict(x, verbose=0)
    counts = np.zeros((sum(layer.shape[1] for layer in values), 4), np.int64)
    first = 0
    for layer in values:
        for i in range(len(layer)):
            for unit in range(layer.shape[1]):
                active = layer[i][unit] > 0
                counts[first + unit][2 * right[i] + (0 if active else 1)] += 1
        first += layer.shape[1]
    return counts


def looped_synthesis(probe: Probe, x: Any, units: Any, step: float, eps: float) -> Any:
    """Return the images moved by ``rms_mean``, one neuron of one image after another."""
    made = []
    for image in x:
        gradients = []
        for unit in units:
            gradient = _gradient_of(probe, int(unit))(image[None])[0]
            gradients.append(gradient / (np.sqrt(np.mean(gradient**2)) + 1e-5))
        delta = np.clip(step * np.mean(gradients, axis=0), -eps, eps)
        made.append(np.clip(image + delta, 0, 1))
    return np.array(made)


_functions: dict[int, Callable[[Any], Any]] = {}


def _gradient_of(probe: Probe, unit: int) -> Callable[[Any], Any]:
    layer, place = probe.units[unit]

    def gradient(x: Any) -> Any:
        return value_and_gradient(lambda images: probe.model(images)[layer][:, place], x)[1]

    if unit not in _functions:
        ops = backend.keras().ops
        compiled: Any = gradient
        if backend.name() == "tensorflow":
            import tensorflow as tf

            compiled = tf.function(gradient)
        elif backend.name() == "jax":
            import jax

            compiled = jax.jit(gradient)
        _functions[unit] = lambda x: ops.convert_to_numpy(compiled(ops.convert_to_tensor(x)))
    return _functions[unit]


def rate(work: Callable[[], Any], images: int, repeats: int) -> float:
    """Return images per second of the best of some runs, after one that warms up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return images / best


def main() -> None:
    """Compare spectra and synthesis."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10000, help="images that Temper is given")
    parser.add_argument("--loop", type=int, default=50, help="images that the loops are given")
    parser.add_argument("--units", type=int, default=5, help="neurons that are excited")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the best counts")
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    model = network()
    probe = Probe(model.model)
    x, y = rng.random((chosen.images, 28, 28, 1), np.float32), rng.integers(10, size=chosen.images)
    data = Examples(x=x, y=y, index=np.arange(chosen.images))
    few, right = x[: chosen.loop], np.ones(chosen.loop, np.int64)
    units = rng.choice(len(probe.units), chosen.units, replace=False)
    synthesis = Synthesis(model=Ref("model"), neurons=Ref("neurons"))

    def excite() -> Any:
        batch = synthesis.batch_size // chosen.units
        parts = [x[start : start + batch] for start in range(0, len(x), batch)]
        return np.concatenate([synthesis.excite(probe, part, [units] * len(part), batch) for part in parts])

    ours = excite()
    theirs = looped_synthesis(probe, few, units, synthesis.step, synthesis.eps)
    print(f"largest difference of a pixel: {np.abs(ours[: chosen.loop] - theirs).max():.1e}")
    cases: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "spectra of all classes": (
            lambda: count(model, data, 0.0, "pre", "map_mean"),
            lambda: looped_spectrum(probe, few, right),
        ),
        f"synthesis, {chosen.units} neurons": (
            excite,
            lambda: looped_synthesis(probe, few, units, synthesis.step, synthesis.eps),
        ),
    }
    print(f"{'':26}{'Temper, images/s':>18}{'loop, images/s':>16}{'Temper / loop':>15}")
    for name, (temper, loop) in cases.items():
        fast, slow = rate(temper, chosen.images, chosen.repeats), rate(loop, chosen.loop, chosen.repeats)
        print(f"{name:26}{fast:>18,.0f}{slow:>16,.0f}{fast / slow:>15,.0f}", flush=True)


if __name__ == "__main__":
    main()
