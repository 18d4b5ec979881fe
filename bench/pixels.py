"""Attacks on pixels beside torchattacks and ART, through the shop's own small CNN, and promotion beside a plain loop.

One process, one thread, in turns; what counts is CPU seconds. Run it in an environment that has the book's packages and
torchattacks and adversarial-robustness-toolbox besides: ``python -m bench pixels``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import amrlib
from amrlib.pixels import attack, pixel_extractor, to_eight_bits
from amrlib.pixels.bounds import direction
from amrlib.progress import progress_bar

__all__ = ["BATCHES", "pixels", "plain_promotion"]

BATCHES = (32, 64, 128, 256)  # of the outside libraries; each is shown at its best
STEPS = (1, 10, 20)  # of a promotion: ours scores the catalogue once, the plain loop in every step
EPSILON, K = 8, 10
PACKAGES = {"torchattacks": "torchattacks", "art": "adversarial-robustness-toolbox"}


class Towards(torch.nn.Module):
    """Pictures in [0, 1] → (Γᵀf(x), 0): the cross-entropy with class 1 has the slope of Γᵀf(x), up to a positive factor. A
    library that attacks classifiers so takes our step; Γ, which ours finds on the way, it is given."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self.look, self.gamma = look, torch.zeros(0)
        self.weight = torch.nn.Parameter(torch.zeros(1))  # both ask a network for its device

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (self.look(255 * x) * self.gamma).sum(1)
        return torch.stack([y, torch.zeros_like(y)], 1)


def outside(name: str, network: Towards, x: torch.Tensor, gamma: torch.Tensor, batch: int) -> None:
    """FGSM on all of x (N, C, H, W) in [0, 1]. ART's own ``generate`` cuts batches that our Γ does not follow, so both are
    handed one batch after the other."""
    labels = torch.ones(batch, dtype=torch.long)
    if name == "torchattacks":
        import torchattacks

        step: Callable[[torch.Tensor], Any] = lambda part: fgsm(part, labels[: len(part)])  # noqa: E731
        fgsm = torchattacks.FGSM(network, eps=EPSILON / 255)
    else:
        from art.attacks.evasion import FastGradientMethod
        from art.estimators.classification import PyTorchClassifier

        known = PyTorchClassifier(network, F.cross_entropy, tuple(x.shape[1:]), 2, clip_values=(0.0, 1.0), device_type="cpu")
        method = FastGradientMethod(known, eps=EPSILON / 255, batch_size=batch)
        step = lambda part: method.generate(part.numpy(), np.ones(len(part), dtype=int))  # noqa: E731
    for start in range(0, len(x), batch):
        network.gamma = gamma[start : start + batch]
        step(x[start : start + batch])


def ours_given(look: Any, images: np.ndarray, gamma: torch.Tensor) -> None:
    """Our step with Γ given, as the others have it: from pictures in 8 bits to pictures in 8 bits."""
    for rows in look.batches(len(images), "", False):
        x = look.pixels(images[rows])
        step = direction(look.slope(x, gamma[rows]), "linf").mul_(EPSILON)
        to_eight_bits(x, step, EPSILON, "linf").numpy()


def plain_promotion(model: Any, shop: Any, look: Any, item: int, steps: int) -> torch.Tensor:
    """What :func:`amrlib.pixels.attack` promotes, as one would write it first: score the catalogue, autograd, step. Pixels."""
    x = look.pixels(shop.images[[item]])
    U, Q, E, c = (t.detach() for t in (model.P, model.Q, model.E, model.features))
    users, seen = (torch.as_tensor(a) for a in shop.seen_by(np.arange(shop.n_users)))
    has, at = torch.zeros(shop.n_users, dtype=torch.bool), torch.tensor([item])
    has[users[seen == item]] = True
    delta = torch.zeros_like(x)
    for step in range(steps):
        delta = delta.detach().requires_grad_()
        features = c.index_copy(0, at, look(x + delta) / shop.feature_scale)
        scores = U @ (Q + features @ E).T  # (M, N)
        rivals = scores.detach().index_put((users, seen), torch.tensor(-torch.inf))
        rivals[:, item] = -torch.inf
        bar = rivals.topk(K, 1).values[:, -1]
        torch.sigmoid((scores[:, item] - bar)[~has] / 0.3).sum().backward()
        length = EPSILON if step == 0 else 2.5 * EPSILON / steps
        delta = ((delta + length * delta.grad.sign()).clamp(-EPSILON, EPSILON) + x).clamp(0, 255).detach() - x
    return x + delta


def pixels(rounds: int = 5, items: int = 3) -> dict[str, Any]:
    """CPU seconds of each, one number per round: FGSM on every photograph of the boutique, and the promotion of one
    photograph, the mean over ``items`` of them."""
    torch.set_num_threads(1)
    shop, look = amrlib.load_dataset("boutique"), pixel_extractor("shop", "cpu")
    model = amrlib.VBPR(dim=64, seed=0).bind(shop)
    model.fit(shop, 5, device="cpu", progress=False)
    x, gamma = look.pixels(shop.images) / 255, torch.randn(shop.n_items, look.dim)
    network, rng = Towards(look), np.random.default_rng(0)
    chosen = [int(i) for i in rng.choice(shop.n_items, items, replace=False)]
    contenders: dict[str, Callable[[], Any]] = {
        "FGSM, ours": lambda: attack(model, shop, look, EPSILON, progress=False),
        "FGSM, ours, Γ given": lambda: ours_given(look, shop.images, gamma),
    }
    for steps in STEPS:
        contenders[f"promotion, ours, {steps}"] = lambda n=steps: [  # type: ignore[misc]
            attack(model, shop, look, EPSILON, "promote", [item], steps=n, k=K, progress=False) for item in chosen
        ]
        contenders[f"promotion, plain, {steps}"] = lambda n=steps: [  # type: ignore[misc]
            plain_promotion(model, shop, look, item, n) for item in chosen
        ]
    versions, skipped = {"torch": torch.__version__}, {}
    for name, package in PACKAGES.items():
        if importlib.util.find_spec(name) is None:
            skipped[name] = f"{package} is not installed"
            continue
        versions[package] = importlib.metadata.version(package)
        for batch in BATCHES:
            contenders[f"FGSM, {name}, {batch}"] = lambda n=name, b=batch: outside(n, network, x, gamma, b)  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in progress_bar(range(rounds + 1), "attacks on pixels, rounds"):
        for name, run in contenders.items():
            start = time.process_time()
            run()
            if turn:  # the first is for caches
                seconds[name].append((time.process_time() - start) / (items if name.startswith("promotion") else 1))
    return {"pictures": shop.n_items, "people": shop.n_users, "seconds": seconds, "versions": versions,
            "skipped": skipped}  # fmt: skip
