"""A step on the card is the step on the CPU; it repeats, it never waits, and played back it is the same."""

import numpy as np
import pytest
import torch
from authors_records import STEPS, record_of, start_from, takes_the_recorded_iterations, takes_the_recorded_steps
from card import KINDS, ON_CARD, M, N, close, equal, model_of, nothing_waits, shop, there, triples

import amrlib
from amrlib.training import AutogradTrainer, PairwiseTrainer, closed_form

pytestmark = pytest.mark.cuda

REGS = [0.0, (0.1, 0.0, 0.03), (0.1, 0.02, 0.03)]


def two_places(kind, device, trainer=PairwiseTrainer, recorded=True, lr=(0.1, 0.05, 0.02), here=PairwiseTrainer, **settings):
    """Equal models on the CPU and on the card, and a trainer of each."""
    words = {k: settings.pop(k) for k in ("reg", "optimizer", "reg_form") if k in settings}
    data = shop()
    models = [model_of(kind, data, **settings), model_of(kind, data, **settings).to(device)]
    more = {"cuda_graph": recorded} if trainer is PairwiseTrainer else {}
    return models, [here(models[0], lr=lr, **words), trainer(models[1], lr=lr, **words, **more)]


def goes_together(models, trainers, sizes, tolerance=1e-10):
    for seed, B in enumerate(sizes):
        (batch,) = triples(1, B, seed)
        mine, theirs = trainers[1].step(*there(batch)), trainers[0].step(*batch)
        apart = [abs(float(a) - float(b)) - tolerance * abs(float(b)) for a, b in zip(mine, theirs)]
        assert max(apart) <= 0, f"losses of step {seed}"
        assert close(models[1], models[0], tolerance), f"parameters after step {seed}"


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("reg", REGS)
@pytest.mark.parametrize("B", [5, 70])  # less than half the users, and more
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_the_cpu_s(device, kind, B, reg, optimizer, recorded):
    models, trainers = two_places(kind, device, reg=reg, optimizer=optimizer, recorded=recorded)
    goes_together(models, trainers, [B] * 8)
    if ON_CARD and recorded and optimizer == "adagrad":
        assert trainers[1].recorded.play is not None and not trainers[1].recorded.failed


@pytest.mark.parametrize("B", [5, 70])
@pytest.mark.parametrize("kind", KINDS)
def test_penalties_apart_are_the_cpu_s(device, kind, B):
    goes_together(*two_places(kind, device, reg=(0.1, 0.4, 0.03), reg_form="apart"), [B] * 8)


@pytest.mark.parametrize("kind", KINDS)
def test_autograd_on_the_card_is_the_cpu_s_closed_form(device, kind):
    goes_together(*two_places(kind, device, trainer=AutogradTrainer, reg=0.02), [20] * 4)


@pytest.mark.parametrize("adv_weight", [0.0, 0.7])
def test_an_epsilon_for_every_item(device, adv_weight):
    goes_together(*two_places(amrlib.AMR, device, per_item=True, adv_weight=adv_weight, reg=0.02), [20] * 8)


