import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temper.nn.images.stratified_sample import stratified

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(lambda labels: np.array(labels, np.int64))


def counts(labels: np.ndarray, size: int, seed: int = 0) -> list[int]:
    return np.bincount(labels[stratified(labels, size, np.random.default_rng(seed))], minlength=3).tolist()


def test_quotas_are_proportional_with_the_largest_remainders_rounded_up():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    assert counts(labels, 10) == [5, 3, 2]
    assert counts(labels, 7) == [4, 2, 1]  # quotas 3.5, 2.1, 1.4
    assert counts(labels, 1) == [1, 0, 0]


def test_equal_remainders_go_to_the_smaller_label():
    assert counts(np.repeat([2, 1, 0], 10), 4) == [2, 1, 1]


@given(LABELS, st.data())
def test_a_sample_has_its_size_no_repeats_and_ascending_positions(labels, data):
    size = data.draw(st.integers(0, len(labels)))
    rows = stratified(labels, size, np.random.default_rng(data.draw(st.integers(0, 99))))
    assert len(rows) == size
    assert (np.diff(rows) > 0).all()
    quotas = size * np.bincount(labels) / len(labels)
    assert (np.abs(np.bincount(labels[rows], minlength=len(quotas)) - quotas) < 1).all()


def test_the_seed_determines_the_sample():
    labels = np.repeat([0, 1], 100)
    one, same, other = (stratified(labels, 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)


def test_every_member_of_a_class_can_be_chosen():
    labels = np.repeat([0, 1], 5)
    seen = {int(row) for seed in range(50) for row in stratified(labels, 2, np.random.default_rng(seed))}
    assert seen == set(range(10))


@pytest.mark.parametrize("size", [-1, 3])
def test_impossible_sizes_are_rejected(size):
    with pytest.raises(ValueError, match="expected a size of 0 to 2"):
        stratified(np.array([0, 1]), size, np.random.default_rng(0))
