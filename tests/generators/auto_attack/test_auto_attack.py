"""AutoAttack and its parts: bounds, order, independence of batches, agreement with the authors' implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.threat_model import Norm, ThreatModel
from temper.generators.auto_attack.auto_attack import AutoAttack
from temper.generators.auto_attack.single_attacks import APGD, FAB, Square
from tests.generators.models import images, linear, small

MODEL: Any = Ref("target")
RNG = np.random.default_rng
QUICK: dict[str, Any] = {"version": "custom", "max_iter": 10, "queries": 60}
RADII: list[tuple[Norm, float]] = [("inf", 0.03), (2, 0.2), (1, 1.5)]


@pytest.mark.parametrize(("norm", "eps"), RADII)
def test_every_part_stays_in_the_ball_and_breaks_images(norm: Norm, eps: float) -> None:
    victim = small()
    x, _ = images(24)
    y = victim.predict(x)
    attacks = [
        APGD(model=MODEL, eps=eps, norm=norm, max_iter=10),
        APGD(model=MODEL, eps=eps, norm=norm, loss="dlr", max_iter=10, restarts=2),
        APGD(model=MODEL, eps=eps, norm=norm, loss="dlr_targeted", max_iter=10, targets=2),
        FAB(model=MODEL, eps=eps, norm=norm, max_iter=10, restarts=2),
        FAB(model=MODEL, eps=eps, norm=norm, max_iter=10, targets=0),
        Square(model=MODEL, eps=eps, norm=norm, queries=60),
    ]
    for attack in attacks:
        made = attack.craft(victim, x, y, RNG(1))  # raises if an image leaves the ball
        broken = victim.predict(made) != y
        assert broken.sum() > 2, attack
        np.testing.assert_array_equal(made[~broken], x[~broken])


def test_an_image_does_not_depend_on_the_others_or_on_the_width() -> None:
    victim = small()
    x, _ = images(12)
    y = victim.predict(x)
    attack = AutoAttack(model=MODEL, eps=0.03, attacks=("apgd_ce", "apgd_t", "fab_t", "square"), **QUICK)
    whole = attack.craft(victim, x, y, RNG(2))
    narrow = AutoAttack(model=MODEL, eps=0.03, attacks=attack.attacks, width=3, **QUICK).craft(victim, x, y, RNG(2))
    np.testing.assert_allclose(narrow, whole, atol=1e-6)


def test_misclassified_images_stay_and_later_attacks_get_what_is_robust() -> None:
    victim = small()
    x, y = images(24)
    wrong = victim.predict(x) != y
    first = APGD(model=MODEL, eps=0.03, max_iter=10).craft(victim, x, y, RNG(3))
    both = AutoAttack(model=MODEL, eps=0.03, attacks=("apgd_ce", "fab"), **QUICK).craft(victim, x, y, RNG(3))
    np.testing.assert_array_equal(both[wrong], x[wrong])
    broken = victim.predict(first) != y
    np.testing.assert_array_equal(both[broken], first[broken])
    assert (victim.predict(both) != y).sum() > broken.sum()


def test_a_linear_model_is_broken_exactly_where_its_margin_is_small() -> None:
    victim, weights = linear((4, 4, 1), classes=4)
    x, _ = images(60, (4, 4, 1), classes=4)
    x = 0.3 + 0.4 * x  # so that the box [0, 1] does not matter
    logits = x.reshape(len(x), -1) @ weights
    y = logits.argmax(axis=1)
    eps = 0.03
    other = np.arange(4)[None] != y[:, None]
    size = np.abs(weights.T[None] - weights.T[y][:, None]).sum(axis=2)
    gaps = np.where(other, (logits[np.arange(len(y)), y][:, None] - logits) / np.maximum(size, 1e-9), np.inf)
    expected = gaps.min(axis=1) <= eps
    for attack in (
        AutoAttack(model=MODEL, eps=eps, attacks=("apgd_t", "fab_t"), **{**QUICK, "max_iter": 30}),
        FAB(model=MODEL, eps=eps, max_iter=5),
    ):
        broken = victim.predict(attack.craft(victim, x, y, RNG(4))) != y
        clear = np.abs(gaps.min(axis=1) - eps) > 1e-3
        np.testing.assert_array_equal(broken[clear], expected[clear])
        assert 5 < broken.sum() < 55


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes(classes: int) -> None:
    victim, _ = linear((4, 4, 1), classes=classes)
    x, _ = images(20, (4, 4, 1), classes=classes)
    y = victim.predict(x)
    parts = ("apgd_ce", "apgd_dlr", "apgd_t", "fab", "fab_t", "square")
    for part in parts:
        attack = AutoAttack(model=MODEL, eps=0.5, attacks=(part,), **QUICK)
        assert (victim.predict(attack.craft(victim, x, y, RNG(5))) != y).any(), part
    info = DataInfo((4, 4, 1), tuple(map(str, range(classes))))
    assert bool(list(APGD(model=MODEL, eps=0.2, loss="dlr_targeted").fits(info)))


def test_settings_of_a_fixed_version_are_refused() -> None:
    assert [name for name, _ in AutoAttack(model=MODEL, eps=0.1, max_iter=5, attacks=("fab",)).check()] == [
        "attacks",
        "max_iter",
    ]
    assert [name for name, _ in AutoAttack(model=MODEL, eps=0.1, version="custom").check()] == ["attacks"]
    assert not list(AutoAttack(model=MODEL, eps=0.1).check())
    assert AutoAttack(model=MODEL, eps=0.1, norm=2).threat == ThreatModel(2, 0.1)


@pytest.mark.parametrize(("norm", "eps"), RADII)
def test_robust_accuracy_of_the_reference(norm: Norm, eps: float) -> None:
    from tests.generators.auto_attack.reference import NORMS, channels_first, channels_last, module_of, torch

    autoattack = pytest.importorskip("pyautoattack.autoattack")
    victim = small(convolution=True)
    x, _ = images(60)
    y = victim.predict(x)
    reference = autoattack.AutoAttack(
        module_of(victim), norm=NORMS[norm], eps=eps, version="custom", attacks=["apgd-ce", "apgd-t"], seed=0
    )
    reference.verbose = False
    reference.apgd.n_restarts, reference.apgd_targeted.n_target_classes = 1, 4
    if norm == 1:
        reference.apgd.use_largereps = reference.apgd_targeted.use_largereps = True
    found, _ = reference.run_standard_evaluation(channels_first(x), torch.tensor(y))
    expected = (victim.predict(channels_last(found)) == y).sum()
    attack = AutoAttack(model=MODEL, eps=eps, norm=norm, version="custom", attacks=("apgd_ce", "apgd_t"))
    robust = (victim.predict(attack.craft(victim, x, y, RNG(0))) == y).sum()
    assert 5 < expected < 55
    assert abs(int(robust) - int(expected)) <= 1
