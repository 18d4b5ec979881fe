"""The paper's chain as one command, on made files of the public sets' formats: no network, and nobody's data."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import amrlib
from amrbook import __main__, tuning
from amrbook.replicate import made, run, weights
from amrbook.replicate.measure import entry_of
from amrbook.replicate.recipes import RECIPES
from amrbook.replicate.record import read_record, write_record
from amrlib.datasets import authors_weights
from amrlib.datasets.catalogue import SETS
from amrlib.datasets.text_files import read_pairs
from amrlib.training import EarlyStopping

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "pinterest"
needs_authors_files = pytest.mark.skipif(not DATA.exists(), reason="the authors' files (../shared/data/pinterest) are absent")
QUICK = dict(seeds=1, is_quick=True, epochs=2, dim=4, device="cpu", progress=False)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A cache of its own, and no address to fetch anything from."""
    monkeypatch.setenv("AMRLIB_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "WEIGHTS", replace(weights.WEIGHTS, urls=()))


@pytest.fixture
def pinterest(tmp_path):
    with made.served("pinterest", tmp_path / "cache", made.SMALL["pinterest"]):
        yield


def results(path):
    """All figures of a record, without what differs from run to run."""
    record = read_record(path)
    for recipe in record["recipes"].values():
        for models in recipe["seeds"].values():
            for entry in models.values():
                del entry["seconds"]
    return record["recipes"]


# ---- the made files


@pytest.mark.parametrize("dataset", run.DATASETS)
def test_made_files_are_read_as_the_published_ones(dataset, tmp_path):
    size = made.SMALL[dataset]
    with made.served(dataset, tmp_path / "cache", size):
        shop = amrlib.load_dataset(dataset, progress=False)
    assert (shop.n_users, shop.n_items, len(shop.train) + len(shop.test_users)) == (size.users, size.items, size.interactions)
    assert shop.features.shape == (size.items, size.D) and np.isfinite(shop.features).all()
    assert not any("here," in note for note in shop.notes), shop.notes  # no count differs
    assert SETS[dataset].published_in != "the made files"


def test_made_pairs_are_what_they_say():
    for size in (*made.SMALL.values(), made.PUBLISHED["pinterest"]):
        found = made.pairs(size, seed=3)
        assert len(np.unique(found, axis=0)) == len(found) == size.interactions
        assert np.bincount(found[:, 0], minlength=size.users).min() >= size.least
        assert len(np.unique(found[:, 1])) == size.items
    with pytest.raises(ValueError, match="too few"):
        made.pairs(made.Size(5, 9, 8, 2))
    for name in ("pinterest", "amazon-clothing", "amazon-women"):
        there, here = SETS[name].published, made.PUBLISHED[name]
        assert (there["users"], there["items"], there["interactions"]) == (here.users, here.items, here.interactions)


# ---- the whole command


@pytest.mark.parametrize("dataset", run.DATASETS)
def test_from_files_to_a_record(dataset, tmp_path, capsys):
    names = list(RECIPES) if dataset == "pinterest" else ["authors"]
    with made.served(dataset, tmp_path / "cache", made.SMALL[dataset]):
        path = run.replicate(dataset, tmp_path / "run", names, **QUICK)
    told = capsys.readouterr().out
    assert "Estimated from these steps" in told and told.index("Estimated") < told.index("NDCG@10")
    record = read_record(path)
    assert list(record["recipes"]) == names and record["quick"] and set(record["dataset"]["files"])
    for name in names:
        models = record["recipes"][name]["seeds"]["0"]
        assert tuple(models) == RECIPES[name].models
        for model, entry in models.items():
            assert entry["users"]["all"] == made.SMALL[dataset].users and entry["seconds"] >= 0
            assert ("noise" in entry) == (model not in ("Popularity", "MF-BPR", "MF-eALS"))
            assert entry["sampled"]["all"]["NDCG@10"] <= entry["sampled"]["all"]["HR@10"]
            if "looks" in entry:
                assert entry["looks"]["NDCG@10"][-1] == entry["sampled"]["all"]["NDCG@10"]
    assert ("weights" in record) is False  # the released ones are of another shape


class Interrupts:
    """Ctrl-C after every few epochs: of stages, which :class:`Looks` watches, or of a search, ``EarlyStopping``."""

    def __init__(self, monkeypatch, every, kind=run.Looks):
        self.every, self.count = every, 0
        self.wrap(monkeypatch, kind)

    def wrap(self, monkeypatch, kind):
        original = kind.on_epoch_end

        def on_epoch_end(watcher, model, row):
            self.count += 1
            if self.count % self.every == 0:
                raise KeyboardInterrupt
            return original(watcher, model, row)

        monkeypatch.setattr(kind, "on_epoch_end", on_epoch_end)


def test_interrupted_anywhere_it_ends_in_the_same_record(pinterest, tmp_path, monkeypatch):
    """Stages are longer than what is done between two interruptions: without its checkpoint none would ever end."""
    through = results(run.replicate("pinterest", tmp_path / "a", ["authors"], **QUICK | {"epochs": 6}))
    interrupts, stopped, again = Interrupts(monkeypatch, every=4), 0, None
    while stopped < 20 and again is None:
        try:
            again = results(run.replicate("pinterest", tmp_path / "b", ["authors"], **QUICK | {"epochs": 6}))
        except KeyboardInterrupt:
            stopped += 1
    assert again == through and stopped >= 6 and interrupts.count > 24
    files = sorted(path.name for path in (tmp_path / "b" / "checkpoints" / "authors").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "a" / "checkpoints" / "authors").iterdir())


