"""The step that a CUDA graph plays back, with a stand-in for the graph that runs on the CPU: all but the card itself."""

import gc
import weakref

import numpy as np
import pytest
import torch

import amrlib
from amrlib.training import PairwiseTrainer
from amrlib.training.compiled import recorded as graph

B = 8


def shop(M=6, N=9, rows=30):
    rng = np.random.default_rng(0)
    train = np.stack([rng.integers(M, size=rows), rng.integers(N, size=rows)], 1)
    return amrlib.Dataset(train, np.full(M, -1), features=rng.normal(size=(N, 5)), n_users=M, n_items=N)


def batch(seed, size=B):
    rng = np.random.default_rng(seed)
    return tuple(torch.as_tensor(rng.integers(high, size=size)) for high in (6, 9, 9))


def pair(kind=amrlib.AMR, **settings):
    """Two equal models; a trainer that records, and one that does not."""
    models = [kind(dim=4, dtype=torch.float64, init_std=0.5).bind(shop()) for _ in range(2)]
    settings = {"lr": 0.1, "reg": 0.01, **settings}
    return models, [PairwiseTrainer(model, cuda_graph=on, **settings) for model, on in zip(models, (True, False))]


def same(models):
    return all(torch.equal(a, b) for a, b in zip(*(m.parameters().values() for m in models), strict=True))


@pytest.fixture
def recordings(monkeypatch):
    """What was recorded. A recording does nothing when it is made, and the step each time it is played back."""
    made = []

    def record(step, device):
        losses = torch.full((3,), torch.nan, dtype=torch.float64)
        made.append(losses)
        return lambda: losses.copy_(step()), losses

    monkeypatch.setattr(graph, "record", record)
    fixed = PairwiseTrainer._fixed
    monkeypatch.setattr(PairwiseTrainer, "_fixed", lambda self: fixed(self) or self.optimizer.kind == "adagrad")
    return made


@pytest.mark.parametrize("kind", [amrlib.MFBPR, amrlib.DUIF, amrlib.VBPRTwoVector, amrlib.AMR])
def test_what_is_played_back_is_the_step(recordings, kind):
    models, trainers = pair(kind)
    held = []
    for seed, size in enumerate((B, B, B, B, 3, B, 5, 5, 5, 5, 20, B)):
        losses, expected = (trainer.step(*batch(seed, size)) for trainer in trainers)
        held.append((losses, [float(x) for x in expected]))
        assert same(models)
    assert len(recordings) == 1 and trainers[0].recorded.ids.shape == (3, B)  # the first size that came up often enough
    assert all([float(x) for x in losses] == numbers for losses, numbers in held)  # no step writes over another's losses


def test_memory_of_larger_steps_is_not_the_recording_s(recordings, monkeypatch):
    """A larger batch makes the memory anew that steps keep; a recording would go on in what was given back."""
    gathers = []

    class Gather(graph.FeatureGather):
        def __init__(self):
            super().__init__()
            gathers.append(self)

    monkeypatch.setattr(graph, "FeatureGather", Gather)
    _, (trainer, _) = pair()
    addresses = []
    for seed, size in enumerate((B, B, B, B, 50, B)):
        trainer.step(*batch(seed, size))
        addresses.append([{t.data_ptr() for t in gather._memory.values()} for gather in gathers])
    eager, recorded = addresses[-1]
    assert eager and recorded and eager.isdisjoint(recorded)
    assert addresses[3][1] == recorded and addresses[3][0] != eager


@pytest.mark.parametrize("change", [
    lambda model, trainer: setattr(model, "epsilon", 0.7),
    lambda model, trainer: setattr(model, "adv_weight", 0.5),
    lambda model, trainer: setattr(trainer, "reg", (0.2, 0.1, 0.0)),
    lambda model, trainer: trainer.optimizer.lr.update(P=0.01),
    lambda model, trainer: setattr(model, "features", model.features * 2),
])  # fmt: skip
def test_what_a_recording_has_built_in_makes_a_new_one_when_it_changes(recordings, change):
    models, trainers = pair()
    for seed in range(12):
        if seed == 6:
            for model, trainer in zip(models, trainers):
                change(model, trainer)
        for trainer in trainers:
            trainer.step(*batch(seed))
        assert same(models)
    assert len(recordings) == 2


def test_nothing_keeps_a_trainer_that_nobody_needs(recordings):
    """A cycle would keep its tables on the card until Python looks for cycles."""
    _, (trainer, _) = pair()
    trainer.step(*batch(0))  # the recording of these tests does hold the step, that of a card does not
    gone = weakref.ref(trainer)
    gc.disable()
    try:
        del trainer, _
        assert gone() is None
    finally:
        gc.enable()


def test_a_rate_that_changes_in_every_step_is_never_recorded(recordings):
    _, (trainer, _) = pair()
    for seed in range(12):
        trainer.optimizer.lr["P"] = 0.1 / (seed + 1)
        trainer.step(*batch(seed))
    assert not recordings


def test_item_vectors_are_not_taken_for_those_of_before(recordings, monkeypatch):
    """What a recording writes torch does not see, so the vectors kept from before would still be thought right."""
    (model, _), (trainer, _) = pair()
    for seed in range(5):
        trainer.step(*batch(seed))
    play = trainer.recorded.play

    def unseen():
        with torch.autograd._unsafe_preserve_version_counter(tuple(model.parameters().values())):
            play()

    trainer.recorded.play = unseen
    before = model.item_vectors().clone()
    trainer.step(*batch(7))
    assert not torch.equal(model.item_vectors(), before)
    assert torch.equal(model.item_vectors(), model.Q + model.features @ model.E)


def test_adam_random_directions_and_features_of_the_host_are_never_recorded(monkeypatch):
    """None would be with a card: Adam's step count is the host's, a draw differs each time, and so do the rows brought over."""
    (model, _), (trainer, _) = pair()
    monkeypatch.setattr(type(model.P), "is_cuda", True)
    assert trainer._fixed()
    assert not PairwiseTrainer(model, optimizer="adam")._fixed()
    trainer.on_host = True
    assert not trainer._fixed()
    trainer.on_host, model.perturbation = False, "random"
    assert not trainer._fixed()
    assert amrlib.training.AutogradTrainer(model).recorded is None


def test_a_recording_that_fails_is_said_once_and_training_goes_on(monkeypatch, recordings):
    def record(step, device):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(graph, "record", record)
    models, trainers = pair()
    with pytest.warns(UserWarning, match="goes on without a CUDA graph.*not permitted when stream is capturing") as said:
        for seed in range(9):
            for trainer in trainers:
                trainer.step(*batch(seed))
            assert same(models)
    assert len(said) == 1


def test_fit_records_full_batches_and_no_others(recordings):
    history = []
    for on in (True, False):
        class Trainer(PairwiseTrainer):
            can_be_recorded = on
        model = amrlib.AMR(dim=4, epsilon=0.3).bind(shop())
        model.fit(shop(), epochs=4, batch_size=8, device="cpu", progress=False, trainer=Trainer)
        history.append((model, model.history))
    assert len(recordings) == 1
    assert same([model for model, _ in history]) and history[0][1].equals(history[1][1])
