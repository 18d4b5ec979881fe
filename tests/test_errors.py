"""Wrong input: every public call says which argument is wrong, and what to do about it."""

import json

import numpy as np
import pytest
import torch

import amrlib
from amrlib import Dataset
from amrlib.device import resolve_device
from amrlib.training import NegativeSampler, PairwiseTrainer

TRAIN = np.array([[0, 0], [0, 1], [1, 1], [1, 2], [2, 3]])
NONE = np.full(3, -1)
C = np.eye(5, 4)
NAN = np.where(np.arange(5)[:, None] == 2, np.nan, C)


def data(**changes):
    return Dataset(**{"train": TRAIN, "test": [3, 0, 1], "features": C, **changes})


def mf():
    return amrlib.MFBPR(dim=2).bind(data())


def vbpr():
    return amrlib.VBPR(dim=2).bind(data())


def eals():
    return amrlib.MFeALS(dim=2).bind(data())


def fit(**settings):
    return lambda: mf().fit(data(), **{"epochs": 1, "progress": False, **settings})


def step(users, pos, neg):
    return lambda: PairwiseTrainer(mf()).step(*map(torch.tensor, (users, pos, neg)))


BLIND = dict(features=None, n_items=5)
TABLE = [
    # ---- data
    ("train not pairs", lambda: Dataset([1, 2, 3], NONE), ["train", "(n, 2)"]),
    ("train of fractions", lambda: Dataset([[0, 0.5]], [-1]), ["train", "whole numbers", "map"]),
    ("train with holes", lambda: Dataset([[0, 0], [np.nan, 1]], [-1]), ["train", "whole numbers", "row 1 is [nan, 1.0]"]),
    ("train of names", lambda: Dataset([["ann", "hat"]], [-1]), ["train", "whole numbers", "map"]),
    ("negative user", lambda: Dataset([[0, 0], [-1, 0]], [-1]), ["train", "row 1", "user -1"]),
    ("user out of range", lambda: data(n_users=2, test=[3, 0]), ["train", "row 4", "user 2", "n_users"]),
    ("item out of range", lambda: data(n_items=3, features=C[:3]), ["train", "item 3", "n_items"]),
    ("test out of range", lambda: data(test=[3, 0, 7], n_items=5), ["test", "item 7"]),
    ("test below -1", lambda: data(test=[3, 0, -2]), ["test", "item -2"]),
    ("test too short", lambda: data(test=[3], n_users=3), ["test", "1 entries for 3 users", "-1"]),
    ("test of fractions", lambda: data(test=[0.5, 1, 2]), ["test", "integer"]),
    ("nothing at all", lambda: Dataset([], []), ["train and test are empty"]),
    ("features NaN", lambda: data(features=NAN), ["features", "row 2", "finite"]),
    ("features infinite", lambda: data(features=np.full((5, 2), np.inf)), ["features", "row 0", "finite"]),
    ("features too few", lambda: data(features=C[:4], n_items=5), ["features", "(n_items, D)", "(4, 4)"]),
    ("features flat", lambda: data(features=np.ones(5)), ["features", "(n_items, D)"]),
    ("images too few", lambda: data(images=np.zeros((2, 8, 8), np.uint8)), ["images", "2 rows for 5"]),
    ("candidates of one user", lambda: data(candidates=[[1, 2]]), ["candidates", "(3, C)"]),
    ("candidates of fractions", lambda: data(candidates=[[0.5]] * 3), ["candidates", "whole numbers"]),
    ("candidates out of range", lambda: data(candidates=[[1, 2], [3, 9], [9, 9]]), ["candidates, row 1: item 9", "2 such"]),
    ("candidates below 0", lambda: data(candidates=[[1, 2], [3, 4], [0, -1]]), ["candidates, row 2: item -1"]),
    ("split of wrong ids", lambda: amrlib.leave_one_out([[5, 0], [5, 1]], n_users=3), ["pairs", "user 5", "n_users"]),
    ("split of negative ids", lambda: amrlib.leave_one_out([[-1, 0]]), ["pairs", "user -1"]),
    ("unknown data set", lambda: amrlib.load_dataset("boutiqe"), ["'boutiqe'", "known", "boutique"]),
    # ---- models
    ("no features to look at", lambda: amrlib.VBPR().bind(data(**BLIND)), ["VBPR", "features", "MFBPR"]),
    ("dim 0", lambda: amrlib.MFBPR(dim=0).bind(data()), ["dim", "at least 1"]),
    ("dim of a fraction", lambda: amrlib.MFBPR(dim=2.5).bind(data()), ["dim", "whole number"]),
    ("number type of 16 bits", lambda: amrlib.MFBPR(dtype=torch.bfloat16), ["dtype", "float32", "float64", "features"]),
    ("epsilon below 0", lambda: amrlib.AMR(epsilon=-1).bind(data()), ["epsilon", "at least 0", "-1"]),
    ("epsilon NaN", lambda: amrlib.AMR(epsilon=np.nan).bind(data()), ["epsilon", "finite"]),
    ("epsilon of too few", lambda: amrlib.AMR(epsilon=[0.1, 0.2]).bind(data()), ["epsilon", "(5,)", "(2,)"]),
    ("epsilon in words", lambda: amrlib.AMR(epsilon="big").bind(data()), ["epsilon", "finite", "'big'"]),
    ("adv_weight below 0", lambda: amrlib.AMR(adv_weight=-1).bind(data()), ["adv_weight", "at least 0"]),
    ("perturbation", lambda: amrlib.AMR(perturbation="sign").bind(data()), ["perturbation", "'gradient'", "'random'"]),
    ("eALS reg", lambda: amrlib.MFeALS(reg=-1).bind(data()), ["reg", "at least 0"]),
    ("eALS c0 in words", lambda: amrlib.MFeALS(c0="big"), ["c0", "finite number", "'big'"]),
    ("eALS of nothing", lambda: amrlib.MFeALS().bind(Dataset([], [0])), ["train has no rows"]),
    ("eALS epochs", lambda: eals().fit(data(), epochs=0), ["epochs", "at least 1"]),
    ("start from counts", lambda: amrlib.VBPR.warm_start(amrlib.Popularity().bind(data()), data()), ["Popularity", "MFBPR"]),
    ("start from other data", lambda: amrlib.VBPR.warm_start(mf(), data(test=[0] * 4)), ["P is (3, 2)", "(4, 2)"]),
    # ---- recommending
    ("user out of range", lambda: mf().recommend(3), ["users", "3", "0…2", "fold_in"]),
    ("user below 0", lambda: mf().recommend([-1]), ["users", "-1", "0…2"]),
    ("user by name", lambda: mf().recommend("ann"), ["users", "whole numbers", "recommend_for_ids"]),
    ("someone by no such id", lambda: mf().recommend_for_ids(["ann"]), ["no user has the id 'ann'", "like 0"]),
    ("something by no such id", lambda: data().item_number("hat"), ["no item has the id 'hat'", "like 0"]),
    ("items unknown", lambda: mf().recommend(0, 2, items=[1, 5]), ["items: item 5", "0…4"]),
    ("leave out unknown", lambda: mf().recommend(0, 2, exclude=[7]), ["exclude: item 7", "0…4"]),
    ("leave out how", lambda: mf().recommend(0, 2, exclude="all"), ["exclude", "'all'"]),
    ("similar to nothing", lambda: mf().similar_items(5), ["item", "whole number between 0 and 4", "5"]),
    ("similar to several", lambda: mf().similar_items([0, 1]), ["item", "a whole number", "[0, 1]"]),
    ("no data yet", lambda: amrlib.MFBPR().recommend(0), ["MFBPR", "no data yet", "fit(shop)"]),
    ("no data to save", lambda: amrlib.VBPR().save("x"), ["VBPR", "no data yet", "fit(shop)"]),
    ("no data to move", lambda: amrlib.VBPR().to("cpu"), ["VBPR", "no data yet", "fit(shop)"]),
    ("no data to start from", lambda: amrlib.VBPR.warm_start(amrlib.MFBPR(), data()), ["MFBPR", "no data yet"]),
    ("no data to step on", lambda: PairwiseTrainer(amrlib.MFBPR()), ["MFBPR", "bind(shop)"]),
    ("k over the catalogue", lambda: mf().recommend(0, k=6), ["k", "between 1 and 5", "6"]),
    ("k 0", lambda: mf().recommend(0, k=0), ["k", "between 1 and"]),
    ("k of a fraction", lambda: mf().recommend(0, k=2.5), ["k", "whole number"]),
    ("changed features NaN", lambda: vbpr().recommend(0, k=2, features=NAN), ["features", "NaN"]),
    ("changed features short", lambda: vbpr().recommend(0, k=2, features=C[:3]), ["features", "(5, 4)", "(3, 4)"]),
    ("changed features narrow", lambda: vbpr().item_vectors(C[:, :3]), ["features", "(5, 4)", "(5, 3)"]),
    ("new items narrow", lambda: vbpr().new_item_vectors(C[:, :3]), ["features", "(n, 4)", "(5, 3)"]),
    ("new items blind", lambda: mf().new_item_vectors(C), ["MFBPR", "features", "VBPR"]),
    ("fold in nothing", lambda: mf().fold_in([]), ["items", "empty", "Popularity"]),
    ("fold in unknown", lambda: mf().fold_in([1, 9]), ["items", "item 9", "0…4"]),
    ("fold in everything", lambda: mf().fold_in([0, 1, 2, 3]), ["items", "every warm item"]),
    ("fold in reg", lambda: mf().fold_in([1], reg=-1), ["reg", "at least 0"]),
    ("eALS fold in nothing", lambda: eals().fold_in([]), ["items", "empty"]),
    ("eALS fold in reg", lambda: eals().fold_in([1], reg=-1), ["reg", "at least 0"]),
    ("vector too long", lambda: mf().recommend_for(torch.zeros(3), k=2), ["user_vector", "(2,)", "(3,)"]),
    ("exclude unknown", lambda: mf().recommend_for(torch.zeros(2), 2, exclude=[7]), ["exclude", "item 7"]),
    ("online item", lambda: eals().update_online(0, 5), ["item", "between 0 and 4", "5"]),
    ("online user", lambda: eals().update_online(3, 0), ["user", "between 0 and 2", "3"]),
    ("online several", lambda: eals().update_online([0, 1], 0), ["user", "a whole number", "[0, 1]"]),
    ("online weight", lambda: eals().update_online(0, 0, w_new=0), ["w_new", "above 0"]),
    ("online iterations", lambda: eals().update_online(0, 0, iterations=0), ["iterations", "at least 1"]),
    # ---- training
    ("epochs 0", fit(epochs=0), ["epochs", "at least 1"]),
    ("epochs of a fraction", fit(epochs=1.5), ["epochs", "whole number"]),
    ("batch_size 0", fit(batch_size=0), ["batch_size", "at least 1"]),
    ("every 0", fit(every=0), ["every", "at least 1"]),
    ("two regs", fit(reg=(0.1, 0.1)), ["reg", "one number or three"]),
    ("reg below 0", fit(reg=-1.0), ["reg", "at least 0"]),
    ("reg in words", fit(reg="much"), ["reg", "'much'"]),
    ("lr NaN", fit(lr=float("nan")), ["lr", "finite"]),
    ("optimizer", fit(optimizer="sgd"), ["optimizer", "'adagrad'", "'adam'"]),
    ("negatives", fit(negatives="hard"), ["negatives", "'uniform'", "'popularity'"]),
    ("patience 0", fit(patience=0, validation=True), ["patience", "at least 1"]),
    ("patience alone", fit(patience=2), ["patience", "validation=True"]),
    ("nothing to validate on", lambda: amrlib.MFBPR().bind(data(train=[[0, 0], [1, 1]])).fit(
        data(train=[[0, 0], [1, 1]]), epochs=1, validation=True), ["validation", "two different", "validation=False"]),
    ("no training rows", lambda: amrlib.MFBPR().bind(Dataset([], [0])).fit(Dataset([], [0]), epochs=1), ["train has no rows"]),
    ("fit on no data", lambda: mf().fit(TRAIN), ["Dataset", "ndarray", "from_csv"]),
    ("features which", fit(features="new"), ["features", "'same'", "'other'", "'new'"]),
    ("trainer", fit(trainer="fast"), ["trainer", "closed_form", "compiled", "'fast'"]),
    ("checkpoint in a folder", fit(checkpoint="."), ["checkpoint", "folder", "name a file"]),
    ("no such device", lambda: mf().fit(data(), epochs=1, device="gpu"), ["device", "'gpu'", "auto"]),
    ("device a number", lambda: resolve_device(1.5), ["device", "auto"]),
    ("someone who has it all", lambda: NegativeSampler(data(train=[[0, 0], [0, 1], [1, 1]])), ["user 0", "drop"]),
    ("all have it all", lambda: amrlib.MFBPR().fit(Dataset([[0, 0], [0, 1]], [-1]), epochs=1), ["every user", "train"]),
    ("step, user", step([3], [0], [1]), ["users", "3", "0…2"]),
    ("step, user below 0", step([-1], [0], [1]), ["users", "-1"]),
    ("step, item", step([0], [0], [5]), ["neg", "5", "0…4"]),
    ("step, lengths", step([0, 1], [0], [1]), ["users, pos and neg", "2, 1 and 1"]),
    ("step, nothing", step([], [], []), ["not empty"]),
    ("accumulator", lambda: PairwiseTrainer(mf(), initial_accumulator=0.0), ["initial_accumulator", "above 0"]),
    # ---- attacks
    ("perturb the blind", lambda: amrlib.perturb(mf(), data(), 0.1), ["MFBPR", "features"]),
    ("perturb by less", lambda: amrlib.perturb(vbpr(), data(), -0.1), ["epsilon", "at least 0"]),
    ("perturb how", lambda: amrlib.perturb(vbpr(), data(), 0.1, kind="both"), ["kind", "'adversarial'", "'random'"]),
    ("perturb what", lambda: amrlib.perturb(vbpr(), data(), 0.1, triples="all"), ["triples", "'test'", "'train'"]),
    ("worst case", lambda: amrlib.worst_case_ranks(vbpr(), data(), np.nan), ["epsilon", "finite"]),
]  # fmt: skip


