"""Sampling from denoisers with a closed form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from temper.generators.diffusion.denoiser import signal_share
from temper.generators.diffusion.sampling import Mode, Sampler, step
from temper.system import backend

torch = backend.torch()
KEPT = signal_share()


class Oracle:
    """The denoiser of pixels that are normal, with a mean for each class, all independent; of no class, ``means[-1]``."""

    def __init__(self, means: list[float], deviation: float) -> None:
        self.means, self.deviation = torch.tensor(means), deviation
        self.config = SimpleNamespace(num_class_embeds=len(means))
        self.batches: list[int] = []

    def __call__(self, seen: Any, time: int, class_labels: Any) -> SimpleNamespace:
        x, signal = seen[:, :1], float(KEPT[time])
        self.batches.append(len(x))
        mean = self.means[class_labels][:, None, None, None]
        variance = signal * self.deviation**2 + 1 - signal
        # E[noise | x] of x = sqrt(signal) * x0 + sqrt(1 - signal) * noise.
        return SimpleNamespace(sample=(1 - signal) ** 0.5 * (x - signal**0.5 * mean) / variance)


def draws(shape: tuple[int, ...], seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return lambda: torch.from_numpy(rng.standard_normal(shape, np.float32))


def sampler(
    mode: Mode = "cond", steps: int = 20, eta: float = 1.0, guidance: float = 1.0, resamplings: int = 5
) -> Sampler:
    return Sampler(mode, steps, eta, guidance, resamplings)


SHAPE = (4, 1, 16, 16)
KNOWN, HOLES = torch.full(SHAPE, -0.75), torch.zeros(SHAPE)
HOLES[:, :, :8] = 1
LABELS = torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize("mode", ["cond", "replace", "repaint"])
def test_a_denoiser_that_knows_the_image_paints_it(mode: Mode) -> None:
    made = sampler(mode).paint(Oracle([-0.5, 0.5, 0.0], 0.0), KNOWN, HOLES, LABELS, draws(SHAPE))
    for image, expected in zip(made, [-0.5, 0.5, 0.5, -0.5], strict=True):
        assert image[0, :8].numpy() == pytest.approx(np.full((8, 16), expected), abs=1e-4)


@pytest.mark.parametrize(("eta", "steps"), [(1.0, 200), (0.0, 200), (1.0, 50)])
def test_normal_pixels_have_a_normal_distribution(eta: float, steps: int) -> None:
    shape = (16, 1, 32, 32)
    oracle = Oracle([0.2, 0.0], 0.15)
    labels = torch.zeros(16, dtype=torch.long)
    made = sampler(steps=steps, eta=eta).paint(oracle, torch.zeros(shape), torch.ones(shape), labels, draws(shape))
    # 16,384 pixels: the mean is known to 0.0012. Fewer steps leave out some of the spread.
    assert float(made.mean()) == pytest.approx(0.2, abs=0.006)
    assert float(made.std()) == pytest.approx(0.15, rel=0.05 if steps == 200 else 0.15)


@pytest.mark.parametrize("mode", ["replace", "repaint"])
def test_known_pixels_are_restored(mode: Mode) -> None:
    made = sampler(mode, steps=5).paint(Oracle([0.5, 0.5, 0.0], 0.1), KNOWN, HOLES, LABELS, draws(SHAPE))
    assert torch.equal(made[:, :, 8:], KNOWN[:, :, 8:])


@pytest.mark.parametrize(
    ("mode", "steps", "guidance", "calls", "images"),
    [
        ("cond", 20, 1.0, 20, 4),
        ("cond", 50, 2.0, 50, 8),
        ("replace", 50, 1.0, 50, 4),
        ("repaint", 50, 1.0, 246, 4),
        ("cond", 1, 1.0, 1, 4),
    ],
)
def test_the_number_of_denoiser_calls(mode: Mode, steps: int, guidance: float, calls: int, images: int) -> None:
    oracle = Oracle([0.0, 0.0, 0.0], 0.1)
    sampler(mode, steps, guidance=guidance).paint(oracle, KNOWN, HOLES, LABELS, draws(SHAPE))
    assert oracle.batches == [images] * calls


def test_guidance_moves_away_from_no_class() -> None:
    # Of normal pixels with equal spread, guidance g draws from the mean of none + g * (of the class - of none).
    oracle = Oracle([0.1, 0.1, -0.1], 0.02)
    for guidance, expected in ((1.0, 0.1), (2.0, 0.3), (0.0, -0.1)):
        made = sampler(guidance=guidance).paint(oracle, KNOWN, HOLES, LABELS, draws(SHAPE))
        assert float(made.mean()) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("time", [950, 500, 50])
def test_a_step_equals_that_of_diffusers(eta: float, time: int) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(1000, beta_schedule="squaredcos_cap_v2", clip_sample=True)
    scheduler.set_timesteps(20)
    x, noise, drawn = (draws(SHAPE, seed)() for seed in range(3))
    options = {"eta": eta, "use_clipped_model_output": True, "variance_noise": drawn}
    theirs = scheduler.step(noise, time, x, **options).prev_sample
    ours = step(x, noise, float(KEPT[time]), float(KEPT[time - 50]), eta, lambda: drawn)
    assert ours.numpy() == pytest.approx(theirs.numpy(), abs=2e-5)
