"""The objective of a continual learner, against SciPy, PyTorch and numbers by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from temper.artefacts.incremental_classifier import rivals_among, rivals_within_tasks
from temper.repair.continual.objective import BEFORE, LABELS, cross_entropy, divergence, objective, set_objective
from temper.repair.continual.regularisers import EWC, Distillation, LwF, Penalty
from temper.repair.continual.replay import LabelledImages
from temper.system import backend

RNG = np.random.default_rng(0)
Z, BEFORE_Z = RNG.normal(size=(2, 6, 5)).astype(np.float32) * 3
Y = np.array([0, 1, 2, 3, 4, 0])
TASKS = ((0, 3), (1, 2, 4))
TEMPERATURE = 2.5


def tensor(array: Any) -> Any:
    return backend.keras().ops.convert_to_tensor(array)


def numbers(value: Any) -> Any:
    return backend.keras().ops.convert_to_numpy(value)


def test_cross_entropy_is_taken_among_the_rivals() -> None:
    everyone = numbers(cross_entropy(tensor(Z), tensor(Y), tensor(rivals_among(range(5), 5).astype("float32"))))
    np.testing.assert_allclose(everyone, -log_softmax(Z, axis=1)[np.arange(6), Y], rtol=1e-5)
    by_task = numbers(cross_entropy(tensor(Z), tensor(Y), tensor(rivals_within_tasks(TASKS).astype("float32"))))
    for i, label in enumerate(Y):
        task = list(next(task for task in TASKS if label in task))
        assert by_task[i] == pytest.approx(-log_softmax(Z[i, task])[task.index(label)], rel=1e-4)


def test_distillation_equals_pytorchs_divergence() -> None:
    """Over the three known classes only."""
    torch = pytest.importorskip("torch")
    known = [0, 1, 2]
    before = np.zeros_like(Z)
    before[:, known] = softmax(BEFORE_Z[:, known] / TEMPERATURE, axis=1)
    groups = rivals_among(known, 5) & np.isin(np.arange(5), known)[:, None]
    ours = numbers(divergence(tensor(before), tensor(Z), tensor(groups.astype("float32")), TEMPERATURE))
    after = torch.log_softmax(torch.tensor(Z[:, known]) / TEMPERATURE, dim=1)
    theirs = torch.nn.functional.kl_div(after, torch.tensor(before[:, known]), reduction="none").sum(1) * TEMPERATURE**2
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-6)


def test_distillation_by_task_is_a_sum_over_the_tasks() -> None:
    before = np.zeros_like(Z)
    expected = np.zeros(len(Z))
    for task in map(list, TASKS):
        before[:, task] = softmax(BEFORE_Z[:, task] / TEMPERATURE, axis=1)
        lost = before[:, task] * (np.log(before[:, task]) - log_softmax(Z[:, task] / TEMPERATURE, axis=1))
        expected += TEMPERATURE**2 * lost.sum(axis=1)
    ours = numbers(
        divergence(tensor(before), tensor(Z), tensor(rivals_within_tasks(TASKS).astype("float32")), TEMPERATURE)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    same = numbers(
        divergence(tensor(before), tensor(BEFORE_Z), tensor(rivals_within_tasks(TASKS).astype("float32")), TEMPERATURE)
    )
    np.testing.assert_allclose(same, 0, atol=1e-5)


def linear(kernel: Any) -> Any:
    keras = backend.keras()
    dense = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten(), dense])
    model.set_weights([np.array(kernel, np.float32)])
    return model


def test_the_whole_loss_is_the_sum_of_its_terms() -> None:
    inner = linear([[1.0, -1.0]])
    wrapper = objective(inner, True, Distillation(3.0, 1.0))
    curvature, centre = np.array([[2.0, 4.0]], np.float32), np.array([[0.0, -1.5]], np.float32)
    set_objective(wrapper, inner, rivals_among((0, 1), 2), rivals_among((0, 1), 2), Penalty((curvature,), (centre,)))
    x, y = np.array([1.0, 2.0], np.float32).reshape(2, 1, 1, 1), np.array([0, 1])
    before = np.full((2, 2), 0.5, np.float32)
    loss = float(numbers(wrapper.compute_loss(x, {LABELS: tensor(y), BEFORE: tensor(before)}, wrapper(tensor(x)))))
    logits = np.array([[1.0, -1.0], [2.0, -2.0]])
    entropy = -log_softmax(logits, axis=1)[[0, 1], y].mean()
    lost = (0.5 * (np.log(0.5) - log_softmax(logits, axis=1))).sum(axis=1).mean()
    assert loss == pytest.approx(entropy + 3.0 * lost + 0.5 * (2.0 * 1.0 + 4.0 * 0.25), rel=1e-5)


def test_penalties_of_two_steps_are_one_up_to_a_constant() -> None:
    first, second = (Penalty((RNG.random((3, 2)).astype("f"),), (RNG.random((3, 2)).astype("f"),)) for _ in range(2))
    first.curvature[0][0, 0] = second.curvature[0][0, 0] = 0.0
    both = first.plus(second)

    def cost(penalty: Penalty, at: np.ndarray) -> float:
        return float(0.5 * (penalty.curvature[0] * (at - penalty.centre[0]) ** 2).sum())

    points = RNG.random((2, 3, 2))
    apart = [cost(first, at) + cost(second, at) for at in points]
    assert cost(both, points[0]) - cost(both, points[1]) == pytest.approx(apart[0] - apart[1], rel=1e-4)


def test_ewc_holds_each_weight_by_its_fisher_information() -> None:
    model = linear([[0.7, -0.2]])
    x = RNG.random((8, 1, 1, 1)).astype(np.float32)
    penalty = EWC(weight=10.0, samples=8).penalty(
        model, LabelledImages(x, np.zeros(8, np.int64)), rivals_among((0, 1), 2), RNG
    )
    assert penalty is not None
    p = softmax(x.reshape(8, 1) * [0.7, -0.2], axis=1)
    np.testing.assert_allclose(
        penalty.curvature[0], 10 * (p * (1 - p) * x.reshape(8, 1) ** 2).mean(axis=0)[None], rtol=1e-4
    )
    np.testing.assert_array_equal(penalty.centre[0], model.get_weights()[0])
    assert EWC().distillation is None
    assert LwF(weight=2.0, temperature=3.0).distillation == Distillation(2.0, 3.0)
    assert LwF().penalty(model, LabelledImages(x, np.zeros(8, np.int64)), rivals_among((0, 1), 2), RNG) is None
