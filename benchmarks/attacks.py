"""Gradient attacks side by side: Temper, ART and Foolbox on the same models and images, against the bare gradients.

Run:  python benchmarks/attacks.py [--mlp weights.h5 --mnist mnist.npz] [--convnet weights.h5 --cifar10 cifar10.npz]

Weights are Keras 2 files of the 5 x 30 MLP and of the three-convolution net of DeepCustom; without them models of the
same architecture with fresh weights are attacked, on random images. One line is one library's PGD from the image
itself; the floor is as many compiled forward and backward passes of the same model and batch, with no attack around.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.generators.fgsm_bim_pgd import BIM
from temper.nn.inspection import compiled_programs
from temper.nn.inspection.gradients import margin, value_and_gradient
from temper.system import backend

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
Attack = Callable[[], Any]
TURN = 0.5
"""Seconds that an attack is repeated for in each of its turns: one run of 40 ms depends on the scheduler."""


def model(name: str, weights: Path | None) -> Classifier:
    """Return one of the two networks, with the weights of a Keras 2 file if one is given."""
    keras = backend.keras()
    layers = keras.layers
    if name == "mlp":
        stack = [keras.Input((28, 28, 1)), layers.Flatten(), *(layers.Dense(30, "relu") for _ in range(5))]
    else:
        stack = [keras.Input((32, 32, 3)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D()]
        stack += [layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D()]
        stack += [layers.Conv2D(64, 3, activation="relu"), layers.Flatten(), layers.Dense(64, "relu")]
    net = keras.Sequential([*stack, layers.Dense(10)])
    if weights:
        import h5py

        with h5py.File(weights) as file:
            groups = [file[layer] for layer in file.attrs["layer_names"]]
            net.set_weights([group[w][()] for group in groups for w in group.attrs["weight_names"]])
    return Classifier(net)


def images(path: Path | None, shape: tuple[int, int, int], n: int) -> tuple[Any, Any]:
    """Return the first test images of a keras-style .npz, or random ones."""
    if path is None:
        rng = np.random.default_rng(0)
        return rng.random((n, *shape), np.float32), rng.integers(10, size=n)
    with np.load(path) as file:
        x = (file["x_test"][:n] / np.float32(255)).astype(np.float32).reshape(-1, *shape)
        return x, file["y_test"][:n].reshape(-1).astype(np.int64)


def torch_twin(victim: Classifier) -> Any:
    """Return the same network in plain torch, channels first, as is usual in torch."""
    import torch
    from torch import nn

    stack: list[Any] = []
    for layer in victim.model.layers:
        kind, arrays = type(layer).__name__, layer.get_weights()
        if kind == "Flatten":
            stack.append(nn.Flatten())
        elif kind == "MaxPooling2D":
            stack.append(nn.MaxPool2d(2))
        else:
            kernel, bias = (torch.tensor(a) for a in arrays)
            new: Any
            if kind == "Conv2D":
                new, kernel = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0]), kernel.permute(3, 2, 0, 1)
                channels = len(kernel)
            else:
                if any(isinstance(m, nn.Conv2d) for m in stack) and isinstance(stack[-1], nn.Flatten):
                    side = int((len(kernel) // channels) ** 0.5)
                    kernel = kernel.reshape(side, side, channels, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
                new, kernel = nn.Linear(*kernel.shape), kernel.T
            new.weight.data, new.bias.data = kernel.contiguous(), bias
            stack.append(new)
            if layer.activation.__name__ == "relu":
                stack.append(nn.ReLU())
    return nn.Sequential(*stack).eval()


def floor(victim: Classifier, x: Any, y: Any, steps: int) -> Attack:
    """Return the attack's number of bare gradients, in one compiled loop that cannot be optimised away."""
    return lambda: compiled_programs.run(victim.model, _bare, (x, y), (steps,), batch_size=len(x), passes=steps)


def _bare(call: Any, x: Any, y: Any, steps: Any) -> tuple[Any]:
    ops = backend.keras().ops

    def step(_: Any, at: Any) -> Any:
        return value_and_gradient(lambda z: margin(call(z), y), at)[1]

    return (ops.fori_loop(0, steps, step, x),)


def temper(victim: Classifier, x: Any, y: Any, eps: float, step: float, steps: int) -> Attack:
    """Return Temper's attack."""
    attack = BIM(model=Ref("model"), eps=eps, eps_step=step, max_iter=steps, batch_size=len(x))
    return lambda: attack.craft(victim, x, y, np.random.default_rng(0))


