"""PGD-20 on an imported ResNet-18 of 32x32 images: Temper, Foolbox on PyTorch and torchattacks, images per second.

Run:  python benchmarks/imported_model.py [--images 32] [--rounds 3] [--torchattacks FOLDER]

The network of torchvision has random weights; Temper gets it as an ONNX file, the others get the original module. The three take turns, and
the best turn of each counts, so that the load of the machine hits all alike. torchattacks is installed in a folder of its own
(``pip install --target FOLDER --no-deps torchattacks``), which is left out where none is given.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.generators.fgsm_bim_pgd import BIM
from temper.nn.onnx.onnx_model import OnnxModel
from temper.system import backend

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
EPS, STEP, ITERATIONS = 8 / 255, 2 / 255, 20


def module() -> Any:
    """Return the network in plain torch, in inference mode."""
    torch = backend.torch()
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            shortcut = (nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            self.shortcut = nn.Sequential(*(shortcut if stride > 1 else ()))

        def forward(self, x: Any) -> Any:
            out = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))

    torch.manual_seed(0)
    widths = (
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    )
    stem = (nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return nn.Sequential(*stem, *(Block(*width) for width in widths), *head).eval()


def imported(model: Any) -> Classifier:
    """Return the classifier of an exported module, compared with onnxruntime."""
    torch = backend.torch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        axes = {"x": {0: "n"}}
        torch.onnx.export(
            model, (torch.rand(2, 3, 32, 32),), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes
        )
        file = OnnxModel(path)
        found = file.load()
        file.check(found, np.random.default_rng(0).random((2, 32, 32, 3), np.float32))
    return Classifier(found)


def attacks(model: Any, x: Any, y: Any, torchattacks: Path | None) -> Mapping[str, Callable[[], Any]]:
    """Return each library's attack on the images."""
    torch = backend.torch()
    import foolbox

    victim = imported(model)
    images, labels = torch.tensor(np.moveaxis(x, -1, 1).copy()), torch.tensor(y)
    attack = BIM(model=Ref("m"), eps=EPS, eps_step=STEP, max_iter=ITERATIONS, batch_size=len(x))
    theirs = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=ITERATIONS, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    found: dict[str, Callable[[], Any]] = {
        "Temper": lambda: attack.craft(victim, x, y, np.random.default_rng(0)),
        "Foolbox (torch)": lambda: theirs(wrapped, images, labels, epsilons=EPS),
    }
    if torchattacks:
        sys.path.append(str(torchattacks))
        import torchattacks as library

        pgd = library.PGD(model, eps=EPS, alpha=STEP, steps=ITERATIONS, random_start=False)
        found["torchattacks"] = lambda: pgd(images, labels)
    return found


def main() -> None:
    """Print the images per second of each library."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torchattacks", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    x, y = rng.random((given.images, 32, 32, 3), np.float32), rng.integers(10, size=given.images)
    competitors = attacks(module(), x, y, given.torchattacks)
    best = dict.fromkeys(competitors, float("inf"))
    for attack in competitors.values():
        attack()
    for _ in range(given.rounds):
        for name, attack in competitors.items():
            start = time.perf_counter()
            attack()
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        print(f"{name:16} {given.images / seconds:8.1f} images/s")


if __name__ == "__main__":
    main()
