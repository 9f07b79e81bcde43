"""Inpainting with a diffusion model of the data: cost, where the time goes, and whether the label is right.

Run:  python benchmarks/inpainting.py [--mnist mnist.npz] [--train-steps 1500] [--model folder] [--sheets folder]

A model is trained on scikit-learn's digits, or on MNIST, and kept in the folder, from where a second run takes it. Held-out images are then
painted in several ways. The judge, a support vector machine trained on real images alone, says which class each result shows:
`wanted` is the share of images that show the class they were painted as, `own` that of the seed's class. `share` is the share of
the time that the denoiser takes. `black` instead of painting blackens the box, which is what no painting at all would leave.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from temper.core.artefacts import Examples
from temper.core.augmenter import Augmented, AugmenterContext, Seeds
from temper.core.component import Ref
from temper.core.data_info import DataInfo
from temper.core.run import Run
from temper.generators.diffusion.ddpm import DDPM
from temper.generators.diffusion.diffusion_model import DiffusionModel, DiffusionTraining
from temper.generators.diffusion.inpaint import Inpaint
from temper.generators.masks.box import Box
from temper.generators.masks.otsu import Otsu

DATA: Any = Ref("data", part="train")
BOX, OBJECT_BOX = Box(min_area=0.24, max_area=0.28), Otsu(region="box")
OWN: Literal["preserve"] = "preserve"
TARGET: Literal["target"] = "target"


def digits() -> tuple[Examples, Examples]:
    """Return scikit-learn's digits, four fifths of them for training."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.images[order, ..., None] / 16, found.target[order].astype(np.int64)
    cut = len(y) * 4 // 5
    return _examples(x[:cut], y[:cut]), _examples(x[cut:], y[cut:])


def mnist(path: Path) -> tuple[Examples, Examples]:
    """Return MNIST's own parts."""
    with np.load(path) as file:
        parts = [(file[f"x_{part}"][..., None] / 255, file[f"y_{part}"].astype(np.int64)) for part in ("train", "test")]
    train, test = (_examples(x, y) for x, y in parts)
    return train, test


def _examples(x: Any, y: Any) -> Examples:
    return Examples(x=x.astype(np.float32), y=y, index=np.arange(len(y)))


def learnt(train: Examples, given: argparse.Namespace) -> DiffusionModel:
    """Return the model in the folder, or train one."""
    if given.model and (given.model / "diffusion.json").is_file():
        return DiffusionModel.load(given.model)
    start, cpu = time.perf_counter(), time.process_time()

    def progress(done: int, total: int, unit: str) -> None:
        if done % 100 == 0 or done == total:
            said = f"{time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} CPU s"
            print(f"trained {done}/{total} {unit}: {said}", flush=True)

    work = Run("benchmark", 0, None, {DATA: train}.__getitem__, lambda ref: {}, progress)
    model = DiffusionTraining(data=DATA, train_steps=given.train_steps, size=given.size).produce(work)
    print(f"loss over the last 100 steps: {np.mean(model.losses[-100:]):.3f}")
    if given.model:
        given.model.mkdir(parents=True)
        model.save(given.model)
    return model


def ways(quick: bool) -> Iterator[tuple[str, Inpaint]]:
    """Yield ways to inpaint."""
    for mask, name in ((BOX, "box"), (OBJECT_BOX, "object box")):
        for policy in (OWN, TARGET):
            for steps, guidance in ((20, 1.0), (20, 2.0), (50, 1.0), (50, 2.0), (50, 3.0)):
                if not quick or steps == 20:
                    painter = DDPM(steps=steps, guidance=guidance)
                    label = f"{name}, {policy}, {steps} steps, guidance {guidance:g}"
                    yield label, Inpaint(backend=painter, mask=mask, label_policy=policy, max_area=1.0)
    background = Inpaint(backend=DDPM(steps=20), mask=Otsu(region="background"), label_policy=OWN, max_area=1.0)
    yield "background, preserve, 20 steps, guidance 2", background
    for mode in () if quick else ("replace", "repaint"):
        painter = DDPM(mode=mode, guidance=1.0)
        yield f"box, preserve, {mode}, 50 steps", Inpaint(backend=painter, mask=BOX, label_policy=OWN)


