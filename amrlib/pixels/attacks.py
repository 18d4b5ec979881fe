"""Gradient attacks on the pixels of a catalogue.

The chain rule, in the order in which it is cheap. A loss L sees the pictures through their features c_i = f(x_i)/scale, and
those through ŷ_ui = p_uᵀ(q_i + Eᵀc_i). So

    Γ_i = ∂L/∂c_i = E s_i,   s_i = Σ_u (∂L/∂ŷ_ui) p_u in R^K          (all users, once, without the network)
    ∂L/∂x_i = (∂f/∂x_i)ᵀ Γ_i / scale                                  (each picture, once, without the users)

One step is one pass over the users and one backward pass of every picture through the network; nothing scores the catalogue
again for every picture. FGSM (Goodfellow, Shlens & Szegedy 2015) takes the signs of one gradient; PGD (Madry et al. 2018)
goes on from there, back into the bounds after every step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..adversary.attacks import NORMS, Gradient, promotion, shown_count, test_gradient
from ..checks import item_ids, list_length, number, one_of, require, whole_number
from ..datasets.dataset import Dataset
from ..evaluation.ranks import LOOK_FOR_NAN
from ..features.pixels import PixelExtractor
from ..progress import progress_bar
from ..protocols import Attackable
from .bounds import direction, into_bounds, to_eight_bits

GOALS = ("harm", "promote", "demote")
SOFTNESS = 0.3  # of the count of people who are shown an item: at 1, as for features, it is mostly of those far from the bar


@torch.no_grad()
def attack(
    model: Attackable, dataset: Dataset, look: PixelExtractor, epsilon: float = 8, goal: str = "harm", items: Any = None,
    norm: str = "linf", steps: int = 1, restarts: int = 1, k: int | None = None, seed: int = 0, images: Any = None,
    progress: bool = True,
) -> np.ndarray:  # fmt: skip
    """The catalogue's pictures, some or all of them changed by at most ε grey levels: uint8, shaped as ``dataset.images``.
    Implements :eq:`eq-fgsm`.

    Parameters
    ----------
    model : VBPR, AMR, DUIF …, whose features are ``look``'s of the pictures over ``dataset.feature_scale``
    look : the network that the attacker believes in
    epsilon : grey levels of 255
        No pixel moves further (``norm="linf"``), or ‖δ_i‖₂ ≤ ε over a picture (``"l2"``): exactly, in 8 bits.
    goal : ``"harm"``, ``"promote"`` or ``"demote"``
        ``"harm"`` raises the loss that :func:`amrlib.perturb` attacks, every user's held-out item against all they may be
        shown. ``"promote"`` raises a smooth count of the people who are shown each of ``items``, as
        :func:`amrlib.adversary.promote` does but less soft, Σ_u σ((ŷ_ut − ŷ_u(k))/.3), as the pixels' reach is short;
        ``"demote"`` lowers it.
    items : item numbers, optional
        Whose pictures may change: needed to promote or demote; all when left out.
    steps : 1 is FGSM. With more, steps of 2.5 ε/steps follow the first, and the best pictures of all passed count: for
        ``"harm"`` those with the highest loss, else each picture alone.
    restarts : the first starts from the pictures, each other one from a random point within the bounds, drawn with ``seed``
    k : length of the lists of ``"promote"`` and ``"demote"``, 10 when left out
    images : other pictures than ``dataset.images``, as ``look`` takes them, e.g. larger ones

    Raises
    ------
    ValueError
        A model without features, no pictures, an ε that is negative or not finite, unknown words, a gradient that is not
        finite.
    """
    one_of(goal, "goal", GOALS)
    c, E, pictures = _ready(model, dataset, look, images)
    require(goal == "harm" or items is not None, f"goal={goal!r} needs items, the numbers of those to {goal}")
    ids = np.arange(dataset.n_items) if items is None else item_ids(items, dataset.n_items, some=True)
    at = torch.as_tensor(ids, device=E.device)
    if goal == "harm":
        gradient = _harm(model, dataset, at)
    else:
        gradient = promotion(model, dataset, ids, k, SOFTNESS)
        if goal == "demote":
            gradient = _negative(gradient)
    climb = _Climb(look, E, c[at.to(c.device)].to(E), _scale(dataset), gradient, epsilon, norm, steps)
    changed = pictures.copy()
    changed[ids] = climb.best(pictures[ids], restarts, seed, progress)
    return changed


@torch.no_grad()
def attack_pictures(
    model: Any, dataset: Dataset, look: PixelExtractor, pictures: Any, epsilon: float = 8, goal: str = "promote",
    norm: str = "linf", steps: int = 1, restarts: int = 1, k: int | None = None, seed: int = 0, progress: bool = True,
) -> np.ndarray:  # fmt: skip
    """As :func:`attack`, for photographs that are not in the catalogue: things for sale that nobody has bought, ranked by
    ``model.new_item_vectors``. ``pictures`` are uint8 (n, H, W) or (n, H, W, 3), as ``look.prepare`` makes them; so is what
    comes back. Each photograph climbs alone; ``goal`` is ``"promote"`` or ``"demote"``."""
    one_of(goal, "goal", GOALS[1:])
    _, E, _ = _ready(model, dataset, look, pictures)
    k = list_length(k, dataset.n_items)
    scale = _scale(dataset)
    pictures = np.asarray(pictures)
    c = look.extract(pictures, progress).to(E) / scale  # (n, D)
    nobody = lambda users: np.zeros((len(users), len(pictures)), dtype=bool)  # noqa: E731
    gradient = shown_count(model, dataset, model.new_item_vectors(c), np.zeros(0, dtype=np.int64), k, nobody, SOFTNESS)
    if goal == "demote":
        gradient = _negative(gradient)
    return _Climb(look, E, c, scale, gradient, epsilon, norm, steps).best(pictures, restarts, seed, progress)


@torch.no_grad()
def standing(model: Any, dataset: Dataset, features: Any) -> np.ndarray:
    """Where things that are not in the catalogue would stand with everyone: int64 (n, M), 0 is best. ``features`` (n, D) as
    the model's. A rival is every item that the user does not have, and a tie counts against the newcomer, as everywhere."""
    U, V, new = model.user_vectors(), model.item_vectors(), model.new_item_vectors(features)
    ranks = np.empty((len(new), dataset.n_users), dtype=np.int64)
    block = max(1, 2**24 // len(V))
    for start in range(0, dataset.n_users, block):
        users = np.arange(start, min(start + block, dataset.n_users))
        scores = U[start : start + block] @ V.T  # (b, N)
        at, seen = (torch.as_tensor(a, device=U.device) for a in dataset.seen_by(users))
        scores[at, seen] = -torch.inf
        own = U[start : start + block] @ new.T  # (b, n)
        for row in range(len(new)):
            ranks[row, users] = (scores >= own[:, row, None]).sum(1).cpu().numpy()
    return ranks


@torch.no_grad()
def features_of(look: PixelExtractor, dataset: Dataset, images: Any, progress: bool = False) -> Tensor:
    """What the model is given when the network sees ``images``: f(x)/``dataset.feature_scale``, (n, D), for
    ``evaluate(..., features=…)``."""
    return look.extract(images, progress) / _scale(dataset)


def random_signs(images: Any, epsilon: float, seed: int = 0) -> np.ndarray:
    """A control: every pixel of uint8 ``images`` moves by ⌊ε⌋ up or down, drawn with ``seed``, and stays from 0 to 255."""
    levels = int(number(epsilon, "epsilon"))
    rng, images = np.random.default_rng(whole_number(seed, "seed", 0)), np.asarray(images)
    return (images.astype(np.int64) + levels * (2 * rng.integers(0, 2, images.shape) - 1)).clip(0, 255).astype(np.uint8)


class _Climb:
    """Projected gradient ascent on pictures. ``gradient`` takes ΔE (n, K) to s (n, K) and the loss, one number or (n,)."""

    def __init__(
        self, look: PixelExtractor, E: Tensor, c: Tensor, scale: float, gradient: Gradient, epsilon: float, norm: str,
        steps: int,
    ) -> None:  # fmt: skip
        one_of(norm, "norm", NORMS)
        self.look, self.E, self.c, self.scale, self.gradient, self.norm = look, E, c, scale, gradient, norm
        self.epsilon, self.steps = number(epsilon, "epsilon"), whole_number(steps, "steps", 1)

    def best(self, pictures: np.ndarray, restarts: int, seed: int, progress: bool) -> np.ndarray:
        """uint8, shaped as ``pictures``."""
        restarts, seed = whole_number(restarts, "restarts", 1), whole_number(seed, "seed", 0)
        passes = restarts * (2 * self.steps if self.steps > 1 or restarts > 1 else 1)
        with progress_bar(None, "attack", progress, total=passes * -(-len(pictures) // self.look.batch_size)) as bar:
            if passes == 1:
                return self._step_once(pictures, bar)
            x = self.look.pixels(pictures)  # (n, C, H, W)
            found, highest = torch.zeros_like(x), torch.tensor(-torch.inf, dtype=torch.float64, device=x.device)
            for restart in range(restarts):
                delta, loss = self._ascend(x, self._start(x, restart, seed), bar)
                better = loss > highest  # (), or (n,)
                found = torch.where(better.reshape(-1, 1, 1, 1), delta, found)
                highest = torch.maximum(loss, highest)
            return self._pictures(x, found, pictures)

    def _step_once(self, pictures: np.ndarray, bar: Any) -> np.ndarray:
        gamma, out = self._gamma(self.gradient(None)[0]), np.empty_like(pictures)
        for rows in self._batches(len(pictures), bar):
            x = self.look.pixels(pictures[rows])
            step = direction(self.look.slope(x, gamma[rows]), self.norm).mul_(self.epsilon)
            if self.norm == "l2":  # of ε times signs the rounding to 8 bits is all that is left to do
                step = into_bounds(x, step, self.epsilon, self.norm)
            out[rows] = self._pictures(x, step, pictures[rows])
        return out

    def _ascend(self, x: Tensor, delta: Tensor, bar: Any) -> tuple[Tensor, Tensor]:
        """δ (n, C, H, W) with the highest loss on the way, and that loss."""
        best, highest = delta, torch.tensor(-torch.inf, dtype=torch.float64, device=x.device)
        fresh = not bool(delta.any())
        for step in range(self.steps + 1):
            s, loss = self.gradient(None if fresh and step == 0 else self._seen(x + delta, bar))
            better = loss > highest  # (), or (n,)
            best = torch.where(better.reshape(-1, 1, 1, 1), delta, best)
            highest = torch.maximum(loss, highest)
            if step < self.steps:
                # the first step of a fresh start is FGSM's, so that more steps never find less
                length = self.epsilon if fresh and step == 0 else 2.5 * self.epsilon / self.steps
                gamma, longer = self._gamma(s), torch.empty_like(delta)
                for rows in self._batches(len(x), bar):
                    slope = self.look.slope(x[rows] + delta[rows], gamma[rows])
                    longer[rows] = into_bounds(
                        x[rows], delta[rows] + length * direction(slope, self.norm), self.epsilon, self.norm
                    )
                delta = longer
        return best, highest

    def _start(self, x: Tensor, restart: int, seed: int) -> Tensor:
        if restart == 0:
            return torch.zeros_like(x)
        draw = torch.Generator().manual_seed(1_000_003 * restart + seed)
        if self.norm == "linf":
            noise = self.epsilon * (2 * torch.rand(x.shape, generator=draw, dtype=torch.float64) - 1)
        else:  # on the sphere: the directions matter, and in many dimensions nearly all of a ball lies there
            noise = self.epsilon * direction(torch.randn(x.shape, generator=draw, dtype=torch.float64), "l2")
        return into_bounds(x, noise.to(x), self.epsilon, self.norm)

    def _gamma(self, s: Tensor) -> Tensor:
        """Γ (n, D), each row of length 1, for its direction is all that a step uses and float32 has a smallest number."""
        require(torch.isfinite(s).all(), f"the gradient is not finite; {LOOK_FOR_NAN}")
        gamma = (s / s.abs().amax(1, keepdim=True).clamp_min(torch.finfo(s.dtype).tiny)) @ self.E.T
        return gamma / gamma.norm(dim=1, keepdim=True).clamp_min(torch.finfo(s.dtype).tiny)

    def _seen(self, x: Tensor, bar: Any) -> Tensor:
        """ΔE (n, K), where Δ are the features of x minus those that the model has."""
        parts = [(self.look(x[rows]).to(self.E) / self.scale - self.c[rows]) @ self.E for rows in self._batches(len(x), bar)]
        return torch.cat(parts)

    def _pictures(self, x: Tensor, delta: Tensor, like: np.ndarray) -> np.ndarray:
        moved = to_eight_bits(x, delta, self.epsilon, self.norm).cpu().numpy()
        return (moved.transpose(0, 2, 3, 1) if like.ndim == 4 else moved[:, 0]).astype(np.uint8)

    def _batches(self, n: int, bar: Any) -> Any:
        for rows in self.look.batches(n, "", False):
            yield rows
            bar.update(1)


def _ready(model: Attackable, dataset: Dataset, look: PixelExtractor, images: Any) -> tuple[Tensor, Tensor, np.ndarray]:
    """c (N, D), E (D, K), and pictures in 8 bits, if they make sense."""
    model.user_vectors()  # a model that has seen no data says so
    c, E = getattr(model, "features", None), getattr(model, "E", None)
    if c is None or E is None:
        raise ValueError(f"{type(model).__name__} uses no item features, so no picture moves it; take a VBPR")
    require(len(E) == look.dim, f"the model's features have {len(E)} numbers and {look.name}'s {look.dim}; give the network "
                                "that made them")  # fmt: skip
    pictures = dataset.images if images is None else images
    require(pictures is not None, f"{dataset.name or 'the data set'} has no pictures; pass images=")
    pictures = np.asarray(pictures)
    require(pictures.dtype == np.uint8, f"images must be uint8, 0 … 255, not {pictures.dtype}")
    return c, E, pictures


def _scale(dataset: Dataset) -> float:
    return float(dataset.extras.get("feature_scale", 1.0))


def _harm(model: Attackable, dataset: Dataset, at: Tensor) -> Gradient:
    whole = partial(test_gradient, model, dataset)

    def gradient(seen: Tensor | None) -> tuple[Tensor, Tensor]:
        if seen is not None and len(at) < dataset.n_items:  # the others' pictures stay
            seen = seen.new_zeros(dataset.n_items, seen.shape[1]).index_copy(0, at, seen)
        s, loss = whole(seen)
        return s[at], loss

    return gradient


def _negative(gradient: Gradient) -> Callable[[Tensor | None], tuple[Tensor, Tensor]]:
    def down(seen: Tensor | None) -> tuple[Tensor, Tensor]:
        s, count = gradient(seen)
        return -s, -count

    return down
