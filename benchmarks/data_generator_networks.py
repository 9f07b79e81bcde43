"""Data generator networks against gradient attacks: images per second, and when their training pays off.

Run:  python benchmarks/data_generator_networks.py [--mlp weights.h5 --mnist mnist.npz] [--convnet weights.h5 --cifar10 cifar10.npz]

The models, options and peers are those of benchmarks/attacks.py. Every library is given one batch of images of one class on one
device. FGSM is a library's PGD with one step of eps from the image itself. A network needs one pass but
had to be trained first: `pays after` is how many images it must make until training and making them took less time than
the attack would have. The weights of a network do not change its speed, so fresh ones make the images.

At the end, the networks of ten classes are trained one after another, as Temper does, and side by side in one program.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from benchmarks.attacks import Attack, art_attacks, best_seconds, foolbox_attacks, images, model, temper
from temper.artefacts.class_generators import Batch, GeneratorLoss
from temper.core.classifier import Classifier
from temper.generators.dgn import DGNNetworks
from temper.generators.dgn_networks import build
from temper.generators.dgn_training import GeneratorTrainer
from temper.generators.losses.nce_loss import NCE
from temper.nn.training.epochs import EpochSettings
from temper.system import backend

CLASSES = 10
TRAINING_BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Abreast(GeneratorLoss):
    """The mean of a loss over the images (n, classes, h, w, c) of several classes that are trained side by side."""

    tag = "side_by_side"

    loss: Annotated[GeneratorLoss, "the loss of each class"]

    def value(self, batch: Batch) -> Any:
        ops = backend.keras().ops
        x, made = (ops.reshape(images, (-1, *images.shape[2:])) for images in (batch.x, batch.generated))
        return self.loss.of(replace(batch, x=x, generated=made, y=ops.reshape(batch.y, (-1,))))


def side_by_side(shape: tuple[int, int, int]) -> Any:
    """Return one model of the networks of all classes, from images (n, classes, h, w, c) to as many."""
    keras = backend.keras()
    inputs = keras.Input((CLASSES, *shape))
    networks = [build("auto", shape, "he", label) for label in range(CLASSES)]
    outputs = [network(inputs[:, label]) for label, network in enumerate(networks)]
    return keras.Model(inputs, keras.ops.stack(outputs, axis=1))


def training(victim: Classifier, network: Any, loss: GeneratorLoss) -> GeneratorTrainer:
    """Return a trainer of such a network."""
    return GeneratorTrainer(network, loss.frozen_target(victim.model), loss, 0.3, 1e-4, {})


def seconds(trainer: GeneratorTrainer, network: Any, x: Any, y: Any, repeats: int) -> float:
    """Return how long an epoch takes once a training is under way: what four more epochs add to one, best of all turns."""

    def taken(epochs: int) -> float:
        start = time.perf_counter()
        settings = EpochSettings(epochs=epochs, batch_size=TRAINING_BATCH)
        trainer.train(network, x, y, {}, settings=settings, seed=0, progress=lambda done: None)
        return time.perf_counter() - start

    taken(1)
    once, often = (min(taken(epochs) for _ in range(repeats)) for epochs in (1, 5))
    return (often - once) / 4


def networks(x: Any, mixed: Any, eps: float) -> Iterator[tuple[str, Attack]]:
    """Yield image generation by one class's network, and by ten for images of all classes."""
    made = DGNNetworks({label: build("auto", x.shape[1:], "he", label) for label in range(CLASSES)}, {}, eps)
    yield "DGN, one class", lambda: made.perturb(x, np.zeros(len(x), np.int64))
    yield "DGN, ten classes", lambda: made.perturb(x, mixed)


def attacks(victim: Classifier, x: Any, y: Any, eps: float, step: float, steps: int) -> Iterator[tuple[str, Attack]]:
    """Yield the attack of some steps by each library."""
    name = f"PGD-{steps}" if steps > 1 else "FGSM"
    peers = (*art_attacks(victim, x, y, eps, step, steps), *foolbox_attacks(victim, x, y, eps, step, steps))
    for library, attack in (("Temper", temper(victim, x, y, eps, step, steps)), *peers):
        yield f"{name}, {library}", attack