def test_half_a_trial_is_none(pinterest, tmp_path, monkeypatch):
    """Ctrl-C within a trial of the search: it is tried again, and not stored with the epochs that it had."""
    settings = {"epochs": 4, "every": 1}
    shop = amrlib.load_dataset("pinterest", progress=False)
    grids = {"MF-BPR": [{"lr": 0.05, "reg": [0.01] * 3}]}
    Interrupts(monkeypatch, 3, EarlyStopping)
    with pytest.raises(KeyboardInterrupt):
        tuning.tune(shop, ["MF-BPR"], None, tmp_path / "t.json", grids=grids, limit=settings, progress=False)
    assert not (tmp_path / "t.json").exists()


def test_a_quick_run_goes_on_with_more_seeds_and_recipes(pinterest, tmp_path):
    first = results(run.replicate("pinterest", tmp_path / "a", ["authors"], **QUICK))
    more = results(run.replicate("pinterest", tmp_path / "a", ["authors", "paper"], **QUICK | {"seeds": 2}))
    assert more["authors"]["seeds"]["0"] == first["authors"]["seeds"]["0"]
    assert [len(recipe["seeds"]) for recipe in more.values()] == [2, 2]


@pytest.mark.parametrize("word", ["versions", "quick", "dim", "dataset"])
def test_a_folder_of_another_run_is_refused(pinterest, tmp_path, monkeypatch, word):
    run.replicate("pinterest", tmp_path / "a", ["authors"], **QUICK)
    how = dict(QUICK)
    if word == "versions":
        monkeypatch.setattr(amrlib, "__version__", "9.9")
    elif word == "quick":
        how |= {"is_quick": False, "epochs": None}
    elif word == "dim":
        how["dim"] = 5
    else:
        monkeypatch.setenv("AMRLIB_DATA", str(tmp_path / "other cache"))
        with made.served("pinterest", tmp_path / "other cache", made.SMALL["pinterest"], seed=1):
            with pytest.raises(ValueError, match=r"begun with another dataset \("):
                run.replicate("pinterest", tmp_path / "a", ["authors"], **how)
        return
    with pytest.raises(ValueError, match=f"begun with another {word} "):
        run.replicate("pinterest", tmp_path / "a", ["authors"], **how)


def test_a_folder_that_another_run_uses_is_refused(pinterest, tmp_path):
    (tmp_path / "a").mkdir()
    with FileLock(tmp_path / "a" / "lock"):
        with pytest.raises(ValueError, match="another run is using"):
            run.replicate("pinterest", tmp_path / "a", ["authors"], **QUICK)


def test_a_damaged_cache_is_told_and_repaired(tmp_path):
    """A cut file is not the one expected; put back, the run goes on; so does a cut checkpoint's folder when it is deleted."""
    cache = tmp_path / "cache"
    with made.served("pinterest", cache, made.SMALL["pinterest"]):
        through = results(run.replicate("pinterest", tmp_path / "a", ["authors"], **QUICK))
        file = cache / SETS["pinterest"].files["features"].name
        content = file.read_bytes()
        file.write_bytes(content[:-100] + bytes(100))
        with pytest.raises(OSError, match=r"f_resnet\.npy could not be downloaded"):
            run.replicate("pinterest", tmp_path / "b", ["authors"], **QUICK)
        file.write_bytes(content)
        assert results(run.replicate("pinterest", tmp_path / "b", ["authors"], **QUICK)) == through
        checkpoint = next((tmp_path / "b" / "checkpoints" / "authors").glob("VBPR, seed*"))
        checkpoint.write_bytes(checkpoint.read_bytes()[:500])
        record = read_record(tmp_path / "b" / "record.json")
        del record["recipes"]["authors"]["seeds"]["0"]["AMR"]  # which starts from VBPR's file
        write_record(tmp_path / "b" / "record.json", record)
        with pytest.raises(ValueError, match="delete it to start again"):
            run.replicate("pinterest", tmp_path / "b", ["authors"], **QUICK)
        checkpoint.unlink()
        assert results(run.replicate("pinterest", tmp_path / "b", ["authors"], **QUICK)) == through


