"""`python -m amrlib`, each command from end to end on a tiny shop; wrong input costs one line and a 2."""

import numpy as np
import pytest

import amrlib
from amrlib import Dataset, __main__


@pytest.fixture(autouse=True)
def shop(monkeypatch):
    rng = np.random.default_rng(0)
    train, test = amrlib.leave_one_out(np.stack([rng.integers(0, 40, 250), rng.integers(0, 30, 250)], 1))
    shop = Dataset(train, test, rng.normal(size=(30, 5)), n_items=30)

    def load(name):
        if name != "boutique":
            raise ValueError(f"unknown data set {name!r}; the known ones are: boutique")
        return shop

    monkeypatch.setattr(__main__, "load_dataset", load)
    return shop


def run(capsys, *arguments):
    code = __main__.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err.rsplit("\r", 1)[-1]  # without the bar, which comes where numba takes a second to compile


def train(capsys, path, model="vbpr", *more):
    return run(capsys, "train", model, "--out", path, "--epochs", 2, "--dim", 4, "--device", "cpu", *more)


@pytest.mark.parametrize("model", ["mfbpr", "mfeals", "duif", "vbpr", "vbprtwovector", "amr"])
def test_train_then_evaluate(tmp_path, capsys, shop, model):
    path = tmp_path / "model.safetensors"
    code, out, err = train(capsys, path, model)
    assert (code, err) == (0, "") and "after 2 epochs" in out
    code, out, _ = run(capsys, "evaluate", path)
    assert code == 0
    kind = __main__.MODELS[model]
    assert f"{amrlib.evaluate(amrlib.load(path, shop), shop).hr(10):.4f}".rstrip("0") in out and kind.__name__ in out


def test_the_papers_chain(tmp_path, capsys, shop):
    names = [tmp_path / f"{m}.safetensors" for m in ("mfbpr", "vbpr", "amr")]
    assert train(capsys, names[0], "mfbpr")[0] == 0
    assert train(capsys, names[1], "vbpr", "--start", names[0])[0] == 0
    assert train(capsys, names[2], "amr", "--start", names[1], "--epsilon", 0.3, "--adv-weight", 0.5)[0] == 0
    amr = amrlib.AMR.load(names[2], shop)
    assert (amr.epsilon, amr.adv_weight, amr.dim) == (0.3, 0.5, 4)


def test_popularity_and_sampled_ranking(capsys):
    code, out, _ = run(capsys, "evaluate", "popularity")
    assert code == 0 and "Popularity" in out
    code, _, err = run(capsys, "evaluate", "popularity", "--ranking", "sampled")  # 999 of 30 items
    assert code == 2 and err.count("\n") == 1


@pytest.mark.parametrize("triples", ["test", "train"])
def test_attack(tmp_path, capsys, shop, triples):
    path = tmp_path / "model.safetensors"
    train(capsys, path)
    code, out, _ = run(capsys, "attack", path, "--epsilon", 0.5, "--triples", triples)
    figures = {line[:22].strip(): [float(x) for x in line[22:].split()] for line in out.splitlines()[1:]}
    assert code == 0 and list(figures) == ["clean", "random", "adversarial", "worst case, certified"]
    model = amrlib.VBPR.load(path, shop)
    assert figures["clean"] == [round(f, 4) for f in (amrlib.evaluate(model, shop).hr(10),
                                                      amrlib.evaluate(model, shop).ndcg(10))]  # fmt: skip
    worst = figures["worst case, certified"]
    assert all(worst[n] <= row[n] for row in figures.values() for n in (0, 1))


def test_datasets_and_help(capsys):
    assert "boutique" in run(capsys, "datasets")[1]
    with pytest.raises(SystemExit) as end:
        __main__.main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("train", "evaluate", "attack", "datasets"))


@pytest.mark.parametrize("arguments, says", [
    (["evaluate", "missing.safetensors"], "no such file"),
    (["evaluate", "not-a-model"], "not a model saved by amrlib"),
    (["evaluate", "."], "not a model saved by amrlib"),
    (["evaluate", "foreign.safetensors"], "is not a model saved by amrlib"),
    (["evaluate", "checkpoint"], "is not a model saved by amrlib (a checkpoint of fit)"),
    (["evaluate", "popularity", "--dataset", "moon"], "unknown data set 'moon'"),
    (["attack", "popularity"], "nothing to perturb"),
    (["train", "vbpr", "--out", "x", "--epochs", "0"], "epochs must be"),
    (["train", "vbpr", "--out", "x", "--start", "popularity"], "no such file: popularity; `python -m amrlib train` makes one"),
    (["train", "vbpr", "--out", "x", "--device", "abacus"], "is not available here"),
    (["train", "amr", "--out", "x", "--epsilon", "-1"], "epsilon must be"),
    (["train", "mfeals", "--out", "x", "--checkpoint", "y"], "MFeALS writes no checkpoint; leave --checkpoint out"),
])  # fmt: skip
def test_wrong_input_costs_one_line_and_a_2(tmp_path, capsys, monkeypatch, shop, arguments, says):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    (tmp_path / "not-a-model").write_bytes(b"something else")
    amrlib.MFBPR(dim=2).fit(shop, epochs=1, checkpoint=tmp_path / "checkpoint", progress=False)
    save_file({"a": np.zeros(2)}, tmp_path / "foreign.safetensors")
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and err.startswith("amrlib: ") and err.count("\n") == 1 and says in err
    assert not (tmp_path / "x").exists()


def test_unknown_words_exit_2():
    for words in ([], ["play"], ["train", "popularity", "--out", "x"]):
        with pytest.raises(SystemExit) as end:
            __main__.main(words)
        assert end.value.code == 2


def test_a_photograph_of_ones_own(tmp_path, capsys, shop, monkeypatch):
    from PIL import Image

    from amrlib.pixels import own_picture

    rng = np.random.default_rng(0)
    pictured = shop.replace(features=rng.random((30, 128), dtype=np.float32), extras={"feature_scale": 2.5})
    monkeypatch.setattr(__main__, "load_dataset", lambda name: pictured)
    path, photo = tmp_path / "model.safetensors", tmp_path / "hat.png"
    assert train(capsys, path)[0] == 0
    Image.fromarray(rng.integers(0, 255, (60, 50, 3), dtype=np.uint8)).save(photo)
    code, out, err = run(capsys, "attack", path, "--picture", photo, "--levels", 4)
    assert (code, err) == (0, "") and "median rank of 31" in out and "more than 4 of 255" in out
    found = own_picture(amrlib.load(path, pictured), pictured, photo, 4)
    changed = np.asarray(Image.open(tmp_path / "hat-changed.png"))
    assert np.array_equal(changed, found.after) and np.abs(changed.astype(int) - found.before).max() == 4
    assert f"{found.shown()[1]:.2%}" in out and np.median(found.ranks[1]) <= np.median(found.ranks[0])
    (tmp_path / "no.png").write_text("<html>")
    code, _, err = run(capsys, "attack", path, "--picture", tmp_path / "no.png")
    assert code == 2 and err.count("\n") == 1
