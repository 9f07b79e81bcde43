"""Likelihood-based and Mahalanobis surprise by hand, against SciPy and scikit-learn, and where covariances are singular."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import gaussian_kde, multivariate_normal
from sklearn.covariance import EmpiricalCovariance

from temper.core.errors import StageError
from temper.evaluation.surprise import lsa, spreads
from temper.evaluation.surprise.lsa import LSA
from temper.evaluation.surprise.mdsa import MDSA
from temper.evaluation.surprise.spreads import SpreadScore
from temper.nn.adequacy.score import NOT_FITTED_ON
from tests.evaluation.surprise.support import remarks, seen, values

AS_PUBLISHED = LSA(mask="union", self_match="include", floor=0.0)
both = pytest.mark.parametrize("score", [LSA(), MDSA()], ids=lambda s: s.tag)


def normal(x: float, centre: float, variance: float) -> float:
    return float(np.exp(-((x - centre) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))


def test_by_hand() -> None:
    # Class 0 at -1, 0 and 1: variance 1, Scott's factor 3^(-1/5), class 1 at 5 and 7: variance 2, factor 2^(-1/5).
    train = seen([[-1], [0], [1], [5], [7]], [0, 0, 0, 1, 1])
    found = values(LSA(), train, seen([[0], [2], [5.5]], [0, 0, 1]))
    first, second = 3 ** (-2 / 5), 2 * 2 ** (-2 / 5)
    expected = [
        -np.log(np.mean([normal(0, c, first) for c in (-1, 0, 1)])),
        -np.log(np.mean([normal(2, c, first) for c in (-1, 0, 1)])),
        -np.log(np.mean([normal(5.5, c, second) for c in (5, 7)])),
    ]
    assert found == pytest.approx(expected, rel=1e-12)
    own = values(LSA(), train, train, np.arange(5))
    assert own[1] == pytest.approx(-np.log(np.mean([normal(0, c, first) for c in (-1, 1)])))
    assert own[3] == pytest.approx(-np.log(normal(5, 7, second)))
    with_itself = values(LSA(self_match="include"), train, train, np.arange(5))
    assert with_itself[1] == pytest.approx(expected[0])


def test_distance_by_hand() -> None:
    train = seen([[-1], [0], [1], [5], [7]], [0, 0, 0, 1, 1])
    assert values(MDSA(), train, seen([[0], [2], [4]], [0, 0, 1])) == pytest.approx([0, 2, 2 / np.sqrt(2)])


def cloud(n: int = 600, d: int = 12, classes: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(classes, d, d))
    labels = rng.integers(0, classes, n)
    return np.einsum("nd,nde->ne", rng.normal(size=(n, d)), mixing[labels]).astype(np.float32), labels


@pytest.mark.parametrize("score", [LSA(), AS_PUBLISHED], ids=["default", "published"])
def test_against_scipy(score: LSA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsa, "ROWS", 64)
    monkeypatch.setattr(lsa, "COLUMNS", 50)
    traces, labels = cloud()
    train, test, predicted = traces[:400], traces[400:], labels[400:]
    found = values(score, seen(train, labels[:400]), seen(test, predicted))
    for c in range(3):
        kernels = gaussian_kde(train[labels[:400] == c].astype(np.float64).T)
        expected = -kernels.logpdf(test[predicted == c].astype(np.float64).T)
        assert found[predicted == c] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_leave_one_out_matches_the_definition() -> None:
    traces, labels = cloud(n=90, d=4)
    train = seen(traces, labels)
    own = np.r_[np.arange(60), np.full(30, NOT_FITTED_ON)]
    found = values(LSA(), train, train, own)
    for i in (0, 7, 59, 60, 89):
        same = np.flatnonzero(labels == labels[i])
        points = traces[same].astype(np.float64)
        width = len(same) ** (-2 / (4 + 4)) * np.cov(points, rowvar=False)
        kernels = multivariate_normal.pdf(points, mean=traces[i].astype(np.float64), cov=width)
        density = kernels[same != i].mean() if own[i] >= 0 else kernels.mean()
        assert found[i] == pytest.approx(-np.log(density), rel=1e-9)


def test_distance_against_scikit_learn() -> None:
    traces, labels = cloud()
    found = values(MDSA(), seen(traces[:400], labels[:400]), seen(traces[400:], labels[400:]))
    for c in range(3):
        own = traces[:400][labels[:400] == c].astype(np.float64)
        fitted = EmpiricalCovariance().fit(own)  # divides by n, where a covariance divides by n - 1
        squares = fitted.mahalanobis(traces[400:][labels[400:] == c].astype(np.float64)) * (len(own) - 1) / len(own)
        assert found[labels[400:] == c] ** 2 == pytest.approx(squares, rel=1e-9)


def test_far_away_is_a_large_number_and_not_infinity() -> None:
    traces, labels = cloud(n=100, d=3)
    far = values(LSA(), seen(traces, labels), seen(np.full((1, 3), 1e4), [0]))[0]
    assert 1e5 < far < 1e12


def test_units_of_low_variance_are_omitted_by_class_or_overall() -> None:
    traces, labels = cloud(n=200, d=4, classes=2)
    traces[labels == 0, 3] = 0.5
    train, test = seen(traces, labels), seen(traces + np.float32(0.1), labels)
    found = {mask: values(LSA(mask=mask), train, test) for mask in ("per_class", "union")}
    three, four = (values(LSA(), seen(traces[:, :d], labels), seen(traces[:, :d] + 0.1, labels)) for d in (3, 4))
    assert np.array_equal(found["union"], three)
    assert np.array_equal(found["per_class"][labels == 0], three[labels == 0])
    assert np.array_equal(found["per_class"][labels == 1], four[labels == 1])
    assert not np.allclose(three[labels == 1], four[labels == 1])
    assert "0 to 1 of 4 units excluded" in remarks(LSA(), train)
    assert "1 of 4 units excluded" in remarks(LSA(mask="union"), train)


@both
def test_a_singular_covariance_is_regularised_and_reported(score: SpreadScore) -> None:
    traces, labels = cloud(n=200, d=3, classes=2)
    doubled = np.hstack([traces, traces[:, :1]])  # a unit that repeats another
    train = seen(doubled, labels)
    off = doubled[:1].copy()
    off[0, 3] += 1.0  # where no training image is
    on, away = values(score, train, seen(doubled[:1], labels[:1])), values(score, train, seen(off, labels[:1]))
    assert np.isfinite(on).all()
    assert away > on + 100
    assert "singular covariance, lifted to the floor in at most 1 directions: 0, 1" in remarks(score, train)


@both
def test_fewer_images_than_units(score: SpreadScore) -> None:
    traces, labels = cloud(n=40, d=30, classes=2)
    train = seen(traces, labels)
    assert np.isfinite(values(score, train, train, np.arange(40))).all()
    assert "singular covariance" in remarks(score, train)


def test_as_published_a_singular_covariance_is_an_error() -> None:
    traces, labels = cloud(n=200, d=3, classes=2)
    with pytest.raises(StageError, match="covariance of class 0 is singular"):
        remarks(AS_PUBLISHED, seen(np.hstack([traces, traces[:, :1]]), labels))


@both
@pytest.mark.parametrize("floor", [1e-3, 1e-6, 1e-15, 1e-30])
@pytest.mark.parametrize("least", [1e-2, 1e-7, 1e-14, 0.0])
def test_no_direction_is_ever_lowered(score: SpreadScore, floor: float, least: float) -> None:
    score = type(score)(floor=floor, var_threshold=0.0)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    covariance = rotation @ np.diag([1.0, 0.5, least]) @ rotation.T
    root, volume, _ = score._whitening(covariance, 0)
    made = np.linalg.eigvalsh(np.linalg.inv(root @ root.T))
    bound = max(floor * np.trace(covariance) / 3, spreads.ROUNDING)
    assert made == pytest.approx(sorted([max(least, bound), 0.5, 1.0]), rel=1e-2)
    assert volume == pytest.approx(np.log(made).sum() / 2, abs=1e-2)


@pytest.mark.parametrize("floor", [1e-9, 1e-15])
def test_less_floor_is_more_surprise_off_the_classes_plane(floor: float) -> None:
    traces, labels = cloud(n=200, d=3, classes=1)
    train = seen(np.hstack([traces, traces[:, :1]]), labels)
    off = np.hstack([traces[:1], traces[:1, :1] + 1e-3])
    found = [values(MDSA(floor=f), train, seen(off, labels[:1]))[0] for f in (1e-3, floor)]
    assert found[1] > found[0]


def softmaxes(n: int, seed: int) -> tuple[Any, Any]:
    """Return probabilities of three classes, float32, whose rows sum to 1, and the likelier of the first two."""
    logits = np.random.default_rng(seed).normal(size=(n, 3))
    odds = np.exp(logits)
    p = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return p, (p[:, 1] > p[:, 0]).astype(np.int64)


def test_as_published_a_softmax_has_scipys_scores() -> None:
    (train, of_train), (test, of_test) = softmaxes(300, 0), softmaxes(50, 1)
    score = LSA(mask="union", self_match="include", singular="published")
    found = values(score, seen(train, of_train), seen(test, of_test))
    lifted = values(LSA(mask="union", self_match="include"), seen(train, of_train), seen(test, of_test))
    for c in range(2):
        kernels = gaussian_kde(train[of_train == c].T)
        expected = -kernels.logpdf(test[of_test == c].T)
        # Of an eigenvalue of 1e-15, a hundredth is rounding.
        assert found[of_test == c] == pytest.approx(expected, abs=0.2)
        assert np.corrcoef(found[of_test == c], expected)[0, 1] > 0.9999
        assert np.abs(lifted[of_test == c] - expected).max() > 1
    assert "kept as published, so that scores depend on rounding errors, in at most 1 directions: 0, 1" in remarks(
        score, seen(train, of_train)
    )


def test_as_published_what_has_no_root_is_an_error() -> None:
    traces, labels = cloud(n=6, d=12, classes=1)
    with pytest.raises(
        StageError, match=r"class 0 is singular \(7 of 12 directions\); the published code fails here, too"
    ):
        remarks(LSA(singular="published"), seen(traces, labels))


def test_what_is_not_singular_is_the_same_as_published() -> None:
    traces, labels = cloud()
    train, test = seen(traces[:400], labels[:400]), seen(traces[400:], labels[400:])
    for kind in (LSA, MDSA):
        np.testing.assert_array_equal(values(kind(singular="published"), train, test), values(kind(), train, test))


def test_a_floor_has_no_part_in_what_is_kept() -> None:
    assert [field for field, _ in LSA(singular="published", floor=1e-9).check()] == ["floor"]
    assert not list(LSA(singular="published").check())


@both
def test_equal_values_do_not_vary_whatever_rounding_says(score: SpreadScore) -> None:
    traces, labels = cloud(n=90, d=2, classes=1)
    score = type(score)(var_threshold=0.0)
    constant = np.full((90, 1), 0.1)
    found = values(score, seen(np.hstack([traces, constant]), labels), seen([[0.1, 0.2, 5.0]], [0]))
    assert found == values(score, seen(traces, labels), seen([[0.1, 0.2]], [0]))


@both
def test_classes_that_cannot_be_scored_are_reported(score: SpreadScore) -> None:
    train = seen([[0], [1], [2], [9], [3], [3]], [0, 0, 0, 1, 2, 2], classes=4)
    test = seen([[1], [9], [3], [3]], [0, 1, 2, 3], classes=4)
    assert np.isnan(values(score, train, test)).tolist() == [False, True, True, True]
    said = remarks(score, train)
    assert "classes predicted for fewer than 2 training images, so that they have no scores: 1, 3" in said
    assert "classes in which no unit varies, so that they have no scores: 2" in said


@both
def test_where_nothing_can_be_judged_there_is_an_error(score: SpreadScore) -> None:
    with pytest.raises(StageError, match="predicted for 2 training images"):
        values(score, seen([[0], [1]], [0, 1]), seen([[0]], [0]))
    with pytest.raises(StageError, match="variance is at least 1e-05"):
        values(score, seen([[1], [1]], [0, 0]), seen([[0]], [0]))
    with pytest.raises(StageError, match="finite activations"):
        values(score, seen([[np.nan], [np.nan]], [0, 0]), seen([[0]], [0]))


@both
def test_what_is_no_number_has_no_score(score: SpreadScore) -> None:
    train = seen([[0], [1], [2], [np.nan]], [0, 0, 0, 0])
    found = values(score, train, seen([[1], [np.inf]], [0, 0]))
    assert np.isnan(found).tolist() == [False, True]
    assert found[0] == values(score, seen([[0], [1], [2]], [0, 0, 0]), seen([[1]], [0]))[0]
    assert "1 training images without finite activations" in remarks(score, train)


def test_the_short_way_to_a_measure_is_taken_where_no_direction_is_lifted() -> None:
    traces, _ = cloud(n=300, d=10, classes=1)
    covariance = np.cov(traces.astype(np.float64), rowvar=False)
    least = float(np.linalg.eigvalsh(covariance).min())
    root = spreads._inverse_root(covariance, least / 11)
    assert root is not None
    np.testing.assert_allclose(root.T @ covariance @ root, np.eye(10), atol=1e-9)
    assert spreads._inverse_root(covariance, 1.01 * least) is None
    assert spreads._inverse_root(np.ones((3, 3)), 1e-6) is None


def test_both_ways_to_a_measure_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    traces, labels = cloud()
    train, test = seen(traces[:400], labels[:400]), seen(traces[400:], labels[400:])
    short = [values(score, train, test) for score in (LSA(), MDSA())]
    monkeypatch.setattr(spreads, "_inverse_root", lambda covariance, least: None)
    long = [values(score, train, test) for score in (LSA(), MDSA())]
    np.testing.assert_allclose(short, long, rtol=1e-10)


def test_near_and_far_together(monkeypatch: pytest.MonkeyPatch) -> None:
    # Far inputs, whose kernels are all below the least number, beside near ones, block by block.
    monkeypatch.setattr(lsa, "COLUMNS", 8)
    rng = np.random.default_rng(1)
    train = rng.normal(size=(40, 2))
    places = np.array([[0.0, 0.0], [60.0, 0.0], [0.3, -0.1], [0.0, 400.0]])
    found = values(LSA(), seen(train, [0] * 40), seen(places, [0] * 4))
    kernels = gaussian_kde(np.float64(np.float32(train)).T)
    assert found == pytest.approx(-kernels.logpdf(np.float64(np.float32(places)).T), rel=1e-9)
