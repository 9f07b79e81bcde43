import dataclasses
import re
import zipfile

import numpy as np
import pytest

from temper.core.artefacts import Data
from temper.core.component import PARTS
from temper.core.errors import StageError
from temper.nn.images.pixel_range import pixel_problem
from temper.nn.images.preprocessing import Preprocessing
from temper.targets.datasets.label_check import MAX_CLASSES, label_problem
from temper.targets.datasets.npz import Npz
from tests.targets.datasets.support import a_run, arrays, produced, save


@pytest.fixture
def make(tmp_path):
    def make(contents=None, **parameters):
        return Npz(path=str(save(tmp_path / "data.npz", contents or arrays(**SMALL))), **parameters)

    return make


SMALL = {"train": 100, "test": 40, "shape": (6, 6), "classes": 4}
COLOUR = SMALL | {"shape": (6, 6, 3)}


def test_a_file_becomes_float_images_with_their_positions(make):
    contents = arrays(**SMALL)
    data = produced(make(contents))
    np.testing.assert_array_equal(data.train.x[..., 0], contents["x_train"].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.train.y, contents["y_train"])
    np.testing.assert_array_equal(data.test.index, np.arange(40))
    assert len(data.validation) == 0
    assert data.info.class_names == ("0", "1", "2", "3")


def test_labels_may_be_a_column(make):
    contents = arrays(**COLOUR)
    column = contents | {"y_train": contents["y_train"][:, None], "y_test": contents["y_test"][:, None]}
    np.testing.assert_array_equal(produced(make(column)).train.y, contents["y_train"])


def test_classes_are_kept_in_the_given_order_with_their_original_positions(make):
    dataset = make(classes=(3, 1), class_names=("a", "b", "c", "d"))
    data = produced(dataset)
    assert dataset.info() == data.info
    assert data.info.class_names == ("d", "b")
    np.testing.assert_array_equal(data.test.index, np.flatnonzero(np.arange(40) % 2))
    np.testing.assert_array_equal(data.test.y, np.where(data.test.index % 4 == 3, 0, 1))
    np.testing.assert_array_equal(np.rint(data.test.x[:, 0, 0, 0] * 255), data.test.index)


def test_sizes_and_validation_are_stratified_and_disjoint(make):
    data = produced(make(train_size=60, test_size=20, validation=0.2))
    assert [np.bincount(data.part(name).y).tolist() for name in PARTS] == [[12] * 4, [3] * 4, [5] * 4]
    assert not set(data.train.index) & set(data.validation.index)
    for name in PARTS:
        part = data.part(name)
        assert (np.diff(part.index) > 0).all()
        np.testing.assert_array_equal(part.y, part.index % 4)


def test_the_split_seed_alone_decides_the_choice(make):
    dataset = make(train_size=40, validation=0.25)
    again, other = produced(dataset), produced(dataclasses.replace(dataset, split_seed=1))
    np.testing.assert_array_equal(produced(dataset).train.index, again.train.index)
    assert set(again.train.index) != set(other.train.index)


def test_a_smaller_test_part_leaves_the_training_part_alone(make):
    all_tested, few_tested = produced(make(train_size=40)), produced(make(train_size=40, test_size=8))
    np.testing.assert_array_equal(all_tested.train.index, few_tested.train.index)


def test_grey_and_resize_shape_the_images_and_the_info(make):
    dataset = make(arrays(**COLOUR), grey="luma", resize=4)
    assert dataset.info().shape == (4, 4, 1) == produced(dataset).train.shape


def test_resplit_merges_both_parts_with_one_index(make):
    contents = arrays(**SMALL)
    data = produced(make(contents, resplit=(90, 20, 30)))
    assert [len(data.part(name)) for name in PARTS] == [90, 20, 30]
    index = np.concatenate([data.part(name).index for name in PARTS])
    assert sorted(index) == list(range(140))
    together = np.concatenate([contents["x_train"], contents["x_test"]])
    labels = np.concatenate([contents["y_train"], contents["y_test"]])
    for name in PARTS:
        part = data.part(name)
        assert (part.index < 100).any()
        assert (part.index >= 100).any()
        np.testing.assert_array_equal(part.x[..., 0], together[part.index] / np.float32(255))
        np.testing.assert_array_equal(part.y, labels[part.index])


