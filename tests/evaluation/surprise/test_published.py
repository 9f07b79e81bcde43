"""Scores on a published model and real images: equal to SciPy's and to the definition, and what self-matching is worth."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from temper.core.classifier import Classifier
from temper.evaluation.scores.uncertainty import DeepGini, Entropy
from temper.evaluation.surprise.dsa import DSA
from temper.evaluation.surprise.lsa import LSA
from temper.evaluation.surprise.mdsa import MDSA
from temper.nn.adequacy.reference_data import Arrays, ReferenceData
from temper.nn.adequacy.score import NOT_FITTED_ON, Score, Scores
from temper.nn.editing.logits import to_logits
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import read_activations
from temper.system import backend
from tests.evaluation.surprise.test_dsa import looped
from tests.targets.models.support import shared

pytestmark = [pytest.mark.shared, pytest.mark.slow]
EPS = 0.05
TRAIN, ATTACKED = 6000, 600
PUBLISHED = LSA(mask="union", self_match="include")


@cache
def seen() -> tuple[Activations, Activations, Any]:
    """Return activations of guided retraining's Fashion-MNIST model on training images and FGSM's of others, and their labels."""
    path = shared("models", "guided_retraining", "model_fashion.h5")
    with np.load(shared("data", "fashion_mnist.npz")) as file:
        x = file["x_train"][: TRAIN + ATTACKED, ..., None].astype(np.float32) / 255
        y = file["y_train"][: TRAIN + ATTACKED].astype(np.int64)
    classifier = Classifier(to_logits(backend.keras().models.load_model(path, compile=False)))
    clean = x[TRAIN:]
    adversarial = np.clip(clean + EPS * np.sign(classifier.loss_gradient(clean, y[TRAIN:])), 0, 1).astype(np.float32)
    return read_activations(classifier, x[:TRAIN]), read_activations(classifier, adversarial), y


@cache
def learnt(score: Score) -> Arrays:
    nothing = cast(Any, SimpleNamespace(info={}))
    return score.fit(ReferenceData(nothing, nothing, seen()[0], nothing)) if score.learns else {}


def values(score: Score, inputs: Activations, own: Any = None) -> Scores:
    own = np.full(len(inputs), NOT_FITTED_ON) if own is None else own
    return score.values(learnt(score), inputs, own, np.random.default_rng(0))


def first(score: Score) -> float:
    """Return the share of adversarial images among as many first ones of clean and adversarial images together."""
    train, adversarial, _ = seen()
    both = np.concatenate([values(score, train, np.arange(TRAIN)), values(score, adversarial)])
    return float((np.argsort(-both, kind="stable")[:ATTACKED] >= TRAIN).mean())


def test_distance_is_the_definitions() -> None:
    train, adversarial, _ = seen()
    place = train.units(train.last_hidden)
    few, own = adversarial.take(slice(0, 150)), np.arange(150)
    traces = train.means[:, place]
    found = values(DSA(), few)
    expected = looped(traces, train.predicted, few.means[:, place], few.predicted, np.full(150, NOT_FITTED_ON))
    assert found == pytest.approx(expected, abs=1e-9)
    found = values(DSA(), train.take(own), own)
    assert found == pytest.approx(looped(traces, train.predicted, traces[own], train.predicted[own], own), abs=1e-9)


def test_likelihood_is_scipys_where_scipys_can_be_had() -> None:
    train, adversarial, _ = seen()
    units = train.units(train.last_hidden)[learnt(PUBLISHED)["kept"].any(axis=0)]
    assert 20 <= len(units) <= 35, "35 of 64 on all 48,999 training images, by the published figures"
    found, lifted = values(PUBLISHED, adversarial), learnt(PUBLISHED)["singular"]
    assert 0 < (lifted > 0).sum() <= 5, "published code ends at one that is singular"
    for label in np.unique(adversarial.predicted):
        rows = np.flatnonzero(adversarial.predicted == label)[:30]
        assert np.isfinite(found[rows]).all()
        if not lifted[label]:
            kernels = gaussian_kde(train.means[train.predicted == label][:, units].astype(np.float64).T)
            inputs = adversarial.means[rows][:, units].astype(np.float64)
            assert found[rows] == pytest.approx(-kernels.logpdf(inputs.T), abs=1e-5)


def test_self_matches_reveal_training_images() -> None:
    train, _, _ = seen()
    assert (values(DSA(self_match="include"), train, np.arange(TRAIN)) == 0).all()
    assert first(DSA(self_match="include")) == 1.0, "as published: an oracle, not guidance"
    assert first(DSA()) < 0.6
    assert first(LSA()) < first(LSA(self_match="include"))


def test_uncertainties_agree_and_surprise_is_another_thing() -> None:
    _, adversarial, _ = seen()
    ranks = [values(score, adversarial).argsort().argsort() for score in (DeepGini(), Entropy(), DSA(), MDSA())]
    agree = np.asarray(np.corrcoef(ranks))
    assert agree[0, 1] > 0.98
    assert agree[0, 3] < 0.9
