"""APGD: the trajectory of the authors' implementation from the same start, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Images
from temper.core.threat_model import Norm
from temper.generators.auto_attack.apgd_kernel import ApgdKernel
from temper.generators.auto_attack.attack_losses import AttackLoss
from temper.generators.auto_attack.refilled_batches import Jobs
from tests.generators.auto_attack.reference import NORMS, channels_first, channels_last, module_of, torch
from tests.generators.models import images, small

N = 16


class Started(ApgdKernel):
    """APGD in one stage from given images."""

    def _start(self, clean: Images, jobs: Jobs) -> Images:
        return starts(clean, self.norm, self.eps)[jobs.rows]

    @property
    def _stages(self) -> list[tuple[float, int]]:
        return [(self.eps, self.max_iter)]

    def _projected(self, victim: Any, state: Any, chosen: Any) -> Any:
        return state


def starts(x: Images, norm: Norm, eps: float) -> Images:
    noise = np.random.default_rng(5).normal(size=x.shape)
    size = np.linalg.norm(noise.reshape(len(x), -1), np.inf if norm == "inf" else norm, axis=1)
    return np.clip(x + eps * noise / size[:, None, None, None], 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("norm", "eps", "loss"),
    [
        ("inf", 0.02, "cross_entropy"),
        ("inf", 0.03, "dlr"),
        ("inf", 0.03, "dlr_targeted"),
        (2, 0.15, "cross_entropy"),
        (1, 0.8, "dlr"),
    ],
)
@pytest.mark.parametrize("iterations", [1, 12])
def test_trajectory(norm: Norm, eps: float, loss: AttackLoss, iterations: int) -> None:
    from pyautoattack import autopgd_base

    victim = small(convolution=True)
    x, _ = images(N)
    logits = victim.logits(x)
    y = logits.argmax(axis=1)
    target = np.argsort(logits, axis=1)[:, -2]
    kind = autopgd_base.APGDAttack_targeted if loss == "dlr_targeted" else autopgd_base.APGDAttack
    reference = kind(module_of(victim), n_iter=iterations, norm=NORMS[norm], eps=eps, device="cpu")
    reference.loss = {"cross_entropy": "ce", "dlr": "dlr", "dlr_targeted": "dlr-targeted"}[loss]
    reference.y_target = torch.tensor(target)
    reference.init_hyperparam(channels_first(x))
    best, right, height, _ = reference.attack_single_run(
        channels_first(x), torch.tensor(y), x_init=channels_first(starts(x, norm, eps))
    )

    kernel = Started(norm, eps, loss, iterations, 1, None)  # type: ignore[arg-type]
    state = kernel.begin(victim, x, y, Jobs(np.arange(N), target.astype(np.int64), np.zeros(N, np.int64)))
    while ((state["left"] > 0) & (state["broken"] == 0)).any():
        state = kernel.advance(victim, state, N)
    broken = state["broken"] > 0
    np.testing.assert_array_equal(broken, ~right.bool().numpy())
    assert 0 < broken.sum() < N or iterations == 1
    # A broken image stops here and goes on in the reference.
    np.testing.assert_allclose(state["best_loss"][~broken], height.numpy()[~broken], rtol=1e-2, atol=1e-5)
    # The sign of a gradient entry near 0 may differ between libraries, which moves single pixels.
    same = np.isclose(state["best"][~broken], channels_last(best)[~broken], atol=1e-5)
    assert same.mean() > 0.99
    assert (victim.predict(np.asarray(state["current"]))[broken] != y[broken]).all()