def test_damaged_copies_of_amazon_are_read_anew(tmp_path):
    """What was kept of the gigabytes is not believed when it is cut."""
    cache = tmp_path / "cache"
    with made.served("amazon-women", cache, made.SMALL["amazon-women"]):
        first = amrlib.load_dataset("amazon-women", on_disk=True, progress=False)
        kept = [*cache.glob("amazon-women/interactions-*.npz"), *cache.glob("amazon-women/features-*.npy")]
        assert len(kept) == 2
        values = np.array(first.features)
        for file in kept:
            file.write_bytes(file.read_bytes()[:-50])
        again = amrlib.load_dataset("amazon-women", on_disk=True, progress=False)
    assert np.array_equal(again.features, values) and again.fingerprint == first.fingerprint


COMMAND = """
import sys
from pathlib import Path
from amrbook.replicate import made, run
cache, folder = map(Path, sys.argv[1:])
made.write = lambda *_: None  # they lie there
with made.served("amazon-women", cache, made.SMALL["amazon-women"]):
    run.replicate("amazon-women", folder, ["authors"], seeds=1, is_quick=True, epochs=1, dim=4, device="cpu", progress=False)
"""


def test_two_commands_share_a_cache(tmp_path):
    made.write("amazon-women", tmp_path / "cache", made.SMALL["amazon-women"])
    processes = [subprocess.Popen([sys.executable, "-c", COMMAND, tmp_path / "cache", tmp_path / name], stderr=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, text=True, cwd=ROOT) for name in "ab"]  # fmt: skip
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    assert results(tmp_path / "a" / "record.json") == results(tmp_path / "b" / "record.json")


def test_each_names_what_is_wrong(pinterest, tmp_path):
    with pytest.raises(ValueError, match="--dataset must be one of"):
        run.replicate("boutique", tmp_path)
    with pytest.raises(ValueError, match="--recipes must be among"):
        run.replicate("pinterest", tmp_path, ["mine"])
    with pytest.raises(ValueError, match="--epochs is for --quick"):
        run.replicate("pinterest", tmp_path, epochs=3)
    with pytest.raises(SystemExit, match="name a set with --dataset"):
        __main__.main(["replicate"])
    with pytest.raises(SystemExit, match="run the same command without --submit first"):
        __main__.main(["replicate", "--dataset", "pinterest", "--submit", "--folder", str(tmp_path)])


# ---- the released weights, and the authors' own files where they are


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Weights as the released ones, of the made set's shape, in the cache; and what they hold."""
    size, rng = made.SMALL["pinterest"], np.random.default_rng(0)
    sizes = zip("PQE", (size.users, size.items, size.D), strict=True)
    tables = {name: rng.normal(size=(n, 4)).astype("<f4") for name, n in sizes}
    content, places = b"head", {}
    for name, table in tables.items():
        places[name] = (len(content), table.shape)
        content += table.tobytes() + b"--"
    file = tmp_path / "cache" / "pinterest" / "best-vbpr.npy"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    for name, value in (("SIZE", len(content)), ("SHA256", hashlib.sha256(content).hexdigest()), ("PLACES", places)):
        monkeypatch.setattr(authors_weights, name, value)
    monkeypatch.setattr(weights, "PLACES", places)
    monkeypatch.setattr(weights, "WEIGHTS", replace(weights.WEIGHTS, git=None))
    return tables


def test_the_released_weights_are_ranked_first_of_all(released, pinterest, tmp_path, capsys):
    record = read_record(run.replicate("pinterest", tmp_path / "run", ["authors"], **QUICK))
    told = capsys.readouterr().out
    assert told.index("The released VBPR, ranked as its authors do: HR@5") < told.index("Measured on")
    shop = amrlib.load_dataset("pinterest", progress=False)
    V = released["Q"].astype(float) + np.asarray(shop.features).astype(float) @ released["E"].astype(float)
    scores, hits = released["P"].astype(float) @ V.T, 0
    for u in range(shop.n_users):  # as the authors' program: a rank counts the negatives that score as high
        hits += (scores[u, shop.candidates[u]] >= scores[u, shop.test[u]]).sum() < 10
    assert record["weights"]["sampled"]["all"]["HR@10"] == pytest.approx(hits / shop.n_users)


