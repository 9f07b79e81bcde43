import numpy as np
import pytest
from scipy.io import savemat

from temper.core.errors import StageError
from temper.targets.datasets.data_folder import FOLDER_VARIABLE
from temper.targets.datasets.svhn import SVHN
from tests.targets.datasets.support import produced

SIZES = {"train": 40, "test": 20}


def contents(count):
    rng = np.random.default_rng(count)
    return {
        "X": rng.integers(0, 256, (32, 32, 3, count), np.uint8),
        "y": (np.arange(count) % 10 + 1).astype(np.uint8)[:, None],
    }


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    for part, count in SIZES.items():
        savemat(tmp_path / f"{part}_32x32.mat", contents(count), do_compression=True)
    return tmp_path


def test_the_official_files_are_read(root):
    dataset = SVHN(root=str(root), validation=0.25)
    assert (list(dataset.check()), dataset.source_sizes()) == ([], (40, 20))
    data = produced(dataset)
    assert data.info == dataset.info()
    written = contents(20)
    for i in (0, 7, 19):
        np.testing.assert_array_equal(data.test.x[i], written["X"][..., i] / np.float32(255))
    assert data.test.y.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    assert (len(data.train), len(data.validation)) == (30, 10)
    assert list(dataset.files()) == [root / "train_32x32.mat", root / "test_32x32.mat"]


def test_the_environment_sets_the_folder_of_all_data_sets(root, tmp_path, monkeypatch):
    (tmp_path / "svhn").symlink_to(root)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert SVHN().source_sizes() == (40, 20)


def test_missing_files_are_reported(root):
    (root / "test_32x32.mat").unlink()
    message = f"there is no file {root / 'test_32x32.mat'}; expected train_32x32.mat and test_32x32.mat"
    assert list(SVHN(root=str(root)).check()) == [("root", message)]
    ((field, message),) = SVHN(root=str(root / "none")).check()
    assert (field, "there is no folder" in message) == ("root", True)
    assert [field for field, _ in SVHN().check()] == ["root"]


@pytest.mark.parametrize(
    "content",
    [b"", b"no matlab file at all" * 20, b"\x89HDF\r\n\x1a\n" + b"\0" * 600, b"MATLAB 7.3" + b" " * 114 + b"\0\2IM"],
)
def test_an_unsupported_mat_file_is_reported(root, content):
    (root / "train_32x32.mat").write_bytes(content)
    ((field, message),) = SVHN(root=str(root)).check()
    assert (field, "train_32x32.mat: expected an intact .mat file of MATLAB 5 to 7" in message) == ("root", True)


@pytest.mark.parametrize(
    "changes",
    [{"X": np.zeros((32, 32, 40), np.uint8)}, {"X": np.zeros((28, 28, 3, 40), np.uint8)}, {"y": np.ones((39, 1))}],
)
def test_a_file_in_another_layout_is_reported_and_stops_the_stage(root, changes):
    savemat(root / "train_32x32.mat", contents(40) | changes)
    ((field, message),) = SVHN(root=str(root)).check()
    assert (field, "expected X (32, 32, 3, n) and y (n, 1)" in message) == ("root", True)
    with pytest.raises(StageError, match=r"train_32x32\.mat contains"):
        produced(SVHN(root=str(root)))


def test_labels_beyond_ten_stop_the_stage(root):
    savemat(root / "test_32x32.mat", contents(20) | {"y": np.full((20, 1), 11, np.uint8)})
    with pytest.raises(StageError, match="expected labels 1 to 10, received 11 to 11; download it again"):
        produced(SVHN(root=str(root)))


def test_corruption_behind_intact_headers_is_reported_on_reading(root):
    content = bytearray((root / "train_32x32.mat").read_bytes())
    content[50_000:50_064] = bytes(byte ^ 255 for byte in content[50_000:50_064])
    (root / "train_32x32.mat").write_bytes(content)
    with pytest.raises(StageError, match=r"train_32x32\.mat: expected an intact .mat file"):
        produced(SVHN(root=str(root)))


def test_mixed_conventions_for_zero_stop_the_stage(root):
    labels = np.arange(20, dtype=np.uint8)[:, None] % 11
    savemat(root / "test_32x32.mat", contents(20) | {"y": labels})
    with pytest.raises(StageError, match="expected the digit 0 as label 10, or as 0, received both"):
        produced(SVHN(root=str(root)))