def test_resplit_counts_kept_classes_only(make):
    data = produced(make(classes=(2, 0), resplit=(40, 10, 20)))
    assert [np.bincount(data.part(name).y).tolist() for name in PARTS] == [[20, 20], [5, 5], [10, 10]]
    with pytest.raises(StageError, match=r"npz \(classes \[2, 0\]\): resplit requests 71 images, but there are 70"):
        produced(make(classes=(2, 0), resplit=(41, 10, 20)))


def test_sizes_after_resplit_are_those_of_the_new_parts(make):
    assert make(resplit=(50, 20, 30)).sizes() == (50, 30)
    assert make().sizes() == (100, 40) == make().source_sizes()


def test_opencv_preprocesses_bytes(make):
    contents = arrays(**COLOUR)
    data = produced(make(contents, grey="luma_bgr", resize=4, opencv=True))
    expected = Preprocessing(grey="luma_bgr", size=4, opencv=True).apply(contents["x_test"])
    np.testing.assert_array_equal(data.test.x, expected)
    np.testing.assert_array_equal(np.rint(expected * 255) / np.float32(255), expected)


def test_a_stored_data_set_is_restored(make, tmp_path):
    data = produced(make(validation=0.1))
    (folder := tmp_path / "kept").mkdir()
    data.save(folder)
    np.testing.assert_array_equal(Data.load(folder).validation.x, data.validation.x)


def test_the_images_count_for_the_cost_report(make):
    make(train_size=40).produce(run := a_run())
    assert run.images == 80


def test_a_valid_data_set_has_no_problem(make):
    assert list(make(classes=(0, 3), train_size=50, grey="luma").check()) == []


@pytest.mark.parametrize(
    ("parameters", "field", "said"),
    [
        ({"classes": (0, 4)}, "classes", "there is no class 4; expected 0 to 3"),
        ({"classes": (-1,)}, "classes", "there is no class -1; expected 0 to 3"),
        ({"classes": (1, 1)}, "classes", r"a class is named twice in \[1, 1\]"),
        ({"train_size": 101}, "train_size", "101 images requested; expected at most 100"),
        ({"test_size": 41}, "test_size", "41 images requested; expected at most 40"),
        ({"resplit": (100, 20, 21)}, "resplit", "141 images requested; expected at most 140"),
        ({"resplit": (50, 20, 20), "train_size": 51}, "train_size", "51 images requested; expected at most 50"),
        ({"resplit": (50, 20)}, "resplit", r"as in \[7000, 2000, 1000\]; received \[50, 20\]"),
        ({"resplit": (50, 20, 0)}, "resplit", r"received \[50, 20, 0\]"),
        (
            {"resplit": (50, 20, 20), "validation": 0.1},
            "validation",
            "resplit already sets the size of the validation part",
        ),
        ({"opencv": True}, "opencv", "it has no effect without `grey` or `resize`"),
        ({"class_names": ("a",)}, "class_names", "1 names for labels up to 3; expected a name for each"),
    ],
)
def test_invalid_parameters_are_reported_before_anything_runs(make, parameters, field, said):
    ((place, message),) = make(**parameters).check()
    assert place == field
    assert re.search(said, message)


