"""A checkpoint belongs to one run: what it goes on with, bit for bit, and what it refuses."""

import json
import warnings

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import amrlib
from amrlib.training import PairwiseTrainer, callbacks

KINDS = [amrlib.MFBPR, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
RUN = dict(epochs=6, batch_size=16, lr=0.1, reg=0.01, every=2, progress=False)


def shop(M=15, N=20, D=6, seed=0):
    rng = np.random.default_rng(seed)
    train, test = amrlib.leave_one_out(np.array([(u, i) for u in range(M) for i in rng.choice(N - 2, 5, replace=False)]))
    return amrlib.Dataset(train, test, rng.normal(size=(N, D)).astype(np.float32), n_items=N)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters().values(), b.parameters().values(), strict=True))


class StopAt:
    """A callback that ends a run, by its word or by whatever it raises."""

    def __init__(self, epoch, error=None):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, model, row):
        if row["epoch"] == self.epoch:
            if self.error is not None:
                raise self.error
            return "enough"
        return None


def doctored(path, **changes):
    """The file with something in its header or among its tensors changed."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        meta = json.loads(file.metadata()["amrlib"])
    for name, value in changes.items():
        (tensors if isinstance(value, torch.Tensor) else meta)[name] = value
    save_file(tensors, path, metadata={"amrlib": json.dumps(meta)})


# ---------------------------------------------------------------- the same run


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("trainer", ["closed_form", "compiled", "autograd"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_run_goes_on(kind, trainer, validation, tmp_path):
    data, path = shop(), tmp_path / "run"
    settings = RUN | dict(trainer=trainer, validation=validation)
    whole = kind(dim=4).fit(data, **settings)
    kind(dim=4).fit(data, checkpoint=path, **settings | {"epochs": 4})
    resumed = kind(dim=4).fit(data, checkpoint=str(path), **settings)
    assert same(whole, resumed) and list(resumed.history["epoch"]) == [1, 2, 3, 4, 5, 6]
    columns = [c for c in whole.history if not validation or c in ("epoch", "bpr", "adversarial", "objective")]
    assert whole.history[columns].equals(resumed.history[columns])  # with validation the fourth epoch was ranked besides


@pytest.mark.parametrize("end", ["the last epoch", "a word", "Ctrl-C", "an error"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_very_model_that_was_stopped_goes_on(kind, end, tmp_path):
    """It does not stand where the run began any more, and knows so; as often as one likes."""
    data, path = shop(), tmp_path / "run"
    whole = kind(dim=4).fit(data, **RUN | {"epochs": 8})
    model = kind(dim=4)
    callbacks = {"a word": [StopAt(4)], "Ctrl-C": [StopAt(5, KeyboardInterrupt())], "an error": [StopAt(5, OSError("full"))]}
    first = RUN | {"epochs": 4 if end == "the last epoch" else 8, "checkpoint": path, "callbacks": callbacks.get(end, [])}
    if end == "an error":
        with pytest.raises(OSError, match="full"):
            model.fit(data, **first)
    else:
        model.fit(data, **first)
    with pytest.raises(ValueError, match="4 epochs old already"):
        model.fit(data, checkpoint=path, **RUN | {"epochs": 3})
    model.fit(data, checkpoint=path, **RUN)  # to epoch 6
    model.fit(data, checkpoint=path, **RUN | {"epochs": 8})
    assert same(whole, model) and len(model.history) == 8
    assert same(kind(dim=4).fit(data, checkpoint=path, **RUN | {"epochs": 8}), whole)  # and a fresh one as well


def test_a_model_trained_further_since_does_not_lose_that(tmp_path):
    data, path = shop(), tmp_path / "run"
    model = amrlib.VBPR(dim=4).fit(data, checkpoint=path, **RUN)
    model.fit(data, **RUN)  # without the file
    after = {n: t.clone() for n, t in model.parameters().items()}
    with pytest.raises(ValueError, match="it began with other parameters"):
        model.fit(data, checkpoint=path, **RUN | {"epochs": 9})
    assert all(torch.equal(t, after[n]) for n, t in model.parameters().items())
    path.unlink()
    model.fit(data, checkpoint=path, **RUN)  # a new run, which began where the model stood
    with pytest.raises(ValueError, match="it began with other parameters"):
        amrlib.VBPR(dim=4).fit(data, checkpoint=path, **RUN)


def test_a_run_is_another_one_in_another_file_and_where_its_file_is_gone(tmp_path):
    data, a, b = shop(), tmp_path / "a", tmp_path / "b"
    model = amrlib.VBPR(dim=4).fit(data, checkpoint=a, **RUN)
    twin = amrlib.VBPR(dim=4).fit(data, **RUN)
    twin.fit(data, checkpoint=b, **RUN)  # a run that begins where the first one ended
    model.fit(data, checkpoint=b, **RUN)  # so this is it
    assert same(model, twin)
    model.fit(data, checkpoint=tmp_path / "c", **RUN)
    (tmp_path / "c").unlink()
    model.fit(data, checkpoint=tmp_path / "c", **RUN)
    with pytest.raises(ValueError, match="it began with other parameters"):
        twin.fit(data, checkpoint=tmp_path / "c", **RUN)


class OwnNoise(PairwiseTrainer):
    """Draws its noise from a generator of its own, as the control of random noise does."""

    def __init__(self, model, *settings, generator, **words):
        own = torch.Generator().manual_seed(generator.initial_seed())
        super().__init__(model, *settings, generator=own, **words)


@pytest.mark.parametrize("trainer", ["closed_form", OwnNoise])
def test_noise_goes_on_where_it_was_and_so_do_order_and_negatives(trainer, tmp_path):
    data, path = shop(), tmp_path / "run"

    def fit(epochs, **words):
        model = amrlib.AMR(dim=4, epsilon=0.1, adv_weight=1.0, perturbation="random")
        return model.fit(data, **RUN | dict(epochs=epochs, trainer=trainer), **words)

    whole = fit(6)
    fit(4, checkpoint=path)
    assert same(whole, fit(6, checkpoint=path))
    if trainer is OwnNoise:
        with pytest.raises(ValueError, match="is of another run: its draws"):
            amrlib.AMR(dim=4, epsilon=0.1, adv_weight=1.0, perturbation="random").fit(
                data, **RUN | dict(trainer="closed_form"), checkpoint=path
            )


def test_a_warm_started_run_goes_on(tmp_path):
    data, path = shop(), tmp_path / "run"
    mf = amrlib.MFBPR(dim=4).fit(data, **RUN)
    start = lambda: amrlib.AMR.warm_start(mf, data, epsilon=0.3)  # noqa: E731
    whole = start().fit(data, **RUN)
    start().fit(data, checkpoint=path, **RUN | {"epochs": 2})
    assert same(whole, start().fit(data, checkpoint=path, **RUN))


# ---------------------------------------------------------------- other runs


def other_start(data):
    return amrlib.VBPR.warm_start(amrlib.MFBPR(dim=4).fit(data, **RUN), data)


@pytest.mark.parametrize("model, change, words", [
    (lambda d: amrlib.VBPR(dim=4, seed=1), {}, "it began with other parameters, as of another seed"),
    (other_start, {}, "it began with other parameters, as of another seed or warm start"),
    (lambda d: amrlib.VBPR(dim=4, dtype=torch.float64), {}, "its dtype is 'torch.float32', here it is 'torch.float64'"),
    (lambda d: amrlib.VBPR(dim=4, init_std=0.5), {}, "init_std"),
    (lambda d: amrlib.AMR(dim=4), {}, "its model is 'VBPR', here it is 'AMR'"),
    (lambda d: amrlib.VBPR(dim=4), {"user_ids": [f"u{n}" for n in range(15)]}, "its ids is"),
    (lambda d: amrlib.VBPR(dim=4), {"train": "reversed"}, "its train is"),
    (lambda d: amrlib.VBPR(dim=4), {"features": "scaled"}, "was begun with other features"),
])  # fmt: skip
def test_another_run_is_refused(model, change, words, tmp_path):
    data, path = shop(), tmp_path / "run"
    amrlib.VBPR(dim=4).fit(data, checkpoint=path, **RUN)
    written = path.read_bytes()
    words_of = {"reversed": lambda: data.train[::-1], "scaled": lambda: data.features * 5}
    there = data.replace(**{k: words_of[v]() if isinstance(v, str) else v for k, v in change.items()})
    new = model(there)
    new = new if new.P is not None else new.bind(there)
    before = {n: t.clone() for n, t in new.parameters().items()}
    with pytest.raises(ValueError, match=words) as error:
        new.fit(there, checkpoint=path, **RUN)
    assert "delete it to start again" in str(error.value) or 'features="other"' in str(error.value)
    assert all(torch.equal(t, before[n]) for n, t in new.parameters().items()) and path.read_bytes() == written


def test_the_form_of_the_penalty_is_the_run_s(tmp_path, monkeypatch):
    data, settings = shop(), RUN | {"reg": 0.1}
    for ours, theirs in (("combined", "apart"), ("apart", "combined")):
        path = tmp_path / ours
        amrlib.VBPR(dim=4).fit(data, checkpoint=path, reg_form=ours, **settings)
        with pytest.raises(ValueError, match=f"its reg_form is '{ours}', here it is '{theirs}'"):
            amrlib.VBPR(dim=4).fit(data, checkpoint=path, reg_form=theirs, **settings)
    read = callbacks.read_tensors

    def older(*args):
        header, tensors = read(*args)
        del header["identity"]["reg_form"]
        return header, tensors

    monkeypatch.setattr(callbacks, "read_tensors", older)  # a file of before there were two: it is of the one there was
    amrlib.VBPR(dim=4).fit(data, checkpoint=tmp_path / "combined", **settings)
    with pytest.raises(ValueError, match="its reg_form is 'combined', here it is 'apart'"):
        amrlib.VBPR(dim=4).fit(data, checkpoint=tmp_path / "apart", reg_form="apart", **settings)


def test_each_item_s_own_epsilon_is_told_apart_by_all_its_numbers(tmp_path):
    """A thousand and more are not told apart by how they print."""
    rng = np.random.default_rng(0)
    data = amrlib.Dataset(np.stack([np.arange(50) % 9, rng.integers(1500, size=50)], 1), np.full(9, -1),
                          rng.normal(size=(1500, 3)), n_items=1500)  # fmt: skip
    one, other = np.full(1500, 0.1), np.full(1500, 0.1)
    other[700] = 0.2
    amrlib.AMR(one, dim=2).fit(data, checkpoint=tmp_path / "run", **RUN)
    with pytest.raises(ValueError, match="its epsilon is"):
        amrlib.AMR(other, dim=2).fit(data, checkpoint=tmp_path / "run", **RUN)
    amrlib.AMR(one, dim=2).fit(data, checkpoint=tmp_path / "run", **RUN)


def test_other_features_where_that_is_what_is_wanted(tmp_path):
    data, path = shop(), tmp_path / "run"
    first = amrlib.VBPR(dim=4).fit(data, checkpoint=path, **RUN)
    moved = data.replace(features=data.features + 0.1)
    with pytest.raises(ValueError, match=r"begun with other features \(.*go on with fit\(features=\"other\"\)"):
        amrlib.VBPR(dim=4).fit(moved, checkpoint=path, **RUN)
    on = amrlib.VBPR(dim=4).fit(moved, checkpoint=path, features="other", **RUN)
    assert same(first, on) and np.array_equal(on.features, moved.features)
    on = amrlib.VBPR(dim=4).fit(moved, checkpoint=path, features="other", **RUN | {"epochs": 8})
    assert not same(first, on) and len(on.history) == 8
    mf = tmp_path / "mf"
    amrlib.MFBPR(dim=4).fit(data, checkpoint=mf, **RUN)
    amrlib.MFBPR(dim=4).fit(moved, checkpoint=mf, **RUN)  # which does not use them
    with pytest.raises(ValueError, match="its train is"):  # "other" is about features alone
        amrlib.VBPR(dim=4).fit(moved.replace(train=data.train[::-1]), checkpoint=path, features="other", **RUN)


def test_a_run_begun_on_a_card_goes_on_without_one(tmp_path):
    """As its file would be: a CUDA generator's state has 16 bytes, a CPU's 5056."""
    data, path = shop(), tmp_path / "run"
    begun = amrlib.VBPR(dim=4).fit(data, checkpoint=path, **RUN | {"epochs": 4})
    doctored(path, generator=torch.zeros(16, dtype=torch.uint8), device="cuda")
    with pytest.warns(UserWarning, match="was begun on cuda and goes on on cpu: order and negatives are drawn anew") as told:
        model = amrlib.VBPR(dim=4).fit(data, checkpoint=path, device="cpu", **RUN)
    assert told[0].filename == __file__  # where fit was called
    assert len(model.history) == 6 and model.history["bpr"][:4].equals(begun.history["bpr"]) and not same(model, begun)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        amrlib.VBPR(dim=4).fit(data, checkpoint=path, **RUN | {"epochs": 7})  # from now on it is this machine's


def test_files_that_are_no_checkpoint(tmp_path):
    data = shop()
    fit = lambda path: amrlib.VBPR(dim=4).fit(data, checkpoint=path, **RUN)  # noqa: E731
    with pytest.raises(ValueError, match="is a folder, not a checkpoint; name a file in it"):
        fit(tmp_path)
    amrlib.VBPR(dim=4).bind(data).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"is not a checkpoint \(a saved model\)"):
        fit(tmp_path / "model")
    fit(tmp_path / "run")
    doctored(tmp_path / "run", format=1)
    with pytest.raises(ValueError, match=r"another version of amrlib .*; delete it to start again"):
        fit(tmp_path / "run")


# ---------------------------------------------------------------- what nobody asked for


def test_nothing_is_hashed_where_no_checkpoint_is_named(monkeypatch, tmp_path):
    data = shop()
    model = amrlib.AMR(np.full(20, 0.1), dim=4)

    def digest(*parts):
        raise AssertionError("work that nobody asked for")

    with monkeypatch.context() as watched:
        watched.setattr("amrlib.datasets.dataset.digest", digest)
        watched.setattr("amrlib.training.callbacks.digest", digest)
        model.fit(data, **RUN).fit(data, validation=True, **RUN)
        for kind in (amrlib.MFeALS, amrlib.Popularity):
            kind().fit(data).fit(data)
        with pytest.raises(AssertionError, match="nobody asked for"):
            amrlib.VBPR(dim=4).fit(data, checkpoint=tmp_path / "run", **RUN)