def art_attacks(
    victim: Classifier, x: Any, y: Any, eps: float, step: float, steps: int
) -> Iterator[tuple[str, Attack]]:
    """Yield ART's attack through each of its classifiers."""
    import torch
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import KerasClassifier, PyTorchClassifier, TensorFlowV2Classifier

    keras = backend.keras()
    common = {"nb_classes": 10, "input_shape": x.shape[1:], "clip_values": (0.0, 1.0)}
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    compiled = keras.models.clone_model(victim.model)
    compiled.set_weights(victim.model.get_weights())
    compiled.compile(loss=loss)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    torch_common = common | {"input_shape": first.shape[1:], "loss": torch.nn.CrossEntropyLoss(), "device_type": "cpu"}
    estimators = {
        "ART TensorFlowV2Classifier": (TensorFlowV2Classifier(model=victim.model, loss_object=loss, **common), x),
        "ART KerasClassifier": (KerasClassifier(compiled, clip_values=(0.0, 1.0), use_logits=True), x),
        "ART PyTorchClassifier": (PyTorchClassifier(torch_twin(victim), channels_first=True, **torch_common), first),
    }
    for name, (estimator, pixels) in estimators.items():
        settings = {"eps": eps, "eps_step": step, "max_iter": steps, "batch_size": len(x), "verbose": False}
        attack = ProjectedGradientDescent(estimator, **settings)
        yield name, lambda attack=attack, pixels=pixels: attack.generate(pixels, y)  # type: ignore[misc]


def foolbox_attacks(
    victim: Classifier, x: Any, y: Any, eps: float, step: float, steps: int
) -> Iterator[tuple[str, Attack]]:
    """Yield Foolbox's attack in torch, and in TensorFlow."""
    import foolbox
    import tensorflow as tf
    import torch

    attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=False)
    first = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    in_torch = foolbox.PyTorchModel(torch_twin(victim), bounds=(0, 1), device="cpu")
    yield "Foolbox torch", lambda: attack(in_torch, first, torch.tensor(y), epsilons=eps)

    def in_tensorflow() -> Any:
        wrapped = foolbox.TensorFlowModel(victim.model, bounds=(0, 1), device="/CPU:0")
        return attack(wrapped, tf.constant(x), tf.constant(y), epsilons=eps)

    yield "Foolbox TensorFlow", in_tensorflow


def best_seconds(attacks: dict[str, Attack], repeats: int) -> dict[str, float]:
    """Return each attack's shortest run after one that warms up.

    The attacks take turns, so that another program on the machine slows all of them and not one.
    """
    best = dict.fromkeys(attacks, float("inf"))
    for attack in attacks.values():
        attack()
    for name, attack in repeats * list(attacks.items()):
        turn = time.perf_counter()
        while time.perf_counter() - turn < TURN:
            start = time.perf_counter()
            attack()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def compare(title: str, victim: Classifier, x: Any, y: Any, eps: float, step: float, steps: int, repeats: int) -> None:
    """Print gradient-images per second of every library, and how many times slower than Temper it is."""
    attacks = {
        "Temper": temper(victim, x, y, eps, step, steps),
        "floor: bare gradients": floor(victim, x, y, steps),
        **dict(art_attacks(victim, x, y, eps, step, steps)),
        **dict(foolbox_attacks(victim, x, y, eps, step, steps)),
    }
    rates = {name: len(x) * steps / seconds for name, seconds in best_seconds(attacks, repeats).items()}
    print(f"\n{title}: PGD-{steps}, eps {eps:.3g}, step {step:.3g}, one batch of {len(x)}, best of {repeats} turns")
    print(f"{'':30}{'gradient-images/s':>20}{'Temper / it':>14}")
    for name, rate in rates.items():
        print(f"{name:30}{rate:>20,.0f}{rates['Temper'] / rate:>14.2f}", flush=True)


def main() -> None:
    """Compare on both networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--mlp", "--mnist", "--convnet", "--cifar10"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--images", type=int, default=500, help="images in the batch")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    x, y = images(given.mnist, (28, 28, 1), given.images)
    compare("5 x 30 MLP", model("mlp", given.mlp), x, y, 0.3, 0.01, 40, given.repeats)
    x, y = images(given.cifar10, (32, 32, 3), given.images)
    compare("convnet", model("convnet", given.convnet), x, y, 8 / 255, 2 / 255, 20, given.repeats)


if __name__ == "__main__":
    main()
