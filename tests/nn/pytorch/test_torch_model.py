"""PyTorch models in files as Keras models: the same logits, whatever the container."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from temper.core.component import fields_of
from temper.core.errors import StageError
from temper.nn.pytorch import architectures, exported_program, robustbench_networks
from temper.nn.pytorch.torch_model import TorchModel
from temper.nn.pytorch.torchvision_operators import torchvision
from temper.system import backend
from temper.targets.models.saved import Saved
from tests.nn.onnx.architectures import randomised
from tests.nn.onnx.support import close
from tests.targets.models.support import DATASET, blank, run

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(0)
SIDE = 32
WIDE = "robustbench/WideResNet-10-1"


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return randomised(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    )


def program(path: Path, model: nn.Module | None = None, side: int = 6) -> Path:
    exported = torch.export.export(
        model or tiny(), (torch.rand(2, 3, side, side),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    torch.export.save(exported, path)
    return path


def wide(classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return randomised(robustbench_networks.network("WideResNet-10-1", classes, {"fc.bias": None}))


def logits(model: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(backend.keras().ops.convert_to_numpy(model(x, training=False)))


def of_torch(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(torch.tensor(np.moveaxis(x, -1, 1).copy())))


def problems(path: Path, architecture: str | None = None) -> str:
    return "\n".join(text for _, text in TorchModel(path, architecture).faults())


def test_an_exported_program_becomes_native_layers_with_the_same_logits(tmp_path: Path) -> None:
    file = TorchModel(program(tmp_path / "model.pt2"))
    assert (file.input_shape, file.num_outputs) == ((6, 6, 3), 5)
    model, x = file.load(), RNG.random((3, 6, 6, 3), np.float32)
    close(logits(model, x), of_torch(tiny(), x))
    assert "BatchNormalization" in [type(layer).__name__ for layer in model.layers]
    file.check(model, x)
    model.layers[-1].set_weights([w + 1 for w in model.layers[-1].get_weights()])
    with pytest.raises(StageError, match=r"differs from PyTorch by"):
        file.check(model, x)


def test_a_program_in_half_precision_is_refused(tmp_path: Path) -> None:
    exported = torch.export.export(tiny().half(), (torch.rand(2, 3, 6, 6).half(),))
    torch.export.save(exported, path := tmp_path / "half.pt2")
    assert "export model.float()" in problems(path)


def test_the_target_takes_it_from_the_data(tmp_path: Path) -> None:
    torch.save(wide().half().state_dict(), path := tmp_path / "weights.pt")
    component = Saved(dataset=DATASET, path=str(path), architecture=WIDE)
    assert list(component.check()) == []
    assert list(component.files()) == [path]
    classifier = component.produce(used := run({DATASET: blank((SIDE, SIDE, 3), 5)}))
    x = RNG.random((2, SIDE, SIDE, 3), np.float32)
    close(logits(classifier.model, x), of_torch(wide().half().float(), x))
    assert any("torch.float16" in text for text in used.remarks)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda w: w,
        lambda w: {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in w.items()}},
        lambda w: {"model": OrderedDict(w), "optimizer": {"state": {}}},
        lambda w: {"net": w, "acc": 90.0},
        lambda w: {"model_state_dict": {f"_orig_mod.{name}": value for name, value in w.items()}},
    ],
)
def test_weights_are_found_in_what_training_programs_write(
    tmp_path: Path, wrapped: Callable[[Mapping[str, Any]], Any]
) -> None:
    torch.save(wrapped(wide().state_dict()), path := tmp_path / "weights.pth")
    file = TorchModel(path, WIDE).for_images((SIDE, SIDE, 3))
    assert problems(path, WIDE) == ""
    x = RNG.random((1, SIDE, SIDE, 3), np.float32)
    close(of_torch(file._module, x), of_torch(wide(), x))


def test_old_files_and_safetensors_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.save(wide().state_dict(), old := tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(wide().state_dict(), new := tmp_path / "new.safetensors")
    x = RNG.random((1, SIDE, SIDE, 3), np.float32)
    for path in (old, new):
        assert problems(path, WIDE) == ""
        close(of_torch(TorchModel(path, WIDE).for_images((SIDE, SIDE, 3))._module, x), of_torch(wide(), x))


def test_what_runs_code_is_refused_with_the_lines_that_export_it(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), whole := tmp_path / "whole.pt")
    torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)).save(scripted := str(tmp_path / "scripted.pt"))
    torch.save({"w": torch.zeros(2), "own": Path("x")}, other := tmp_path / "other.pt")
    assert "torch.nn.modules.linear.Linear" in problems(whole, WIDE)
    assert "torch.onnx.export" in problems(whole, WIDE)
    assert "torch.export.save" in problems(Path(scripted), WIDE)
    assert "pathlib" in problems(other, WIDE)


def test_weights_of_another_network_are_listed() -> None:
    weights = dict(wide().state_dict())
    weights["other.weight"] = weights.pop("block1.layer.0.conv1.weight")
    weights["conv1.weight"] = torch.zeros(16, 1, 3, 3)
    with pytest.raises(StageError) as raised:
        architectures.module(WIDE, weights, SIDE)
    for part in (
        "missing: block1.layer.0.conv1.weight",
        "unexpected: other.weight",
        "(16, 1, 3, 3) instead of (16, 3, 3, 3)",
    ):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("torchvision/resnet81", "did you mean 'resnet18'"),
        ("timm/vit_tiny_patch61_224", "did you mean 'vit_tiny_patch16_224'"),
        ("robustbench/WideResNet-29-10", "did you mean 'WideResNet-28-10'"),
        ("keras/resnet18", "expected a name such as torchvision/resnet18"),
    ],
)
def test_unknown_names_are_answered_by_the_closest(architecture: str, said: str) -> None:
    if architecture.startswith(("torchvision/", "timm/")) and not all(map(find_spec, ("timm", "torchvision"))):
        pytest.skip("torchvision and timm are not installed")
    with pytest.raises(StageError, match=said):
        architectures.module(architecture, wide().state_dict(), SIDE)


def test_a_fine_tuned_resnet_has_the_classes_of_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    model = randomised(torchvision().models.resnet18(num_classes=7))
    built = architectures.module("torchvision/resnet18", model.state_dict(), SIDE)
    x = RNG.random((1, SIDE, SIDE, 3), np.float32)
    close(of_torch(built, x), of_torch(model, x))


@pytest.mark.long
@pytest.mark.parametrize(
    "architecture",
    ["torchvision/resnet18", "torchvision/mobilenet_v3_small", "timm/vit_tiny_patch16_224", "timm/efficientnet_lite0",
     "robustbench/DMWideResNet-10-1", "robustbench/PreActResNet-18", WIDE],
)  # fmt: skip
def test_networks_of_the_libraries_compute_the_same(tmp_path: Path, architecture: str) -> None:
    library, _, name = architecture.partition("/")
    if not all(map(find_spec, ("timm", "torchvision"))):
        pytest.skip("torchvision and timm are not installed")
    torchvision()
    if library == "torchvision":
        model = torchvision().models.get_model(name, num_classes=5)
    elif library == "timm":
        import timm

        model = timm.create_model(name, num_classes=5, **({"img_size": SIDE} if "vit" in name else {}))
    else:
        model = robustbench_networks.network(name, 5, {"fc.bias": 0, "bn.weight": 0})
    torch.save(randomised(model).state_dict(), path := tmp_path / "weights.pth")
    file = TorchModel(path, architecture).for_images((SIDE, SIDE, 3))
    x = RNG.random((2, SIDE, SIDE, 3), np.float32)
    close(logits(file.load(), x), of_torch(model, x))


def rewritten(source: Path, path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write an archive again with other content."""
    with zipfile.ZipFile(source) as archive:
        content = {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}
    change(content)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"model/{name}", data)
    return path


