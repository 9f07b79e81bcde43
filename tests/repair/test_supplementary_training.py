from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Data, Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.engine.catalogue.discovery import discover
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.storage.digests import Digests
from temper.repair.supplementary_training import SupplementaryTraining
from temper.targets.datasets.digits import Digits
from tests.repair.support import MODEL, examples, run, small_model, weights

HELD_OUT: Ref[Examples] = Ref("data", part="validation")


def supply(**fields: Any) -> SupplementaryTraining:
    return SupplementaryTraining(**{"model": MODEL, "data": HELD_OUT, "epochs": 20, "batch_size": 16} | fields)


def test_the_second_version_starts_from_the_first_which_is_unchanged() -> None:
    source, images, component = Classifier(small_model()), examples(), supply()
    before = weights(source)
    known = {MODEL: source, HELD_OUT: images}
    first, again, other = (component.produce(run(component, known, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(weights(source), before)
    np.testing.assert_array_equal(weights(first), weights(again))
    assert not np.array_equal(weights(first), weights(other))
    assert (first.predict(images.x) == images.y).mean() > 0.9 > (source.predict(images.x) == images.y).mean()
    assert (first.trained_on.inputs, first.trained_on.adversarial) == (60, 0)

    still = supply(learning_rate=1e-12)
    np.testing.assert_allclose(weights(still.produce(run(still, known))), before, atol=1e-8)


def test_a_data_set_without_a_validation_part_is_an_error_with_a_remedy() -> None:
    component = supply()
    nothing = examples().take(np.arange(0))
    with pytest.raises(StageError, match=r"data\.validation has no unseen image .* \(validation: 0\.2\)"):
        component.produce(run(component, {MODEL: Classifier(small_model()), HELD_OUT: nothing}))


def test_training_on_the_test_images_is_rejected() -> None:
    assert [field for field, _ in supply(data=Ref("data", part="test")).check()] == ["data"]
    assert list(supply(data=None).check()) == []


def test_the_two_versions_share_no_image_and_have_every_class_in_proportion(tmp_path: Any) -> None:
    file = tmp_path / "supply.yaml"
    file.write_text(
        "name: supply\nseeds: [1]\n"
        "datasets: {digits: {type: digits, validation: 0.2}}\n"
        "targets: {v1: {type: dense, dataset: digits}}\n"
        "repair: {v2: {type: supplementary_training, model: v1}}\n"
        "evaluate: {m: {type: robustness_matrix, models: [v1, v2], examples: [digits], protocol: transfer}}\n",
        encoding="utf-8",
    )
    graph = TaskGraph(load(file, discover()), Digests(tmp_path / "digests.json"))
    (v2,) = (task.component for task in graph.tasks.values() if task.stage == "v2")
    assert isinstance(v2, SupplementaryTraining)
    assert v2.data == Ref("digits", part="validation")

    data = Digits(validation=0.2).produce(run(v2, {}))
    assert isinstance(data, Data)
    assert not set(data.train.index) & set(data.validation.index)
    assert len(data.validation) == round(0.2 * (len(data.train) + len(data.validation)))
    shares = [np.bincount(part.y) / len(part) for part in (data.train, data.validation)]
    np.testing.assert_allclose(*shares, atol=0.005)