def altered(**changes):
    contents = arrays(**SMALL) | changes
    return {key: value for key, value in contents.items() if value is not None}


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (altered(x_test=None, y_test=None), "lacks x_test, y_test; expected x_train, y_train, x_test, y_test"),
        (altered(x_train=np.zeros((100, 6, 6), np.int32)), "x_train is int32 (100, 6, 6); expected uint8 or float"),
        (altered(x_train=np.zeros((100, 36), np.uint8)), "x_train is uint8 (100, 36); expected uint8 or float"),
        (altered(y_train=np.zeros(99, np.int64)), "y_train is int64 (99,); expected integers (100,)"),
        (altered(y_train=np.zeros((100, 4))), "y_train is float64 (100, 4); expected integers (100,)"),
        (altered(x_test=np.zeros((40, 5, 6), np.uint8)), "training images are (6, 6), test images (5, 6)"),
        (altered(y_test=np.array([None] * 40)), "Python objects in y_test.npy"),
        (altered(y_test=np.full(40, -1)), "the smallest label is -1; expected labels from 0"),
        (
            altered(x_test=np.zeros((0, 6, 6), np.uint8), y_test=np.zeros(0, np.int64)),
            "x_test (0, 6, 6) contains no image; expected at least one",
        ),
    ],
)
def test_a_file_in_another_layout_is_reported(make, contents, said):
    ((field, message),) = make(contents).check()
    assert field == "path"
    assert said in message


def one_hot(n: int) -> np.ndarray:
    return np.eye(4)[np.arange(n) % 4]


def pixels(n: int, low: float, high: float, shape: tuple[int, ...] = (6, 6)) -> np.ndarray:
    return np.random.default_rng(n).uniform(low, high, (n, *shape)).astype(np.float32)


FIRST = {"x_train": np.zeros((100, 3, 6, 5), np.uint8), "x_test": np.zeros((40, 3, 6, 5), np.uint8)}
SQUARE = {"x_train": np.zeros((100, 1, 4, 4), np.uint8), "x_test": np.zeros((40, 1, 4, 4), np.uint8)}
OPAQUE = {
    "x_train": np.concatenate([np.full((100, 6, 6, 3), 7, np.uint8), np.full((100, 6, 6, 1), 255, np.uint8)], axis=3),
    "x_test": np.concatenate([np.full((40, 6, 6, 3), 7, np.uint8), np.full((40, 6, 6, 1), 9, np.uint8)], axis=3),
}
BROKEN = pixels(40, 0, 1)
BROKEN[7, 2, 2] = np.nan


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (altered(**FIRST), "x_train is (100, 3, 6, 5), which looks channels-first; write x.transpose(0, 2, 3, 1)"),
        (altered(**SQUARE), "x_train is (100, 1, 4, 4), which looks channels-first"),
        (altered(y_test=one_hot(40)), "y_test is float64 (40, 4); expected integers (40,); for one-hot labels write y.argmax"),
        (altered(y_test=one_hot(40).astype(int)), "y_test is int64 (40, 4); expected integers (40,); for one-hot labels"),
        (altered(y_test=np.zeros(40)), "y_test is float64 (40,); expected integers (40,); write y.astype(int)"),
        (altered(y_test=np.zeros(40, bool)), "y_test is bool (40,); expected integers (40,); write y.astype(int)"),
        (altered(y_train=np.arange(100) % 4 + 1, y_test=np.arange(40) % 4 + 1), "the labels are 1 to 4; expected 0 to 3: write y - 1"),
        (altered(y_train=np.arange(100) % 4 * 2), "the labels are 6 numbers from 0 to 6, and none is 5; expected 0 to 5: write"),
        (altered(y_test=np.full(40, 10**6)), "the labels are 5 numbers from 0 to 1000000, and none is 4; expected 0 to 4: write"),
        (altered(y_test=np.full(40, 2**62)), f"the labels are 5 numbers from 0 to {2**62}"),
        (altered(y_test=np.full(40, 4)), "no training image has label 4, which a test image has; set resplit"),
        (altered(x_train=pixels(100, 0, 255)), "x_train: pixels: expected [0, 1], received ["),
        (altered(x_test=pixels(40, -1, 1)), "; write (x + 1) / 2"),
        (altered(x_test=pixels(40, -2.1, 2.6)), "; undo the normalisation, such as a subtracted mean"),
        (altered(x_test=BROKEN), "x_test: pixels: expected [0, 1], received [nan, nan], first in image 7; replace"),
        (altered(x_train=(pixels(100, 0, 1) > 0.5).astype(np.uint8)), "bytes of 0 and 1 only would be nearly black; write x * 255"),
        (altered(**OPAQUE), "an opaque alpha; write x[..., :-1]"),
        (altered(x_train=pixels(100, 0, 1 / 255)), "so all are nearly black; divide by 255 once only"),
    ],
)  # fmt: skip
def test_plausible_but_wrong_arrays_are_reported(make, contents, said):
    (field, message), *others = make(contents).check()
    assert field == "path"
    assert said in message
    assert len(others) == ("channels" in said)  # said of both parts


