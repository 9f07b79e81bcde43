"""AutoAttack side by side: Temper, the authors' implementation (pyautoattack) and ART on the same model and images.

Run:  python benchmarks/auto_attack_peers.py [--network convnet|lenet5] [--weights W.h5] [--data D.npz] [--eps 1/255] [--images 100] [--peers pyautoattack,art]

Weights are a Keras 2 file of the three-convolution net of DeepCustom; LeNet-5 has fresh ones. One line is one run of the
version `standard`, with the robust accuracy that it leaves. Compiling counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.attacks import images, model, torch_twin
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.generators.auto_attack.auto_attack import AutoAttack
from temper.system import backend

os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def lenet5() -> Classifier:
    """Return LeNet-5 for 28 x 28 grey images with fresh weights."""
    keras = backend.keras()
    layers = keras.layers
    stack = [keras.Input((28, 28, 1))]
    for filters in (6, 16):
        stack += [layers.Conv2D(filters, 5, activation="relu"), layers.MaxPooling2D()]
    stack += [layers.Flatten(), layers.Dense(120, "relu"), layers.Dense(84, "relu"), layers.Dense(10)]
    return Classifier(keras.Sequential(stack))


def temper(victim: Classifier, x: Any, y: Any, eps: float) -> Any:
    """Return Temper's images."""
    return AutoAttack(model=Ref("model"), eps=eps).craft(victim, x, y, np.random.default_rng(0))


def pyautoattack(victim: Classifier, x: Any, y: Any, eps: float) -> Any:
    """Return the images of the kept fork of the authors' implementation, on torch."""
    import torch
    from pyautoattack.autoattack import AutoAttack as Reference

    attack = Reference(torch_twin(victim), norm="Linf", eps=eps, version="standard", seed=0)
    attack.verbose = False
    made, _ = attack.run_standard_evaluation(
        torch.tensor(x.transpose(0, 3, 1, 2)).contiguous(), torch.tensor(y), batch_size=250
    )
    return made.numpy().transpose(0, 2, 3, 1)


def art(victim: Classifier, x: Any, y: Any, eps: float) -> Any:
    """Return the images of ART's AutoAttack, on torch."""
    import torch
    from art.attacks.evasion import AutoAttack as ArtAutoAttack
    from art.estimators.classification import PyTorchClassifier

    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    estimator = PyTorchClassifier(
        torch_twin(victim),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=first.shape[1:],
        nb_classes=victim.num_classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = ArtAutoAttack(estimator, eps=eps, eps_step=eps / 4, batch_size=250)
    return attack.generate(first, y).transpose(0, 2, 3, 1)


PEERS: dict[str, Callable[[Classifier, Any, Any, float], Any]] = {"pyautoattack": pyautoattack, "art": art}


def main() -> None:
    """Run the contestants in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["convnet", "lenet5"], default="convnet")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--eps", type=lambda text: float(Fraction(text)), default=1 / 255)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--peers", default="pyautoattack", help="comma-separated: pyautoattack, art")
    options = parser.parse_args()
    victim = lenet5() if options.network == "lenet5" else model("convnet", options.weights)
    x, y = images(options.data, victim.input_shape, options.images)
    contestants = {"temper": temper, **{name: PEERS[name] for name in options.peers.split(",") if name}}
    seconds = {}
    print(f"{options.network}, {len(x)} images, eps {options.eps:.4f}, clean {(victim.predict(x) == y).mean():.3f}")
    for name, attack in contestants.items():
        start = time.perf_counter()
        made = attack(victim, x, y, options.eps)
        seconds[name] = time.perf_counter() - start
        robust = (victim.predict(np.asarray(made, np.float32)) == y).mean()
        share = seconds["temper"] / seconds[name]
        print(f"{name:14s} {seconds[name]:8.1f} s   robust {robust:.3f}   Temper takes {share:.2f} of it", flush=True)


if __name__ == "__main__":
    main()
