"""Well-known networks with random weights in PyTorch, and their export to ONNX."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

Exporter = Literal["torchscript", "dynamo"]
CLASSES = 10


@cache
def torchvision() -> Any:
    """Return torchvision, whose CUDA build can be imported beside a CPU build of torch once its operators are declared."""
    root = Path(str(importlib.util.find_spec("torchvision").origin)).parent  # type: ignore[union-attr]
    text = (root / "_meta_registrations.py").read_text(encoding="utf-8")
    names = re.findall(r'register_fake\("torchvision::(\w+)"\)', text) + re.findall(r'@register_meta\("(\w+)"\)', text)
    torchvision.library = torch.library.Library("torchvision", "DEF")  # type: ignore[attr-defined]
    for name in set(names):
        torchvision.library.define(f"{name}(Tensor x) -> Tensor")  # type: ignore[attr-defined]
    import torchvision as module

    return module


def lenet(side: int) -> nn.Module:
    last = ((side - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * last**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, CLASSES),
    )  # fmt: skip


class PreActivated(nn.Module):
    """A block of a residual network with normalisation and ReLU in front of its convolutions, as RobustBench has it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs or stride > 1 else None

    def forward(self, x: Any) -> Any:
        out = torch.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        return self.conv2(torch.relu(self.bn2(self.conv1(out)))) + shortcut


class PreActivatedResNet(nn.Module):
    """WideResNet-28-10 and PreActResNet-18 with RobustBench's normalisation of the images inside."""

    def __init__(self, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        pairs = [
            (widths[i] if not j else widths[i + 1], widths[i + 1], 2 if i and not j else 1)
            for i in range(len(widths) - 1)
            for j in range(blocks)
        ]
        self.blocks = nn.Sequential(*(PreActivated(*pair) for pair in pairs))
        self.bn = nn.BatchNorm2d(widths[-1])
        self.linear = nn.Linear(widths[-1], CLASSES)
        self.register_buffer("mu", torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1))
        self.register_buffer("sigma", torch.tensor([0.2471, 0.2435, 0.2616]).view(1, 3, 1, 1))

    def forward(self, x: Any) -> Any:
        out = torch.relu(self.bn(self.blocks(self.conv1((x - self.mu) / self.sigma))))
        return self.linear(nn.functional.adaptive_avg_pool2d(out, 1).flatten(1))


def vgg(side: int) -> nn.Module:
    model: nn.Module = torchvision().models.vgg11_bn(num_classes=CLASSES)
    if side < 224:  # the pooling to 7x7 enlarges smaller maps, which the older exporter does not know
        model.avgpool, model.classifier = nn.Identity(), nn.Linear(512 * (side // 32) ** 2, CLASSES)
    return model


def vit(side: int) -> nn.Module:
    import timm

    name, patch = "vit_tiny_patch16_224", side // 14 if side >= 224 else 4
    return timm.create_model(name, num_classes=CLASSES, img_size=side, patch_size=patch)  # type: ignore[no-any-return]


def _of_torchvision(name: str) -> Callable[[int], nn.Module]:
    return lambda _: getattr(torchvision().models, name)(num_classes=CLASSES)  # type: ignore[no-any-return]


ARCHITECTURES: Mapping[str, Callable[[int], nn.Module]] = {
    "lenet": lenet,
    "vgg11_bn": vgg,
    **{name: _of_torchvision(name) for name in ("resnet18", "densenet121", "mobilenet_v3_large", "efficientnet_b0",
                                                "convnext_tiny")},
    "vit_tiny": vit,
    "wide_resnet_28_10": lambda _: PreActivatedResNet((16, 160, 320, 640), 4),
    "preact_resnet_18": lambda _: PreActivatedResNet((64, 64, 128, 256, 512), 2),
}  # fmt: skip


def randomised(model: nn.Module) -> nn.Module:
    """Return a model in inference mode whose normalisations have statistics as after training."""
    random = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_mean.shape  # type: ignore[union-attr]
            module.running_mean = torch.randn(shape, generator=random) / 10
            module.running_var = torch.rand(shape, generator=random) + 0.5
            with torch.no_grad():
                module.bias += torch.randn(shape, generator=random) / 10
    return model.eval()


def exported(model: nn.Module, side: int, exporter: Exporter, path: Path) -> Path:
    """Write a model of images with three channels as ONNX; the number of images is free."""
    x = torch.rand(2, 3, side, side)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        if exporter == "torchscript":
            axes = {"x": {0: "n"}}
            torch.onnx.export(model, (x,), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes)
        else:
            shapes = ({0: torch.export.Dim("n")},)
            torch.onnx.export(model, (x,), str(path), dynamo=True, verbose=False, dynamic_shapes=shapes)
    return path
