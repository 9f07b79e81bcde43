"""The training of the denoiser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.generators.diffusion.denoiser import build, default_settings, signal_share
from temper.generators.diffusion.denoiser_training import DenoiserSettings, DenoiserTrainer, holes
from temper.generators.diffusion.inpainting_canvas import Canvas
from tests.generators.diffusion.painter_context import examples

CANVAS = Canvas((8, 8, 1), 8, 2)


def plan(steps: int = 30, rate: float = 3e-3, ema: float = 0.9) -> DenoiserSettings:
    return DenoiserSettings(steps, batch_size=16, learning_rate=rate, warm_up=3, label_dropout=0.1, ema=ema)


def train(network: Any, canvas: Canvas, x: Any, y: Any, plan: DenoiserSettings, seed: int) -> list[float]:
    training = DenoiserTrainer(network, canvas, x, y, plan, seed)
    for _ in range(plan.steps):
        training.step()
    training.finish()
    return training.losses


def network(seed: int = 0) -> Any:
    return build(CANVAS, (8, 16), False, 3, seed)


def test_default_settings_depend_on_the_image_size() -> None:
    assert default_settings(8) == default_settings(16) == ((32, 64), False, 1500)
    assert default_settings(28) == ((16, 32, 32), False, 2000)
    assert default_settings(32) == ((32, 64, 128), True, 20_000)


@pytest.mark.parametrize(("shape", "count"), [((8, 8, 1), 0.65e6), ((28, 28, 1), 0.27e6), ((32, 32, 3), 2.74e6)])
def test_the_networks_have_the_measured_sizes(shape: tuple[int, int, int], count: float) -> None:
    settings = default_settings(max(shape))
    canvas = Canvas.of(shape, None, len(settings.channels) - 1)
    made = build(canvas, settings.channels, settings.attention, 10, 0)
    assert sum(weights.numel() for weights in made.parameters()) == pytest.approx(count, rel=0.02)


def test_the_signal_fades_as_the_square_of_a_cosine() -> None:
    kept = signal_share().double().numpy()
    t = (np.arange(1000) + 1) / 1000
    cosine = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert kept[:-1] == pytest.approx(cosine[:-1], abs=1e-4)  # the last step is cut
    assert 0 < kept[-1] < 1e-5


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [DenoiserSettings(1000, 64, 2.0, 50, 0.1, 0.9).rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(2 / 51)
    assert max(rates) == pytest.approx(2, rel=0.01)
    assert rates.index(max(rates)) == 50
    assert rates[500] == pytest.approx(2 * (0.05 + 0.95 * 0.5))
    assert rates[-1] == pytest.approx(0.1, rel=0.01)


def test_holes_are_whole_images_rectangles_or_their_complements() -> None:
    n, (height, width) = 4000, (20, 30)
    masks = holes(n, (height, width), np.random.default_rng(0))
    assert masks.dtype == np.bool_
    whole = masks.all(axis=(1, 2))
    assert whole.mean() == pytest.approx(0.3, abs=0.03)
    assert not (~masks).all(axis=(1, 2)).any()
    corners = masks[:, 0, 0] & masks[:, -1, -1] & masks[:, 0, -1] & masks[:, -1, 0] & ~whole
    assert corners.mean() == pytest.approx(0.2, abs=0.06)  # mostly inverted holes: some rectangles reach a corner
    single = next(mask for mask in masks if not mask.all() and _is_rectangle(mask))
    rows, columns = single.any(axis=1).sum(), single.any(axis=0).sum()
    assert 4 <= rows <= 15
    assert 6 <= columns <= 23


def _is_rectangle(mask: np.ndarray) -> bool:
    return bool(mask.sum() == mask.any(axis=1).sum() * mask.any(axis=0).sum())


def test_training_is_reproducible_and_reduces_noise() -> None:
    data = examples()
    one, two, other = network(), network(), network()
    losses = train(one, CANVAS, data.x, data.y, plan(40), seed=1)
    assert len(losses) == 40
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    assert losses == train(two, CANVAS, data.x, data.y, plan(40), seed=1)
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert np.array_equal(first.detach().numpy(), second.detach().numpy())
    assert losses[:3] != train(other, CANVAS, data.x, data.y, plan(3), seed=2)


def test_the_weights_are_an_average_over_the_steps() -> None:
    data = examples()
    averaged, last = network(), network()
    train(averaged, CANVAS, data.x, data.y, plan(10, ema=0.99), seed=1)
    train(last, CANVAS, data.x, data.y, plan(10, ema=0.0), seed=1)
    start = list(network().parameters())
    far, near = (
        sum(float(((p - q) ** 2).sum().detach()) for p, q in zip(made.parameters(), start, strict=True))
        for made in (last, averaged)
    )
    assert 0 < near < far


def test_resumed_training_reaches_the_same_weights() -> None:
    data = examples()
    whole = network()
    losses = train(whole, CANVAS, data.x, data.y, plan(8), seed=1)
    first = DenoiserTrainer(network(), CANVAS, data.x, data.y, plan(8), seed=1)
    for _ in range(3):
        first.step()
    state = {name: array.copy() for name, array in first.state().items()}
    other = network(seed=5)
    second = DenoiserTrainer(other, CANVAS, data.x, data.y, plan(8), seed=1)
    second.restore(state)
    for _ in range(5):
        second.step()
    second.finish()
    assert second.losses == losses
    for one, two in zip(whole.parameters(), other.parameters(), strict=True):
        assert np.array_equal(one.detach().numpy(), two.detach().numpy())


def test_diverging_training_is_an_error() -> None:
    data = examples()
    with pytest.raises(StageError, match=r"training diverged: the loss of step .* lower learning_rate"):
        train(network(), CANVAS, np.full_like(data.x, np.nan), data.y, plan(3), seed=1)
