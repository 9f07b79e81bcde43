"""Paints holes by denoising step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from temper.generators.diffusion.denoiser import NOISE_STEPS, signal_share
from temper.system import backend

Tensor = Any
Mode = Literal["cond", "replace", "repaint"]
Draw = Callable[[], Tensor]


@dataclass(frozen=True)
class Sampler:
    """The sampler of a denoiser; see ``DDPM`` for its parameters."""

    mode: Mode
    steps: int
    eta: float
    guidance: float
    resamplings: int

    def paint(self, network: Any, known: Tensor, holes: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        """Return images (n, c, h, w) in [-1, 1] of the classes ``labels`` (n,), with every pixel generated.

        ``known`` are the images, of which the denoiser sees the pixels outside the ``holes`` (n, 1, h, w), 1 where to
        paint. ``draw`` returns standard normal numbers of the shape of ``known``, new ones on each call.
        """
        torch = backend.torch()
        kept = signal_share()
        # Evenly spaced steps from pure noise to the image.
        times = torch.linspace(NOISE_STEPS - 1, 0, self.steps).round().long().tolist()
        known_pixels, mask = known * (1 - holes), holes
        if self.mode != "cond":  # the denoiser paints everything; known pixels are restored at every step
            known_pixels, mask = torch.zeros_like(known), torch.ones_like(holes)
        with torch.inference_mode():
            x = draw()
            for time, following in zip(times, [*times[1:], None], strict=True):
                signal, left = float(kept[time]), 1.0 if following is None else float(kept[following])
                # Noise and denoise again, so that the hole matches its surroundings; not after the last step.
                rounds = self.resamplings if self.mode == "repaint" and following is not None else 1
                for repeat in range(rounds):
                    if repeat:
                        x = (signal / left) ** 0.5 * x + (1 - signal / left) ** 0.5 * draw()
                    noise = self._noise(network, torch.cat([x, known_pixels, mask], dim=1), time, labels)
                    x = step(x, noise, signal, left, self.eta, draw)
                    if self.mode != "cond":
                        # Known pixels get the noise level of the next step.
                        around = left**0.5 * known + (1 - left) ** 0.5 * draw() if left < 1 else known
                        x = holes * x + (1 - holes) * around
        return x

    def _noise(self, network: Any, seen: Tensor, time: int, labels: Tensor) -> Tensor:
        """Return the predicted noise, moved away from the prediction without a class (classifier-free guidance)."""
        torch = backend.torch()
        # At weight 1 the prediction without a class cancels out, so one call is enough.
        if self.guidance == 1:
            return network(seen, time, class_labels=labels).sample
        no_class = torch.full_like(labels, network.config.num_class_embeds - 1)
        both = network(torch.cat([seen, seen]), time, class_labels=torch.cat([labels, no_class])).sample
        of_class, of_any = both.chunk(2)
        return of_any + self.guidance * (of_class - of_any)


def step(x: Tensor, noise: Tensor, signal: float, left: float, eta: float, draw: Draw) -> Tensor:
    """Return an image with less noise: from ``signal``, its share of the variance, to ``left``, the next step's share.

    The image that the noise implies is clipped to [-1, 1] first.

    Source: Song, Meng and Ermon (2021), Denoising Diffusion Implicit Models, eq. 12 and 16; with eta 1 the step of Ho,
    Jain and Abbeel (2020).
    """
    clean = ((x - (1 - signal) ** 0.5 * noise) / signal**0.5).clamp(-1, 1)
    if left == 1:
        return clean
    noise = (x - signal**0.5 * clean) / (1 - signal) ** 0.5
    spread = eta * ((1 - left) / (1 - signal) * (1 - signal / left)) ** 0.5
    # Rounding may make the remainder negative where eta is 1.
    moved = left**0.5 * clean + max(0.0, 1 - left - spread**2) ** 0.5 * noise
    return moved + spread * draw() if spread else moved
