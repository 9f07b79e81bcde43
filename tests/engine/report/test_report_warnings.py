"""Warnings about weak attacks."""

from typing import Any

import pytest

from temper.core.report_spec import ReportedExperiment
from temper.engine.report.report_warnings import warnings
from tests.engine.report.demo import EPS, demo_experiment, demo_rows, row

EXPERIMENT = ReportedExperiment(
    name="x", axes={"eps": EPS, "steps": (1, 10)}, strength={"eps": "eps", "steps": "max_iter"}
)


def found(*rows: dict[str, Any], experiment: ReportedExperiment = EXPERIMENT) -> list[str]:
    return warnings([{"steps": None} | r for r in rows], experiment)


def sweep(*hits: int, **columns: Any) -> list[dict[str, Any]]:
    return [row("mlp", "pgd", h, eps=eps, seed=None, **columns) for h, eps in zip(hits, EPS, strict=False)]


def test_demo() -> None:
    rises, blind = warnings(demo_rows(), demo_experiment())
    assert rises == (
        "fgsm_robust under fgsm: accuracy rises from 93.01% at eps 0.2 to 96.11% at eps 0.3, above the interval's "
        "upper end 93.49%. More eps cannot make an attack weaker: look for masked gradients, or give it more steps."
    )
    assert blind == (
        "mlp under fgsm (eps 0.3): 31.20% of the gradient's entries are exactly zero, so gradient attacks fail "
        "there and the accuracy is only an upper bound."
    )


def test_falling_accuracy_gives_no_warning() -> None:
    assert found(*sweep(5000, 3000, 100)) == []


def test_rise_within_the_interval_gives_no_warning() -> None:
    # Wilson at 5000 of 10000: 0.4902 to 0.5098
    assert found(*sweep(5000, 5097)) == []
    assert len(found(*sweep(5000, 5099))) == 1


def test_largest_rise_is_reported_once() -> None:
    (sentence,) = found(*sweep(5000, 3000, 4500))
    assert "from 30.00% at eps 0.2 to 45.00% at eps 0.3" in sentence


def test_models_trained_along_the_axis_are_not_compared() -> None:
    rows = sweep(3000, 5000)
    fixed = ReportedExperiment(name="x", axes={"eps": EPS}, strength={"eps": "eps"}, model_axes={"mlp": ["eps"]})
    assert len(found(*rows)) == 1
    assert found(*rows, experiment=fixed) == []


@pytest.mark.parametrize("parameter", ["max_iter", "num_random_init"])
def test_more_steps_and_restarts_count_as_stronger(parameter: str) -> None:
    experiment = ReportedExperiment(name="x", axes={"steps": (1, 10)}, strength={"steps": parameter})
    rows = [row("mlp", "pgd", 1000 * s, eps=None, seed=None) | {"steps": s} for s in (1, 10)]
    (sentence,) = found(*rows, experiment=experiment)
    assert "from 10.00% at steps 1 to 100.00% at steps 10" in sentence
    assert f"More {parameter} cannot" in sentence


def test_values_of_other_axes_are_compared_separately() -> None:
    rows = [r | {"steps": steps} for steps, hits in ((1, (900, 100)), (10, (50, 400))) for r in sweep(*hits)]
    eps_only = ReportedExperiment(name="x", axes=EXPERIMENT.axes, strength={"eps": "eps"})
    (sentence,) = found(*rows, experiment=eps_only)
    assert sentence.startswith("mlp under pgd (steps 10): accuracy rises from 0.50%")


def test_accuracy_of_single_classes_may_rise() -> None:
    assert len(found(*sweep(1000, 5000, metric="class_accuracy"))) == 1
    assert found(*sweep(1000, 5000, metric="class_accuracy", group="cat")) == []


def test_other_parameters_and_metrics_give_no_warning() -> None:
    other = ReportedExperiment(name="x", axes={"eps": EPS}, strength={"eps": "batch_size"})
    assert found(*sweep(1000, 5000), experiment=other) == []
    assert found(*sweep(1000, 5000, metric="attack_success_rate")) == []


def test_seeds_are_averaged_before_they_are_compared() -> None:
    rows = [
        row("mlp", "pgd", h, eps=e, seed=s)
        for e, hs in ((0.1, (4000, 6000)), (0.2, (5050, 5050)))
        for s, h in enumerate(hs)
    ]
    assert found(*rows) == []


def test_few_zero_gradients_give_no_warning() -> None:
    rows = [row("mlp", "pgd", hits, eps=0.1, seed=None, metric="zero_gradients") for hits in (1000,)]
    assert found(*rows) == []
    assert len(found(row("mlp", "pgd", 1001, eps=0.1, seed=None, metric="zero_gradients"))) == 1


def test_no_rows() -> None:
    assert warnings([], demo_experiment()) == []