def edited(old: str, new: str, member: str = "models/model.json") -> Callable[[dict[str, bytes]], None]:
    def change(content: dict[str, bytes]) -> None:
        text = content[member].decode()
        assert old in text
        content[member] = text.replace(old, new).encode()

    return change


WEIGHTS = "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited("torch.ops.aten.relu.default", "torch.load"), "'torch.load' is not supported"),
        (edited("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default"), "is not supported"),
        (edited("torch.ops.aten.relu.default", "_operator.methodcaller"), "is not supported"),
        (edited("Symbol('", "__import__('os').system('touch pwned') or Symbol('"), "no arithmetic of sizes"),
        (edited('\\"builtins.tuple\\"', '\\"collections.defaultdict\\"'), "must be tensors"),
        (edited('"use_pickle": false', '"use_pickle": true', WEIGHTS), "is pickled"),
        (edited('"as_int": 144', '"as_int": 1440000000', WEIGHTS), "unpack to"),
        (lambda content: content.update({"data/aotinductor/model/a.so": b"x"}), "no part of a model"),
        (lambda content: content.update({"data/constants/custom_obj_0": b"x"}), "no part of a model"),
        (lambda content: content.pop(WEIGHTS), "contains no"),
        (lambda content: content.update({"models/model.json": b"[]"}), "corrupted"),
    ],
)
def test_programs_that_may_run_code_are_refused_before_torch_sees_them(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], said: str
) -> None:
    path = rewritten(program(tmp_path / "model.pt2"), tmp_path / "changed.pt2", change)
    assert said in problems(path)
    with pytest.raises(StageError):
        TorchModel(path).load()


