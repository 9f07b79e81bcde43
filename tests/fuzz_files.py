"""Damages files at random and reads them: a process of its own, so that memory can be limited and a crash is seen.

``python -m tests.fuzz_files KIND ROUNDS FOLDER`` prints the rounds in which something else than a fault came of a file.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import traceback
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from temper.core.component import Ref
from temper.core.errors import SpecError, StageError

HEADROOM = 2**30
"""Bytes that a reader may reserve beyond what the process has once the readers are imported; the files have some kilobytes."""
LARGE = (0, 1, 2**15, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    10**12,
    10**30,
    10**400,
    "eval",
    "",
    "../x",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    float("nan"),
)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four changes: bits, numbers, cuts, pieces moved."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) or 1)
        match rng.randrange(5):
            case 0 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                width = rng.choice((2, 4, 8))
                data[at : at + width] = (rng.choice(LARGE) % 2 ** (8 * width)).to_bytes(
                    width, rng.choice(("little", "big"))
                )
            case 2:
                del data[at : at + rng.choice((1, 100, len(data)))]
            case 3:
                data[at:at] = bytes(rng.randrange(200))
            case 4:
                other = rng.randrange(len(data) or 1)
                data[at : at + 64] = data[other : other + 64]
    return bytes(data)


def altered(value: Any, rng: random.Random) -> Any:
    """Return JSON data in which one to three values are strange."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        places = list(_places(value))
        holder, key = rng.choice(places)
        if rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = rng.choice(STRANGE)
        if not value:
            break
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def _experiment(suffix: str) -> Callable[[Path, random.Random], Callable[[], object]]:
    from temper.engine.catalogue.discovery import discover
    from temper.engine.language.experiment_file import load

    catalogue = discover()
    text = (Path(__file__).parents[1] / "experiments" / "quickstart.yaml").read_text(encoding="utf-8")

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        import yaml

        content = json.dumps(altered(yaml.safe_load(text), rng)) if suffix == ".json" else text
        (path := folder / f"a{suffix}").write_bytes(
            damaged(content.encode(), rng) if rng.random() < 0.5 else content.encode()
        )
        return lambda: load(path, catalogue)

    return make


def _model(suffix: str) -> Callable[[Path, random.Random], Callable[[], object]]:
    from temper.nn.model_files import hdf5_weights
    from temper.targets.models.saved import Saved
    from tests.nn.model_files.test_untrusted_files import archive, configuration, legacy, stored

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        path = folder / f"a{suffix}"
        path.unlink(missing_ok=True)
        if suffix == ".h5":
            legacy(path, lambda _: None)
        else:
            inner = damaged(stored(), rng) if rng.random() < 0.3 else stored()
            archive(path, config__json=json.dumps(altered(configuration(), rng)), model__weights__h5=inner)
        if suffix == ".h5" or rng.random() < 0.3:
            path.write_bytes(damaged(path.read_bytes(), rng))

        def read() -> None:
            faults = list(Saved(dataset=Ref("d"), path=str(path)).check())
            assert all(str(path) in message for _, message in faults), faults
            if suffix == ".h5":
                hdf5_weights.by_layer(path)

        return read

    return make


def _arrays() -> Callable[[Path, random.Random], Callable[[], object]]:
    from temper.targets.datasets.npz import Npz

    y = np.arange(20) % 3
    parts = {
        "x_train": np.zeros((20, 4, 4), np.uint8),
        "y_train": y,
        "x_test": np.ones((20, 4, 4), np.uint8),
        "y_test": y,
    }

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        (np.savez_compressed if rng.random() < 0.5 else np.savez)(stream := BytesIO(), **parts)
        (path := folder / "a.npz").write_bytes(damaged(stream.getvalue(), rng))
        dataset = Npz(path=str(path))

        def read() -> None:
            faults = list(dataset.check())
            assert all(str(path) in message for _, message in faults), faults
            dataset.load()

        return read

    return make


def _image(kind: str) -> Callable[[Path, random.Random], Callable[[], object]]:
    from PIL import Image

    from temper.targets.datasets.image_files import read_rgb

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)).save(stream := BytesIO(), kind)

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        (path := folder / "a.png").write_bytes(damaged(stream.getvalue(), rng))
        return lambda: read_rgb(path)

    return make


