"""The ART adapter: problems found without importing ART, and attacks that agree with ART itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from temper.core.component import Plain, Ref
from temper.core.data_info import DataInfo
from temper.core.threat_model import ThreatModel
from temper.generators.art import Art
from temper.generators.art_bounds import BOUNDS, CHOICES
from temper.generators.art_source import Parameter, attacks, parameters
from temper.generators.art_traits import TRAITS
from temper.generators.fgsm_bim_pgd import FGSM
from temper.system import backend
from tests.conftest import ROOT
from tests.generators.models import images, small

MODEL: Any = Ref("target")


def problems(attack: str, params: Mapping[str, Plain] | None = None) -> list[tuple[str, str]]:
    return list(Art(model=MODEL, attack=attack, params=params or {}).check())


def test_the_source_of_every_supported_attack_can_be_parsed() -> None:
    assert len(TRAITS) >= 30
    for name, traits in TRAITS.items():
        assert {"self", "classifier", "estimator"}.isdisjoint(parameters(name)), name
        assert not traits.radius or traits.radius in parameters(name), name


def test_every_parameter_of_an_attack_has_bounds_or_choices() -> None:
    for name in TRAITS:
        for parameter, known in parameters(name).items():
            words = known.annotation.replace("|", " ").split()
            bounded = {parameter, f"{name}.{parameter}"} & {*BOUNDS, *CHOICES}
            if {"int", "float"} & set(words) and parameter != "norm":
                assert bounded, f"{name}.{parameter}"
            if "str" in words and parameter not in ("norm", "summary_writer"):
                assert bounded & set(CHOICES), f"{name}.{parameter}"
    names = {parameter for name in TRAITS for parameter in parameters(name)}
    assert {key.split(".")[-1] for key in (*BOUNDS, *CHOICES)} <= names, "bounds of what no attack has"


def test_the_defaults_of_art_are_within_the_bounds() -> None:
    """All but two, which are meant for pixels from 0 to 255."""
    refused = {name for name in TRAITS if any("ART's default" in message for _, message in problems(name))}
    assert refused == {"UniversalPerturbation", "TargetedUniversalPerturbation"}


def test_valid_parameters_have_no_problems() -> None:
    assert problems("CarliniL2Method", {"confidence": 0.5, "max_iter": 20, "verbose": True}) == []
    assert problems("SquareAttack", {"eps": 0.3, "norm": "inf", "loss": None}) == []
    assert problems("ProjectedGradientDescent", {"norm": 2, "decay": None}) == []
    assert problems("FastGradientMethod", {"eps": 0.03}) == [], "it takes no steps"
    assert problems("UniversalPerturbation", {"eps": 0.1, "delta": 0.0}) == []
    assert problems("Wasserstein", {"norm": "2", "eps": 3.0, "eps_step": 8.0}) == [], "no radius of a ball of ours"
    assert problems("ThresholdAttack", {"es": 1}) == [], "cma is for the other strategy"


@pytest.mark.parametrize(
    ("attack", "params", "field", "message"),
    [
        ("SquareAttak", {}, "attack", "ART has no evasion attack SquareAttak; did you mean 'SquareAttack'?"),
        ("DPatch", {}, "attack", "DPatch needs an object detector or tracker; supported: AutoAttack, "),
        ("DeepFool", {"max_iters": 3}, "params", "DeepFool: no parameter max_iters; did you mean 'max_iter'?"),
        ("DeepFool", {"max_iter": 0.5}, "params", "DeepFool: expected max_iter to be int, received 0.5"),
        ("DeepFool", {"max_iter": True}, "params", "DeepFool: expected max_iter to be int, received True"),
        ("CarliniL2Method", {"confidence": "high"}, "params", "expected confidence to be float, received 'high'"),
        ("HopSkipJump", {"targeted": True}, "params", "expected targeted: false, received true"),
        (
            "FastGradientMethod",
            {"eps": 8},
            "params",
            "eps: expected at most 1, the range of a pixel, received 8; write 8/255",
        ),
        ("SquareAttack", {"eps": -0.1}, "params", "eps: expected more than 0, received -0.1"),
        (
            "UniversalPerturbation",
            {},
            "params",
            "received 10; write 8/255 for 8, which is ART's default; set eps in params",
        ),
        ("BasicIterativeMethod", {"eps": 0.1, "eps_step": 2}, "params", "eps_step: expected at most 2 x eps = 0.2"),
        (
            "AutoProjectedGradientDescent",
            {"eps": 0.03},
            "params",
            "received 0.1, which is ART's default; set eps_step",
        ),
        ("FastGradientMethod", {"eps": 0.03, "minimal": True}, "params", "eps_step: expected at most 2 x eps"),
        ("ProjectedGradientDescent", {"norm": 3}, "params", "norm: expected one of inf, 2, 1, received 3"),
        ("ProjectedGradientDescent", {"norm": "2"}, "params", "norm: expected one of inf, 2, 1, received '2'"),
        ("SquareAttack", {"norm": 1}, "params", "norm: expected one of inf, 2, received 1"),
        ("HopSkipJump", {"norm": 1}, "params", "norm: expected one of inf, 2, received 1"),
        ("Wasserstein", {"norm": "3"}, "params", "norm: expected one of inf, 1, 2, wasserstein, received '3'"),
        ("CarliniL2Method", {"batch_size": 0}, "params", "batch_size: expected at least 1, received 0"),
        ("ZooAttack", {"batch_size": 4}, "params", "batch_size: expected 1, received 4"),
        ("SaliencyMapMethod", {"theta": 25}, "params", "theta: expected at least -1 and at most 1, received 25"),
        ("SaliencyMapMethod", {"theta": 0}, "params", "theta: expected a number other than 0"),
        ("SimBA", {"epsilon": 25}, "params", "epsilon: expected more than 0 and at most 1, received 25"),
        ("BoundaryAttack", {"delta": 3}, "params", "delta: expected more than 0 and at most 1, received 3"),
        ("CarliniL2Method", {"initial_const": -1}, "params", "initial_const: expected more than 0, received -1"),
        ("ShadowAttack", {"sigma": 128}, "params", "sigma: expected more than 0 and at most 1, received 128"),
        ("SimBA", {"order": "zigzag"}, "params", "order: expected one of random, diag, received 'zigzag'"),
        ("UniversalPerturbation", {"eps": 0.1, "attacker": "jsma"}, "params", "attacker: expected one of carlini, "),
        (
            "TargetedUniversalPerturbation",
            {"eps": 0.1, "attacker": "bim"},
            "params",
            "attacker: expected one of fgsm, simba",
        ),
        ("GeoDA", {}, "attack", "GeoDA calls np.mat, which NumPy 2 removed"),
        (
            "PixelAttack",
            {"es": 0},
            "attack",
            "PixelAttack needs packages that ART does not install: cma is not installed",
        ),
    ],
)
def test_invalid_parameters_are_reported(attack: str, params: dict[str, Plain], field: str, message: str) -> None:
    ((where, what),) = problems(attack, params)
    assert where == field
    assert message in what


def test_targets_are_for_targeted_attacks_only() -> None:
    assert list(Art(model=MODEL, attack="SaliencyMapMethod", targets="random").check()) == []
    ((field, message),) = Art(model=MODEL, attack="DeepFool", targets="random").check()
    assert (field, message) == ("targets", "DeepFool moves away from a label and has no targets; remove `targets`")


@pytest.mark.parametrize(
    ("attack", "params", "shape", "classes", "message"),
    [
        ("AutoAttack", {}, (28, 28, 1), 2, "AutoAttack: needs at least 3 classes; the data set has 2"),
        ("SignOPTAttack", {}, (28, 28, 1), 2, "needs at least 3 classes"),
        (
            "AutoConjugateGradient",
            {"loss_type": "difference_logits_ratio"},
            (28, 28, 1),
            2,
            "needs at least 3 classes (loss_type: difference_logits_ratio); the data set has 2",
        ),
        ("SquareAttack", {}, (28, 32, 1), 10, "needs square images; those of the data set are 28 x 32"),
        ("SimBA", {}, (28, 32, 3), 10, "needs square images"),
        ("SimBA", {"freq_dim": 5, "stride": 2}, (28, 28, 3), 10, "an image side (28) of freq_dim plus a multiple"),
        ("SquareAttack", {}, (4, 4, 1), 10, "no room to move a square of 4 pixels on a side of 4"),
        ("SquareAttack", {"norm": 2}, (8, 8, 1), 10, "no room to move a square of 7 pixels on a side of 8"),
        ("ProjectedGradientDescent", {"norm": 2, "eps": 30}, (28, 28, 1), 10, "eps: expected at most 28, the largest"),
        ("VirtualAdversarialMethod", {"eps": 255}, (28, 28, 1), 10, "eps: expected at most 28"),
    ],
)
def test_parameters_that_do_not_suit_the_images_are_reported(
    attack: str, params: dict[str, Plain], shape: tuple[int, int, int], classes: int, message: str
) -> None:
    def data_problems(shape: tuple[int, int, int], classes: int, params: dict[str, Plain]) -> list[tuple[str, str]]:
        info = DataInfo(shape, tuple(map(str, range(classes))))
        return list(Art(model=MODEL, attack=attack, params=params).fits(info))

    ((field, what),) = data_problems(shape, classes, params)
    assert field == "params"
    assert message in what
    good = {name: value for name, value in params.items() if name not in ("eps", "freq_dim", "stride")}
    assert data_problems((28, 28, 3), 10, good) == []


def test_unsupported_backends_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert "set KERAS_BACKEND to tensorflow or torch" in problems("DeepFool")[0][1]
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert "needs KERAS_BACKEND=torch" in problems("ProjectedGradientDescentPyTorch")[0][1]
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert "needs KERAS_BACKEND=tensorflow" in problems("ProjectedGradientDescentTensorFlowV2")[0][1]


def test_parameter_annotations() -> None:
    assert Parameter("", None).accepts("anything")
    assert Parameter("Optional[int]", None).accepts(None)
    assert not Parameter("int", 1).accepts(None)
    assert Parameter("float", 1.0).accepts(1)
    assert not Parameter("bool", False).accepts(1)


def test_checking_imports_neither_art_nor_a_framework() -> None:
    code = (
        "import sys; from temper.core.component import Ref; from temper.generators.art import Art\n"
        "print(len(list(Art(model=Ref('m'), attack='DeepFool', params={'x': 1}).check())))\n"
        "print(*({'art', 'keras', 'tensorflow', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert out.stdout.split() == ["1"]


def test_checking_is_fast() -> None:
    attacks.cache_clear()
    parameters.cache_clear()
    start = time.perf_counter()
    problems("SquareAttack", {"eps": 0.1})
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
    def test_arts_fgsm_equals_ours(self) -> None:
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
    def test_attacks_change_predictions(self, attack: str, params: dict[str, Plain]) -> None:
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
        """AutoAttack runs other attacks and does not pass `verbose` on to them."""
        code = (
            "import numpy as np; from temper.core.component import Ref; from temper.generators.art import Art\n"
            "from tests.generators.models import images, small\n"
            "victim, (x, y) = small(), images(4)\n"
            "art = Art(model=Ref('m'), attack='AutoAttack', params={'eps': 0.9, 'eps_step': 0.3})\n"
            "print('broken', (victim.predict(art.craft(victim, x, y, np.random.default_rng(0))) != y).sum())"
        )
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert out.stdout == "broken 4\n", out.stderr
        assert "AutoPGD" not in out.stderr