@pytest.mark.parametrize("call, words", [pytest.param(*row[1:], id=row[0].replace(" ", "-")) for row in TABLE])
def test_message(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    missing = [w for w in words if w not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    calls = (lambda: mf().fit(data(), epochs=1, device="cuda"), lambda: mf().to("cuda:1"),
             lambda: eals().fit(data(), device="cuda"))  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match=r"device 'cuda(:1)?' is not available here .*device='auto'"):
            call()


def test_parameters_gone_wrong():
    model = vbpr()
    model.P[0] = np.nan
    with pytest.raises(ValueError, match="not finite; look for NaN in the parameters or the features"):
        model.recommend(0, k=2)


# ---- files


def altered(path, **changes):
    """A saved model with something in its header or tensors changed."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["amrlib"]) | changes.pop("header", {})
    save_file({**tensors, **changes}, path, metadata={"amrlib": json.dumps(header)})


def test_models_that_cannot_be_loaded(tmp_path):
    path = tmp_path / "model"
    mf().save(path)
    wrong = [
        (amrlib.VBPR, data(), {}, "holds a MFBPR, not a VBPR; load it with amrlib.load"),
        (amrlib.MFBPR, data(test=[0] * 4), {}, "was fitted on data with other rows.* load it with the data it was fitted on"),
        (amrlib.MFBPR, data(), {"E": torch.zeros(4, 2)}, "the data set needs"),
        (amrlib.MFBPR, data(), {"history": torch.zeros(4)}, "the data set needs"),
        (amrlib.MFBPR, data(), {"header": {"settings": {"dim": 2, "depth": 3}}}, "another version of amrlib"),
        (amrlib.MFBPR, data(), {"header": {"settings": None}}, "not a model saved by amrlib"),
        (amrlib.MFBPR, data(), {"header": {"format": 1}}, r"another version of amrlib \(format 1, here 2\)"),
    ]
    for kind, shop, changes, words in wrong:
        mf().save(path)
        if changes:
            altered(path, **changes)
        with pytest.raises(ValueError, match=words):
            kind.load(path, shop)
    for content in (b"", b"not a model", path.read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a model saved by amrlib .*model\.save"):
            amrlib.MFBPR.load(path, data())
    with pytest.raises(FileNotFoundError):
        amrlib.MFBPR.load(tmp_path / "nothing", data())


def test_checkpoints_of_another_run(tmp_path):
    path = tmp_path / "run"
    settings = dict(epochs=2, progress=False, checkpoint=path)
    vbpr().fit(data(), **settings)
    wrong = [
        (mf(), data(), {}, "model is 'VBPR', here it is 'MFBPR'"),
        (amrlib.VBPR(dim=3).bind(data()), data(), {}, "dim is 2, here it is 3"),
        (vbpr(), data(), {"lr": 0.2}, "lr"),
        (vbpr(), data(), {"seed": 5}, "seed is 0, here it is 5"),
        (vbpr(), data(train=TRAIN[:4]), {}, "train"),  # as many rows or not: other rows
        (vbpr(), data(), {"epochs": 1}, "2 epochs old already"),
    ]
    for model, shop, changes, words in wrong:
        with pytest.raises(ValueError, match=rf"{words}.* or delete it to start again"):
            model.fit(shop, **{**settings, **changes})
    for content in (b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a checkpoint .* delete it to start again"):
            vbpr().fit(data(), **settings)