def test_a_duplicate_array_is_reported(make, tmp_path):
    dataset = make()
    with zipfile.ZipFile(tmp_path / "data.npz", "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("y_test.npy", file.read("y_test.npy"))
    ((_, message),) = dataset.check()
    assert "y_test twice" in message


def test_pixels_not_checked_in_advance_stop_the_stage(make, monkeypatch):
    monkeypatch.setattr("temper.targets.datasets.npz_archive._CHECKED_BYTES", 10 * 36 * 4)
    late = pixels(100, 0, 1)
    late[50:] *= 255
    dataset = make(altered(x_train=late))
    assert list(dataset.check()) == []
    with pytest.raises(StageError, match=r"npz: pixels: expected \[0, 1\], received .*; write x / 255 \(train part\)"):
        produced(dataset)
    dark = np.zeros((100, 6, 6), np.float32)
    dark[50:] = 1
    assert list(make(altered(x_train=dark)).check()) == []


def test_class_names_define_the_classes(make):
    gaps = altered(y_train=np.arange(100) % 4 * 2, y_test=np.arange(40) % 4 * 2)
    assert list(make(gaps, class_names=tuple("abcdefg")).check()) == []
    ((field, message),) = make(class_names=("a", "b", "a", "c")).check()
    assert (field, message) == ("", "1 names denote several classes, such as 'a'; give each class a unique name")
    from_one = altered(y_train=np.arange(100) % 4 + 1, y_test=np.arange(40) % 4 + 1)
    ((field, message),) = make(from_one, class_names=tuple("abcd")).check()
    assert "the labels are 1 to 4; expected 0 to 3: write y - 1" in message


@pytest.mark.parametrize("shape", [(3, 5, 3), (4, 4, 3), (1, 6, 1), (6, 6, 7), (4, 4, 4), (3, 4, 1)])
def test_ambiguous_shapes_are_read_as_channels_last(make, shape):
    contents = arrays(**SMALL | {"shape": shape})
    assert list(make(contents).check()) == []
    assert make(contents).info().shape == shape


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 truncated"])
def test_a_file_that_is_not_an_archive_is_reported(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    ((field, message),) = Npz(path=str(path)).check()
    assert (field, "expected arrays written by NumPy" in message) == ("path", True)


def test_a_missing_file_is_reported_and_stops_the_stage(tmp_path):
    dataset = Npz(path=str(tmp_path / "none.npz"))
    assert [field for field, _ in dataset.check()] == ["path"]
    with pytest.raises(StageError, match=r"none\.npz: cannot be read: No such file"):
        produced(dataset)


def test_corruption_behind_intact_headers_is_reported_on_reading(make, tmp_path):
    dataset = make(arrays(**SMALL | {"shape": (60, 60)}))
    content = bytearray((tmp_path / "data.npz").read_bytes())
    start = content.index(b"x_train.npy") + 100_000  # far beyond the header, within the pixels
    content[start : start + 8] = bytes(byte ^ 255 for byte in content[start : start + 8])
    (tmp_path / "data.npz").write_bytes(content)
    assert list(dataset.check()) == []
    with pytest.raises(StageError, match=r"data.npz: expected arrays written by NumPy, received BadZipFile"):
        produced(dataset)


def test_floats_beyond_one_stop_the_stage(make):
    bad = altered(x_train=np.full((100, 6, 6), 255.0))
    with pytest.raises(StageError, match=r"npz: pixels: expected \[0, 1\], received \[255, 255\]"):
        produced(make(bad))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"classes": (0,), "train_size": 26},
            r"train_size is 26, but there are 25 images; request fewer",
        ),
        ({"train_size": 10, "validation": 0.01}, "validation=0.01 of 10 training images leaves a part empty"),
        ({"train_size": 10, "validation": 0.99}, "validation=0.99 of 10 training images leaves a part empty"),
        ({"class_names": ("a", "b", "c")}, "expected labels 0 to 2, received 0 to 3"),
    ],
)
def test_problems_of_the_labels_stop_the_stage(make, parameters, said):
    with pytest.raises(StageError, match=said):
        produced(make(**parameters))


