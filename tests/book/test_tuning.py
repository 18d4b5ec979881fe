"""A tuner for one's own shop: on validation users only, in so many minutes, and going on where it stopped."""

import importlib.util
import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import amrlib
from amrbook import tuning
from amrbook.trials import LIMIT

matplotlib.use("Agg")
GRIDS = {
    "MF-BPR": [{"lr": lr, "reg": [reg, reg, 0.0]} for lr in (0.05, 0.2) for reg in (0.0, 0.1)],
    "MF-eALS": [{"c0": 8.0, "alpha": a, "reg": 0.1} for a in (0.0, 0.4)],
    "DUIF": [{"lr": 0.1, "reg": [0.0, 0.0, 0.0]}],
    "VBPR": [{"start": s, "lr": 0.1, "reg": [0.1, 0.1, 0.0]} for s in ("MF-BPR", "afresh")],
    "AMR": [{"epsilon": e, "adv_weight": 1.0} for e in (0.1, 0.3)],
}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setitem(LIMIT, "epochs", 6)
    monkeypatch.setitem(LIMIT, "every", 3)


@pytest.fixture
def shop():
    rng = np.random.default_rng(0)
    pairs = np.array([(u, i) for u in range(40) for i in rng.choice(30, 6, replace=False)])
    train, test = amrlib.leave_one_out(pairs)
    return amrlib.Dataset(train, test, rng.random((30, 5), dtype=np.float32), n_items=30, name="toy")


def tune(shop, file, **settings):
    return tuning.tune(shop, file=file, progress=False, **{"grids": GRIDS, "minutes": None, **settings})


def test_every_trial_is_kept_and_the_best_is_chosen(shop, tmp_path):
    record = tune(shop, tmp_path / "t.json")
    assert {m: len(t) for m, t in record["trials"].items()} == {m: len(g) for m, g in GRIDS.items()}
    assert record["left"] == dict.fromkeys(GRIDS, 0) and json.loads((tmp_path / "t.json").read_text()) == record
    for model, trials in record["trials"].items():
        by = "attacked ndcg@10" if model == "AMR" else "ndcg@10"
        assert record["chosen"][model][by] == max(t[by] for t in trials)
        assert [{k: t[k] for k in s} for t, s in zip(trials, GRIDS[model])] == GRIDS[model]  # in the order of the grid
    one = record["trials"]["MF-BPR"][1]  # a trial by hand
    by_hand = []
    for split in (0, 1):
        how = LIMIT | dict(lr=one["lr"], reg=one["reg"], seed=split)
        by_hand.append(amrlib.MFBPR(seed=split).fit(shop, **how).history["ndcg@10"].max())
    assert one["ndcg@10"] == round(float(np.mean(by_hand)), 5)


def test_what_is_held_out_has_no_say(shop, tmp_path, monkeypatch):
    real, given = tuning.run_trial, []
    monkeypatch.setattr(tuning, "run_trial", lambda model, data, *rest: given.append(data) or real(model, data, *rest))
    other = shop.replace(test=np.where(shop.test >= 0, (shop.test + 7) % 30, -1), candidates=None)
    assert tune(shop, tmp_path / "a.json") == tune(other, tmp_path / "b.json")
    assert given and all((data.test == -1).all() and data.candidates is None for data in given)


def test_a_budget_ends_it_and_the_next_call_goes_on(shop, tmp_path, monkeypatch):
    clock, looked = [0.0], []
    monkeypatch.setattr(tuning.time, "monotonic", lambda: clock[0])
    real = tuning.run_trial

    def slow(model, *given):
        clock[0] += 60
        looked.append(model)
        return real(model, *given)

    monkeypatch.setattr(tuning, "run_trial", slow)
    first = tune(shop, tmp_path / "t.json", minutes=7)
    assert all(first["trials"][model] for model in GRIDS) and 5 <= len(looked) <= 7  # one each, however little time there is
    assert sum(first["left"].values()) == 11 - len(looked)
    whole = tune(shop, tmp_path / "whole.json")
    for _ in range(6):
        record = tune(shop, tmp_path / "t.json", minutes=2)
    assert not any(record["left"].values()) and record["chosen"] == whole["chosen"] and record["trials"] == whole["trials"]
    looked.clear()
    tune(shop, tmp_path / "t.json", minutes=2)
    assert looked == []


def test_an_interrupted_call_loses_one_trial(shop, tmp_path, monkeypatch):
    real, looked = tuning.run_trial, []

    def breaks(*given):
        looked.append(1)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(tuning, "run_trial", breaks)
    with pytest.raises(KeyboardInterrupt):
        tune(shop, tmp_path / "t.json")
    tune(shop, tmp_path / "t.json")
    assert len(looked) == 1 + sum(map(len, GRIDS.values()))


