"""What every model promises alike: one fit contract, its settings by name, numbers of any whole kind, starts of its own."""

import ast
import importlib.util
import warnings

import numpy as np
import pytest
import torch

import amrlib
from amrlib.recommender import FIT_WORDS
from amrlib.training import EarlyStopping

KINDS = [amrlib.Popularity, amrlib.MFBPR, amrlib.MFeALS, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR]
TRIPLES = [k for k in KINDS if k not in (amrlib.Popularity, amrlib.MFeALS)]
VALUES = dict(epochs=1, batch_size=4, lr=0.1, reg=0.1, seed=1, optimizer="adam", negatives="uniform", validation=False,
              patience=None, every=2, checkpoint=None, device="cpu", trainer="auto", callbacks=(), progress=False,
              features="same", reset=True, reg_form="apart")  # fmt: skip


def shop(M=12, N=16, D=5, seed=0, **more):
    rng = np.random.default_rng(seed)
    train, test = amrlib.leave_one_out(np.array([(u, i) for u in range(M) for i in rng.choice(N - 2, 5, replace=False)]))
    return amrlib.Dataset(train, test, rng.normal(size=(N, D)).astype(np.float32), n_items=N, **more)


def make(kind, **settings):
    return kind() if kind is amrlib.Popularity else kind(dim=3, **settings)


def fit(model, data, **settings):
    return model.fit(data, **({} if isinstance(model, amrlib.Popularity) else {"epochs": 4, "progress": False}) | settings)


# ---------------------------------------------------------------- the words of fit


@pytest.mark.parametrize("word", [*FIT_WORDS, "n_epochs"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_word_means_something_or_is_refused_by_name(kind, word):
    data, model = shop(), make(kind)
    if word in kind.fit_words:
        assert fit(model, data, **{word: VALUES[word]}) is model
        return
    reason = "means nothing to"
    with pytest.raises(ValueError, match=rf"^{word} {reason} {kind.__name__}; its fit takes .*device"):
        fit(model, data, **{word: VALUES.get(word, 1)})
    assert model.dataset is None  # and nothing has happened
    assert set(VALUES) == set(FIT_WORDS)


class Watching:
    """Notes every epoch; ends the training by a word."""

    def __init__(self, word_at=None):
        self.rows, self.word_at, self.models = [], word_at, []

    def on_epoch_end(self, model, row):
        self.rows.append(dict(row))
        self.models.append(model)
        row["norm"] = float(model.user_vectors().norm())
        return "seen enough" if row["epoch"] == self.word_at else None


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_are_called_after_every_epoch(kind):
    watching, second = Watching(), Watching()
    model = fit(make(kind), shop(), callbacks=[watching, second])
    epochs = [1] if kind is amrlib.Popularity else [1, 2, 3, 4]
    assert [row["epoch"] for row in watching.rows] == epochs == [row["epoch"] for row in second.rows]
    assert all(m is model for m in watching.models) and all("norm" in row for row in second.rows)
    assert model.history["norm"].iloc[-1] == float(model.user_vectors().norm())  # what it adds is in the history
    assert model.history.attrs["stopped"] == "done"


@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_s_word_ends_the_training(kind):
    at = 1 if kind is amrlib.Popularity else 2
    model = fit(make(kind), shop(), callbacks=[Watching(at), Watching()])
    assert model.history.attrs["stopped"] == "seen enough" and model.history["epoch"].iloc[-1] == at
    if kind is not amrlib.Popularity:
        shorter = fit(make(kind), shop(), epochs=at)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters().values(), shorter.parameters().values(), strict=True))


