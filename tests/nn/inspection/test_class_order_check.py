"""The check of a classifier against its classes: chance level, and known permutations of the classes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.report_spec import ClassGrid, ImageGrid
from temper.engine.catalogue.discovery import Catalogue
from temper.engine.language.experiment_file import load
from temper.engine.planning.task_graph import TaskGraph
from temper.engine.results.example_pictures import ExamplePictures
from temper.engine.results.intact_artefacts import IntactArtefacts
from temper.engine.storage.digests import Digests
from temper.engine.storage.store import Store
from temper.nn.inspection.class_order_check import ClassMismatch, class_mismatch
from temper.system import backend

NAMES = tuple("abcdefghij")


def answers(y: Any, accuracy: float, classes: int, seed: int = 0) -> Any:
    """Return predictions of which this share is right and the rest a random other class."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(y)) >= accuracy
    return np.where(wrong, (y + rng.integers(1, classes, len(y))) % classes, y)


def labels(n: int, classes: int) -> Any:
    return np.arange(n) % classes


@given(order=st.permutations(range(5)), accuracy=st.sampled_from([0.5, 0.7, 1.0]), seed=st.integers(0, 99))
def test_the_order_is_found(order: list[int], accuracy: float, seed: int) -> None:
    y = labels(500, 5)
    said = answers(y, accuracy, 5, seed)
    found = class_mismatch(y, np.array(order)[said], 5)
    if order == sorted(order):
        assert found is None
    else:
        assert found is not None
        assert found.order == tuple(order)
        assert found.hits_in_order == (said == y).sum()


def test_two_swapped_classes_of_ten_are_found() -> None:
    y = labels(1000, 10)
    swapped = np.array([0, 1, 5, 3, 4, 2, 6, 7, 8, 9])
    found = class_mismatch(y, swapped[answers(y, 0.99, 10)], 10)
    assert found is not None
    assert not found.is_chance
    assert "; with its classes in another order it would be right on 98.90%: " in found.text(NAMES)
    assert found.text(NAMES).endswith("it takes images of c for f, f for c")
    assert "above a guess" not in found.text(NAMES)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_random_predictions_have_no_other_order(classes: int) -> None:
    y = labels(600, classes)
    for seed in range(20):
        found = class_mismatch(y, np.random.default_rng(seed).integers(0, classes, len(y)), classes)
        if found is not None:  # a guess is above its chance in one case of forty
            assert found.is_chance
            assert found.order is None
    constant = class_mismatch(y, np.zeros_like(y), classes)
    assert constant is not None
    assert (constant.is_chance, constant.order) == (True, None)


def test_chance_is_the_most_frequent_class() -> None:
    y = np.repeat([0, 1], [90, 10])
    found = class_mismatch(y, np.where(np.arange(100) < 98, 0, 1), 2)  # 92 right
    assert found == ClassMismatch(100, 92, 0.9, None, 92)
    assert found.text(NAMES) == "right on 92.00% of 100 images, which is not clearly above a guess (90.00%)"
    assert class_mismatch(y, y, 2) is None


