import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from temper.core.errors import StageError
from temper.system import backend
from temper.targets.datasets.cifar10 import CIFAR10
from temper.targets.datasets.data_folder import FOLDER_VARIABLE
from temper.targets.datasets.fashion_mnist import FashionMNIST
from temper.targets.datasets.keras_npz import KerasNpz
from temper.targets.datasets.mnist import MNIST
from tests.targets.datasets.support import arrays, produced, save

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.fixture
def keras(monkeypatch):
    """Keras's data sets replaced by what a test puts there, so that no test downloads."""
    datasets = SimpleNamespace()
    monkeypatch.setattr(backend, "keras", lambda: SimpleNamespace(datasets=datasets))
    return datasets


@pytest.mark.parametrize(("leaf", "shape"), [(MNIST, (28, 28)), (FashionMNIST, (28, 28)), (CIFAR10, (32, 32, 3))])
def test_root_may_be_a_folder_or_the_file(tmp_path, leaf, shape):
    contents = arrays(shape=shape)
    path = save(tmp_path / f"{leaf.tag}.npz", contents)
    for root in (tmp_path, path):
        dataset = leaf(root=str(root))
        assert (list(dataset.check()), list(dataset.files())) == ([], [path])
        data = produced(dataset)
        np.testing.assert_array_equal(data.test.y, contents["y_test"])
        assert data.info == dataset.info()
        assert len(data.info.class_names) == 10


def test_the_environment_sets_the_folder_unless_root_does(tmp_path, monkeypatch):
    (there := tmp_path / "there").mkdir()
    save(tmp_path / "mnist.npz", arrays(train=30))
    save(there / "mnist.npz", arrays(train=40))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert MNIST().source_sizes() == (30, 10)
    assert MNIST(root=str(there)).source_sizes() == (40, 10)
    assert list(MNIST().files()) == [tmp_path / "mnist.npz"]


def test_without_a_folder_nothing_is_checked():
    dataset = MNIST(train_size=10**9)
    assert (list(dataset.check()), list(dataset.files()), dataset.source_sizes()) == ([], [], None)


def test_without_a_folder_keras_provides_the_data(keras):
    contents = arrays(shape=(32, 32, 3))
    parts = [(contents[f"x_{part}"], contents[f"y_{part}"][:, None]) for part in ("train", "test")]
    keras.cifar10 = SimpleNamespace(load_data=lambda: parts)
    np.testing.assert_array_equal(produced(CIFAR10()).train.y, contents["y_train"])


def test_a_failed_download_names_both_remedies(keras):
    def load_data():
        raise Exception("URL fetch failure")

    keras.mnist = SimpleNamespace(load_data=load_data)
    with pytest.raises(StageError) as caught:
        produced(MNIST())
    assert str(caught.value) == (
        "mnist: Keras has no copy and could not download one (URL fetch failure); put mnist.npz into a folder and set "
        "it in 'root' or in TEMPER_DATA, or run once with a connection"
    )


def test_a_missing_file_is_reported_where_it_was_set(tmp_path, monkeypatch):
    expected = f"there is no file {tmp_path / 'mnist.npz'}{{}}; expected a folder with mnist.npz"
    assert list(MNIST(root=str(tmp_path)).check()) == [("root", expected.format(""))]
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert list(MNIST().check()) == [("", expected.format(" (from TEMPER_DATA)"))]


def test_the_file_of_another_data_set_is_reported(tmp_path):
    save(tmp_path / "mnist.npz", arrays(shape=(32, 32, 3)))
    ((field, message),) = MNIST(root=str(tmp_path)).check()
    assert field == "root"
    assert message.endswith("contains images (32, 32, 3); expected those of mnist, (28, 28, 1)")


def test_a_file_in_another_layout_is_reported_and_stops_the_stage(tmp_path):
    contents = arrays()
    del contents["y_test"]
    save(tmp_path / "mnist.npz", contents)
    dataset = MNIST(root=str(tmp_path))
    ((field, message),) = dataset.check()
    assert (field, message) == (
        "root",
        f"{tmp_path / 'mnist.npz'} lacks y_test; expected x_train, y_train, x_test, y_test",
    )
    with pytest.raises(StageError, match="lacks y_test"):
        produced(dataset)


def test_checking_reads_headers_without_a_framework(tmp_path):
    save(tmp_path / "mnist.npz", arrays())
    program = (
        "import sys; from temper.targets.datasets.mnist import MNIST\n"
        f"dataset = MNIST(root={str(tmp_path)!r}); assert not list(dataset.check()); dataset.info()\n"
        "sys.exit(sorted({'keras', 'tensorflow', 'torch', 'jax', 'sklearn', 'PIL'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the real data in {SHARED}")
@pytest.mark.parametrize("leaf", [MNIST, FashionMNIST])
def test_real_data_have_their_known_sizes_and_balance(leaf):
    dataset: KerasNpz = leaf(root=str(SHARED), train_size=6000, validation=0.1)
    assert list(dataset.check()) == []
    assert dataset.source_sizes() == (60_000, 10_000)
    data = produced(dataset)
    assert (len(data.train), len(data.validation), len(data.test)) == (5400, 600, 10_000)
    assert np.bincount(data.test.y).tolist() == (
        [1000] * 10 if leaf is FashionMNIST else [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    )
