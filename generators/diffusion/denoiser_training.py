"""Trains the denoiser on images with random holes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from temper.core.artefacts import Images, Labels, Masks
from temper.core.errors import StageError
from temper.generators.diffusion.denoiser import NOISE_STEPS, signal_share
from temper.generators.diffusion.inpainting_canvas import Canvas
from temper.system import backend

WHOLE, INVERTED = 0.3, 0.2
"""Shares of holes that are the whole image, so that whole images are learnt too, and all but a rectangle."""
LARGEST_GRADIENT = 1.0
"""Norm that the gradient of a step is clipped to."""


@dataclass(frozen=True)
class DenoiserSettings:
    """The training settings of a denoiser: those of ``DiffusionTraining`` with image-dependent defaults filled in."""

    steps: int
    batch_size: int
    learning_rate: float
    warm_up: int
    label_dropout: float
    ema: float

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: linear warm-up, then cosine decay to 5 %."""
        rise = min(1.0, (step + 1) / (self.warm_up + 1))
        fall = 0.05 + 0.95 * (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.learning_rate * rise * fall


class DenoiserTrainer:
    """The training of a denoiser in place, step by step.

    The draws of a step derive from the seed and the step's number alone, so that a training resumed from its ``state``
    has the same result.

    Attributes:
        losses: the loss of each completed step.

    Source: Ho, Jain and Abbeel (2020), Denoising Diffusion Probabilistic Models, algorithm 1; labels dropped as in Ho
    and Salimans (2022), Classifier-Free Diffusion Guidance, algorithm 1; the hole and its surroundings as further
    channels as in Saharia et al. (2022), Palette: Image-to-Image Diffusion Models.
    """

    def __init__(self, network: Any, canvas: Canvas, x: Images, y: Labels, plan: DenoiserSettings, seed: int) -> None:
        """Start from the network's current weights, on images (n, h, w, c) and labels (n,)."""
        torch = backend.torch()
        from diffusers.training_utils import EMAModel

        self._network, self._canvas, self._x, self._y, self._plan, self._seed = network, canvas, x, y, plan, seed
        self._device = next(network.parameters()).device
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, fused=True)
        self._average = EMAModel(network.parameters(), decay=plan.ema)
        self._kept = signal_share().to(self._device)
        self.losses: list[float] = []
        network.train()

    def step(self) -> None:
        """Run the next step.

        Raises:
            StageError: the loss is no longer finite.
        """
        torch, network, number = backend.torch(), self._network, len(self.losses)
        inputs, times, labels, noise = self._sampled(number)
        guess = network(inputs, times, class_labels=labels).sample
        loss = torch.nn.functional.mse_loss(guess, noise)
        self._optimiser.param_groups[0]["lr"] = self._plan.rate(number)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        self._optimiser.step()
        self._average.step(network.parameters())
        value = float(loss.detach())
        if not math.isfinite(value):
            raise StageError(f"training diverged: the loss of step {number + 1} is {value}; lower learning_rate")
        self.losses.append(value)

    def finish(self) -> None:
        """Set the network's weights to their exponential moving average over the steps."""
        self._average.copy_to(self._network.parameters())
        self._network.eval()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that the training needs to resume, as arrays by name."""
        arrays = {"losses": np.array(self.losses)}
        for name, tensors in self._tensors().items():
            arrays |= {f"{name}.{i}": tensor.detach().cpu().numpy() for i, tensor in enumerate(tensors)}
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Resume from the state of another training with the same settings."""
        torch = backend.torch()
        for parameter in self._network.parameters():  # the optimiser creates its moments at its first step
            parameter.grad = torch.zeros_like(parameter)
        # A step of rate 0 creates the moments without moving the weights.
        self._optimiser.param_groups[0]["lr"] = 0.0
        self._optimiser.step()
        with torch.no_grad():
            for name, tensors in self._tensors().items():
                for i, tensor in enumerate(tensors):
                    tensor.copy_(torch.from_numpy(np.array(state[f"{name}.{i}"])))
        self.losses = state["losses"].tolist()
        self._average.optimization_step = len(self.losses)

    def _tensors(self) -> dict[str, list[Any]]:
        parameters = list(self._network.parameters())
        moments = [self._optimiser.state[parameter] for parameter in parameters]
        return {
            "weights": parameters,
            "average": self._average.shadow_params,
            **{name: [moment[name] for moment in moments] for name in ("step", "exp_avg", "exp_avg_sq")},
        }

    def _sampled(self, number: int) -> tuple[Any, Any, Any, Any]:
        """Return the denoiser's inputs at a step, its times and labels, and the noise to predict."""
        torch, canvas, plan = backend.torch(), self._canvas, self._plan
        # By the step's number, so that a resumed training draws the same.
        rng = np.random.default_rng([self._seed, number])
        # Sorted, since the images may be memory-mapped.
        rows = np.sort(rng.integers(len(self._x), size=plan.batch_size))
        clean = canvas.images(np.asarray(self._x[rows])).to(self._device)
        # Some images lose their class, so that the denoiser also learns to work without one.
        labels = np.where(rng.random(len(rows)) < plan.label_dropout, _no_class(self._network), self._y[rows])
        masks = canvas.masks(holes(len(rows), canvas.shape[:2], rng)).to(self._device)
        times = torch.from_numpy(rng.integers(NOISE_STEPS, size=len(rows))).to(self._device)
        noise = torch.from_numpy(rng.standard_normal(tuple(clean.shape), np.float32)).to(self._device)
        signal = self._kept[times][:, None, None, None]
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        seen = torch.cat([noisy, clean * (1 - masks), masks], dim=1)
        return seen, times, torch.from_numpy(labels).to(self._device), noise


def _no_class(network: Any) -> int:
    return int(network.config.num_class_embeds) - 1


def holes(n: int, size: tuple[int, int], rng: np.random.Generator) -> Masks:
    """Return n random masks bool (n, height, width): the whole, one or two rectangles, or all but these."""
    masks = np.zeros((n, *size), np.bool_)
    for mask in masks:
        kind = rng.random()
        if kind < WHOLE:
            mask[:] = True
            continue
        for _ in range(rng.integers(1, 3)):
            rows, columns = (_random_interval(side, rng) for side in size)
            mask[rows, columns] = True
        if kind < WHOLE + INVERTED:
            np.logical_not(mask, out=mask)
    return masks


def _random_interval(side: int, rng: np.random.Generator) -> slice:
    """Return a random interval of between a fifth and three quarters of a side."""
    length = int(rng.integers(max(1, round(side / 5)), max(1, round(0.75 * side)) + 1))
    start = int(rng.integers(side - length + 1))
    return slice(start, start + length)
