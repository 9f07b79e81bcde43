"""The networks of RobustBench's checkpoints, with the names of their weights.

Source: Croce et al., RobustBench: a standardized adversarial robustness benchmark, NeurIPS 2021 Datasets and Benchmarks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from temper.core.errors import StageError

_WIDE = re.compile(r"(DM)?WideResNet-(\d+)-(\d+)")
PREACT = "PreActResNet-18"
KNOWN = ("WideResNet-28-10", "DMWideResNet-28-10", PREACT)
MAX_DEPTH, MAX_WIDTH = 200, 40


def is_known(name: str) -> bool:
    """Return whether there is a network of this name; depth and width of wide residual networks are free."""
    found = _WIDE.fullmatch(name)
    if found is None:
        return name == PREACT
    depth, width = int(found[2]), int(found[3])
    return 10 <= depth <= MAX_DEPTH and (depth - 4) % 6 == 0 and 1 <= width <= MAX_WIDTH


def network(name: str, classes: int, weights: Mapping[str, Any]) -> Any:
    """Return a module; the buffers of a normalisation and the parts that papers vary are as the weights have them."""
    found = _WIDE.fullmatch(name)
    if not is_known(name):
        raise StageError(f"expected {', '.join(KNOWN)} (depth and width are free), received '{name}'")
    if found is None:
        body = _preact(classes, weights)
    elif found[1]:
        body = _deepmind(int(found[2]), int(found[3]), classes)
    else:
        body = _wide(
            int(found[2]), int(found[3]), classes, "fc.bias" in weights, "sub_block1.layer.0.bn1.weight" in weights
        )
    for mean, deviation in (("mu", "sigma"), ("mean", "std")):
        if mean in weights and deviation in weights:
            body.register_buffer(mean, weights[mean].float())
            body.register_buffer(deviation, weights[deviation].float())
            body.register_forward_pre_hook(
                lambda module, x, m=mean, s=deviation: ((x[0] - getattr(module, m)) / getattr(module, s),)
            )
    return body


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1, padding: int | None = None) -> Any:
    from torch import nn

    return nn.Conv2d(inputs, outputs, side, stride, side // 2 if padding is None else padding, bias=False)


def _groups(
    block: Callable[[int, int, int], Any], widths: list[int], counts: list[int], strides: list[int]
) -> list[Any]:
    """Return groups of blocks (inputs, outputs, stride) of which the first changes width and size."""
    from torch import nn

    return [
        nn.Sequential(*(block(before if not i else after, after, stride if not i else 1) for i in range(count)))
        for before, after, count, stride in zip(widths, widths[1:], counts, strides, strict=False)
    ]


def _wide(depth: int, width: int, classes: int, bias: bool, sub_block: bool) -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _convolution(inputs, outputs, 3, stride)
            self.bn2, self.conv2 = nn.BatchNorm2d(outputs), _convolution(outputs, outputs, 3)
            self.convShortcut = _convolution(inputs, outputs, 1, stride) if inputs != outputs else None

        def forward(self, x: Any) -> Any:
            out = torch.relu(self.bn1(x))
            shortcut = x if self.convShortcut is None else self.convShortcut(out)
            return self.conv2(torch.relu(self.bn2(self.conv1(out)))) + shortcut

    class Group(nn.Module):  # type: ignore[misc]
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    class WideResNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            widths = [16, 16 * width, 32 * width, 64 * width]
            count = (depth - 4) // 6
            self.conv1 = _convolution(3, 16, 3)
            self.block1, self.block2, self.block3 = map(Group, _groups(Block, widths, [count] * 3, [1, 2, 2]))
            if sub_block:  # in files of TRADES, and never called
                self.sub_block1 = Group(_groups(Block, widths[:2], [count], [1])[0])
            self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], classes, bias=bias)

        def forward(self, x: Any) -> Any:
            out = self.block3(self.block2(self.block1(self.conv1(x))))
            return self.fc(torch.relu(self.bn1(out)).mean((2, 3)))

    return WideResNet()


def _deepmind(depth: int, width: int, classes: int) -> Any:
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.batchnorm_0, self.conv_0 = nn.BatchNorm2d(inputs), _convolution(inputs, outputs, 3, stride, 0)
            self.batchnorm_1, self.conv_1 = nn.BatchNorm2d(outputs), _convolution(outputs, outputs, 3)
            self.shortcut = _convolution(inputs, outputs, 1, stride) if inputs != outputs else None
            # "Same" padding as in JAX, where the weights come from: none at the top and left with stride 2.
            self.padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)

        def forward(self, x: Any) -> Any:
            out = nn.functional.silu(self.batchnorm_0(x))
            shortcut = x if self.shortcut is None else self.shortcut(out)
            out = self.conv_0(nn.functional.pad(out, self.padding))
            return self.conv_1(nn.functional.silu(self.batchnorm_1(out))) + shortcut

    class Group(nn.Module):  # type: ignore[misc]
        def __init__(self, block: Any) -> None:
            super().__init__()
            self.block = block

        def forward(self, x: Any) -> Any:
            return self.block(x)

    class DMWideResNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            widths = [16, 16 * width, 32 * width, 64 * width]
            self.init_conv = _convolution(3, 16, 3)
            self.layer = nn.Sequential(*map(Group, _groups(Block, widths, [(depth - 4) // 6] * 3, [1, 2, 2])))
            self.batchnorm, self.logits = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], classes)

        def forward(self, x: Any) -> Any:
            return self.logits(nn.functional.silu(self.batchnorm(self.layer(self.init_conv(x)))).mean((2, 3)))

    return DMWideResNet()


def _preact(classes: int, weights: Mapping[str, Any]) -> Any:
    import torch
    from torch import nn

    # RobustBench's networks with a normalisation before the last layer (Rice2020, Andriushchenko2020) take the shortcut
    # behind the first activation; the others (Wong2020) take it from the block's input.
    normalised = "bn.weight" in weights

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _convolution(inputs, outputs, 3, stride)
            self.bn2, self.conv2 = nn.BatchNorm2d(outputs), _convolution(outputs, outputs, 3)
            changes = stride != 1 or inputs != outputs
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride)) if changes else None

        def forward(self, x: Any) -> Any:
            out = torch.relu(self.bn1(x))
            shortcut = x if self.shortcut is None else self.shortcut(out if normalised else x)
            return self.conv2(torch.relu(self.bn2(self.conv1(out)))) + shortcut

    class PreActResNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = _convolution(3, 64, 3)
            groups = _groups(Block, [64, 64, 128, 256, 512], [2] * 4, [1, 2, 2, 2])
            self.layer1, self.layer2, self.layer3, self.layer4 = groups
            self.bn = nn.BatchNorm2d(512) if normalised else None
            self.linear = nn.Linear(512, classes)

        def forward(self, x: Any) -> Any:
            out = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
            out = out if self.bn is None else torch.relu(self.bn(out))
            return self.linear(out.mean((2, 3)))

    return PreActResNet()