def compare(title: str, victim: Classifier, x: Any, y: Any, eps: float, step: float, given: argparse.Namespace) -> None:
    """Print images per second of the networks and of every attack, and the images after which training pays."""
    one = np.flatnonzero(y == y[0])[: given.images]
    mine, labels = x[one], y[one]
    makers = dict(networks(mine, np.arange(len(one)) % CLASSES, eps))
    rivals = {
        **dict(attacks(victim, mine, labels, eps, eps, 1)),
        **dict(attacks(victim, mine, labels, eps, step, 20)),
    }
    best = {name: taken / len(one) for name, taken in best_seconds(makers | rivals, given.repeats).items()}
    sample, classes = x[: given.training], y[: given.training]
    network = build("auto", x.shape[1:], "he", 0)
    learnt = seconds(training(victim, network, NCE()), network, sample, classes, given.repeats) / len(sample)
    made = best["DGN, one class"]
    print(f"\n{title}: one batch of {len(one)}, eps {eps:.3g}, best of {given.repeats} turns")
    print(f"training: {1 / learnt:,.0f} images/s in batches of {TRAINING_BATCH}")
    print(f"{'':38}{'images/s':>10}{'DGN / it':>10}" + "".join(f"{f'pays, {n:,}':>18}" for n in given.trained_on))
    for name, each in best.items():
        after = [_pays_after(n * learnt, made, each) if name in rivals else "" for n in given.trained_on]
        print(f"{name:38}{1 / each:>10,.0f}{each / made:>10.2f}" + "".join(f"{n:>18}" for n in after), flush=True)


def _pays_after(trained: float, made: float, attacked: float) -> str:
    """Return the images after which a training pays, from its seconds and those that each takes for one image."""
    return f"{trained / (attacked - made):,.0f}" if attacked > made else "never"


def compare_training(title: str, victim: Classifier, x: Any, y: Any, given: argparse.Namespace) -> None:
    """Print how many images per second the networks of ten classes are trained on, one by one and side by side."""
    each = given.training // CLASSES
    x, y = x[: each * CLASSES], y[: each * CLASSES]
    network, together = build("auto", x.shape[1:], "he", 0), side_by_side(x.shape[1:])
    alone = CLASSES * seconds(training(victim, network, NCE()), network, x[:each], y[:each], given.repeats)
    shape_of_all = (each, CLASSES)
    trainer = training(victim, together, Abreast(loss=NCE()))
    at_once = seconds(trainer, together, x.reshape(*shape_of_all, *x.shape[1:]), y.reshape(shape_of_all), given.repeats)
    print(f"\n{title}: training ten networks on {each} images each, images/s")
    print(
        f"one after another {len(x) / alone:,.0f}, side by side {len(x) / at_once:,.0f}: {alone / at_once:.2f} times",
        flush=True,
    )


def main() -> None:
    """Compare on both networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--mlp", "--mnist", "--convnet", "--cifar10"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--images", type=int, default=500, help="images in the batch")
    parser.add_argument("--training", type=int, default=5000, help="images that the speed of training is measured on")
    parser.add_argument(
        "--trained-on",
        type=int,
        nargs="*",
        default=[20_000, 6_000_000],
        help="images times epochs that a training is of: the short experiment's (NCE), and the published",
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only-training", action="store_true", help="compare no attacks")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, title, weights, data, shape, eps, step in (
        ("mlp", "5 x 30 MLP", given.mlp, given.mnist, (28, 28, 1), 0.3, 0.01),
        ("convnet", "convnet", given.convnet, given.cifar10, (32, 32, 3), 8 / 255, 2 / 255),
    ):
        x, y = images(data, shape, 10_000)
        victim = model(name, weights)
        if not given.only_training:
            compare(title, victim, x, y, eps, step, given)
        compare_training(title, victim, x, y, given)


if __name__ == "__main__":
    main()
