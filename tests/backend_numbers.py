"""Numbers that all Keras backends must agree on. Run as a program, it writes those of the backend in use to an .npz file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = dict[str, NDArray[Any]]


def gradients_and_attacks() -> Numbers:
    from temper.core.component import Ref
    from temper.generators.fgsm_bim_pgd import BIM, FGSM, PGD
    from tests.generators.models import images, small

    victim = small()
    rng = np.random.default_rng(1)
    victim.model.set_weights([rng.normal(scale=0.4, size=w.shape) for w in victim.model.get_weights()])
    x, y = images(40)
    found: Numbers = {"logits": victim.logits(x), "gradient": victim.loss_gradient(x, y)}
    for norm, eps in (("inf", 0.1), (2, 0.6), (1, 4.0)):
        common: dict[str, Any] = {"model": Ref("m"), "eps": eps, "norm": norm}
        steps: dict[str, Any] = {"eps_step": eps / 4, "max_iter": 6}
        for attack in (FGSM(**common), BIM(**common, **steps), PGD(**common, **steps, num_random_init=3)):
            found[f"{attack.tag} {norm}"] = attack.perturb(victim, x, y, np.random.default_rng(3))
    victim.model.set_weights([0.5 * w for w in victim.model.get_weights()])
    return found | {"logits of other weights": victim.logits(x)}


def information() -> Numbers:
    from temper.nn.training.fisher_information import diagonal_fisher
    from tests.nn.training.test_fisher_information import EVERYONE, X, logistic

    return {f"fisher {i}": part for i, part in enumerate(diagonal_fisher(logistic(), X, EVERYONE))}


def relevance() -> Numbers:
    from temper.core.classifier import Classifier
    from temper.nn.inspection.lrp import pixel_relevance
    from tests.nn.inspection.relevance import unit_relevance
    from tests.nn.inspection.test_lrp import RULES, Y, network

    x = np.random.default_rng(0).random((9, 8, 8, 2), np.float32)
    found: Numbers = {}
    for rule in RULES:
        model = Classifier(network(bias=True))
        ((_, pixels),) = pixel_relevance(model, x, rule, Y)
        found |= {f"{rule.tag} of pixels": pixels, f"{rule.tag} of units": unit_relevance(model, x, rule, Y)}
    return found


def activations() -> Numbers:
    from temper.core.classifier import Classifier
    from temper.nn.shared_stages.activation_readout import read_activations
    from tests.nn.inspection.test_lrp import network

    x = np.random.default_rng(0).random((9, 8, 8, 2), np.float32)
    seen = read_activations(Classifier(network(bias=True)), x)
    return {name: np.asarray(getattr(seen, name)) for name in ("means", "positive", "low", "high", "logits")}


def spectra_and_synthesis() -> Numbers:
    from temper.core.component import Ref
    from temper.core.run import Run
    from temper.generators.synthesis import Synthesis
    from temper.localisation.suspiciousness import DStar, Ochiai, Tarantula
    from tests.localisation.test_hit_spectrum import COMMON, examples, made, network

    model, data = network(), examples()
    found: Numbers = {}
    for measure in (Tarantula, Ochiai, DStar):
        ranking = made(measure(**COMMON, top=3), model, data)
        artefacts = {"model": model, "data": data, "neurons": ranking}
        run = Run("it", 0, "test", lambda ref, known=artefacts: known[str(ref)], lambda _: {}, lambda *_: None)
        moved = Synthesis(model=Ref("model"), neurons=Ref("neurons"), data=Ref("data"), eps=0.1).produce(run)
        found |= {measure.tag: ranking.scores, f"excited by {measure.tag}": moved.x}
    return found


def training() -> Numbers:
    from temper.nn.training.training import Attacker, TrainingSettings, fit, fit_on_the_fly, fit_pairs
    from tests.nn.training.test_training import ADVERSARIAL, RATE, X, Y, linear

    settings = TrainingSettings(epochs=2, batch_size=20, learning_rate=RATE)
    attacker = Attacker(perturb=lambda x, y, rng: x + np.float32(0.1), share=0.5, rng=np.random.default_rng(1))
    plain, pairs, flown = linear(), linear(), linear()
    losses = {
        "losses": fit(plain, X, Y, settings, seed=3),
        "losses of pairs": fit_pairs(pairs, X, ADVERSARIAL, Y, settings, ratio=0.3, seed=3),
        "losses on the fly": fit_on_the_fly(flown, X, Y, settings, attacker, rng=np.random.default_rng(0)),
    }
    weights = {"trained": plain, "trained on pairs": pairs, "trained on the fly": flown}
    return {k: np.array(v) for k, v in losses.items()} | {k: m.get_weights()[0] for k, m in weights.items()}


def continual() -> Numbers:
    from temper.core.classifier import Classifier
    from tests.repair.continual import test_repairs as repairs

    settings: dict[str, Any] = {"memory_per_class": 20, "epochs": 20, "learning_rate": 0.05}
    made = repairs.stepwise(repairs.ClassIncremental, Classifier(repairs.network()), **settings)
    # The head is renewed by the backend's own random numbers: what is the same is that it learns.
    return {"learns": np.array([repairs.accuracy(made, 1, 0) > 0.9])}


GROUPS: tuple[Callable[[], Numbers], ...] = (
    gradients_and_attacks, information, relevance, activations, spectra_and_synthesis, training, continual
)  # fmt: skip


def numbers() -> Numbers:
    """Return all numbers by name, computed by the backend in use."""
    found: Numbers = {}
    for group in GROUPS:
        found |= {f"{group.__name__}: {name}": value for name, value in group().items()}
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **numbers())  # type: ignore[arg-type]
