import shutil

import numpy as np
import pytest
from PIL import Image

from temper.nn.images.preprocessing import Preprocessing
from temper.targets.datasets.data_folder import FOLDER_VARIABLE
from temper.targets.datasets.intel import Intel
from tests.targets.datasets.support import produced, unpacked


def picture(seed, height=9, width=9):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    for part, count in (("seg_train", 5), ("seg_test", 2)):
        for label, name in enumerate(Intel.class_names):
            (folder := tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(picture(10 * label + i)).save(folder / f"{i}.jpg")
    return tmp_path


def test_the_official_folders_are_read(root):
    dataset = Intel(root=str(root), validation=0.2)
    assert (list(dataset.check()), dataset.source_sizes()) == ([], (30, 12))
    data = produced(dataset)
    assert data.info == dataset.info()
    assert data.info.class_names == ("buildings", "forest", "glacier", "mountain", "sea", "street")
    assert [np.bincount(part.y).tolist() for part in (data.train, data.validation, data.test)] == [
        [4] * 6,
        [1] * 6,
        [2] * 6,
    ]
    assert list(dataset.files()) == [root / "seg_train", root / "seg_test"]


def test_folders_may_be_nested_as_in_the_archive(root):
    flat = produced(Intel(root=str(root)))
    for part in ("seg_train", "seg_test"):
        shutil.move(root / part, root / "moved")
        (root / part).mkdir()
        shutil.move(root / "moved", root / part / part)
    dataset = Intel(root=str(root))
    assert list(dataset.check()) == []
    np.testing.assert_array_equal(produced(dataset).test.x, flat.test.x)


def test_the_environment_sets_the_folder_of_all_data_sets(root, tmp_path, monkeypatch):
    (tmp_path / "intel").symlink_to(root)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert Intel().source_sizes() == (30, 12)


def test_images_are_preprocessed_as_opencv_does(root):
    Image.fromarray(picture(1, 7, 12)).save(path := root / "seg_test" / "street" / "1.png")
    data = produced(Intel(root=str(root), grey="luma", resize=6, opencv=True))
    expected = Preprocessing(grey="luma", size=6, opencv=True).apply(np.asarray(Image.open(path))[None])
    np.testing.assert_array_equal(data.test.x[-1:], expected)


def test_a_missing_class_and_a_missing_part_are_reported(root):
    shutil.rmtree(root / "seg_train" / "sea")
    expected = f"{root / 'seg_train' / 'sea'} contains no image; expected the folders seg_train and seg_test"
    assert list(Intel(root=str(root)).check()) == [("root", expected)]
    ((field, message),) = Intel(root=str(root / "none")).check()
    assert (field, "there is no folder" in message) == ("root", True)


def test_without_a_test_part_a_share_may_be_held_out(root):
    shutil.rmtree(root / "seg_test")
    ((_, message),) = Intel(root=str(root)).check()
    assert message.endswith("expected the folders seg_train and seg_test, or set test_share")
    dataset = Intel(root=str(root), test_share=0.2)
    assert list(dataset.check()) == []
    assert np.bincount(produced(dataset).test.y).tolist() == [1] * 6


def test_another_class_is_reported(root):
    (root / "seg_test" / "desert").mkdir()
    ((field, message),) = Intel(root=str(root)).check()
    assert (field, message.startswith(f"{root / 'seg_test' / 'desert'} is not a class; expected buildings, ")) == (
        "root",
        True,
    )


@pytest.mark.shared
@pytest.mark.slow
def test_real_photographs_have_their_known_numbers():
    dataset = Intel(root=str(unpacked("intel")), grey="luma", resize=48, train_size=100)
    assert (list(dataset.check()), dataset.source_sizes()) == ([], (8727, 2156))
    assert np.bincount(produced(dataset).test.y).tolist() == [343, 317, 384, 324, 385, 403]