class Watched:
    """A denoiser and the seconds spent in it."""

    def __init__(self, network: Any) -> None:
        self._network, self.config, self.seconds = network, network.config, 0.0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        found = self._network(*arguments, **options)
        self.seconds += time.perf_counter() - start
        return found


def judge(train: Examples) -> Any:
    """Return a support vector machine of at most 10,000 real images."""
    from sklearn.svm import SVC

    x = np.asarray(train.x[:10_000]).reshape(min(len(train), 10_000), -1)
    return SVC(C=10.0).fit(x, train.y[:10_000])


def compare(model: DiffusionModel, train: Examples, test: Examples, given: argparse.Namespace) -> None:
    """Print the cost and result of each way, and draw the sheet."""
    names = tuple(map(str, range(10)))
    critic = judge(train)
    said = critic.predict(test.x[:2000].reshape(-1, critic.n_features_in_)) == test.y[:2000]
    print(f"judge: {said.mean():.3f} of held-out real images")
    n, watched = given.images, Watched(model.network)
    seeds = Seeds(test.x[:n], test.y[:n], test.index[:n], np.zeros(n, np.int64), np.zeros(n, np.int64), (0,))
    victim: Any = None  # nothing here asks the model under test
    work = Run("benchmark", 0, None, lambda ref: replace(model, network=watched), lambda ref: {}, lambda *_: None)
    context = AugmenterContext(work, victim, train, DataInfo(test.shape, names))
    black = np.where(BOX.masks(seeds, context)[..., None], 0, seeds.x)
    print(f"{'':46}{'images':>7}{'images/s':>10}{'share':>7}{'CPU s':>7}{'wanted':>8}{'own':>6}")
    print(f"{'box, black':46}{n:7}{'':24}{np.mean(critic.predict(black.reshape(n, -1)) == seeds.y):8.2f}")
    for label, way in ways(given.quick):
        watched.seconds, start, cpu = 0.0, time.perf_counter(), time.process_time()
        made = way.augment(seeds, context)
        taken, worked = time.perf_counter() - start, time.process_time() - cpu
        kept = np.array([row for row in range(n) if row not in made.refused])
        shown = critic.predict(made.x[kept].reshape(len(kept), -1))
        wanted, own = np.mean(shown == made.y[kept]), np.mean(shown == seeds.y[kept])
        figures = f"{len(kept):7}{len(kept) / taken:10.1f}{watched.seconds / taken:7.2f}{worked:7.1f}"
        print(f"{label:46}{figures}{wanted:8.2f}{own:6.2f}", flush=True)
        if given.sheets:
            given.sheets.mkdir(parents=True, exist_ok=True)
            sheet(seeds, made, given.sheets / f"{label.replace(', ', '_').replace(' ', '-')}.png")


def sheet(seeds: Seeds, made: Augmented, path: Path, rows: int = 12, columns: int = 4) -> None:
    """Draw seed, mask and result side by side, under them the label wanted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * 2.4, rows * 0.95), facecolor="0.6")
    axes = figure.subplots(rows, 3 * columns)
    assert made.masks is not None
    for row, places in enumerate(axes.T.reshape(columns, 3, rows).transpose(0, 2, 1).reshape(-1, 3)):
        for place, image in zip(places, (seeds.x[row, ..., 0], made.masks[row], made.x[row, ..., 0]), strict=True):
            place.imshow(image, cmap="gray", vmin=0, vmax=1)
            place.axis("off")
        places[2].set_title(f"{seeds.y[row]} > {made.y[row]}", fontsize=7, pad=1)
    figure.subplots_adjust(0, 0, 1, 0.98, wspace=0.08, hspace=0.2)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, paint and classify."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="MNIST as Keras stores it, in place of scikit-learn's digits")
    parser.add_argument("--train-steps", type=int, help="default: by the size of the images")
    parser.add_argument("--size", type=int, help="pixels of the canvas; default: by the size of the images")
    parser.add_argument("--model", type=Path, help="folder to keep the trained model in, or to take it from")
    parser.add_argument("--images", type=int, default=100, help="held-out images to paint")
    parser.add_argument("--quick", action="store_true", help="only ways of 20 steps")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of seeds, masks and results")
    given = parser.parse_args()
    train, test = mnist(given.mnist) if given.mnist else digits()
    compare(learnt(train, given), train, test, given)


if __name__ == "__main__":
    main()
