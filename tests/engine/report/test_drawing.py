"""Pictures of localisation results, and of examples by class."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from temper.core.report_spec import ClassGrid, DirectionGrid, LayerMap, Picture, RelevanceMap
from temper.engine.report.drawing import draw
from temper.engine.report.localisation_maps import _layers, _lines, _scale
from tests.engine.report.demo import digits_grid

RNG = np.random.default_rng(0)
NAMES = ("dark", "light")
RELEVANCE = RelevanceMap(name="lrp seed=1", classes=NAMES, relevance=RNG.normal(size=(2, 4, 4, 1)))
UNITS = LayerMap(
    name="tarantula", classes=NAMES, layers=(("a", 3), ("b", 4)), scores=RNG.random((2, 7)), selected=([0, 5], [6])
)
IMAGES = [RNG.random((n, 6, 6, 1)).astype(np.float32) for n in (3, 1)]
BY_CLASS = ClassGrid(
    name="dgn.test eps=0.1", classes=NAMES, clean=IMAGES, made=IMAGES, predicted=[["0", "1", ""], [""]],
    wrong=[[False, True, False], [False]],
)  # fmt: skip
BY_DIRECTION = DirectionGrid(
    name="drfuzz.test", classes=("4 → 9 (812)", "9 → 4 (3)"), clean=IMAGES, made=IMAGES, predicted=[["9"] * 3, ["4"]],
    wrong=[[True] * 3, [True]],
)  # fmt: skip


def pixels(picture: Picture) -> Any:
    return np.asarray(Image.open(BytesIO(draw(picture).png)).convert("RGB")).reshape(-1, 3)


def share(picture: Picture, colour: tuple[int, int, int]) -> float:
    return float((pixels(picture) == colour).all(axis=1).mean())


@pytest.mark.parametrize(
    ("picture", "name"),
    [
        (digits_grid(RNG), "examples_pgd-eps-0.1"),
        (BY_CLASS, "classes_dgn.test-eps-0.1"),
        (BY_DIRECTION, "directions_drfuzz.test"),
        (RELEVANCE, "relevance_lrp-seed-1"),
        (UNITS, "units_tarantula"),
    ],
)
def test_pictures_are_reproducible_and_have_unique_names(picture: Picture, name: str) -> None:
    drawn = draw(picture)
    assert drawn.name == name
    assert picture.name in drawn.caption
    assert pixels(picture).std() > 5, "an empty canvas has one colour"
    assert draw(picture) == drawn


def test_class_without_relevance_is_empty() -> None:
    gaps = replace(RELEVANCE, relevance=np.where(np.arange(2)[:, None, None, None] == 1, np.nan, RELEVANCE.relevance))
    assert share(RELEVANCE, (236, 239, 241)) == 0.0
    assert share(gaps, (236, 239, 241)) > 0.2


def test_strongest_pixels_for_and_against_have_the_end_colours() -> None:
    relevance = np.zeros((1, 2, 2, 1))
    relevance[0, 0, 0], relevance[0, 1, 1] = 0.5, -0.5
    picture = replace(RELEVANCE, classes=("one",), relevance=relevance)
    for colour in ((103, 0, 31), (5, 48, 97)):  # the ends of RdBu
        assert share(picture, colour) > 0.1


def test_selected_units_are_outlined_and_unlocalised_classes_marked() -> None:
    nobody = replace(UNITS, selected=([], []))
    ink = (29, 37, 48)
    assert share(UNITS, ink) > share(nobody, ink)
    unknown = replace(nobody, scores=np.where([[True], [False]], UNITS.scores, np.nan))
    assert share(nobody, (236, 239, 241)) == 0.0
    assert share(unknown, (236, 239, 241)) > 0.02


@pytest.mark.parametrize("classes", [("0",), tuple("0123456789"), ("aeroplane", "not a very short name")])
@pytest.mark.parametrize(
    "layers", [[("a", 2)], [("dense", 4), ("conv5_block3_3_conv", 3)], [("a", 30)] * 5, [("a", 84)]]
)
def test_maps_names_and_scale_do_not_overlap(classes: tuple[str, ...], layers: list[tuple[str, int]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    units = sum(n for _, n in layers)
    scores = RNG.random((len(classes), units))
    scores[-1] = np.nan
    figure = Figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    _layers(figure, LayerMap(name="n", classes=classes, layers=layers, scores=scores, selected=[[0]] * len(classes)))
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    assert len(boxes) == len(classes) + 1
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_wide_layer_continues_on_the_next_line() -> None:
    wide = replace(UNITS, layers=(("a", 10), ("b", 130)), scores=RNG.random((2, 140)), selected=([139], []))
    assert _lines(wide) == [(0, 10), (10, 64), (74, 64), (138, 2)]
    assert draw(wide).png


def test_outliers_and_infinite_scores_do_not_determine_the_scale() -> None:
    scores = np.linspace(0, 1, 500)
    assert _scale(scores) == (0.0, 1.0)
    low, high = _scale(np.append(scores, [100.0, np.inf, np.nan]))
    assert low == 0.0
    assert high < 1.1
    assert _scale(np.array([np.nan, np.inf])) == (0.0, 1.0)
    assert _scale(np.zeros(3)) == (0.0, 1.0)
    assert _scale(np.array([-0.5, 2.0, -np.inf])) == (-2.0, 2.0)
    assert draw(replace(UNITS, scores=np.where(UNITS.scores > 0.5, np.inf, UNITS.scores))).png


def test_signed_scores_are_centred_at_zero() -> None:
    signed = replace(UNITS, scores=np.tile([-1.0, 0.0, 1.0, -1.0, 0.0, 0.0, 1.0], (2, 1)), selected=([], []))
    for colour in ((103, 0, 31), (5, 48, 97)):  # the ends of RdBu
        assert share(signed, colour) > 0.01
        assert share(replace(signed, scores=np.abs(signed.scores)), colour) == 0.0


def test_wrong_predictions_are_framed_in_red() -> None:
    red = (179, 38, 30)
    right = replace(BY_CLASS, wrong=[[False] * 3, [False]])
    assert share(BY_CLASS, red) > 0.005
    assert share(right, red) == 0.0
    assert "framed" in draw(BY_CLASS).caption
    assert "framed" not in draw(replace(BY_CLASS, predicted=[[""] * 3, [""]])).caption


def test_white_image_has_a_visible_edge() -> None:
    white = [np.ones_like(images) for images in IMAGES]
    unknown = [[""] * 3, [""]]
    shown = pixels(replace(BY_CLASS, clean=white, made=white, predicted=unknown))
    assert ((shown > 190) & (shown < 245)).all(axis=1).mean() > 0.01


def test_only_the_first_of_many_classes_are_shown() -> None:
    many = replace(RELEVANCE, classes=[str(i) for i in range(43)], relevance=RNG.normal(size=(43, 4, 4, 3)))
    assert draw(many).caption.endswith("; the first 12 of 43 classes")