def test_without_the_weights_the_run_says_so_and_goes_on(released, pinterest, tmp_path, capsys):
    (tmp_path / "cache" / "pinterest" / "best-vbpr.npy").unlink()
    record = read_record(run.replicate("pinterest", tmp_path / "run", ["authors"], **QUICK))
    assert "weights" not in record and "The released weights are not checked" in capsys.readouterr().out


@needs_authors_files
def test_what_the_released_weights_tell_alone_is_as_recorded():
    found, stored = weights.weights_alone(DATA), json.loads((ROOT / "book/replications/weights_alone.json").read_text())
    assert found["they are the same"] and found["cold items"] == 1180 and found["history AUC"] > 0.99
    for word, value in stored.items():
        assert found[word] == pytest.approx(value, abs=2e-4), word


@needs_authors_files
def test_the_real_pairs_go_through_reading_and_the_models_without_pictures():
    """One pair of every user with two is held out; the authors' own held-out items are in a file that is not at hand."""
    with open(DATA / "pos.txt", "rb") as file:
        pairs = np.stack(read_pairs(file, "pos.txt", numbers=True, below=(3226, 4998)), 1)
    known = SETS["pinterest"]
    assert len(pairs) == 6618 and tuple(np.bincount(np.bincount(pairs[:, 0]), minlength=11)) == known.activity
    distinct = np.unique(pairs, axis=0)
    train, test = amrlib.leave_one_out(distinct, seed=0, n_users=3226)
    shop = amrlib.Dataset(train, test, n_users=3226, n_items=4998)
    models = {
        "Popularity": amrlib.Popularity().fit(shop),
        "MF-BPR": amrlib.MFBPR().fit(shop, 60, lr=0.05, reg=0.01, device="cpu", progress=False),
        "MF-eALS": amrlib.MFeALS().fit(shop, 5, device="cpu", progress=False),
    }
    reports = {name: amrlib.evaluate(model, shop, ranking="sampled", progress=False) for name, model in models.items()}
    warm = {name: report.only(~report.cold).ndcg(10) for name, report in reports.items()}
    assert all(0 < report.ndcg(10) < 1 and (report.n_candidates == 999).all() for report in reports.values())
    assert min(warm["MF-BPR"], warm["MF-eALS"]) > warm["Popularity"], warm


def test_noise_is_that_of_perturb_at_every_strength(pinterest):
    shop = amrlib.load_dataset("pinterest", progress=False)
    model = amrlib.VBPR(dim=4, init_std=0.5).bind(shop)
    entry = entry_of(model, shop, shop)
    for triples, levels in entry["noise"].items():
        for epsilon, value in levels.items():
            moved = amrlib.perturb(model, shop, float(epsilon), triples=triples)
            report = amrlib.evaluate(model, shop, 10, ranking="sampled", features=moved, progress=False)
            assert value == pytest.approx(report.ndcg(10), abs=1e-6), (triples, epsilon)
    assert len({value for levels in entry["noise"].values() for value in levels.values()}) > 1


def test_paper_mode_of_chapter_13_makes_the_run(tmp_path, monkeypatch):
    """The chapter's own cell: in paper mode it runs Pinterest and hands the record in; in the others it only shows."""
    from amrbook import replicate
    from amrbook.replicate import submit

    chapter = json.loads((ROOT / "book" / "13_papers_tables.ipynb").read_text(encoding="utf-8"))
    cell = next("".join(cell["source"]) for cell in chapter["cells"] if cell["id"] == "13-replicate")
    did = []
    monkeypatch.setattr(run, "replicate", lambda *given, **more: did.append(("ran", *given, more)) or tmp_path / "record.json")
    monkeypatch.setattr(submit, "submit", lambda path: did.append(("handed in", path)) or (path, "text"))
    monkeypatch.setattr(replicate, "show", lambda: did.append("shown"))
    for mode in ("book", "smoke"):
        exec(cell, {"MODE": mode, "DEVICE": "cpu"})
    assert did == ["shown", "shown"]
    exec(cell, {"MODE": "paper", "DEVICE": "cuda"})
    assert did[2:] == [("ran", "pinterest", None, {"device": "cuda"}), ("handed in", tmp_path / "record.json"), "shown"]