@pytest.mark.parametrize("kind", TRIPLES)
def test_early_stopping_is_a_callback_like_any_other(kind):
    """What ``validation=True`` does can be done from outside, on the split, with the same numbers."""
    data = shop(M=40, N=30)
    inside = fit(make(kind), data, epochs=60, validation=True, patience=2, every=2, seed=3)
    split = data.validation_split(3)
    stopping = EarlyStopping(split, every=2, patience=2, last=60)
    outside = fit(make(kind), split, epochs=60, callbacks=[stopping], seed=3)
    stopping.restore(outside)
    assert inside.history.equals(outside.history) and inside.history.attrs["stopped"] == "patience"
    for name, theta in inside.parameters().items():
        assert torch.equal(theta, outside.parameters()[name]), name
    assert stopping.best_score == inside.history["ndcg@10"].max()


def test_as_good_is_no_better():
    model = fit(make(amrlib.VBPR), shop(M=40, N=30), epochs=9, lr=0.0, validation=True, patience=2, every=1)
    assert len(model.history) == 3 and model.history.attrs["stopped"] == "patience"


@pytest.mark.parametrize("kind", [amrlib.MFeALS])
def test_early_stopping_serves_a_model_that_learns_otherwise(kind):
    split = shop(M=40, N=30).validation_split(0)
    stopping = EarlyStopping(split, every=1, patience=1)
    model = fit(make(kind), split, epochs=50, callbacks=[stopping])
    assert model.history.attrs["stopped"] == "patience" and len(model.history) < 51
    model.P.requires_grad_()  # as an attack may want it
    stopping.restore(model)
    model.P.requires_grad_(False)
    report = amrlib.evaluate(model, split, progress=False)
    assert report.ndcg(10) == stopping.best_score
    again = fit(make(kind), split, epochs=50, callbacks=[stopping])  # of one training it knows nothing in the next
    assert again.history.equals(model.history)


# ---------------------------------------------------------------- settings by name


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_can_be_made_again_from_its_settings(kind):
    special = {amrlib.AMR: dict(epsilon=0.3, adv_weight=2.0, perturbation="random"), amrlib.MFeALS: dict(c0=7, alpha=0.1, w=2)}
    settings = {} if kind is amrlib.Popularity else dict(dim=3, seed=4, init_std=0.2, dtype=torch.float64)
    data, model = shop(), kind(**settings, **special.get(kind, {}))
    assert model.get_params().items() >= settings.items()
    again = type(model)(**model.get_params())
    assert again.get_params() == model.get_params() and repr(again) == repr(model)
    one, other = (fit(m, data).recommend(np.arange(12), 5) for m in (model, again))
    assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    assert again.get_params() == model.get_params()  # fit leaves them as they are
    call = ast.parse(repr(kind(**settings)), mode="eval").body  # what it shows is the call that makes it
    value = lambda node: ast.unparse(node) if isinstance(node, ast.Attribute) else ast.literal_eval(node)  # noqa: E731
    shown = {word.arg: value(word.value) for word in call.keywords}
    assert call.func.id == kind.__name__ and not call.args
    assert shown == kind(**settings).get_params() | ({"dtype": "torch.float64"} if "dtype" in settings else {})


def test_repr_says_how_a_model_was_made_and_fitted():
    assert repr(amrlib.MFBPR(dim=3, seed=2)) == "MFBPR(dim=3, seed=2, init_std=0.01, dtype=torch.float32)"
    fitted = fit(amrlib.VBPR(dim=3), shop(), lr=(0.1, 0.2, 0.3), callbacks=[Watching()])
    assert repr(fitted) == "VBPR(dim=3, seed=0, init_std=0.01, dtype=torch.float32, epochs=4, lr=<3 numbers>)"
    each = amrlib.AMR(epsilon=np.full(16, 0.25), dim=3)
    assert "epsilon=<16 numbers>" in repr(each)
    again = amrlib.AMR(**each.get_params())
    assert torch.equal(again.epsilon, each.epsilon)
    each.epsilon[0] = 9.0
    assert again.epsilon[0] == 0.25  # its own


