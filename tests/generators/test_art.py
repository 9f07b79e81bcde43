"""The ART adapter: faults found without importing ART, and attacks that run and do what ART alone does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from core import backend
from core.component import Plain, Ref
from core.threat import ThreatModel
from generators.art import BOUNDED, NEEDED_PACKAGES, SINGLE, Art
from generators.art_source import UNSUITABLE, Parameter, attacks, parameters
from generators.gradient import FGSM
from tests.conftest import ROOT
from tests.generators.models import images, small

MODEL: Any = Ref("target")


def faults(attack: str, params: Mapping[str, Plain] | None = None) -> list[tuple[str, str]]:
    return list(Art(model=MODEL, attack=attack, params=params or {}).check())


def test_every_offered_attack_can_be_read() -> None:
    assert len(attacks()) >= 30
    for name in attacks():
        assert {"self", "classifier", "estimator"}.isdisjoint(parameters(name)), name
    named = BOUNDED | SINGLE | set(NEEDED_PACKAGES)
    assert named <= set(attacks())
    assert not set(UNSUITABLE) & set(attacks())


def test_good_parameters_have_no_faults() -> None:
    assert faults("CarliniL2Method", {"confidence": 0.5, "max_iter": 20, "verbose": True}) == []
    assert faults("SquareAttack", {"eps": 0.3, "norm": "inf", "loss": None}) == []
    assert faults("ProjectedGradientDescent", {"norm": 2, "decay": None}) == []


@pytest.mark.parametrize(
    ("attack", "params", "field", "message"),
    [
        ("SquareAttak", {}, "attack", "ART has no evasion attack SquareAttak; did you mean 'SquareAttack'?"),
        ("DPatch", {}, "attack", "DPatch needs an object detector or tracker; what works: AutoAttack, "),
        ("DeepFool", {"max_iters": 3}, "params", "DeepFool: no parameter max_iters; did you mean 'max_iter'?"),
        ("DeepFool", {"max_iter": 0.5}, "params", "DeepFool: expected max_iter to be int, received 0.5"),
        ("DeepFool", {"max_iter": True}, "params", "DeepFool: expected max_iter to be int, received True"),
        ("CarliniL2Method", {"confidence": "high"}, "params", "expected confidence to be float, received 'high'"),
        ("HopSkipJump", {"targeted": True}, "params", "expected targeted: false, received true"),
    ],
)
def test_faults(attack: str, params: dict[str, Plain], field: str, message: str) -> None:
    ((where, what),) = faults(attack, params)
    assert where == field
    assert message in what


def test_backends_that_cannot_run_an_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert "set KERAS_BACKEND to tensorflow or torch" in faults("DeepFool")[0][1]
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert "needs KERAS_BACKEND=torch" in faults("ProjectedGradientDescentPyTorch")[0][1]
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert "needs KERAS_BACKEND=tensorflow" in faults("ProjectedGradientDescentTensorFlowV2")[0][1]


def test_parameter_annotations() -> None:
    assert Parameter("", None).accepts("anything")
    assert Parameter("Optional[int]", None).accepts(None)
    assert not Parameter("int", 1).accepts(None)
    assert Parameter("float", 1.0).accepts(1)
    assert not Parameter("bool", False).accepts(1)


def test_checking_imports_neither_art_nor_a_framework() -> None:
    code = (
        "import sys; from core.component import Ref; from generators.art import Art\n"
        "print(len(list(Art(model=Ref('m'), attack='DeepFool', params={'x': 1}).check())))\n"
        "print(*({'art', 'keras', 'tensorflow', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert out.stdout.split() == ["1"]


def test_checking_is_quick() -> None:
    attacks.cache_clear()
    parameters.cache_clear()
    start = time.perf_counter()
    faults("SquareAttack", {"eps": 0.1})
    assert time.perf_counter() - start < 0.2


def test_threat_follows_the_parameters() -> None:
    def threat(attack: str, **params: Plain) -> ThreatModel | None:
        return Art(model=MODEL, attack=attack, params=params).threat

    assert threat("SquareAttack", eps=0.1) == ThreatModel("inf", 0.1)
    assert threat("AutoProjectedGradientDescent", eps=1.5, norm=2) == ThreatModel(2, 1.5)
    assert threat("FastGradientMethod") == ThreatModel("inf", 0.3)
    assert threat("BasicIterativeMethod", eps=0.2) == ThreatModel("inf", 0.2)
    assert threat("ProjectedGradientDescent", norm=3) is None
    assert threat("CarliniL2Method") is None
    assert threat("Wasserstein", eps=0.2) is None


@pytest.mark.skipif(backend.name() == "jax", reason="ART has no classifier for jax")
class TestAttacks:
    def test_same_images_as_our_own_fgsm(self) -> None:
        victim, (x, y) = small(), images(30)
        art = Art(model=MODEL, attack="FastGradientMethod", params={"eps": 0.1})
        ours = FGSM(model=MODEL, eps=0.1)
        for labels in ("true", "predicted"):
            made = [type(a)(**{**vars(a), "labels": labels}) for a in (art, ours)]
            first, second = (a.craft(victim, x, y, np.random.default_rng(0)) for a in made)
            assert np.isclose(first, second, atol=1e-5).mean() > 0.999

    @pytest.mark.parametrize(
        ("attack", "params"),
        [
            ("DeepFool", {"max_iter": 20}),
            ("CarliniL2Method", {"binary_search_steps": 4, "max_iter": 20, "initial_const": 1.0}),
            ("AutoProjectedGradientDescent", {"eps": 0.2, "max_iter": 5, "nb_random_init": 1}),
            ("SquareAttack", {"eps": 0.2, "max_iter": 50}),
            ("BoundaryAttack", {"max_iter": 3, "num_trial": 3, "init_size": 50}),
            ("HopSkipJump", {"max_iter": 1, "max_eval": 20, "init_eval": 5}),
        ],
    )
    def test_breaks_images(self, attack: str, params: dict[str, Plain]) -> None:
        victim, (x, _) = small(), images(8)
        y = victim.predict(x)
        x.flags.writeable = False
        component = Art(model=MODEL, attack=attack, params=params)
        assert list(component.check()) == []
        made = component.craft(victim, x, y, np.random.default_rng(0))
        assert (victim.predict(made) != y).sum() >= 5
        assert np.array_equal(made, component.craft(victim, x, y, np.random.default_rng(0)))

    @pytest.mark.slow
    def test_auto_attack_is_silent(self) -> None:
        """It runs other attacks, and does not pass on that they are to show no bars."""
        code = (
            "import numpy as np; from core.component import Ref; from generators.art import Art\n"
            "from tests.generators.models import images, small\n"
            "victim, (x, y) = small(), images(4)\n"
            "art = Art(model=Ref('m'), attack='AutoAttack', params={'eps': 0.9, 'eps_step': 0.3})\n"
            "print('broken', (victim.predict(art.craft(victim, x, y, np.random.default_rng(0))) != y).sum())"
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert out.stdout == "broken 4\n", out.stderr
        assert "AutoPGD" not in out.stderr
