"""The denoiser: a small U-Net of diffusers, conditioned on the image around the hole and on the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from temper.generators.diffusion.inpainting_canvas import Canvas
from temper.system import backend

NOISE_STEPS = 1000
"""Number of steps from image to noise."""
GROUP = 8
"""The divisor of channel counts: the size of normalisation groups and attention heads."""


class DefaultSettings(NamedTuple):
    """Default settings for images of a size, found to be sufficient."""

    channels: tuple[int, ...]
    attention: bool
    train_steps: int


DEFAULTS = {16: DefaultSettings((32, 64), False, 1500), 28: DefaultSettings((16, 32, 32), False, 2000)}
"""Settings by the longest side in pixels they apply to."""
DEFAULTS_FOR_LARGER = DefaultSettings((32, 64, 128), True, 20_000)
"""Settings for larger images: they take hours without a GPU."""


def default_settings(longest: int) -> DefaultSettings:
    """Return the settings for images with a longest side of ``size`` pixels."""
    return next((settings for side, settings in DEFAULTS.items() if longest <= side), DEFAULTS_FOR_LARGER)


def build(canvas: Canvas, channels: Sequence[int], attention: bool, classes: int, seed: int) -> Any:
    """Return a UNet2DModel with fresh weights from [x_t, x0 * (1 - M), M] to the noise in x_t.

    Labels are 0 to ``classes`` - 1; label ``classes`` means no class. ``attention`` applies to the blocks at the lowest
    resolution; the middle block always has it.
    """
    torch = backend.torch()
    from diffusers import UNet2DModel

    colours, plain = canvas.shape[2], len(channels) - 1
    torch.manual_seed(seed)
    return UNet2DModel(
        sample_size=(canvas.rows, canvas.columns),
        # The noisy image, the known pixels, and the mask.
        in_channels=2 * colours + 1,
        out_channels=colours,
        layers_per_block=1,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D" if attention else "DownBlock2D",),
        up_block_types=("AttnUpBlock2D" if attention else "UpBlock2D",) + ("UpBlock2D",) * plain,
        norm_num_groups=GROUP,
        attention_head_dim=GROUP,
        # One more for "no class", which guidance needs.
        num_class_embeds=classes + 1,
    )


def signal_share() -> Any:
    """Return the remaining share of an image's variance after each noise step, a tensor (``NOISE_STEPS``,).

    Source: Nichol and Dhariwal (2021), Improved Denoising Diffusion Probabilistic Models, eq. 17.
    """
    from diffusers import DDPMScheduler

    return DDPMScheduler(NOISE_STEPS, beta_schedule="squaredcos_cap_v2").alphas_cumprod
