"""Radar charts: polygons show the numbers of the table, on spokes of one scale."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from temper.core.report_spec import ReportedExperiment, TableSpec
from temper.engine.report.figures import table_figures
from temper.engine.report.radar import radar
from temper.engine.tables.matrix import Matrix
from temper.engine.tables.pivot import build
from tests.engine.report.demo import row

SETS = ("random inpainting", "knw inpainting", "semantic occlusion", "noise")
BEFORE, AFTER = (0.764, 0.779, 0.602, 0.171), (0.778, 0.808, 0.698, 0.321)
SPEC = TableSpec(name="t", source="robustness", rows=("metric",), columns=("examples",), figure="radar")


def matrix(seeds: tuple[int, ...] = (1,), without: str = "", **changes: Any) -> Matrix:
    rows = [
        row("m", name, 1, eps=None, seed=seed, metric=metric, value=value + 0.01 * (seed - 1))
        for metric, values in (("before", BEFORE), ("after", AFTER))
        for name, value in zip(SETS, values, strict=True)
        for seed in seeds
        if (metric, name) != ("after", without)
    ]
    return build(replace(SPEC, **changes), rows, (), ReportedExperiment(name="x", seeds=seeds))


def drawn(table: Matrix) -> Any:
    figure = Figure()
    radar(figure, table)
    (axes,) = figure.axes
    return axes


def test_polygons_are_the_rows_and_are_closed() -> None:
    axes = drawn(matrix())
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert list(lines) == ["before (%)", "after (%)"]
    for values, points in zip((BEFORE, AFTER), lines.values(), strict=True):
        np.testing.assert_allclose(points[:, 1], [*(100 * v for v in values), 100 * values[0]])
        np.testing.assert_allclose(points[:, 0], [0, np.pi / 2, np.pi, 1.5 * np.pi, 0])
    assert [text.get_text() for text in axes.get_xticklabels()] == list(SETS)
    assert axes.get_ylim() == (0, 100)


def test_missing_cell_breaks_only_its_polygon() -> None:
    before, after = (line.get_ydata() for line in drawn(matrix(without="noise")).lines)
    assert np.isfinite(before).all()
    assert np.isnan(after).tolist() == [False, False, False, True, False]


def test_bands_are_one_standard_deviation_over_seeds() -> None:
    band = drawn(matrix((1, 2, 3))).collections[0].get_paths()[0].vertices
    low, high = 100 * BEFORE[0], 100 * (BEFORE[0] + 0.02)  # mean 77.4, standard deviation 1
    assert {round(float(y), 6) for y in band[:, 1]} >= {round(low, 6), round(high, 6)}


def test_radar_is_reproducible_and_drawn_on_request() -> None:
    (name,) = table_figures(matrix())
    assert name == "t_radar"
    png = table_figures(matrix())[name]()
    assert png == table_figures(matrix())[name]()
    pixels = np.asarray(Image.open(BytesIO(png)).convert("RGB")).reshape(-1, 3)
    colours = {tuple(pixel) for pixel in pixels.tolist()}
    assert {(0, 114, 178), (213, 94, 0)} <= colours, "both lines are there, in their colours"
    assert png != table_figures(matrix(without="noise"))[name]()


@pytest.mark.parametrize("changes", [{"where": {"examples": SETS[:2]}}, {"where": {"examples": SETS[0]}}])
def test_two_spokes_form_no_polygon(changes: dict[str, Any]) -> None:
    assert table_figures(matrix(**changes)) == {}


def test_different_units_share_no_scale() -> None:
    table = matrix()
    key = next(iter(table.cells))
    cells = {**table.cells, key: replace(table.cells[key], unit="seconds")}
    assert table_figures(replace(table, cells=cells)) == {}
