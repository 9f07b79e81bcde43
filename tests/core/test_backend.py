"""The door to the frameworks: values, gradients, padding, live weights, and that all backends agree."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import backend
from tests.conftest import ROOT
from tests.generators.models import images, linear, small


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_name_needs_no_framework_and_refuses_unknown_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from core import backend; print(backend.name(), 'keras' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert out.stdout.split() == ["tensorflow", "False"]
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(ValueError, match="expected tensorflow, jax, torch, received 'theano'"):
        backend.name()


def test_importing_keras_is_quiet() -> None:
    code = "from core import backend; backend.keras()"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (out.stdout, out.stderr) == ("", "")


@pytest.mark.parametrize("n", [0, 1, 17, backend.BATCH, backend.BATCH + 1, 2 * backend.BATCH + 63])
def test_forward_gives_the_logits_of_every_image(n: int) -> None:
    victim, weights = linear()
    x, _ = images(n, (4, 4, 1))
    logits = backend.forward(victim.model, x)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, x.reshape(n, 16) @ weights, atol=1e-5)


def test_loss_gradient_is_that_of_cross_entropy() -> None:
    victim, weights = linear()
    x, y = images(40, (4, 4, 1), classes=3)
    expected = (softmax(x.reshape(40, 16) @ weights) - np.eye(3)[y]) @ weights.T
    np.testing.assert_allclose(backend.loss_gradient(victim.model, x, y).reshape(40, 16), expected, atol=1e-5)


def test_gradient_of_a_saturated_softmax_keeps_its_direction() -> None:
    """In float32 a softmax of logits this far apart is 1 and 0, where the textbook gradient is zero."""
    victim, weights = linear(scale=5)
    x, _ = images(200, (4, 4, 1))
    logits = (x.reshape(200, 16) @ weights).astype(np.float64)
    y = logits.argmax(axis=1)
    sure = softmax(logits.astype(np.float32)).max(axis=1) == 1
    assert sure.sum() > 20
    others = np.where(np.eye(3)[y] > 0, -np.inf, logits)
    shares = softmax(others) - np.eye(3)[y]
    direction = shares @ weights.T.astype(np.float64)
    got = backend.loss_gradient(victim.model, x, y).reshape(200, 16)
    clear = np.abs(direction) > 1e-3
    assert (np.sign(got)[sure] == np.sign(direction)[sure])[clear[sure]].all()


@pytest.mark.parametrize("convolution", [False, True])
def test_weights_are_read_at_each_call(convolution: bool) -> None:
    model = small(convolution=convolution).model
    x, y = images(9)
    before, slope = backend.forward(model, x), backend.loss_gradient(model, x, y)
    model.set_weights([-0.5 * weights for weights in model.get_weights()])
    np.testing.assert_allclose(backend.forward(model, x), np.array(model(x)), atol=1e-5)
    assert np.abs(backend.forward(model, x) - before).max() > 0.1
    assert np.abs(backend.loss_gradient(model, x, y) - slope).max() > 1e-3


def test_programs_do_not_keep_their_model_alive() -> None:
    victim = small()
    backend.forward(victim.model, images(3)[0])
    gc.collect()
    kept = len(backend._programs)
    del victim
    gc.collect()
    assert len(backend._programs) == kept - 1


def test_padded_sizes_are_few_and_large_enough() -> None:
    sizes = [backend._padded_size(n, 500) for n in range(501)]
    assert all(size >= n for n, size in enumerate(sizes))
    assert sorted(set(sizes)) == [16, 32, 63, 125, 250, 500]


def test_run_refuses_more_images_than_the_batch() -> None:
    with pytest.raises(ValueError, match="expected at most 4 images, received 5"):
        backend.run(small().model, backend._logits, [images(5)[0]], batch_size=4)


SCRIPT = """
import sys
import numpy as np
from core import backend
from core.component import Ref
from generators.gradient import BIM, FGSM, PGD
from tests.generators.models import images, small

weights = np.load(sys.argv[1])
victim = small()
victim.model.set_weights([weights[f"w{i}"] for i in range(4)])
x, y = images(70)
out = {"logits": victim.logits(x), "gradient": victim.loss_gradient(x, y)}
for norm in ("inf", 2, 1):
    eps = {"inf": 0.1, 2: 0.6, 1: 4.0}[norm]
    common = {"model": Ref("m"), "eps": eps, "norm": norm}
    for attack in (FGSM(**common), BIM(**common, eps_step=eps / 4, max_iter=6),
                   PGD(**common, eps_step=eps / 4, max_iter=6, num_random_init=3)):
        out[f"{attack.tag} {norm}"] = attack.perturb(victim, x, y, np.random.default_rng(3))
victim.model.set_weights([0.5 * w for w in victim.model.get_weights()])
out["halved"] = victim.logits(x)
np.savez(sys.argv[2], **out)
"""


@pytest.mark.slow
def test_all_backends_give_the_same_images(tmp_path: Path) -> None:
    start = tmp_path / "weights.npz"
    np.savez(start, **{f"w{i}": w for i, w in enumerate(small().model.get_weights())})
    results = {}
    for name in backend.BACKENDS:
        command = [sys.executable, "-c", SCRIPT, str(start), str(tmp_path / f"{name}.npz")]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": name, "PYTHONPATH": str(ROOT)}, check=True)
        with np.load(tmp_path / f"{name}.npz") as file:
            results[name] = dict(file)
    for name in ("jax", "torch"):
        for key, expected in results["tensorflow"].items():
            # A gradient entry within rounding of zero may take either sign, which moves its pixel by two steps.
            close = np.isclose(results[name][key], expected, atol=1e-4)
            assert close.mean() > 0.999, (name, key, close.mean())