def test_trials_that_began_from_another_choice_are_tried_anew(shop, tmp_path):
    few = GRIDS | {"MF-BPR": GRIDS["MF-BPR"][:1]}
    tune(shop, tmp_path / "t.json", grids=few)
    again = tune(shop, tmp_path / "t.json")
    assert again["chosen"] == tune(shop, tmp_path / "whole.json")["chosen"]


def test_models_by_name_and_by_what_the_shop_has(shop, tmp_path):
    bare = shop.replace(features=None)
    assert set(tune(bare, tmp_path / "a.json")["chosen"]) == {"MF-BPR", "MF-eALS"}
    assert set(tune(shop, tmp_path / "b.json", models=["VBPR"])["chosen"]) == {"MF-BPR", "VBPR"}
    for settings, words in (
        (dict(models=["SVD"]), "models must be among MF-BPR"),
        (dict(minutes=-1), "minutes must be"),
    ):
        with pytest.raises(ValueError, match=words):
            tune(shop, tmp_path / "c.json", **settings)
    with pytest.raises(ValueError, match="VBPR needs item features"):
        tune(bare, tmp_path / "c.json", models=["VBPR"])
    with pytest.raises(ValueError, match="nothing to validate on"):
        tune(amrlib.Dataset([[0, 0]], [-1]), tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


def test_a_file_of_another_shop_is_refused(shop, tmp_path):
    tune(shop, tmp_path / "t.json", models=["MF-eALS"])
    for other, words in ((shop.replace(features=1 - shop.features), "other "
                                                                    "features"), (shop.validation_split(3), "other train")):
        with pytest.raises(ValueError, match=words):
            tune(other, tmp_path / "t.json")
    with pytest.raises(ValueError, match="other splits"):
        tune(shop, tmp_path / "t.json", splits=(3,))
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(ValueError, match="no file of trials"):
        tune(shop, tmp_path / "t.json")


def test_what_was_chosen_can_be_trained_and_drawn(shop, tmp_path):
    record = tune(shop, tmp_path / "t.json")
    for name, kind in tuning.MODELS.items():
        model = tuning.fit_chosen(shop, record, name, progress=False)
        assert type(model) is kind and len(amrlib.evaluate(model, shop, progress=False).ranks) == 40
    with pytest.raises(ValueError, match="no settings are chosen for 'SVD'"):
        tuning.fit_chosen(shop, record, "SVD")
    ax = tuning.draw(record)
    assert [t.get_text().split("\n")[0] for t in ax.get_xticklabels()] == list(GRIDS)
    assert sum(len(line.get_xdata()) for line in ax.lines) == sum(map(len, GRIDS.values())) + len(GRIDS)


def test_the_usual_grid_fits_the_usual_settings(shop):
    counts = {model: len(tuning.grid_of(model, shop)) for model in tuning.MODELS}
    assert counts == {"MF-BPR": 15, "MF-eALS": 24, "DUIF": 15, "VBPR": 30, "AMR": 8}
    stored = json.loads((Path(__file__).parents[2] / "book" / "settings.json").read_text())["trials"]
    for model in ("MF-BPR", "MF-eALS", "DUIF", "VBPR"):  # what the book stands on was chosen from this grid
        grid = tuning.grid_of(model, shop)
        assert all(tuning._is(trial, setting) for trial, setting in zip(stored[model], grid, strict=True))


def test_the_books_own_command(shop, tmp_path, monkeypatch, capsys):
    path = Path(__file__).parents[2] / "tools" / "tune.py"
    spec = importlib.util.spec_from_file_location("tune", path)
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    monkeypatch.setattr(command, "OUT", tmp_path / "settings.json")
    monkeypatch.setattr(command.amrlib, "load_dataset", lambda name: shop)
    monkeypatch.setattr(command.torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(tuning, "grid_of", lambda model, shop: GRIDS[model])
    command.main([])
    whole = json.loads((tmp_path / "settings.json").read_text())
    assert list(whole) == ["dataset", "chosen_on", "splits", "mean_feature_norm", "chosen", "trials"]
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]
    command.main(["--again", "DUIF"])
    assert json.loads((tmp_path / "settings.json").read_text()) == whole
    command.main(["--minutes", "0"])
    assert "trials are left; call it again to go on" in capsys.readouterr().out
    assert json.loads((tmp_path / "settings.json").read_text()) == whole and (tmp_path / "settings.trials.json").exists()
