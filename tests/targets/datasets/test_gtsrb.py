import shutil

import numpy as np
import pytest
from PIL import Image

from temper.core.errors import StageError
from temper.targets.datasets.data_folder import FOLDER_VARIABLE
from temper.targets.datasets.gtsrb import GTSRB
from tests.targets.datasets.support import produced, unpacked

TRACKS = {0: 4, 13: 3}
"""Tracks of each class, of six images each."""
TRUTH = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


def picture(path, value, height=6, width=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)


def training(folder, ending="ppm"):
    """Write images whose value is the number of their sign."""
    for label, tracks in TRACKS.items():
        for track in range(tracks):
            for frame in range(6):
                picture(folder / f"{label:05d}" / f"{track:05d}_{frame:05d}.{ending}", 10 * label + track)
        (folder / f"{label:05d}" / f"GT-{label:05d}.csv").write_text("Filename;Width;Height\n", encoding="utf-8")


@pytest.fixture
def official(tmp_path):
    training(tmp_path / "GTSRB" / "Final_Training" / "Images")
    for i in range(3):
        picture(tmp_path / "GTSRB" / "Final_Test" / "Images" / f"{i:05d}.ppm", 200 + i)
    rows = "".join(f"{i:05d}.ppm;6;6;1;1;5;5;{label}\n" for i, label in enumerate((13, 0, 13)))
    (tmp_path / "GT-final_test.csv").write_text(TRUTH + rows, encoding="utf-8")
    return tmp_path


@pytest.fixture
def plain(tmp_path):
    training(tmp_path / "train", "png")
    for label in TRACKS:
        picture(tmp_path / "test" / f"{label}" / "00000.png", label)
    return tmp_path


def problems(root, **parameters):
    return list(GTSRB(root=str(root), **parameters).check())


def signs(part):
    return set(np.rint(part.x[:, 0, 0, 0] * 255).astype(int))


def test_the_official_folders_are_read(official):
    dataset = GTSRB(root=str(official))
    assert list(dataset.check()) == []
    data = produced(dataset)
    assert data.info == dataset.info()
    assert (data.info.num_classes, data.info.shape) == (43, (6, 6, 3))
    assert data.info.class_names[13] == "yield"
    assert data.train.y.tolist() == [0] * 24 + [13] * 18
    assert data.test.y.tolist() == [13, 0, 13]
    assert np.rint(data.test.x[:, 0, 0, 0] * 255).tolist() == [200, 201, 202]
    assert dataset.source_sizes() == (42, 3)
    assert [path.relative_to(official).as_posix() for path in dataset.files()] == [
        "GTSRB/Final_Training/Images",
        "GTSRB/Final_Test/Images",
        "GT-final_test.csv",
    ]


@pytest.mark.parametrize("place", ["GTSRB/Final_Test/Images", "GTSRB", "."])
def test_the_labels_are_found_in_all_usual_locations(official, place):
    truth = official / "GT-final_test.csv"
    if truth.parent != official / place:
        shutil.move(truth, official / place / truth.name)
    assert produced(GTSRB(root=str(official))).test.y.tolist() == [13, 0, 13]


def test_root_may_be_the_folder_gtsrb_itself(official):
    shutil.move(official / "GT-final_test.csv", official / "GTSRB")
    assert len(produced(GTSRB(root=str(official / "GTSRB"))).test) == 3


def test_plain_class_folders_are_read(plain):
    data = produced(GTSRB(root=str(plain)))
    assert (data.train.y.tolist(), data.test.y.tolist()) == ([0] * 24 + [13] * 18, [0, 13])


def test_the_environment_sets_the_folder_of_all_data_sets(plain, monkeypatch):
    (expected := plain / "gtsrb").mkdir()
    shutil.move(plain / "train", expected)
    shutil.move(plain / "test", expected)
    monkeypatch.setenv(FOLDER_VARIABLE, str(plain))
    assert GTSRB().source_sizes() == (42, 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "parameters",
    [{"validation": 0.3}, {"test_share": 0.3}, {"test_share": 0.3, "validation": 0.3}, {"resplit": (20, 12, 12)}],
)
def test_parts_sampled_from_training_images_share_no_sign(official, parameters, seed):
    data = produced(GTSRB(root=str(official), split_seed=seed, **parameters))
    parts = [signs(data.train), signs(data.validation), signs(data.test)]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    if "validation" in parameters:
        assert set(data.validation.y) == {0, 13}
    if "test_share" in parameters:
        assert set(data.test.y) == {0, 13}


def test_single_images_may_be_sampled_as_in_the_paper(official):
    data = produced(GTSRB(root=str(official), split="images", test_share=0.25, validation=0.25))
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 8, 10)
    assert signs(data.train) & signs(data.test)


def test_the_papers_sizes_are_sampled_from_the_training_images(official):
    dataset = GTSRB(root=str(official), split="images", test_share=0.1, resplit=(30, 4, 5))
    assert list(dataset.check()) == []
    data = produced(dataset)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 4, 5)
    assert max(signs(data.test)) < 200