def test_a_class_without_images_stops_the_stage(make):
    with pytest.raises(StageError, match=r"npz \(classes \[1, 2\]\): the test part has no image; keep other classes"):
        produced(make(altered(y_test=np.zeros(40, np.int64)), classes=(1, 2)))


def test_grey_requires_colour_images(make):
    ((field, message),) = make(arrays(**SMALL | {"shape": (6, 6, 4)}), grey="luma").check()
    assert (field, message) == ("grey", "the images have 4 channels; expected 1 or 3")


@pytest.mark.parametrize("y", [np.array([0, 1, 2**64 - 1], np.uint64), np.array([0, 1, 10**15])])
def test_a_huge_label_does_not_create_a_name_per_number(make, y):
    labels = np.resize(y, 100)
    dataset = make(altered(y_train=labels))
    ((field, message),) = dataset.check()
    assert (field, str(y.max()) in message) == ("path", True)
    with pytest.raises(StageError, match=str(y.max())):
        dataset.source_info()


def test_unsigned_and_signed_labels_stay_integers(make):
    plain = arrays(**SMALL)
    dataset = make(plain | {"y_train": plain["y_train"].astype(np.uint64), "y_test": plain["y_test"].astype(np.int64)})
    assert list(dataset.check()) == []
    assert dataset.load()[0][1].dtype == np.int64


def test_the_number_of_classes_is_limited():
    assert "at most 100,000 classes" in label_problem(np.arange(MAX_CLASSES + 1))
    assert label_problem(np.arange(MAX_CLASSES)) == ""


@pytest.mark.parametrize(
    ("value", "low", "high"), [(np.inf, 0, np.inf), (-np.inf, -np.inf, 0), (np.nan, np.nan, np.nan)]
)
def test_no_scaling_is_suggested_for_non_finite_pixels(value, low, high):
    x = np.zeros((3, 2, 2, 1))
    x[2, 1, 0, 0] = value
    problem = pixel_problem(x)
    assert f"received [{low:g}, {high:g}], first in image 2; replace or remove these" in problem
    assert "x.m" not in problem


@pytest.mark.parametrize(("value", "kind"), [(0, np.uint8), (255, np.uint8), (0.0, np.float32), (0.5, np.float64)])
@pytest.mark.parametrize("part", ["train", "test"])
def test_identical_images_are_reported(make, value, kind, part):
    contents = arrays(**SMALL)
    contents[f"x_{part}"] = np.full_like(contents[f"x_{part}"], value, kind)
    (problem,) = make(contents).check()
    assert "all of them are" in problem[1]


def test_one_image_may_be_of_one_shade():
    assert pixel_problem(np.zeros((1, 2, 2, 1), np.uint8)) == ""
    assert pixel_problem(np.zeros((3, 2, 2, 1), np.uint8), whole=False) == ""


def test_unread_arrays_are_reported(make):
    contents = arrays(**SMALL)
    extra = {"x_val": contents["x_test"], "y_val": contents["y_test"], "about": np.array("mine")}
    for found, warned in ((contents | extra, "also contains x_val, y_val"), (contents, "")):
        dataset, run = make(found), a_run()
        dataset.review(produced(dataset), run)
        assert warned in " ".join(run.remarks)
        assert bool(run.remarks) == bool(warned)