def test_samples_that_would_be_unpickled_are_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "pwned",))

    change = {"data/sample_inputs/model.pt": pickle.dumps(Evil())}
    path = rewritten(program(tmp_path / "model.pt2"), tmp_path / "changed.pt2", lambda content: content.update(change))
    with pytest.raises(StageError, match="cannot load it"):
        TorchModel(path).load()
    assert not (tmp_path / "pwned").exists()


def test_guards_and_metadata_are_dropped_unread(tmp_path: Path) -> None:
    path = rewritten(program(tmp_path / "model.pt2"), tmp_path / "changed.pt2",
                     edited('"guards_code": []', '"guards_code": ["1 / 0"]'))  # fmt: skip
    loaded = exported_program.load(path)
    assert loaded._guards_code == []
    assert not any("stack_trace" in node.meta for node in loaded.graph.nodes)


def test_checking_files_imports_no_torch(tmp_path: Path) -> None:
    torch.save(wide().state_dict(), tmp_path / "weights.pth")
    program(tmp_path / "model.pt2")
    script = (
        "import sys, pathlib; from temper.nn.pytorch.torch_model import TorchModel; "
        f"folder = pathlib.Path({str(tmp_path)!r}); "
        f"print(list(TorchModel(folder / 'weights.pth', {WIDE!r}).faults()), list(TorchModel(folder / 'model.pt2').faults())); "
        "print({'torch', 'keras', 'tensorflow', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split("\n")[:2] == ["[] []", "set()"]


@pytest.mark.parametrize("size", [0, 10, 3000, -100])
@pytest.mark.parametrize("kind", [".pt2", ".pth", ".safetensors"])
def test_truncated_files_are_reported(tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / f"model{kind}"
    if kind == ".pt2":
        program(path)
    elif kind == ".pth":
        torch.save(wide().state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(wide().state_dict(), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StageError):
        TorchModel(path, None if kind == ".pt2" else WIDE).for_images((SIDE, SIDE, 3)).load()


def test_the_name_of_a_network_is_no_path() -> None:
    (field,) = (f for f in fields_of(Saved) if f.name == "architecture")
    assert [field.is_path(value) for value in ("net.json", "timm/resnet18", "torchvision/resnet18")] == [
        True,
        False,
        False,
    ]
