import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from temper.core.errors import StageError
from temper.nn.images.preprocessing import LUMA, Preprocessing
from temper.targets.datasets.image_folder import ImageFolder
from tests.targets.datasets.support import produced

COUNTS = {("train", "cat"): 8, ("train", "dog"): 4, ("test", "cat"): 2, ("test", "dog"): 3}


def picture(seed: int, height: int = 5, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def root(tmp_path):
    for (part, name), count in COUNTS.items():
        (folder := tmp_path / part / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(picture(i)).save(folder / f"{i:02}.png")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / ".cache").mkdir()
    return tmp_path


def problems(root, **parameters):
    return list(ImageFolder(root=str(root), **parameters).check())


def test_folders_become_classes_in_alphabetical_order(root):
    dataset = ImageFolder(root=str(root))
    data = produced(dataset)
    assert data.info == dataset.info()
    assert (data.info.class_names, data.info.shape) == (("cat", "dog"), (5, 6, 3))
    assert (data.train.y.tolist(), data.test.y.tolist()) == ([0] * 8 + [1] * 4, [0] * 2 + [1] * 3)
    np.testing.assert_array_equal(data.test.x[3], picture(1).astype(np.float32) / np.float32(255))
    assert list(dataset.files()) == [root / "train", root / "test"]
    assert list(dataset.check()) == []


def test_a_share_of_one_folder_is_the_test_part(root):
    dataset = ImageFolder(root=str(root / "train"), train_folder=".", test_share=0.25)
    assert list(dataset.check()) == []
    data = produced(dataset)
    assert (np.bincount(data.train.y).tolist(), np.bincount(data.test.y).tolist()) == ([6, 3], [2, 1])
    assert dataset.source_sizes() == (9, 3)


def test_images_of_several_sizes_are_resized_each(root):
    odd = picture(99, 9, 4)
    Image.fromarray(odd).save(root / "train" / "dog" / "odd.png")
    data = produced(ImageFolder(root=str(root), resize=4))
    np.testing.assert_array_equal(data.train.x[-1], Preprocessing(size=4).apply(odd[None])[0])
    np.testing.assert_array_equal(data.train.x[0], Preprocessing(size=4).apply(picture(0)[None])[0])


def test_grey_converts_colours(root):
    data = produced(ImageFolder(root=str(root), grey="luma"))
    np.testing.assert_allclose(data.train.x[0, ..., 0], picture(0) / 255 @ LUMA, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_other_kinds_of_eight_bit_images_are_read_as_rgb(root, mode):
    path = root / "train" / "cat" / ("00.jpg" if mode == "CMYK" else "00.png")
    converted = Image.fromarray(picture(0)).convert(mode)
    (root / "train" / "cat" / "00.png").unlink()
    converted.save(path)
    data = produced(ImageFolder(root=str(root)))
    expected = np.asarray(Image.open(path).convert("RGB")) / np.float32(255)
    np.testing.assert_array_equal(data.train.x[0], expected.astype(np.float32))


def test_missing_folders_are_reported(root, tmp_path):
    ((field, message),) = problems(tmp_path / "none")
    assert (field, "there is no folder" in message) == ("train_folder", True)
    ((field, message),) = problems(root, test_folder="val")
    assert field == "test_folder"
    assert "expected one with a folder of images per class, or set test_share; " in message


def test_a_folder_without_classes_is_reported(root):
    assert ("train_folder", f"{root / 'train' / 'cat'} contains no folder; expected one per class") in problems(
        root / "train", train_folder="cat", test_share=0.5
    )


def test_classes_in_the_test_part_only_are_reported(root):
    (root / "test" / "fox").mkdir()
    message = f"{root / 'test' / 'fox'} has no training images; expected the classes cat, dog"
    assert problems(root) == [("test_folder", message)]


def test_an_empty_class_is_reported(root):
    (root / "train" / "fox").mkdir()
    ((field, message),) = problems(root)
    assert field == "train_folder"
    assert message.startswith(f"{root / 'train' / 'fox'} contains no image; expected files that end in .png, .jpg")


def test_a_test_part_without_images_is_reported(root):
    assert ("test_share", "the test part has no image; expected at least one") in problems(root, test_share=0.01)


@pytest.mark.parametrize("content", [b"not a png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cut"])
def test_a_corrupted_image_is_named(root, content):
    path = root / "test" / "dog" / "00.png"
    path.write_bytes(path.read_bytes()[:60] if content == "cut" else content)
    ((field, message),) = problems(root)
    assert field == "root"
    assert message.startswith(f"{path}: the image is corrupted (")
    with pytest.raises(StageError, match=r"00.png: the image is corrupted \(.*\); replace or remove it"):
        produced(ImageFolder(root=str(root)))


def test_sixteen_bit_images_are_rejected_by_name(root):
    path = root / "train" / "cat" / "00.png"
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(path)
    ((field, message),) = problems(root)
    assert (field, message) == ("root", f"{path}: expected 8 bits per channel, received mode I;16; convert the image")


def test_another_size_is_reported_where_it_is_seen_and_stops_the_stage(root):
    Image.fromarray(picture(0, 7, 7)).save(root / "train" / "dog" / "00.png")
    message = f"{root / 'train' / 'dog' / '00.png'} is 7x7, the first image 5x6; set 'resize', or convert all images to one size"
    assert problems(root) == [("resize", message)]
    with pytest.raises(StageError, match="is 7x7, the first image 5x6; set 'resize'"):
        produced(ImageFolder(root=str(root)))
    assert problems(root, resize=5) == []


@pytest.mark.parametrize("emptied", [True, False])
def test_a_class_in_the_training_part_only_is_reported(root, emptied):
    folder = root / "test" / "dog"
    for path in folder.iterdir():
        path.unlink()
    if not emptied:
        folder.rmdir()
    (root / "train" / "fox").mkdir()
    Image.fromarray(picture(0)).save(root / "train" / "fox" / "0.png")
    found = problems(root)
    assert [field for field, _ in found] == ["test_folder", "test_folder"]
    assert found[0][1].startswith(f"{folder} contains no image; expected files that end in .png")
    assert found[0][1].endswith("; exclude the class with `classes`, or set test_share")
    (root / "test" / "fox").mkdir()
    Image.fromarray(picture(0)).save(root / "test" / "fox" / "0.png")
    assert problems(root, classes=(0, 2)) == []


@pytest.mark.parametrize("name", ["0.TIF", "0.gif", "0.jfif"])
def test_an_unread_image_is_reported(root, name):
    (root / "test" / "dog" / name).write_bytes(b"")
    ((field, message),) = problems(root)
    assert (field, f"{root / 'test' / 'dog' / name} is not read; expected" in message) == ("test_folder", True)


def deep(path, mode):
    """Write an image of 16 bits a channel, which Pillow cannot."""
    if path.suffix == ".ppm":
        path.write_bytes(b"P6 6 5 65535\n" + np.zeros((5, 6, 3), ">u2").tobytes())
        return

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour, channels = {"L": (0, 1), "RGB": (2, 3), "LA": (4, 2), "RGBA": (6, 4)}[mode]
    rows = b"".join(b"\0" + b"\xff" * (6 * channels * 2) for _ in range(5))
    header = struct.pack(">IIBBBBB", 6, 5, 16, colour, 0, 0, 0)
    png = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png)


@pytest.mark.parametrize(("name", "mode"), [("0.png", "RGB"), ("0.png", "LA"), ("0.png", "RGBA"), ("0.ppm", "RGB")])
def test_sixteen_bit_colours_are_rejected_by_name(root, name, mode):
    (root / "train" / "cat" / "00.png").unlink()
    path = root / "train" / "cat" / name
    deep(path, mode)
    assert ("root", f"{path}: expected 8 bits per channel, received 16; convert the image") in problems(root)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_rejected(root, mode):
    path = root / "train" / "cat" / "00.png"
    image = Image.fromarray(picture(0)).convert(mode)
    if mode == "P":
        image.info["transparency"] = image.getpixel((2, 2))
    else:
        image.putalpha(Image.fromarray(np.full((5, 6), 254, np.uint8)))
    image.save(path)
    ((field, message),) = problems(root)
    assert (field, message) == (
        "root", f"{path}: it has transparent pixels, whose background is undefined; flatten it onto a colour"
    )  # fmt: skip


def test_images_of_several_frames_are_rejected(root):
    path = root / "train" / "cat" / "00.webp"
    (root / "train" / "cat" / "00.png").unlink()
    frames = [Image.fromarray(picture(i)) for i in range(2)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    ((_, message),) = problems(root)
    assert message == f"{path}: expected a single image, received 2 frames; keep one of them"


def test_pixels_of_zero_and_one_are_reported(root):
    for path in root.glob("t*/*/*.png"):
        Image.fromarray(picture(0) % 2).save(path)
    ((field, message),) = problems(root)
    assert (field, message) == (
        "root",
        "the pixels are 0 and 1 only and would be nearly black; write images of 0 to 255",
    )


def test_system_files_are_neither_images_nor_classes(root):
    (root / "train" / "cat" / "._00.png").write_bytes(b"\0\5\x16\7")
    (root / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    Image.fromarray(picture(0)).save(root / "test" / "dog" / ".hidden.png")
    for folder in ("train/__MACOSX/cat", "test/@eaDir", "test/dog/__MACOSX"):
        (root / folder).mkdir(parents=True)
        (root / folder / "._0.png").write_bytes(b"x")
    assert problems(root) == []
    data = produced(ImageFolder(root=str(root)))
    assert (data.info.class_names, len(data.train), len(data.test)) == (("cat", "dog"), 12, 5)


def test_images_in_subfolders_of_a_class_are_reported(root):
    (below := root / "train" / "dog" / "puppies").mkdir()
    Image.fromarray(picture(0)).save(below / "0.png")
    ((field, message),) = problems(root)
    assert field == "train_folder"
    assert message.startswith(f"{below / '0.png'} is not read; expected images directly in {root / 'train' / 'dog'}")


def test_class_folders_may_be_links(root):
    (root / "train" / "dog").rename(root / "elsewhere")
    (root / "train" / "dog").symlink_to(root / "elsewhere", target_is_directory=True)
    assert problems(root) == []
    assert len(produced(ImageFolder(root=str(root))).train) == 12


@pytest.mark.parametrize(("orientation", "refused"), [(1, False), (0, False), (3, True), (6, True)])
def test_images_with_exif_rotation_are_rejected(root, orientation, refused):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (root / "test" / "dog" / "00.png").unlink()
    Image.fromarray(picture(0)).save(path := root / "test" / "dog" / "00.jpg", exif=exif)
    found = problems(root)
    assert len(found) == refused
    if refused:
        assert found[0][1].startswith(f"{path}: viewers rotate it (EXIF orientation {orientation})")


def test_a_missing_folder_is_reported_with_existing_ones(root):
    (root / "test").rename(root / "Valid")
    ((field, message),) = problems(root)
    assert field == "test_folder"
    assert message.endswith(f"or set test_share; {root} holds Valid, train")


def test_hidden_and_system_files_are_ignored(root):
    """What does not count for a fingerprint is no part of the data either."""
    before = produced(ImageFolder(root=str(root))).train.y.tolist()
    for name in ("._00.png", ".hidden.png", ".DS_Store", ".x.tiff"):
        (root / "train" / "cat" / name).write_bytes(b"\0\5\x16\7 AppleDouble")
    (root / "train" / "__MACOSX").mkdir()
    assert problems(root) == []
    assert produced(ImageFolder(root=str(root))).train.y.tolist() == before


def test_a_named_pipe_among_the_images_is_reported(root):
    (root / "test" / "dog" / "00.png").unlink()
    os.mkfifo(root / "test" / "dog" / "00.png")
    ((_, message),) = problems(root)
    assert message.endswith("dog/00.png: expected a regular file, received a named pipe")


@pytest.mark.parametrize("damaged", [False, True])
def test_names_that_are_not_utf8_are_supported(root, run, write, damaged):
    """A name is any bytes to a file system: in texts those that are no UTF-8 are written out."""
    for part in ("train", "test"):
        os.rename(os.fsencode(root / part / "cat"), os.fsencode(root / part) + b"/\xff\xfe")  # noqa: PTH104
    if damaged:
        Path(os.fsdecode(os.fsencode(root / "train") + b"/\xff\xfe/\xfd.png")).write_bytes(b"x")
    code, said = run(write(f"name: a\ndatasets: {{d: {{type: image_folder, root: {root}, resize: 8}}}}"))
    assert code == (1 if damaged else 0), said
    outputs = root / "outputs" / "a"
    shown = (outputs / ("failures.csv" if damaged else "classes.csv")).read_text(encoding="utf-8")
    assert ("\\udcfd.png" if damaged else "\\udcff\\udcfe") in shown


def test_empty_files_are_reported_wherever_they_are(root):
    """As a download that broke off leaves them."""
    for name in ("07.png", "05.png"):
        (root / "train" / "cat" / name).write_bytes(b"")
    ((field, message),) = problems(root)
    assert field == "root"
    assert f"{root / 'train' / 'cat' / '05.png'} is an empty file, and so are 1 more" in message


def test_all_black_images_are_reported(root):
    for path in root.glob("*/*/*.png"):
        Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(path)
    ((_, message),) = problems(root)
    assert "all pixels of the first image of each class are 0" in message
