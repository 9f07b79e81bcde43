import numpy as np
from sklearn.datasets import load_digits

from temper.targets.datasets.digits import Digits
from tests.targets.datasets.support import produced


def test_the_parts_hold_each_digit_image_once():
    data = produced(Digits())
    together = np.concatenate([data.train.x, data.test.x]).reshape(-1, 64)
    expected = (load_digits().data / 16).astype(np.float32)
    np.testing.assert_array_equal(together[np.lexsort(together.T)], expected[np.lexsort(expected.T)])


def test_the_test_part_is_a_stratified_quarter():
    data = produced(Digits())
    quotas = np.bincount(load_digits().target) * 449 / 1797
    assert (len(data.train), len(data.test)) == (1348, 449) == Digits().source_sizes()
    assert (np.abs(np.bincount(data.test.y) - quotas) < 1).all()


def test_the_split_depends_on_split_seed():
    one, same, other = (produced(Digits(split_seed=seed)).test for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.x, same.x)
    assert not np.array_equal(one.x, other.x)


def test_info_equals_the_produced_data():
    dataset = Digits(classes=(7, 2), resize=4)
    assert produced(dataset).info == dataset.info()
    assert dataset.info().class_names == ("7", "2")
    assert list(dataset.check()) == []


def test_too_large_sizes_are_reported_before_loading():
    assert [field for field, _ in Digits(train_size=1349, test_size=450).check()] == ["train_size", "test_size"]