def test_nothing_is_shared_between_models_that_should_not_be():
    """B8: the columns that are not learned were one list for all models."""
    for kind in TRIPLES:
        assert isinstance(kind(dim=3).constant_columns, tuple)
    two = amrlib.VBPRTwoVector(dim=3)
    assert amrlib.VBPRTwoVector(dim=5).constant_columns == (5, 11) and two.constant_columns == (3, 7)
    assert amrlib.MFBPR().constant_columns == ()


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", [np.int64, np.int32, np.uint8])
def test_whole_numbers_of_numpy(kind, whole, tmp_path):
    """B4: what is let in can be written as well."""
    data = shop()
    n = {} if kind is amrlib.Popularity else dict(dim=whole(3), seed=whole(2))
    plain = kind(**{k: int(v) for k, v in n.items()})
    words = dict(epochs=whole(4), batch_size=whole(8), seed=whole(5), every=whole(2), patience=whole(9), validation=True,
                 checkpoint=tmp_path / "run", progress=False)  # fmt: skip
    words = {k: v for k, v in words.items() if k in kind.fit_words}
    model = kind(**n).fit(data, **words)
    plain.fit(data, **{k: int(v) if isinstance(v, np.integer) else v for k, v in words.items() if k != "checkpoint"})
    model.save(tmp_path / "model")
    again = amrlib.load(tmp_path / "model", data)
    for m in (model, again):
        assert np.array_equal(m.recommend(whole(1), k=whole(4))[0], plain.recommend(1, k=4)[0])
    assert np.array_equal(model.similar_items(whole(1), whole(4))[0], plain.similar_items(1, 4)[0])
    if "checkpoint" in words:
        kind(**n).fit(data, **words | {"epochs": whole(6)})  # reads its file
    assert all(type(v) is int for k, v in model.get_params().items() if k in ("dim", "seed"))


def test_fractions_of_numpy(tmp_path):
    data = shop()
    number = np.float32(0.25)
    model = amrlib.AMR(epsilon=number, adv_weight=number, dim=3, init_std=number)
    model.fit(data, epochs=2, lr=number, reg=np.array([0.25, 0.25, 0.0]), checkpoint=tmp_path / "run", progress=False)
    model.save(tmp_path / "model")
    plain = amrlib.AMR(epsilon=0.25, adv_weight=0.25, dim=3, init_std=0.25)
    plain.fit(data, epochs=2, lr=0.25, reg=(0.25, 0.25, 0), checkpoint=tmp_path / "run", progress=False)  # the same run
    assert torch.equal(amrlib.load(tmp_path / "model", data).P, plain.P)
    eals = amrlib.MFeALS(dim=3, c0=np.int64(5), alpha=number, reg=number).fit(data, epochs=1, progress=False)
    eals.save(tmp_path / "eals")
    assert amrlib.load(tmp_path / "eals", data).get_params() == eals.get_params()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, "float32", None])
@pytest.mark.parametrize("kind", [k for k in KINDS if k is not amrlib.Popularity])
def test_parameters_in_low_precision_are_refused(kind, dtype):
    """B9: their ranks are wrong. Features may be stored so."""
    with pytest.raises(ValueError, match=r"dtype must be torch.float32 or torch.float64, not .*model\.to\(device, features="):
        kind(dim=3, dtype=dtype)


@pytest.mark.parametrize("kind", [k for k in TRIPLES if k.uses_features])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_low_precision_are_used_in_full(kind, dtype):
    data = shop()
    rounded = data.replace(features=data.feature_table.on("cpu").to(dtype).float().numpy())
    for trainer in ("closed_form", "autograd", "compiled"):
        model, plain = fit(make(kind).bind(data).to("cpu", features=dtype), data, trainer=trainer), make(kind).bind(rounded)
        fit(plain, rounded, trainer=trainer)
        assert model.features.dtype == dtype and model.item_vectors().dtype == torch.float32
        assert torch.equal(model.E, plain.E) and torch.equal(model.item_vectors(), plain.item_vectors())


