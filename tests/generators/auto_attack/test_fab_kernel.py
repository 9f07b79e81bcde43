"""FAB: the images that the authors' implementation finds."""

from __future__ import annotations

import numpy as np
import pytest

from temper.core.threat_model import Norm, distance
from temper.generators.auto_attack.fab_kernel import FabKernel
from temper.generators.auto_attack.refilled_batches import Jobs
from tests.generators.auto_attack.reference import NORMS, channels_first, channels_last, module_of, torch
from tests.generators.models import images, small

N = 16


@pytest.mark.parametrize(("norm", "eps"), [("inf", 0.03), (2, 0.2), (1, 1.5)])
@pytest.mark.parametrize("targeted", [True, False])
def test_breaks_the_images_of_the_reference(norm: Norm, eps: float, targeted: bool) -> None:
    from pyautoattack.fab_pt import FABAttack_PT

    victim = small(convolution=True)
    x, _ = images(N)
    logits = victim.logits(x)
    y = logits.argmax(axis=1)
    reference = FABAttack_PT(module_of(victim), norm=NORMS[norm], n_iter=15, eps=eps, targeted=targeted, device="cpu")
    reference.target_class = 2
    found = reference.attack_single_run(channels_first(x), torch.tensor(y), is_targeted=targeted)
    expected = channels_last(found)
    broken = (victim.predict(expected) != y) & (distance(expected - x, norm) <= eps)

    kernel = FabKernel(norm, eps, 15, targeted, None)  # type: ignore[arg-type]
    target = np.argsort(logits, axis=1)[:, -2].astype(np.int64)
    state = kernel.begin(victim, x, y, Jobs(np.arange(N), target, np.zeros(N, np.int64)))
    while ((state["left"] > 0) & (state["broken"] == 0)).any():
        state = kernel.advance(victim, state, N)
    np.testing.assert_array_equal(state["broken"] > 0, broken)
    assert 0 < broken.sum() < N
    made = np.asarray(state["current"])[broken]
    assert (victim.predict(made) != y[broken]).all()
    assert (distance(made - x[broken], norm) <= eps * (1 + 1e-6)).all()
