"""Combinations of clusters on tables worked by hand: chosen by relevance, or by what transfers to another domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from temper.core.artefacts import Examples
from temper.core.classifier import Classifier
from temper.core.component import Ref
from temper.core.errors import StageError
from temper.evaluation.coverage import combinations
from temper.evaluation.coverage.hellinger_distance import hellinger, of_indices
from temper.evaluation.coverage.idc import IDC
from temper.evaluation.coverage.knw import KNW
from temper.nn.adequacy.reference_data import ReferenceData
from temper.nn.inspection.activations import Activations
from temper.nn.shared_stages.activation_readout import read_activations
from temper.system import backend
from tests.evaluation.coverage.support import activations, hit
from tests.nn.inspection.relevance import unit_relevance

PROFILE = {
    "group": np.array([0, 0, 1]),
    "columns": np.array([0, 2, 3]),
    "centroids": np.array([[0, 1, np.nan], [0, 2, 4], [5, np.nan, np.nan]]),
}


def test_every_input_is_nearest_to_one_combination_of_each_group() -> None:
    seen = activations([[0, 9, 0, 5], [0.4, 8, 0.9, 7], [1, 7, 4, 0], [0.6, 0, 3.1, 5]])
    coverage = combinations.coverage(PROFILE)
    # The first two have (0, 0) in common, the last two (1, 4), and all the one combination of the second group.
    assert coverage.sequential_gain(seen).tolist() == [2, 0, 1, 0]
    assert hit(coverage, seen) == (3, 2 * 3 + 1)
    assert coverage.remarks == ("3 units with 1 to 3 clusters",)


def test_too_many_combinations_are_refused() -> None:
    n = 30
    profile = {"group": np.zeros(n), "columns": np.arange(n), "centroids": np.tile([0.0, 1.0], (n, 1))}
    with pytest.raises(StageError, match=r"at most 16,777,216 combinations of clusters, received 1,073,741,824"):
        combinations.coverage(profile)


def test_clusters_are_fitted_on_the_selected_units() -> None:
    values = np.array([[1.0, 5], [0, 6]] * 20)
    quantise = combinations.quantiser("own", 4, ())
    learnt = combinations.learn(activations(np.zeros((40, 3)), values), {"b": np.array([1, 0])}, quantise)
    assert learnt["columns"].tolist() == [4, 3]
    assert learnt["centroids"].tolist() == [[5, 6], [0, 1]]
    with pytest.raises(StageError, match="received none"):
        combinations.learn(activations(values), {"a": np.zeros(0, np.int64)}, quantise)


def test_published_clusters_omit_the_zeros_of_dense_layers() -> None:
    maps = np.zeros((40, 1, 2, 1))
    maps[::2] = 1.2345
    values = np.zeros((40, 3))
    values[:24, 0], values[:12, 0] = 2, 1.004  # 16 zeros
    values[:9, 1] = 5  # 9 numbers that count
    values[:, 2] = np.tile([0.001, 0.002, 0.003, -0.004], 10)
    seen = activations(maps, values)
    groups = {"a": np.array([0]), "b": np.arange(3)}
    learnt = combinations.learn(seen, groups, combinations.quantiser("published", 4, seen.layers))
    assert [row[~np.isnan(row)].tolist() for row in learnt["centroids"]] == [[0, 1.23], [1, 2], [0], [0]]
    own = combinations.learn(seen, groups, combinations.quantiser("own", 4, seen.layers))
    assert own["centroids"][1][:3] == pytest.approx([0, 1.004, 2])
    # A unit that is off is nearest to the lowest cluster.
    coverage = combinations.coverage(learnt)
    assert coverage.total == 2 + 2
    off, weak, strong = (activations(maps[:1], np.full((1, 3), value)) for value in (0, 1, 2))
    assert hit(coverage, off) == (2, 4)
    coverage.update(off)
    assert (coverage.gain(weak).tolist(), coverage.gain(strong).tolist()) == ([0], [1])


@pytest.mark.parametrize("criterion", [IDC, KNW])
def test_criteria_take_published_clusters(criterion: Any, known: ReferenceData) -> None:
    profile = criterion(centres="published").profile(known)
    centres = profile["centroids"]
    centres = centres[~np.isnan(centres)]
    np.testing.assert_array_equal(centres, np.round(centres, 2))
    own = criterion().profile(known)
    np.testing.assert_array_equal(own["columns"], profile["columns"])
    assert own["centroids"].shape != profile["centroids"].shape or not np.array_equal(
        own["centroids"], profile["centroids"]
    )


@pytest.fixture(scope="module")
def known() -> ReferenceData:
    """A network with a convolution and two dense layers, and images labelled mostly as it sees them."""
    keras = backend.keras()
    backend.seed(1)
    layers = keras.layers
    stack = [keras.Input((6, 6, 1)), layers.Conv2D(3, 3, activation="relu", name="maps"), layers.Flatten()]
    stack += [layers.Dense(8, "relu", name="one"), layers.Dense(7, "relu", name="two"), layers.Dense(3)]
    classifier = Classifier(keras.Sequential(stack))
    x = np.random.default_rng(0).random((300, 6, 6, 1), np.float32)
    y = classifier.predict(x)
    y[::10] = (y[::10] + 1) % 3
    examples = Examples(x=x, y=y, index=np.arange(300))
    return ReferenceData(
        classifier,
        examples,
        read_activations(classifier, x),
        lambda ref: read_activations(classifier, x[:100] * np.float32(0.5)),
    )


def test_the_most_relevant_units_are_combined(known: ReferenceData) -> None:
    right = known.activations.predicted == known.examples.y
    assert right.sum() == 270
    relevance = unit_relevance(known.classifier, known.examples.x[right]).sum(axis=0)[-7:]
    profile = IDC(m=3).profile(known)
    first = known.activations.units(["two"])[0]
    assert profile["columns"].tolist() == (first + np.argsort(-relevance)[:3]).tolist()
    both = IDC(m=2, layers=("two", "maps")).profile(known)
    assert both["group"].tolist() == [0, 0, 1, 1]  # in the order of computation
    assert (both["columns"][:2] < 3).all()


def test_more_important_units_have_more_combinations(known: ReferenceData) -> None:
    totals, shares = [], []
    for m in (2, 4, 6):
        coverage = IDC(m=m).coverage(IDC(m=m).profile(known), known.activations)
        coverage.update(known.activations)
        totals.append(coverage.total)
        shares.append(coverage.value)
    assert totals == sorted(totals)
    assert shares == sorted(shares, reverse=True)


def test_idc_says_which_layers_it_knows(known: ReferenceData) -> None:
    with pytest.raises(StageError, match=r"no hidden layer with weights is called 'twoo'.*two"):
        IDC(layers=("twoo",)).profile(known)
    nobody = Examples(x=known.examples.x, y=(known.activations.predicted + 1) % 3, index=known.examples.index)
    with pytest.raises(StageError, match="classified correctly"):
        IDC().profile(ReferenceData(known.classifier, nobody, known.activations, known.observed))


def test_the_hellinger_distance_of_histograms() -> None:
    one = np.repeat(np.array([0, 1], np.float32), [3, 1])
    two = np.repeat(np.array([0, 1], np.float32), [1, 3])
    expected = np.sqrt(1 - 2 * np.sqrt(3 / 16))
    assert hellinger(one, two) == pytest.approx(expected, abs=1e-5)
    assert hellinger(one, one) == pytest.approx(0, abs=1e-6)
    assert hellinger(one * 0, one * 0 + 1) == pytest.approx(1, abs=1e-2)
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(2, 20000)).astype(np.float32)
    assert hellinger(drawn[0], drawn[1]) < 0.05 < 0.3 < hellinger(drawn[0], drawn[1] + 1)


def test_the_distance_image_by_image() -> None:
    # The most active units are 0, 0, 1 and 0, 1, 1.
    one, two = activations([[4, 1], [5, 0], [0, 2]]), activations([[9, 1], [0, 3], [0, 1]])
    distances, in_one, in_two = of_indices(one, two, 0)
    assert (in_one.tolist(), in_two.tolist()) == ([2, 1], [1, 2])
    # Unit 0: p = 4/9, 5/9 and q = 1 on image 0; together on two images. Unit 1: p = 1 on image 2, q = 3/4 on 1, 1/4 on 2.
    np.testing.assert_allclose(distances, [np.sqrt(1 - np.sqrt(4 / 9)) / 2, np.sqrt(1 - np.sqrt(1 / 4)) / 2])


def pair() -> tuple[Activations, Activations]:
    """Return training and strange activations of five units: alike, shifted, off, off in the strange domain, and more."""
    rng = np.random.default_rng(0)
    n, alike = 200, rng.random(200) + 1
    one = [alike, rng.random(n) + 1, np.zeros(n), rng.random(n) + 1, np.where(np.arange(n) < 50, alike, 0)]
    two = [alike[::-1], rng.random(n) + 1.5, np.zeros(n), np.zeros(n), np.where(np.arange(n) < 90, alike[::-1], 0)]
    return activations(np.stack(one, axis=1)), activations(np.stack(two, axis=1))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, [0, 4, 1]), ({"kind": "top"}, [1, 4, 0]), ({"kind": "gained"}, [4]), ({"max_units": 1}, [0]),
     ({"min_inputs": 60}, [0, 1])],
)  # fmt: skip
def test_units_that_transfer(fields: dict[str, Any], expected: list[int]) -> None:
    one, two = pair()
    blank: Any = None
    profile = KNW(zero_shot=Ref("z"), **fields).profile(ReferenceData(blank, blank, one, lambda ref: two))
    assert profile["columns"].tolist() == expected


def test_without_another_domain_the_images_themselves_are_changed(known: ReferenceData) -> None:
    found = {}
    for transform in ("invert", "rotate"):
        criterion = KNW(transform=transform, max_units=3)
        profile = criterion.profile(known)
        coverage = criterion.coverage(profile, known.activations)
        coverage.update(known.activations)
        assert 0 < coverage.value <= 1
        found[transform] = profile["columns"].tolist()
    assert set(found["invert"]) != set(found["rotate"])
    other = KNW(zero_shot=Ref("z"), max_units=3).profile(known)
    assert len(np.unique(other["group"])) == 3


def test_no_unit_transfers() -> None:
    one, two = pair()
    blank: Any = None
    with pytest.raises(StageError, match="min_inputs"):
        KNW(zero_shot=Ref("z"), min_inputs=1000).profile(ReferenceData(blank, blank, one, lambda ref: two))


def one_map(first: Any, second: Any) -> Activations:
    """Return activations of one feature map of two positions."""
    return activations(np.stack([first, second], axis=1)[:, None, :, None])


def test_a_position_may_be_the_unit_that_transfers() -> None:
    blank: Any = None
    rng = np.random.default_rng(0)
    same, other = rng.random(100) + 1, np.where(np.arange(100) % 2, 1.0, 3.0)
    # The second position alone is alike in both domains; the mean of the map is not.
    known = ReferenceData(blank, blank, one_map(same, other), lambda ref: one_map(same + 5, other[::-1]))
    fields: dict[str, Any] = {"zero_shot": Ref("z"), "layers": ("a",), "max_units": 1}
    criterion = KNW(unit="position", **fields)
    assert criterion.positions
    profile = criterion.profile(known)
    assert (profile["columns"].tolist(), profile["centroids"].tolist()) == ([1], [[1, 3]])
    tests = one_map([9, 9, 9], [1.9, 0, 2.1])
    assert criterion.coverage(profile, tests).gain(tests).tolist() == [1, 1, 1]
    assert hit(criterion.coverage(profile, tests), tests) == (2, 2)
    assert hit(criterion.coverage(profile, tests), tests.take(slice(0, 2))) == (1, 2)
    assert not KNW(**fields).positions
    assert KNW(**fields).profile(known)["columns"].tolist() == [0]


def test_positions_as_published_are_known_by_being_the_most_active() -> None:
    blank: Any = None
    # Position 0 is the most active of images 0 and 1 and of none of the other domain, position 1 of the others.
    one, two = one_map([4, 5, 0, 0], [1, 0, 2, 3]), one_map([0, 0, 0, 0], [9, 3, 1, 3])
    distances, in_one, in_two = of_indices(one.by_position(), two.by_position(), 0)
    assert (in_one.tolist(), in_two.tolist()) == ([2, 2], [0, 4])
    overlap = np.sqrt(2 / 5 * 1 / 16) + np.sqrt(3 / 5 * 3 / 16)
    np.testing.assert_allclose(distances, [np.sqrt(1) / 2, np.sqrt(1 - overlap) / 4])
    criterion = KNW(zero_shot=Ref("z"), unit="position", distance="indexed", kind="gained", min_inputs=2, layers=("a",))
    assert criterion.profile(ReferenceData(blank, blank, one, lambda ref: two))["columns"].tolist() == [1]


def test_positions_of_a_network_are_observed_for_it(known: ReferenceData) -> None:
    criterion = KNW(unit="position", layers=("maps",), max_units=3)
    with pytest.raises(StageError, match="read out positions"):
        criterion.profile(known)
    seen = read_activations(known.classifier, known.examples.x, positions=True)
    profile = criterion.profile(ReferenceData(known.classifier, known.examples, seen, known.observed))
    assert profile["columns"].max() >= 3, "one of 48 positions, not of 3 maps"
    coverage = criterion.coverage(profile, seen)
    coverage.update(seen)
    assert 0 < coverage.value <= 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [2, 0]),  # 30 % of five: up to the 0.3 quantile of 0.1, 0.2, 0.3, 0.4, 0.5, which is 0.22
        ({"hd_max": 0.4}, [2, 0, 4, 1]),
        ({"hd_min": 0.2, "hd_max": 0.4}, [0, 4, 1]),
        ({"hd_min": 0.25}, [4]),  # 30 % of three
        ({"hd_max": 0.4, "max_units": 2}, [2, 0]),
        ({"hd_min": 0.9}, []),
    ],
)
def test_preferred_units_are_those_in_a_window(fields: dict[str, Any], expected: list[int]) -> None:
    distances, enough = np.array([0.2, 0.4, 0.1, 0.5, 0.3, 0.15]), np.array([20, 20, 20, 20, 20, 9])
    assert KNW(kind="preferred", **fields)._chosen(distances, enough, enough).tolist() == expected


def test_the_window_is_of_preferred_units() -> None:
    assert list(KNW(kind="preferred", hd_min=0.1, hd_max=0.3).check()) == []
    assert [name for name, _ in KNW(hd_min=0.1, hd_max=0.3).check()] == ["hd_min", "hd_max"]
    assert [name for name, _ in KNW(kind="preferred", hd_min=0.4, hd_max=0.3).check()] == ["hd_max"]