def test_a_missing_folder_is_reported_where_it_was_set(tmp_path, monkeypatch):
    assert list(GTSRB().check()) == [
        ("root", "no location of the data; set their folder, or TEMPER_DATA"),
    ]
    assert list(GTSRB().files()) == []
    assert problems(tmp_path / "none") == [("root", f"there is no folder {tmp_path / 'none'}; expected that of gtsrb")]
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    message = f"there is no folder {tmp_path / 'gtsrb'} (from TEMPER_DATA); expected that of gtsrb"
    assert list(GTSRB().check()) == [("", message)]


def test_missing_files_are_reported_with_their_expected_location(official):
    ((field, message),) = problems(official / "GTSRB" / "Final_Test")
    assert (field, message) == (
        "root",
        f"{official / 'GTSRB' / 'Final_Test'} holds neither GTSRB/Final_Training/Images nor train; expected one, "
        "with the folders 00000 to 00042",
    )
    (official / "GT-final_test.csv").unlink()
    ((field, message),) = problems(official)
    assert message.startswith("there is no GT-final_test.csv in ")
    assert message.endswith("expected the labels of the test images, or set test_share")
    shutil.rmtree(official / "GTSRB" / "Final_Test")
    ((field, message),) = problems(official)
    assert message.endswith("holds neither GTSRB/Final_Test/Images nor test; expected one, or set test_share")
    assert problems(official, test_share=0.3) == []


@pytest.mark.parametrize("name", ["00043", "stop"])
def test_a_folder_of_an_unknown_class_is_reported(plain, name):
    (plain / "train" / name).mkdir()
    assert problems(plain) == [
        ("root", f"{plain / 'train' / name} is not a class; expected the folders 00000 to 00042")
    ]


def test_images_without_tracks_require_a_split_by_image(plain):
    picture(path := plain / "train" / "00000" / "99.png", 1)
    message = f"{path} does not start with its track, as in 00012_00029.ppm; set split: images"
    assert problems(plain) == [("split", message)]
    assert problems(plain, split="images") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Filename;Class\n", "there is no column ClassId; expected Filename, ClassId, received Filename, Class"),
        (TRUTH + "00000.ppm;6;6;1;1;5;5;x\n", ":2: expected a whole number such as 3 as ClassId, received 'x'"),
        (TRUTH + "00000.ppm;6;6\n", ":2: expected 8 cells, received 3"),
    ],
)
def test_corrupted_labels_are_reported(official, content, said):
    (official / "GT-final_test.csv").write_text(content, encoding="utf-8")
    ((field, message),) = problems(official)
    assert field == "root"
    assert said in message


def test_unknown_classes_and_missing_images_stop_the_stage(official):
    row = "{};6;6;1;1;5;5;{}\n"
    truth = official / "GT-final_test.csv"
    truth.write_text(TRUTH + row.format("00000.ppm", 43), encoding="utf-8")
    with pytest.raises(StageError, match="gtsrb, test: expected labels 0 to 42, received 43 to 43"):
        produced(GTSRB(root=str(official)))
    truth.write_text(TRUTH + row.format("00000.ppm", 1) + row.format("00009.ppm", 1), encoding="utf-8")
    with pytest.raises(StageError, match=r"00009.ppm: cannot be read: No such file"):
        produced(GTSRB(root=str(official)))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((("00000.ppm", 43), ("00001.ppm", 1), ("00002.ppm", 1)), "there is no class 43; expected 0 to 42"),
        ((("00000.ppm", 1), ("00001.ppm", 1)), "has no label for 1 images of"),
        (tuple((f"{i:05d}.ppm", 1) for i in range(4)), "has labels of 1 images that are not in"),
        (tuple((f"{i % 3:05d}.ppm", 1) for i in range(4)), "'00000.ppm' occurs twice"),
    ],
)
def test_labels_that_do_not_match_the_images_are_reported(official, lines, said):
    rows = "".join(f"{name};6;6;1;1;5;5;{label}\n" for name, label in lines)
    (official / "GT-final_test.csv").write_text(TRUTH + rows, encoding="utf-8")
    found = problems(official)
    assert found[0][0] == "root"
    assert said in found[0][1]


def test_two_folders_of_one_class_are_reported(plain):
    picture(plain / "train" / "13" / "00000_00000.png", 1)
    ((field, message),) = problems(plain)
    assert (field, message) == ("root", f"{plain / 'train'} holds two folders of class 13; keep one")


def test_images_of_several_sizes_are_resized(official):
    picture(official / "GTSRB" / "Final_Training" / "Images" / "00013" / "00000_00000.ppm", 9, 15, 17)
    assert [field for field, _ in problems(official)] == ["resize"]
    assert produced(GTSRB(root=str(official), resize=8, grey="luma")).train.shape == (8, 8, 1)


@pytest.mark.shared
@pytest.mark.slow
def test_real_signs_are_split_by_track():
    dataset = GTSRB(root=str(unpacked("gtsrb")), grey="luma", test_share=0.1, validation=0.1)
    assert list(dataset.check()) == []
    data = produced(dataset)
    assert dataset.info().shape == (32, 32, 1)
    assert sum(map(len, (data.train, data.validation, data.test))) == 13_070
    for part, share in ((data.validation, 0.09), (data.test, 0.1)):
        assert len(part) / 13_070 == pytest.approx(share, abs=0.02)
        assert len(np.unique(part.y)) == 43