def test_a_model_that_recognises_rare_classes_is_not_reported() -> None:
    """Right on 90 % of each class, where the most frequent has 95 % of the images."""
    y = (np.arange(1000) % 20 == 0).astype(np.int64)
    said = np.where(np.arange(1000) // 20 % 10 == 0, 1 - y, y)
    assert (said == y).mean() == 0.9
    assert class_mismatch(y, said, 2) is None
    found = class_mismatch(y, np.where(np.arange(1000) % 7 == 0, 1, 0), 2)  # knows nothing of either
    assert found is not None
    assert found.is_chance


def test_a_weak_model_above_chance_and_one_that_confuses_two_classes_are_not_reported() -> None:
    y = labels(1000, 10)
    assert class_mismatch(y, answers(y, 0.2, 10), 10) is None
    said = y.copy()
    said[(y == 3) & (np.arange(1000) % 100 >= 30)] = 5  # of class 3 more are taken for class 5, but not the other way
    assert class_mismatch(y, said, 10) is None


def test_part_of_the_order_may_be_certain() -> None:
    y = np.concatenate([labels(400, 4), [4, 4, 5]])
    said = np.array([1, 0, 2, 3, 5, 4])[y]  # three images do not show that 4 and 5 are swapped
    found = class_mismatch(y, said, 6)
    assert found is not None
    assert (found.order, found.hits, found.hits_in_order) == ((1, 0, 2, 3, 4, 5), 200, 400)


def test_many_classes() -> None:
    y = labels(2000, 100)
    order = np.random.default_rng(0).permutation(100)
    found = class_mismatch(y, order[answers(y, 0.4, 100)], 100)
    assert found is not None
    assert found.order == tuple(order)


def test_too_few_images_are_inconclusive() -> None:
    assert class_mismatch(np.array([0, 1]), np.array([1, 0]), 2) is None
    assert class_mismatch(np.zeros(0, np.int64), np.zeros(0, np.int64), 2) is None


def test_classes_without_images_do_not_count() -> None:
    y = labels(400, 4)
    found = class_mismatch(y, np.array([1, 0, 2, 3])[y], 6)
    assert found is not None
    assert found.order == (1, 0, 2, 3, 4, 5)
    assert class_mismatch(y, y, 6) is None


# A whole run.

FILE = """
name: order
datasets:
  dots: {type: npz, path: dots.npz, class_names: [red, "two, 2", "3"]}
targets:
  as_saved: {type: saved, dataset: dots, path: model.keras}
  ordered: {type: saved, dataset: dots, path: model.keras, classes: ["3", red, "two, 2"]}
evaluate:
  accuracy: {type: robustness_matrix, models: [as_saved, ordered], examples: [dots], protocol: transfer, per_class: true}
"""


@pytest.fixture
def dots(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """Images of which the pixel numbered as their class is bright, and a model whose outputs are 3, red, two."""
    y = labels(60, 3)
    x = np.zeros((60, 2, 2), np.uint8)
    x[np.arange(60), y // 2, y % 2] = 200
    file = write(FILE)
    np.savez(file.parent / "dots.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    keras = backend.keras()
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    kernel = np.zeros((4, 3), np.float32)
    kernel[[2, 0, 1], [0, 1, 2]] = 5
    model.layers[-1].set_weights([kernel, np.zeros(3, np.float32)])
    model.save(file.parent / "model.keras")
    return file


def test_a_saved_model_with_its_classes_in_another_order(
    dots: Path, run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, said = run(dots)
    assert code == 0, said
    warned = (
        "warning: as_saved: right on 0.00% of 60 images, which is not clearly above a guess (33.33%); with its classes in "
        "another order it would be right on 100.00%: it takes images of red for two, 2, two, 2 for 3, 3 for red. If it was trained "
        'with another class order, set that order for the target, as in classes: ["3", "red", "two, 2"].'
    )
    assert warned in said
    assert said.count("above a guess") == 1
    facts = [line for line in said.splitlines() if "On 60 test images" in line]
    assert [line.split(", mean")[0] for line in facts] == [
        "warning: as_saved: On 60 test images: clean accuracy 0.00%",
        "warning: ordered: On 60 test images: clean accuracy 100.00%",
    ]
    results = tmp_path / "outputs" / "order"
    assert warned in (results / "log.txt").read_text(encoding="utf-8")
    assert "right on 0.00% of 60 images" in (results / "report.html").read_text(encoding="utf-8")
    accuracy = (results / "accuracy.csv").read_text(encoding="utf-8-sig").splitlines()
    assert accuracy[1:] == ["as_saved,0.00", "ordered,100.00"]
    dots.write_text(FILE.replace("name: order", "name: other"), encoding="utf-8")
    code, said = run(dots)
    assert "0 computed" in said  # a stored artefact is checked as well
    assert warned in said


PER_CLASS = (
    FILE.replace("name: order", "name: names")
    .replace('[red, "two, 2", "3"]', '["10", "two, ± 2", "größe=all"]')
    .split("  ordered:")[0]
    + """
  ordered: {type: saved, dataset: dots, path: model.keras, classes: ["größe=all", "10", "two, ± 2"]}
generate:
  fgsm: {type: fgsm, model: ordered, eps: 0.01}
evaluate:
  classes_of: {type: robustness_matrix, models: [ordered], examples: [dots, fgsm], protocol: white_box, per_class: true}
  means: {type: class_means, models: [ordered], examples: [fgsm]}
tables:
  by_class: {from: classes_of, rows: group, columns: examples, metric: class_accuracy}
"""
)


def test_results_call_classes_by_their_names(
    dots: Path, run: Callable[..., tuple[int, str]], tmp_path: Path, catalogue: Catalogue
) -> None:
    dots.write_text(PER_CLASS, encoding="utf-8")
    code, said = run(dots)
    assert code == 0, said
    results = tmp_path / "outputs" / "names"
    with (results / "results.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    named = ["class 10", "class two, ± 2", "class größe=all"]
    for stage, metric, examples in (
        ("classes_of", "class_accuracy", "dots"),
        ("classes_of", "class_accuracy", "fgsm"),
        ("means", "class_loss", "fgsm"),
    ):
        found = [row for row in rows if (row["stage"], row["metric"], row["examples"]) == (stage, metric, examples)]
        assert [row["group"] for row in found] == named
    with (results / "by_class.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert [line[0] for line in csv.reader(stream)][1:] == named
    assert (results / "classes.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "dataset,label,class", "dots,0,10", 'dots,1,"two, ± 2"', "dots,2,größe=all",
    ]  # fmt: skip
    store = Store(tmp_path / "outputs" / ".store")
    experiment = load(dots, catalogue)
    graph = TaskGraph(experiment, Digests(store.root / "digests.json"))
    images, classes = ExamplePictures(experiment, graph, IntactArtefacts(store)).of("generate")
    assert isinstance(images, ImageGrid)
    assert isinstance(classes, ClassGrid)
    names = ["10", "two, ± 2", "größe=all"]
    assert images.true == images.predicted == (names * 3)[: len(images.true)]
    assert classes.classes == names
    assert classes.predicted == [[name] * 5 for name in names]
    assert not any(map(any, classes.wrong))
    assert "größe=all" in (results / "by_class.tex").read_text(encoding="utf-8")


def test_the_order_must_name_each_class_once(dots: Path, run: Callable[..., tuple[int, str]]) -> None:
    dots.write_text(FILE.replace('["3", red, "two, 2"]', '["3", red, red]'), encoding="utf-8")
    code, said = run(dots)
    assert code == 2
    assert ":7: targets.ordered.classes: expected each class of the data set once, received without two, 2" in said
