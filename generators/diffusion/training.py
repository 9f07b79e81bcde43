"""Trains the denoiser on images with random holes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from core import backend
from core.artefacts import Images, Labels, Masks
from core.faults import StageError
from generators.diffusion.canvas import Canvas
from generators.diffusion.network import NOISE_STEPS, kept_signal

WHOLE, INSIDE_OUT = 0.3, 0.2
"""Shares of holes that are the whole image, so that whole images are learnt too; and all but a rectangle."""
LARGEST_GRADIENT = 1.0
"""Norm that the gradient of a step is cut to."""


@dataclass(frozen=True)
class Plan:
    """How a denoiser is trained; the parameters of ``DiffusionTraining`` with what depends on the images filled in."""

    steps: int
    batch_size: int
    learning_rate: float
    warm_up: int
    label_dropout: float
    ema: float

    def rate(self, step: int) -> float:
        """Return the learning rate of a step from 0: a straight rise, then half a cosine down to 5 %."""
        rise = min(1.0, (step + 1) / (self.warm_up + 1))
        fall = 0.05 + 0.95 * (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.learning_rate * rise * fall


def train(network: Any, canvas: Canvas, x: Images, y: Labels, plan: Plan, seed: int) -> Iterator[float]:
    """Train a denoiser in place on images (n, h, w, c) and labels (n,); yield the loss of each step as it is done.

    In the end its weights are the exponential moving average over the steps. What a step draws derives from the seed and
    its number alone, so that a training that is taken up again needs weights, moments and average only.

    Raises:
        StageError: the loss is no longer finite.

    Source: Ho, Jain and Abbeel (2020), Denoising Diffusion Probabilistic Models, algorithm 1; labels left out as in Ho
    and Salimans (2022), Classifier-Free Diffusion Guidance, algorithm 1; the hole and what is around it as further
    channels as in Saharia et al. (2022), Palette: Image-to-Image Diffusion Models.
    """
    torch = backend.torch()
    from diffusers.training_utils import EMAModel

    device = next(network.parameters()).device
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, fused=True)
    average = EMAModel(network.parameters(), decay=plan.ema)
    kept = kept_signal().to(device)
    network.train()
    for step in range(plan.steps):
        rng = np.random.default_rng([seed, step])
        rows = np.sort(rng.integers(len(x), size=plan.batch_size))
        clean = canvas.images(np.asarray(x[rows])).to(device)
        labels = np.where(rng.random(len(rows)) < plan.label_dropout, _untold(network), y[rows])
        masks = canvas.masks(holes(len(rows), canvas.shape[:2], rng)).to(device)
        times = torch.from_numpy(rng.integers(NOISE_STEPS, size=len(rows))).to(device)
        noise = torch.from_numpy(rng.standard_normal(tuple(clean.shape), np.float32)).to(device)
        signal = kept[times][:, None, None, None]
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        seen = torch.cat([noisy, clean * (1 - masks), masks], dim=1)
        guess = network(seen, times, class_labels=torch.from_numpy(labels).to(device)).sample
        loss = torch.nn.functional.mse_loss(guess, noise)
        optimiser.param_groups[0]["lr"] = plan.rate(step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        average.step(network.parameters())
        value = float(loss.detach())
        if not math.isfinite(value):
            raise StageError(f"training diverged: the loss of step {step + 1} is {value}; lower learning_rate")
        yield value
    average.copy_to(network.parameters())
    network.eval()


def _untold(network: Any) -> int:
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
            rows, columns = (_span(side, rng) for side in size)
            mask[rows, columns] = True
        if kind < WHOLE + INSIDE_OUT:
            np.logical_not(mask, out=mask)
    return masks


def _span(side: int, rng: np.random.Generator) -> slice:
    """Return a random stretch of between a fifth and three quarters of a side."""
    length = int(rng.integers(max(1, round(side / 5)), max(1, round(0.75 * side)) + 1))
    start = int(rng.integers(side - length + 1))
    return slice(start, start + length)