def test_seeds_share_no_random_numbers():
    """B7: h of one seed was p of the next."""
    data = shop()
    drawn = {}
    for seed in range(6):
        model = amrlib.VBPRTwoVector(dim=3, seed=seed, dtype=torch.float64).bind(data)
        for name, part in (("p", model.p), ("h", model.h), ("q", model.Q[~model.cold, :-1]), ("E", model.E[:, :-1])):
            drawn[seed, name] = set(part.flatten().tolist())
    assert sum(map(len, drawn.values())) == len(set().union(*drawn.values()))


# ---------------------------------------------------------------- somebody who has everything


def test_a_user_with_everything_is_left_out_by_their_own_name():
    """B11: there is nothing they did not choose. The others learn as if they alone were there."""
    pairs = [(u, i) for u in range(6) for i in range(5) if u == 2 or (u + i) % 3]
    data = amrlib.Dataset(pairs, np.full(6, -1), np.eye(5), user_ids=["ann", "bob", "the boss", "dan", "eve", "fay"])
    for kind in TRIPLES:
        model = make(kind).bind(data)
        before = model.P.clone()
        message = r"1 users have touched every warm item \('the boss' first\).*left out of the training"
        with pytest.warns(UserWarning, match=message) as told:
            fit(model, data, lr=0.1, trainer="closed_form")
        assert told[0].filename == __file__  # where fit was called
        assert torch.equal(model.P[2], before[2]) and not any(torch.equal(model.P[u], before[u]) for u in (0, 1, 3, 4, 5))
        alone = fit(make(kind), data.replace(train=data.train[data.train[:, 0] != 2]), lr=0.1, trainer="closed_form")
        assert all(torch.equal(a, b) for a, b in zip(model.parameters().values(), alone.parameters().values(), strict=True))
        assert (model.recommend(2, k=3)[0] == -1).all()  # who has everything is recommended nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(amrlib.MFeALS(dim=3), data)  # which needs no negatives
        fit(amrlib.Popularity(), data)
    numbered = data.replace(user_ids=None)
    with pytest.warns(UserWarning, match=r"\(2 first\)"):
        fit(amrlib.MFBPR(dim=3), numbered)


@pytest.mark.parametrize("kind", TRIPLES)
def test_where_everybody_has_everything_there_is_nothing_to_learn(kind):
    data = amrlib.Dataset([(u, i) for u in range(3) for i in range(4)], np.full(3, -1), np.eye(6, 4), n_items=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an error is enough
        with pytest.raises(ValueError, match="every user of train has touched every warm item, so there is nothing"):
            fit(make(kind), data)


# ---------------------------------------------------------------- which trainer it took


@pytest.mark.parametrize("settings, took", [
    ({}, "compiled"), ({"optimizer": "adam"}, "closed_form"), ({"trainer": "closed_form"}, "closed_form"),
    ({"trainer": "autograd"}, "autograd"), ({"trainer": "compiled"}, "compiled"),
])  # fmt: skip
def test_the_history_says_which_trainer_it_was(settings, took):
    assert fit(make(amrlib.VBPR), shop(), **settings).history.attrs["trainer"] == took


def test_auto_takes_what_is_there(monkeypatch):
    data = shop()
    assert fit(make(amrlib.AMR, perturbation="random"), data).history.attrs["trainer"] == "closed_form"  # no loop for it
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "numba" else real(name, *rest))
    without = fit(make(amrlib.VBPR), data)
    assert without.history.attrs["trainer"] == "closed_form"
    closed = fit(make(amrlib.VBPR), data, trainer="closed_form")
    assert torch.equal(without.E, closed.E)


def test_a_trainer_of_one_s_own_is_named_too():
    class Halved(amrlib.training.PairwiseTrainer):
        pass

    assert fit(make(amrlib.MFBPR), shop(), trainer=Halved).history.attrs["trainer"] == "Halved"
