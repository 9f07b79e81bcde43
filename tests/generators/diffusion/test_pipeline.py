"""The pipeline painter on a tiny Stable Diffusion with random weights, built here, without a network."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from temper.core.augmenter import AugmenterContext, Seeds
from temper.core.errors import StageError
from temper.generators.diffusion.inpaint import Inpaint
from temper.generators.diffusion.painter import Holes
from temper.generators.diffusion.pipeline import Pipeline
from temper.generators.diffusion.pretrained import PretrainedPipeline, _remedy
from temper.system import backend
from tests.generators.diffusion.painter_context import Square, context, examples, seeds

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module", autouse=True)
def offline() -> Any:
    """Keep the hub out of the tests, whatever the environment sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline")
    _tiny(path, channels=9).save_pretrained(path / "inpainting")
    return path / "inpainting"


def _tiny(path: Path, channels: int) -> Any:
    """Return a Stable Diffusion of 1.7 million random weights; of ``channels``, 9 are for inpainting and 4 for images."""
    torch = backend.torch()
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionInpaintPipeline,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    tokenizer = _tokenizer(path)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, projection_dim=32,
    )  # fmt: skip
    coder = AutoencoderKL(
        latent_channels=4, block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=8, sample_size=64,
    )  # fmt: skip
    network = UNet2DConditionModel(
        sample_size=32, in_channels=channels, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=8, norm_num_groups=8,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    kind = StableDiffusionInpaintPipeline if channels == 9 else StableDiffusionPipeline
    return kind(
        vae=coder, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=network, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _tokenizer(path: Path) -> Any:
    """Return a tokenizer of single characters and a few words."""
    from transformers import CLIPTokenizer

    characters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    characters += [chr(256 + i) for i in range(256 - len(characters))]
    merges = [("i", "m"), ("im", "a"), ("o", "f</w>")]
    words = [*characters, *(c + "</w>" for c in characters), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    (path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=77)


def painter(folder: Path, **options: Any) -> Pipeline:
    return Pipeline(folder=str(folder), size=32, steps=3, **options)


def place(shape: tuple[int, int, int] = (12, 10, 3)) -> tuple[Seeds, AugmenterContext]:
    data = examples(20, shape)
    return seeds(data, slice(3)), context(data)


@pytest.mark.parametrize("shape", [(12, 10, 3), (8, 8, 1), (50, 40, 3)])
def test_only_the_hole_is_painted(shape: tuple[int, int, int], folder: Path) -> None:
    chosen, there = place(shape)
    made = Inpaint(backend=painter(folder), mask=Square()).augment(chosen, there)
    assert made.masks is not None
    assert not made.refused
    assert made.x.shape == chosen.x.shape
    assert np.array_equal(made.x[~made.masks], chosen.x[~made.masks])
    assert np.abs(made.x[made.masks] - chosen.x[made.masks]).mean() > 0.05
    assert not (made.y == chosen.y).any()


def test_an_image_does_not_depend_on_the_rest_of_its_batch(folder: Path) -> None:
    chosen, there = place()
    masks = Square().masks(chosen, there)
    holes = Holes(chosen, masks, (chosen.y + 1) % 3)
    together = painter(folder).paint(holes, there).x
    assert np.array_equal(painter(folder).paint(holes, there).x, together)
    narrow = painter(folder, batch_size=2).paint(holes, there).x
    assert narrow == pytest.approx(together, abs=1e-3)
    assert not np.array_equal(together[0], together[1])


def test_the_prompt_names_the_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, there = place()
    model = PretrainedPipeline(str(folder), None, None, True, "auto", False, True).pipeline()
    asked: dict[str, Any] = {}

    def note(**options: Any) -> Any:
        asked.update(options)
        return model(**options)

    monkeypatch.setattr("temper.generators.diffusion.pipeline.PretrainedPipeline.pipeline", lambda self: note)
    mine = painter(
        folder, prompt="a {target}, no {source}", negative_prompt="blurred", strength=0.9, guidance_scale=3.0
    )
    mine.paint(Holes(chosen, Square().masks(chosen, there), np.array([2, 0, 1])), there)
    assert asked["prompt"] == ["a c, no a", "a a, no b", "a b, no c"]
    assert asked["negative_prompt"] == ["blurred"] * 3
    assert (asked["strength"], asked["guidance_scale"], asked["num_inference_steps"]) == (0.9, 3.0, 3)
    assert (asked["height"], asked["width"]) == (32, 32)  # 32 x 27, filled up


def test_a_model_without_mask_input_works_with_a_warning(tmp_path: Path) -> None:
    _tiny(tmp_path, channels=4).save_pretrained(tmp_path / "images")
    chosen, there = place()
    made = Inpaint(backend=painter(tmp_path / "images", strength=0.8), mask=Square()).augment(chosen, there)
    assert not made.refused
    (remark,) = there.run.remarks
    assert "was trained to generate whole images and never gets the mask" in remark


class Objecting:
    """A pipeline whose safety checker objects to one image and whose numbers fail it in another."""

    def __init__(self, fail: Exception | None = None) -> None:
        self.fail = fail

    def __call__(self, **options: Any) -> Any:
        from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput

        if self.fail:
            raise self.fail
        images = backend.torch().full((3, 3, options["height"], options["width"]), 0.5)
        images[2, 0, 0, 0] = float("nan")
        return StableDiffusionPipelineOutput(images=images, nsfw_content_detected=[False, True, False])


def test_failed_images_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, there = place()
    paint = Inpaint(backend=painter(folder), mask=Square())
    monkeypatch.setattr("temper.generators.diffusion.pipeline.PretrainedPipeline.pipeline", lambda self: Objecting())
    refused = paint.augment(chosen, there).refused
    assert refused == {1: "flagged by the safety checker", 2: "the output is not finite; use dtype: float32"}
    error = backend.torch().OutOfMemoryError("no room")
    monkeypatch.setattr(
        "temper.generators.diffusion.pipeline.PretrainedPipeline.pipeline", lambda self: Objecting(error)
    )
    with pytest.raises(StageError, match="out of GPU memory for 3 images of 32 x 32 pixels; lower batch_size or size"):
        paint.augment(chosen, there)


def test_missing_models_are_reported(tmp_path: Path, folder: Path) -> None:
    def fault(**options: Any) -> str:
        plain: dict[str, Any] = {"revision": COMMIT, "variant": None, "offline": True, "dtype": "auto"}
        wanted = PretrainedPipeline(**{**plain, "cpu_offload": False, "safety_checker": True, **options})
        with pytest.raises(StageError) as caught:
            wanted.pipeline()
        return str(caught.value)

    unknown = fault(name="nobody/nothing")
    assert "neither a folder nor a model already downloaded, and offline is set" in unknown
    assert f"hf download nobody/nothing --revision {COMMIT}" in unknown
    assert "HF_HUB_OFFLINE is set" in fault(name="nobody/nothing", offline=False)
    assert "a folder without a whole inpainting pipeline" in fault(name=str(tmp_path))
    assert "has no variant fp16; remove variant" in fault(name=str(folder), variant="fp16")
    assert "float16 needs a GPU" in fault(name=str(folder), dtype="float16")
    assert "no GPU is available" in fault(name=str(folder), cpu_offload=True)
    unsafe = tmp_path / "unsafe"
    shutil.copytree(folder, unsafe)
    weights = unsafe / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert "no weights in the safetensors format" in fault(name=str(unsafe))


def test_an_index_of_the_hub_may_not_name_code_of_other_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Diffusers would import the package; the plan checks the index of a folder."""
    index = tmp_path / "models--owner--name" / "snapshots" / COMMIT / "model_index.json"
    index.parent.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    wanted = PretrainedPipeline("owner/name", COMMIT, None, True, "auto", False, True)
    for text, message in (
        ('{"_class_name": "StableDiffusionPipeline", "unet": ["antigravity", "X"]}', "unet is code of antigravity"),
        ("[" * 100_000, "expected JSON"),
    ):
        index.write_text(text)
        with pytest.raises(StageError, match=message):
            wanted.pipeline()
    assert "antigravity" not in sys.modules


def test_a_gated_model_requires_a_login_and_no_token_field() -> None:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    wanted = PretrainedPipeline("owner/model", None, None, False, "auto", False, True)
    response: Any = SimpleNamespace(headers={}, request=None)
    for kind, expected in ((GatedRepoError, "accept its terms"), (RepositoryNotFoundError, "is not on the hub")):
        error = OSError("is not a valid model identifier")
        error.__context__ = kind("no", response=response)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            assert expected in _remedy(wanted, error)


def test_problems_are_reported_before_anything_runs(folder: Path) -> None:
    assert not list(painter(folder).check())
    assert not list(Pipeline(hub="owner/name", revision=COMMIT).check())
    assert [field for field, _ in Pipeline().check()] == [""]
    assert [field for field, _ in painter(folder, hub="owner/name").check()] == [""]
    assert [field for field, _ in painter(folder, revision="main").check()] == ["revision"]
    assert [field for field, _ in painter(folder, strength=0.3).check()] == ["strength"]
    assert not list(painter(folder, strength=0.34).check())
    for place in ("./model", "/models/model", "models/one/two"):
        assert [field for field, _ in Pipeline(hub=place, revision=COMMIT).check()] == ["hub"]
    for prompt in ("a {caption}", "a {target.__class__}", "a {}", "a {target", "a {target!r}", "a {target:>9}"):
        assert [field for field, _ in painter(folder, prompt=prompt).check()] == ["prompt"]


@pytest.mark.parametrize("name", [None, "main", "v1.0", "fp16", COMMIT[:7], COMMIT.upper() + "0", f"{COMMIT}\n"])
def test_a_model_of_the_hub_requires_its_commit(name: str | None) -> None:
    """A branch may move, and artefacts of the old model would then be attributed to the new one."""
    ((field, message),) = Pipeline(hub="owner/name", revision=name).check()
    assert field == "revision"
    assert f"expected the commit of owner/name, 40 hexadecimal digits, received {name or 'none'}" in message


def test_a_local_folder_does_not_replace_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert [field for field, _ in Pipeline(hub="owner/name", revision=COMMIT).check()] == ["hub"]


def test_no_field_takes_a_token() -> None:
    assert not [name for name in Pipeline.__dataclass_fields__ if "token" in name or "auth" in name]


def test_grey_images_stay_grey(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, there = place((8, 8, 1))
    monkeypatch.setattr("temper.generators.diffusion.pipeline.PretrainedPipeline.pipeline", lambda self: Coloured())
    made = painter(folder).paint(Holes(chosen, Square().masks(chosen, there), chosen.y), there).x
    assert made == pytest.approx(np.full((3, 8, 8, 1), 0.299 * 1 + 0.587 * 0.5), abs=1e-6)
    strange = Holes(replace(chosen, x=np.zeros((3, 8, 8, 2), np.float32)), Square().masks(chosen, there), chosen.y)
    with pytest.raises(StageError, match="expected images of 1 or 3 channels, received 2"):
        painter(folder).paint(strange, there)


class Coloured:
    """A pipeline that paints everything orange."""

    def __call__(self, **options: Any) -> Any:
        from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput

        assert options["image"].shape[1] == 3
        colour = backend.torch().tensor([1.0, 0.5, 0.0])[None, :, None, None]
        images = colour.expand(3, 3, options["height"], options["width"])
        return StableDiffusionPipelineOutput(images=images, nsfw_content_detected=None)
