"""A synthetic experiment with all that a report has to handle: 3 models, 4 examples, 3 eps, 3 seeds, missing cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from temper.core.component import Plain
from temper.core.confidence_intervals import wilson
from temper.core.report_spec import ExpectedSpec, ImageGrid, ReportedExperiment, TableSpec
from temper.system.files import replace_file

EPS = (0.1, 0.2, 0.3)
SEEDS = (1, 2, 3)
N = 10_000
COLUMNS = ("experiment", "eps", "seed", "stage", "model", "examples", "group", "metric", "value", "n", "lower", "upper",
           "unit", "higher_is_better", "note")  # fmt: skip

# Correct answers out of 10 000, by model and examples: per eps where the examples depend on it.
CLEAN = {"mlp": 9656, "fgsm_robust": 9702, "pgd_robust": 9688}
ATTACKED = {
    ("mlp", "fgsm"): (3120, 410, 137),
    ("mlp", "pgd"): (2890, 260, 117),
    ("mlp", "dgn_susp"): (9120, 7340, 4525),
    ("fgsm_robust", "fgsm"): (9420, 9301, 9611),
    ("fgsm_robust", "pgd"): (9377, 9080, 8456),
    ("fgsm_robust", "dgn_susp"): (9544, 9170, 8218),
    ("pgd_robust", "fgsm"): (9466, 9352, 9124),
    ("pgd_robust", "pgd"): (9471, 9391, 9217),
    ("pgd_robust", "dgn_susp"): (9580, 9333, 8890),
}


def row(model: str, examples: str, hits: int, *, eps: float | None, seed: int | None, **columns: Any) -> dict[str, Any]:
    lower, upper = wilson(hits, N)
    base = dict.fromkeys(COLUMNS) | {"experiment": "demo", "stage": "robustness", "group": "", "note": ""}
    numbers = {"metric": "accuracy", "value": hits / N, "n": N, "lower": lower, "upper": upper, "unit": "proportion"}
    names = {"model": model, "examples": examples, "eps": eps, "seed": seed, "higher_is_better": True}
    return base | numbers | names | columns


def demo_rows() -> list[dict[str, Any]]:
    rows = []
    for model, clean in CLEAN.items():
        # The original model does not depend on eps or the seed.
        points = (
            [(None, None, 0)] if model == "mlp" else [(e, s, -40 * i + 7 * s) for i, e in enumerate(EPS) for s in SEEDS]
        )
        rows += [row(model, "mnist", clean + shift, eps=eps, seed=seed) for eps, seed, shift in points]
        for attack in ("fgsm", "pgd", "dgn_susp"):
            for i, eps in enumerate(EPS):
                for seed in SEEDS:
                    if not hole(model, attack, eps, seed):
                        hits = ATTACKED[model, attack][i] + (seed - 2) * (11 + 5 * i)
                        rows.append(row(model, attack, hits, eps=eps, seed=seed))
    zero = {"metric": "zero_gradients", "unit": "proportion", "higher_is_better": False}
    rows += [row("mlp", "fgsm", 3120 if e == 0.3 else 40, eps=e, seed=s, **zero) for e in EPS for s in SEEDS]
    return rows


def hole(model: str, examples: str, eps: float, seed: int) -> str:
    if (model, examples, eps) == ("pgd_robust", "dgn_susp", 0.3):
        return "failed: out of memory at 14.2 GB"
    if (model, examples, eps, seed) == ("fgsm_robust", "dgn_susp", 0.2, 3):
        return "skipped: dgn_susp failed"
    if (model, examples) == ("fgsm_robust", "dgn_susp") and eps == 0.3:
        return "pending"
    return ""


def demo_holes() -> list[dict[str, Any]]:
    return [
        {"stage": "robustness", "model": model, "examples": examples, "eps": eps, "seed": seed, "reason": reason}
        for model, examples in ATTACKED
        for eps in EPS
        for seed in SEEDS
        if (reason := hole(model, examples, eps, seed))
    ]


TABLE = TableSpec(name="table_2", source="robustness", rows=("model",), columns=("examples", "eps"), metric="accuracy",
                  best="bold", caption="Robust accuracy (%) on MNIST")  # fmt: skip
BY_EPS = TableSpec(name="by_eps", source="robustness", rows=("model", "eps"), columns=("examples",), metric="accuracy",
                   cell="mean [lower, upper]", where={"examples": ("mnist", "pgd")})  # fmt: skip


def demo_experiment(**changes: Any) -> ReportedExperiment:
    rng = np.random.default_rng(0)
    base: dict[str, Any] = {
        "name": "deepcustom-attacks-mnist",
        "description": "FGSM, PGD and generator networks against the 5x30 MLP, before and after adversarial training.",
        "mode": "both",
        "seeds": SEEDS,
        "axes": {"eps": EPS},
        "order": {
            "robustness": {
                "model": ["mlp", "fgsm_robust", "pgd_robust"],
                "examples": ["mnist", "fgsm", "pgd", "dgn_susp"],
            }
        },
        "protocols": {"robustness": "transfer"},
        "strength": {"eps": "eps"},
        "provenance": {
            "temper": "0.1.0 (commit 3f2a9c1)",
            "started": "2025-03-01 14:02 UTC",
            "seconds": 4211.7,
            "device": "8 cores, no GPU",
            "packages": {"keras": "3.15.1", "tensorflow": "2.21.0", "numpy": "2.4.6"},
            "store": {f"pgd.test eps={i}": f"{i:08x}" for i in range(21)},
        },
        "costs": [
            {"stage": "mlp", "type": "dense", "seconds": 41.32, "images": 60_000, "peak_memory": 851_443_712},
            {"stage": "pgd.test eps=0.1", "type": "pgd", "seconds": 220.6, "images": 10_000, "peak_memory": 2**30},
            {"stage": "pgd.test eps=0.2", "type": "pgd", "seconds": 231.4, "images": 10_000, "peak_memory": 2**31},
        ],
        "failures": [
            {
                "stage": "dgn_susp",
                "at": "eps 0.3",
                "cause": "failed: out of memory at 14.2 GB",
                "what to do": "lower batch_size, or give the worker more memory, and run again with --retry-failed",
                "log": "outputs/demo/logs/dgn_susp.txt",
            }
        ],
        "resolved": "name: deepcustom-attacks-mnist\nseeds: [1, 2, 3]\naxes:\n  eps: [0.1, 0.2, 0.3]\n",
        "examples": [digits_grid(rng)],
    }
    return ReportedExperiment(**(base | changes))


def digits_grid(rng: np.random.Generator) -> ImageGrid:
    y, x = np.mgrid[0:28, 0:28]
    rings = [np.exp(-((np.hypot(x - 14, y - 14) - r) ** 2) / 4) for r in (4, 5, 6, 7, 8, 9, 10, 11)]
    clean = np.stack(rings).astype(np.float32)[..., None]
    perturbed = np.clip(clean + 0.1 * rng.choice([-1, 1], clean.shape), 0, 1).astype(np.float32)
    return ImageGrid(name="pgd, eps 0.1", clean=clean, perturbed=perturbed, true=[0, 1, 2, 3, 4, 5, 6, 7],
                     predicted=[0, 7, 2, 5, 9, 5, 6, 2])  # fmt: skip


def demo_expected() -> list[ExpectedSpec]:
    source = "DeepCustom README"
    rows: list[tuple[str, dict[str, Plain], float, float]] = [
        ("mlp", {"examples": "mnist"}, 96.56, 0.01),
        ("mlp", {"examples": "fgsm", "eps": 0.1}, 31.2, 0.5),
        ("mlp", {"examples": "pgd", "eps": 0.3}, 1.2, 0.5),
        ("fgsm_robust", {"examples": "pgd", "eps": 0.3}, 80.0, 2.0),
        ("pgd_robust", {"examples": "dgn_susp", "eps": 0.3}, 88.9, 2.0),
    ]
    return [ExpectedSpec(table="table_2", row=r, column=c, value=v, tolerance=t, source=source) for r, c, v, t in rows]


def into(folder: Path) -> Callable[[str, bytes | str], None]:
    """Return the function that writes the files of a report to a folder."""
    return lambda name, data: replace_file(folder / name, data)
