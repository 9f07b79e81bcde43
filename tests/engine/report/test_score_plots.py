"""Score plots: reproducible, empty where values are missing, and with bins that contain every input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from temper.core.report_spec import FaultCurves, Picture, ScoreCorrelations, ScoreHistograms
from temper.engine.report.drawing import draw
from temper.engine.report.score_plots import BINS, _edges, _is_wide
from tests.engine.report.test_drawing import pixels, share

RNG = np.random.default_rng(0)
SCORES, SETS = ("dsa", "lsa"), ("clean", "fgsm eps=0.1")
VALUES = [[RNG.normal(i + j, 1, 200) for j in range(2)] for i in range(2)]
HISTOGRAMS = ScoreHistograms(name="mlp seed=1", scores=SCORES, sets=SETS, values=VALUES)
AGREE = [np.array([[1, -0.001], [-0.001, 1]]), np.array([[1, 0.8], [0.8, 1]])]
CORRELATIONS = ScoreCorrelations(name="mlp seed=1", scores=SCORES, sets=SETS, correlations=AGREE)
CURVES = FaultCurves(name="mlp", curves={"clean": {"dsa": np.array([0, 1, 2, 2]), "nc": np.array([0, 0, 1, 2])}})
EMPTY = (236, 239, 241)


@pytest.mark.parametrize(
    ("picture", "name"),
    [(HISTOGRAMS, "scores_mlp-seed-1"), (CORRELATIONS, "correlations_mlp-seed-1"), (CURVES, "faults_mlp")],
)
def test_plots_are_reproducible_and_have_unique_names(picture: Picture, name: str) -> None:
    drawn = draw(picture)
    assert drawn.name == name
    assert picture.name in drawn.caption
    assert pixels(picture).std() > 5
    assert draw(picture) == drawn


def test_undefined_correlations_are_empty() -> None:
    gaps = replace(CORRELATIONS, correlations=[AGREE[0], np.full((2, 2), np.nan)])
    assert share(CORRELATIONS, EMPTY) == 0.0
    assert share(gaps, EMPTY) > 0.1


def test_sets_without_scores_and_scores_without_spread_are_drawn() -> None:
    odd = replace(HISTOGRAMS, values=[[np.zeros(0), np.full(5, np.nan)], [np.zeros(9), np.array([0.0, np.nan])]])
    assert pixels(odd).std() > 5


def test_number_of_bins_follows_the_smallest_set() -> None:
    many = RNG.normal(size=100_000)
    assert len(_edges([many, many[:2000]], logarithmic=False)) - 1 == 25
    assert len(_edges([many, many[:5], many[:0]], logarithmic=False)) - 1 == BINS[0]
    assert len(_edges([many], logarithmic=False)) - 1 == BINS[1]
    assert np.isfinite(_edges([many[:0]], logarithmic=False)).all()


def test_scores_of_a_confident_model_have_a_logarithmic_scale() -> None:
    sure = 10 ** RNG.uniform(-12, -3, 1000)
    sure[:10] = 0.0
    assert _is_wide([sure])
    assert not _is_wide([np.abs(RNG.normal(1, 0.2, 1000))])
    assert not _is_wide([sure - 1e-6])
    assert not _is_wide([np.zeros(50)])
    edges = _edges([sure], logarithmic=True)
    assert np.allclose(np.diff(np.log10(edges)), np.log10(edges[1] / edges[0]))
    held = np.histogram(np.clip(sure, edges[0], edges[-1]), edges)[0]
    assert held.sum() == 1000
    assert held.max() < 150
