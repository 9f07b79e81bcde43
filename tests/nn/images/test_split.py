import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.core.component import PARTS
from temper.nn.images.split import Split
from temper.nn.images.stratified_sample import grouped, sample

Y = np.repeat([0, 1], [60, 40])
ALL = np.arange(100)


def of(split: Split, groups=None):
    return split.rows(Y, ALL[:80], ALL[80:], groups)


def sizes(parts):
    return [len(parts[part]) for part in PARTS]


def test_resplit_parts_have_the_requested_sizes_and_class_shares():
    parts = of(Split(resplit=(50, 20, 30)))
    assert sizes(parts) == [50, 20, 30]
    assert sorted(np.concatenate([parts[part] for part in PARTS])) == ALL.tolist()
    assert [int((Y[parts[part]] == 0).sum()) for part in PARTS] == [30, 12, 18]
    assert set(parts["test"]) & set(range(80)), "the test part is drawn from all images"


def test_resplitting_may_omit_images_and_reduce_parts():
    parts = of(Split(resplit=(50, 0, 10), train_size=20, test_size=5))
    assert sizes(parts) == [20, 0, 5]
    assert not set(parts["train"]) & set(parts["test"])


def test_requesting_more_images_than_exist_is_an_error():
    with pytest.raises(ValueError, match="resplit requests 101 images, but there are 100; request fewer"):
        of(Split(resplit=(50, 21, 30)))


def test_groups_stay_whole_wherever_images_are_held_out():
    groups = ALL // 5
    for split in (Split(validation=0.25), Split(resplit=(50, 20, 30)), Split(train_size=60, validation=0.25)):
        parts = of(split, groups)
        held_out = [set(groups[parts[part]]) for part in PARTS]
        assert not held_out[0] & held_out[1]
        if split.resplit:
            assert not (held_out[0] | held_out[1]) & held_out[2]
            assert sizes(parts) == [50, 20, 30]


def test_groups_are_chosen_nearest_to_the_share_of_each_class():
    labels, groups = np.repeat([0, 1, 2], [90, 40, 10]), np.repeat(np.arange(14), 10)
    for seed in range(20):
        rows = grouped(labels, groups, 28, np.random.default_rng(seed))
        assert np.bincount(labels[rows], minlength=3).tolist() == [20, 10, 0]  # 18 and 8; the last has one group


def test_a_small_class_of_several_groups_is_on_both_sides():
    labels, groups = np.repeat([0, 1], [100, 20]), np.repeat(np.arange(12), 10)
    for size in (1, 119):
        rows = grouped(labels, groups, size, np.random.default_rng(0))
        assert 0 < (labels[rows] == 1).sum() < 20


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.data())
def test_groups_are_never_split(groups, data):
    groups = np.array(groups)
    size = data.draw(st.integers(0, len(groups)))
    rows = grouped(groups % 3, groups, size, np.random.default_rng(0))
    assert (np.diff(rows) > 0).all()
    assert not set(groups[rows]) & set(np.delete(groups, rows))


def test_a_group_of_two_classes_is_an_error():
    with pytest.raises(ValueError, match="a group of class 0 contains other classes as well"):
        grouped(np.array([0, 1, 1]), np.array([5, 5, 6]), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="expected a size of 0 to 1, received 2"):
        grouped(np.array([0]), np.array([5]), 2, np.random.default_rng(0))


def test_without_groups_the_choice_is_stratified():
    assert len(sample(Y, None, 37, np.random.default_rng(0))) == 37