def test_random_directions_with_the_same_noise(device, monkeypatch):
    noise = torch.randn(N, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def given(model, items, generator):
        return (noise / noise.norm(dim=1, keepdim=True) * 0.3).to(model.P.device)[items]

    monkeypatch.setattr(closed_form, "random_directions", given)
    goes_together(*two_places(amrlib.AMR, device, perturbation="random", reg=0.02), [20] * 8)


def test_random_directions_have_their_length_and_no_favourite(device):
    model = model_of(amrlib.AMR, shop(), per_item=True, perturbation="random").to(device)
    generator = torch.Generator(device).manual_seed(0)
    items = torch.arange(N, device=device)
    drawn = torch.stack([closed_form.random_directions(model, items, generator) for _ in range(400)]).cpu()  # (400, N, D)
    assert torch.allclose(drawn.norm(dim=2), model.epsilon.cpu().expand(400, N))
    unit = drawn[:, 1:] / drawn[:, 1:].norm(dim=2, keepdim=True)
    spread = (1 / 12) ** 0.5 / (400 * (N - 1)) ** 0.5  # of the mean of an entry
    assert (unit.mean((0, 1)).abs() < 5 * spread).all()


def test_random_directions_cost_on_average_what_they_cost_on_the_cpu(device):
    losses = []
    for place in ("cpu", device):
        model = model_of(amrlib.AMR, shop(), perturbation="random").to(place)
        trainer = PairwiseTrainer(model, lr=0.0)
        (batch,) = triples(1, 70)
        losses.append(np.array([float(trainer.step(*(x.to(place) for x in batch)).adversarial) for _ in range(200)]))
    a, b = losses
    assert abs(a.mean() - b.mean()) < 5 * np.sqrt(a.var() / 200 + b.var() / 200) and a.var() > 0


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_features_in_fewer_bits(device, stored):
    models, _ = two_places(amrlib.AMR, device)
    for model, place in zip(models, ("cpu", device)):
        model.to(place, features=stored)
    goes_together(models, [PairwiseTrainer(m, lr=0.05, reg=0.01) for m in models], [20] * 8)


@pytest.mark.parametrize("trainer", [PairwiseTrainer, AutogradTrainer])
@pytest.mark.parametrize("name", STEPS)
def test_every_step_of_the_authors_graph(device, name, trainer):
    record = record_of(name)
    takes_the_recorded_steps(start_from(record).to(device), trainer, record)


def test_every_iteration_of_the_authors_eals(device):
    takes_the_recorded_iterations(record_of("official_eals"), device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_played_back_it_is_the_same_to_the_last_bit(device, kind, dtype):
    data = shop()
    models = [model_of(kind, data, dtype=dtype).to(device) for _ in range(2)]
    trainers = [PairwiseTrainer(m, reg=0.01, cuda_graph=on) for m, on in zip(models, (True, False))]
    kept = []
    for seed, B in enumerate([16] * 6 + [7, 16, 200, 16, 7]):  # the memory of steps is made anew for the largest
        (batch,) = triples(1, B, seed)
        mine, theirs = (t.step(*there(batch)) for t in trainers)
        kept.append((mine, torch.stack(theirs).tolist()))
        assert equal(*models), f"step {seed}"
    assert all(torch.stack(mine).tolist() == theirs for mine, theirs in kept)
    if ON_CARD:
        assert trainers[0].recorded.ids.shape == (3, 16) and not trainers[0].recorded.failed


def test_a_rate_that_changes_is_heeded(device):
    models, trainers = two_places(amrlib.AMR, device, reg=0.01)
    goes_together(models, trainers, [16] * 6)
    for trainer in trainers:
        trainer.optimizer.lr["P"], trainer.reg = 0.01, (0.3, 0.0, 0.0)
    goes_together(models, trainers, [16] * 6)


def test_what_was_played_back_is_seen_by_what_is_kept(device):
    (_, model), (_, trainer) = two_places(amrlib.AMR, device)
    for seed in range(8):
        (batch,) = triples(1, 16, seed)
        before = model.item_vectors().clone()
        trainer.step(*there(batch))
        assert not torch.equal(model.item_vectors(), before)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("settings", [
    {}, {"reg": 0.1}, {"optimizer": "adam"}, {"per_item": True}, {"perturbation": "random"},
])  # fmt: skip
def test_no_step_waits(device, settings, recorded):
    for kind in [amrlib.AMR] if set(settings) & {"per_item", "perturbation"} else KINDS:
        _, (_, trainer) = two_places(kind, device, recorded=recorded, **settings)
        batches = [there(batch) for batch in triples(8, 70)]
        for batch in batches[:5]:  # kernels are loaded, and the step recorded
            trainer.step(*batch)
        trainer.checks_ids = False
        with nothing_waits():
            sums = torch.zeros(3, dtype=torch.float64, device=device)
            for batch in batches[5:]:
                sums += torch.stack(trainer.step(*batch))
        assert bool(sums.isfinite().all())


def test_a_wait_is_told(device):
    if ON_CARD:
        with nothing_waits(), pytest.raises(RuntimeError, match="synchroniz"):
            torch.ones(3, device=device).sum().item()


@pytest.mark.parametrize("which, wrong", [(0, M), (1, N), (2, N), (0, -1), (2, -1)])
def test_ids_out_of_range_are_told_before_the_card_is_lost(device, which, wrong):
    _, (_, trainer) = two_places(amrlib.AMR, device)
    (batch,) = triples(1, 16)
    bad = [ids.clone() for ids in there(batch)]
    bad[which][3] = wrong
    with pytest.raises(ValueError, match=f"id {wrong} is outside"):
        trainer.step(*bad)
    assert bool(torch.stack(trainer.step(*there(batch))).isfinite().all())  # an assert on the card would have ended it
