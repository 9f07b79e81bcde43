"""Figures: which are drawn, what they show, and that equal numbers give equal bytes."""

import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from temper.core.report_spec import ReportedExperiment, TableSpec
from temper.engine.report.bars import bars
from temper.engine.report.curves import curves_along
from temper.engine.report.figures import table_figures
from temper.engine.report.image_grids import grid_figure
from temper.engine.tables.matrix import Matrix
from temper.engine.tables.pivot import build
from tests.engine.report.demo import BY_EPS, TABLE, demo_experiment, demo_holes, demo_rows, digits_grid, row


def demo(spec: TableSpec) -> Matrix:
    return build(spec, demo_rows(), demo_holes(), demo_experiment())


def pixels(png: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def test_table_with_a_numeric_axis_has_a_heat_map_and_curves() -> None:
    figures = {name: draw() for name, draw in table_figures(demo(TABLE)).items()}
    assert list(figures) == ["table_2_heatmap", "table_2_by_eps"]
    for png in figures.values():
        assert pixels(png).std() > 5, "an empty canvas has one colour"
    assert {name: draw() for name, draw in table_figures(demo(TABLE)).items()} == figures


def test_curves_show_the_cells_of_the_table() -> None:
    curves = curves_along(demo(TABLE), "columns", 1)
    assert [panel for panel, line, _ in curves if line == "mlp"] == ["mnist", "fgsm", "pgd", "dgn_susp"]
    (points,) = [points for panel, line, points in curves if (panel, line) == ("pgd", "pgd_robust")]
    assert [(x, round(cell.mean, 4)) for x, cell in points] == [(0.1, 0.9471), (0.2, 0.9391), (0.3, 0.9217)]


def test_each_metric_has_its_own_panel() -> None:
    rows = [
        row(model, "", 100 * k, eps=None, seed=None, metric=metric, k=k, value=k * scale, unit=unit)
        for model in ("tarantula", "ochiai")
        for k in (5, 10, 50)
        for metric, scale, unit in (("accuracy", 0.01, "proportion"), ("l2", 1, "pixels"))
    ]
    spec = TableSpec(name="t", source="robustness", rows=("model", "k"), columns=("metric",))
    matrix = build(spec, rows, (), ReportedExperiment(name="x", axes={"k": (5, 10, 50)}))
    curves = curves_along(matrix, "rows", 1)
    assert {(panel, line) for panel, line, _ in curves} == {
        (metric, model) for metric in ("accuracy (%)", "l2 (pixels)") for model in ("tarantula", "ochiai")
    }
    assert list(table_figures(matrix)) == ["t_by_k"]


def test_bar_lengths_equal_the_numbers() -> None:
    rows = [row("mlp", examples, 1, eps=None, seed=None, group=group, value=value)
            for group, examples, value in (("nc", "clean", 0.5), ("nc", "pgd", 0.25), ("idc", "clean", 1.0))]  # fmt: skip
    spec = TableSpec(name="t", source="robustness", rows=("group",), columns=("examples",), figure="bars")
    matrix = build(spec, rows, (), ReportedExperiment(name="x"))
    (name,) = table_figures(matrix)
    assert name == "t_bars"
    figure = Figure()
    bars(figure, matrix)
    (axes,) = figure.axes
    lengths = {(bar.get_width(), round(bar.get_y() + bar.get_height() / 2, 2)) for bar in axes.patches}
    assert {length for length in lengths if length[0] == length[0]} == {(50.0, -0.2), (100.0, 0.8), (25.0, 0.2)}
    assert [text.get_text() for text in axes.get_yticklabels()] == ["nc", "idc"]


def test_missing_cell_ends_a_curve() -> None:
    curves = curves_along(demo(TABLE), "columns", 1)
    (points,) = [points for panel, line, points in curves if (panel, line) == ("dgn_susp", "pgd_robust")]
    assert [x for x, _ in points] == [0.1, 0.2]


def test_panels_are_the_other_labels_on_the_side_of_the_axis() -> None:
    curves = curves_along(demo(BY_EPS), "rows", 1)
    assert {panel for panel, _, _ in curves} == {"mlp", "fgsm_robust", "pgd_robust"}
    assert {line for _, line, _ in curves} == {"mnist", "pgd"}


@pytest.mark.parametrize(("side", "depth"), [("columns", 0), ("rows", 0)])
def test_names_are_not_a_numeric_axis(side: Any, depth: int) -> None:
    assert curves_along(demo(TABLE), side, depth) == []


def test_metrics_in_different_units_share_no_colour_scale() -> None:
    seconds = row("a", "pgd", 1, eps=None, seed=None, metric="time", value=12.5, unit="seconds")
    frame = [row("a", "pgd", 5000, eps=None, seed=None), seconds]
    matrix = build(replace(TABLE, metric=None, columns=("metric",)), frame, (), ReportedExperiment(name="x"))
    assert table_figures(matrix) == {}


@pytest.mark.parametrize(("unit", "drawn"), [("score", []), ("proportion", ["t_heatmap"])])
def test_scores_of_different_kinds_share_no_colour_scale(unit: str, drawn: list[str]) -> None:
    rows = [row("mlp", "clean", 1, eps=None, seed=None, metric="mean", group=group, value=value, unit=unit)
            for group, value in (("lsa", 0.8), ("dsa", 0.4))]  # fmt: skip
    spec = TableSpec(name="t", source="robustness", rows=("group",), columns=("examples",), metric="mean")
    assert list(table_figures(build(spec, rows, (), ReportedExperiment(name="x")))) == drawn


def test_long_bar_name_is_wrapped() -> None:
    name = "nc (layers " + "+".join(f"block{i}_conv1" for i in range(12)) + ")"
    rows = [row("mlp", "clean", 1, eps=None, seed=None, group=group, value=0.5) for group in (name, "idc (m 8)")]
    spec = TableSpec(name="t", source="robustness", rows=("group",), columns=("examples",), figure="bars")
    figure = Figure()
    bars(figure, build(spec, rows, (), ReportedExperiment(name="x")))
    folded, short = (text.get_text().split("\n") for text in figure.axes[0].get_yticklabels())
    assert short == ["idc (m 8)"]
    assert folded[:2] == ["nc (layers block0_conv1+", "block1_conv1+block2_conv1+"]
    assert len(folded) == 4
    assert folded[-1].endswith("…")


def test_examples_show_every_image_once_in_each_row() -> None:
    grid = digits_grid(np.random.default_rng(0))
    assert pixels(grid_figure(grid)).shape[1] > pixels(grid_figure(replace(grid, clean=grid.clean[:2]))).shape[1]


def test_difference_is_stretched_and_grey_where_nothing_changed() -> None:
    colour = np.full((1, 4, 4, 3), 0.5, np.float32)
    moved = colour.copy()
    moved[:, :, 2:, 0] += 0.25
    grid = replace(digits_grid(np.random.default_rng(0)), clean=colour, perturbed=moved, true=[1], predicted=[1])
    shown = {tuple(pixel) for pixel in pixels(grid_figure(grid)).reshape(-1, 3)}
    assert (255, 127, 127) in shown
    assert (127, 127, 127) in shown
    assert (255, 127, 127) not in {
        tuple(p) for p in pixels(grid_figure(replace(grid, perturbed=colour))).reshape(-1, 3)
    }


def test_drawing_leaves_no_global_figure_behind() -> None:
    code = (
        "import sys\n"
        "from temper.engine.report.image_grids import grid_figure\n"
        "from tests.engine.report.demo import digits_grid\n"
        "import numpy as np\n"
        "grid_figure(digits_grid(np.random.default_rng(0)))\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def against(spec: TableSpec) -> Matrix:
    """Two models at three values of an axis, each trained on the number of inputs that it reports, and an original."""
    rows = [
        row(
            model,
            examples,
            hits,
            eps=None,
            seed=seed,
            metric=metric,
            share=share,
            value=value + 0.01 * seed * (metric == "accuracy"),
        )
        for seed in (1, 2)
        for model, n in (("dsa", 1000), ("random", 10))
        for share, hits in ((0.1, 5000), (0.5, 8000), (1.0, 7000))
        for metric, examples, value in (("accuracy", "union", hits / 10_000), ("inputs", "", share * n))
    ]
    rows.append(row("original", "union", 4000, eps=None, seed=1, share=None))
    return build(spec, rows, (), ReportedExperiment(name="x", seeds=(1, 2), axes={"share": (0.1, 0.5, 1.0)}))


AGAINST = TableSpec(name="t", source="robustness", rows=("share",), columns=("model",), metric="accuracy",
                    where={"examples": "union"}, against="inputs")  # fmt: skip


def test_curves_against_a_metric_use_it_as_x() -> None:
    curves = curves_along(against(AGAINST), "rows", 0)
    found = {line: [(x, round(cell.mean, 4)) for x, cell in points] for _, line, points in curves}
    assert found == {
        "dsa": [(100.0, 0.515), (500.0, 0.815), (1000.0, 0.715)],
        "random": [(1.0, 0.515), (5.0, 0.815), (10.0, 0.715)],
    }


def test_curves_against_a_metric_differ_from_curves_along_the_axis() -> None:
    along = against(replace(AGAINST, against=None))
    assert {line for _, line, _ in curves_along(along, "rows", 0)} == {"dsa", "random", "original"}
    png, other = (table_figures(matrix)["t_by_share"]() for matrix in (against(AGAINST), along))
    assert pixels(png).std() > 5
    assert png != other
    assert against(AGAINST).grid() == along.grid(), "the table itself is the same"
