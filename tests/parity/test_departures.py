"""What published re-implementations of AMR do otherwise, and what it changes: the figures of book/departures.md.

One trained VBPR, one batch in which items recur, and the loss that each way of perturbing leads to. Everything
is written out in D dimensions, so that a reader can check it against the sources which the page names.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import amrlib
from amrlib.training import AutogradTrainer, Gradients, PairwiseTrainer, RowGradient
from amrlib.training.optimizer import Optimizer

PAGE = Path(__file__).resolve().parents[2] / "book" / "departures.md"
EPSILON = 0.5


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


class Batch:
    """The loss of one batch as a function of what is added to each row's positive and negative features."""

    def __init__(self, model, users, pos, neg):
        self.model, self.users, self.pos, self.neg = model, users, pos, neg

    def loss(self, plus_i=0.0, plus_j=0.0):
        m = self.model
        c_i, c_j = m.features[self.pos] + plus_i, m.features[self.neg] + plus_j
        item = (m.Q[self.pos] + c_i @ m.E) - (m.Q[self.neg] + c_j @ m.E)
        return F.softplus(-(m.P[self.users] * item).sum(1)).sum()

    def row_gradients(self):
        """∂L/∂c of each row's positive and negative, (B, D) each: an item that recurs has several."""
        zero = [torch.zeros(len(self.pos), self.model.features.shape[1], dtype=torch.float64, requires_grad=True)
                for _ in range(2)]  # fmt: skip
        return torch.autograd.grad(self.loss(*zero), zero)

    def gamma(self):
        """Γ (N, D), summed over an item's occurrences: the paper's."""
        g_i, g_j = self.row_gradients()
        return torch.zeros_like(self.model.features).index_add(0, self.pos, g_i).index_add(0, self.neg, g_j)


@pytest.fixture(scope="module")
def figures():
    """Loss per triple under each perturbation, after 40 VBPR steps."""
    rng = np.random.default_rng(0)
    M, N, D, B = 30, 20, 12, 64
    features = rng.normal(size=(N, D))
    likes = np.argwhere(rng.normal(size=(M, 3)) @ (features @ rng.normal(size=(D, 3))).T > 3.0)
    data = amrlib.Dataset(likes, np.full(M, -1), features, n_users=M, n_items=N)
    model = amrlib.VBPR(dim=4, init_std=0.1, dtype=torch.float64).bind(data)
    step = PairwiseTrainer(model, lr=0.1, reg=0.01).step
    sampler, generator = amrlib.training.NegativeSampler(data), torch.Generator().manual_seed(0)
    never_zeroed = torch.zeros_like(model.features)
    for t in range(40):
        rows = torch.randint(len(data.train), (B,), generator=generator)
        users, pos = torch.as_tensor(data.train)[rows].unbind(1)
        batch = Batch(model, users, pos, sampler(users, generator))
        never_zeroed += batch.gamma()
        if t < 39:
            step(users, pos, batch.neg)
    g_i, g_j = batch.row_gradients()
    delta, stale = EPSILON * unit(batch.gamma()).nan_to_num(), EPSILON * unit(never_zeroed).nan_to_num()
    at = lambda d: (d[batch.pos], d[batch.neg])  # noqa: E731
    losses = {
        "none": batch.loss(),
        "paper": batch.loss(*at(delta)),
        "helpful, not scaled": batch.loss(-g_i, -g_j),
        "helpful, scaled": batch.loss(*at(-delta)),
        "positives only": batch.loss(EPSILON * unit(g_i)),
        "one a row": batch.loss(EPSILON * unit(g_i), EPSILON * unit(g_j)),
        "never zeroed": batch.loss(*at(stale)),
    }
    return {name: float(value) / B for name, value in losses.items()}, batch


def test_what_each_perturbation_does(figures):
    loss, batch = figures
    print(loss)
    assert loss["helpful, not scaled"] < loss["none"] and loss["helpful, scaled"] < loss["none"]
    assert loss["none"] < loss["positives only"] < loss["paper"]
    assert loss["never zeroed"] < loss["paper"]
    assert loss["paper"] < loss["one a row"]  # a rival to itself: one item, moved differently in every row
    V = batch.model.item_vectors()
    x = (batch.model.P[batch.users] * (V[batch.pos] - V[batch.neg])).sum(1)
    exact = F.softplus(2 * EPSILON * batch.model.sensitivity()[batch.users] - x).mean()
    assert loss["one a row"] == pytest.approx(float(exact), rel=1e-12)


def test_the_papers_is_the_librarys(figures):
    loss, batch = figures
    model = batch.model
    amr = amrlib.AMR.__new__(amrlib.AMR)
    amr.__dict__.update(model.__dict__, epsilon=EPSILON, adv_weight=1.0, perturbation="gradient")
    for name in "PQE":
        setattr(amr, name, getattr(model, name).clone())
    for trainer in (AutogradTrainer, PairwiseTrainer):
        own = trainer(amr, lr=0.0).step(batch.users, batch.pos, batch.neg)
        assert float(own.adversarial) / len(batch.users) == pytest.approx(loss["paper"], rel=1e-10)
        assert float(own.bpr) / len(batch.users) == pytest.approx(loss["none"], rel=1e-10)


def regularised(power, steps=300):
    """‖θ‖ after steps of Adagrad on 0.1 Σ θ^power alone, from ‖θ‖ = 1."""
    theta = unit(torch.randn(1, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    optimizer = Optimizer({"P": theta}, {"P": 0.05}, "adagrad", 0.1)
    for _ in range(steps):
        optimizer.step(Gradients(RowGradient(None, 0.1 * power * theta ** (power - 1)), None, None, None))
    return float(theta.norm()), float(theta.sum())


def test_an_unsquared_regulariser_has_no_bottom():
    squared, linear, longer = regularised(2), regularised(1), regularised(1, steps=3000)
    print(squared, linear, longer)
    assert squared[0] < 0.5  # towards zero, as it should
    assert linear[0] > 1 and linear[1] < 0 and longer[0] > 2 * linear[0]  # away from it, and on


def test_the_pages_figures_are_these(figures):
    page = PAGE.read_text(encoding="utf-8")
    loss, _ = figures
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for name, value in loss.items():
        assert any(f"`{name}`" in row and f"{value:.3f}" in row for row in rows), (name, f"{value:.3f}")
    assert f"{regularised(2)[0]:.2f}" in page and f"{regularised(1)[0]:.2f}" in page
