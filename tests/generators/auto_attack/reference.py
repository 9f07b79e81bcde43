"""The authors' AutoAttack in PyTorch (package pyautoattack), on copies of the Keras models that are tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Images
from temper.core.classifier import Classifier

torch = pytest.importorskip("torch")
pytest.importorskip("pyautoattack")
NORMS = {"inf": "Linf", 2: "L2", 1: "L1"}


def module_of(victim: Classifier) -> Any:
    """Return the PyTorch copy of a model of ``tests.generators.models.small``."""
    weights = [torch.tensor(np.asarray(array)) for array in victim.model.get_weights()]

    class Copy(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            rest = list(weights)
            if len(rest) == 6:
                kernel, bias = rest.pop(0), rest.pop(0)
                x = torch.tanh(
                    torch.nn.functional.conv2d(x.contiguous(), kernel.permute(3, 2, 0, 1).contiguous(), bias)
                )
            x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
            return torch.tanh(x @ rest[0] + rest[1]) @ rest[2] + rest[3]

    return Copy()


def channels_first(x: Images) -> Any:
    return torch.tensor(x).permute(0, 3, 1, 2).contiguous()


def channels_last(x: Any) -> Images:
    made: Images = x.detach().permute(0, 2, 3, 1).numpy()
    return made