def _coco() -> Callable[[Path, random.Random], Callable[[], object]]:
    from temper.targets.datasets.coco import _objects
    from tests.targets.datasets.test_coco import BOXES, KINDS, SIZE, annotation, compressed, uncompressed

    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in BOXES],
        "categories": KINDS,
        "annotations": [annotation(1, 17, BOXES[1]), annotation(2, 18, BOXES[2], compressed(SIZE, BOXES[2])),
                        annotation(5, 18, BOXES[5], uncompressed(SIZE, BOXES[5]))],
    }  # fmt: skip

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        text = json.dumps(altered(document, rng)).encode()
        (path := folder / "a.json").write_bytes(damaged(text, rng) if rng.random() < 0.3 else text)
        return lambda: [found.outline() for found in _objects(path, folder, ("dog", "cat"), 1)]

    return make


def _csv() -> Callable[[Path, random.Random], Callable[[], object]]:
    from temper.evaluation import published
    from temper.targets.datasets import gtsrb

    text = 'Filename;ClassId;note\n00000.ppm;16;"a ""b"""\n00001.ppm;1;é\n'
    numbers = text.replace("Filename;ClassId", "metric;value").replace(";16;", ";0.5;")

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        of_signs = rng.random() < 0.5
        content = (text if of_signs else numbers).encode("utf-8-sig" if rng.random() < 0.5 else "utf-8")
        (path := folder / "a.csv").write_bytes(damaged(content, rng))
        return lambda: gtsrb._read(path) if of_signs else published._read(str(path))

    return make


def _matlab() -> Callable[[Path, random.Random], Callable[[], object]]:
    from scipy.io import savemat

    from temper.targets.datasets import svhn

    x = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), np.uint8)

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        savemat(stream := BytesIO(), {"X": x, "y": np.ones((4, 1))}, do_compression=rng.random() < 0.5)
        (path := folder / "a.mat").write_bytes(damaged(stream.getvalue(), rng))
        return lambda: svhn._read(path)

    return make


def _pipeline() -> Callable[[Path, random.Random], Callable[[], object]]:
    from temper.generators.diffusion.model_folder import INDEX, ModelFolder

    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": [None, None],
    }

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        text = json.dumps(altered(index, rng)).encode()
        (folder / INDEX).write_bytes(damaged(text, rng) if rng.random() < 0.5 else text)
        return lambda: list(ModelFolder(folder, None).faults())

    return make


def _onnx() -> Callable[[Path, random.Random], Callable[[], object]]:
    from temper.targets.models.saved import Saved
    from tests.nn.onnx.support import altered_graph, small_classifier

    model = small_classifier()

    def make(folder: Path, rng: random.Random) -> Callable[[], object]:
        content = (model if rng.random() < 0.5 else altered_graph(model, rng)).SerializeToString()
        (path := folder / "a.onnx").write_bytes(damaged(content, rng) if rng.random() < 0.7 else content)

        def read() -> None:
            faults = list(Saved(dataset=Ref("d"), path=str(path)).check())
            assert all(str(path) in message for _, message in faults), faults

        return read

    return make


KINDS_OF_FILES: dict[str, Callable[[], Callable[[Path, random.Random], Callable[[], object]]]] = {
    "yaml": lambda: _experiment(".yaml"), "json": lambda: _experiment(".json"), "h5": lambda: _model(".h5"),
    "keras": lambda: _model(".keras"), "npz": _arrays, "coco": _coco, "csv": _csv, "mat": _matlab, "pipeline": _pipeline,
    "onnx": _onnx,
    **{kind: (lambda kind=kind: _image(kind)) for kind in ("PNG", "JPEG", "BMP", "PPM", "WEBP")},
}  # fmt: skip


def main(kind: str, rounds: int, folder: Path) -> int:
    """Return how many rounds ended in something else than a reading or a fault."""
    make = KINDS_OF_FILES[kind]()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    wrong = 0
    for number in range(rounds):
        read = make(folder, random.Random(number))
        try:
            read()
        except (StageError, SpecError):
            pass
        except Exception:  # noqa: BLE001 - that is what is looked for
            wrong += 1
            print(f"round {number}: {traceback.format_exc()}", flush=True)
    return wrong


if __name__ == "__main__":
    raise SystemExit(min(100, main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
