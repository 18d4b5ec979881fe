"""Your own tables and pictures, with all that is wrong with them."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import amrlib
from amrlib.datasets import from_csv, from_frame, interactions, pictures
from amrlib.datasets.pictures import features_of_pictures, open_picture
from amrlib.features import small_cnn

LOOKS = {"hat": [1.0, 0.0], "bag": [0.0, 4.0], "sock": [2.0, 2.0], "tie": [1.0, 1.0]}


def table(rows="ann hat,ann bag,bob hat,bob sock,bob bag,cid bag", **columns):
    frame = pd.DataFrame([r.split() for r in rows.split(",")], columns=["user", "item"])
    return frame.assign(**columns)


def everything(shop):
    """All interactions under their own names, and which are held out."""
    name = lambda u, i: f"{shop.user_ids[u]} {shop.item_ids[i]}"  # noqa: E731
    held = {name(u, shop.test[u]) for u in shop.test_users}
    return {name(u, i) for u, i in shop.train} | held, held


# ---- frames


def test_strings():
    shop = from_frame(table(), LOOKS)
    assert shop.user_ids.tolist() == ["ann", "bob", "cid"] and shop.item_ids.tolist() == ["bag", "hat", "sock", "tie"]
    pairs, held = everything(shop)
    assert pairs == {"ann hat", "ann bag", "bob hat", "bob sock", "bob bag", "cid bag"} and len(held) == 2
    assert shop.notes == () and shop.test[2] == -1
    assert np.allclose(shop.features, np.array([LOOKS[i] for i in shop.item_ids]) / 4) and shop.feature_scale == 4
    assert shop.cold[3]  # nobody has touched the tie: known by its looks
    shuffled = from_frame(table().sample(frac=1, random_state=1), pd.DataFrame(LOOKS).T)
    assert np.array_equal(shuffled.train, shop.train) and np.array_equal(shuffled.test, shop.test)


@pytest.mark.parametrize("kind", [int, float, str])
def test_numbers_with_gaps(kind):
    frame = pd.DataFrame({"user": [100, 100, 7, 7], "item": [20, 3, 3, 5]}).astype({"user": kind, "item": kind})
    if kind is str:
        frame["user"] = frame["user"] + " "  # blanks around an id are not part of it
    shop = from_frame(frame)
    back = str if kind is str else int  # whole numbers with holes arrive as floats
    assert shop.user_ids.tolist() == [back(7), back(100)] and shop.item_ids.tolist() == [back(3), back(5), back(20)]
    assert shop.user_number(back(100)) == 1 and shop.item_number(back(20)) == 2
    assert everything(shop)[0] == {"100 20", "100 3", "7 3", "7 5"} and shop.features is None


@pytest.mark.parametrize("column", [
    pd.array([12, 9, None, 9], dtype="Int64"), np.array([12.0, 9.0, np.nan, 9.0]), pd.Categorical([12, 9, None, 9]),
    pd.Series([12, 9.0, None, np.int8(9)], dtype=object), np.array([12, 9, 12, 9], dtype=np.uint16),
])  # fmt: skip
def test_whole_numbers_stay_numbers_however_they_are_stored(column):
    shop = from_frame(pd.DataFrame({"user": column, "item": ["b", "a", "a", "c"]}))
    assert shop.user_ids.tolist() == [9, 12] and np.issubdtype(shop.user_ids.dtype, np.integer)
    assert shop.item_ids.tolist() == ["a", "b", "c"]


def test_numbers_meet_numbers_and_text_meets_text():
    frame = pd.DataFrame({"user": [5, 5, 8, 8], "item": [30, 4, 30, 4]})
    c = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    given = [
        dict(features=pd.DataFrame(c, index=[4, 100, 30])), dict(features=pd.DataFrame(c, index=[4.0, 100.0, 30.0])),
        dict(features=dict(zip([4, 100, 30], c))), dict(features=c, feature_ids=np.array([4, 100, 30])),
    ]  # fmt: skip
    for settings in given:
        shop = from_frame(frame, scale=False, test={5: 4, np.int64(8): 100}, **settings)
        assert shop.item_ids.tolist() == [4, 30, 100] and np.array_equal(shop.features, c[[0, 2, 1]])
        assert shop.test.tolist() == [0, 2] and shop.user_ids.tolist() == [5, 8]
    text = frame.astype(str)
    shop = from_frame(text, c, ["4", " 100 ", "30"], scale=False, test={"5": "4"})
    assert shop.item_ids.tolist() == ["4", "30", "100"] and shop.test.tolist() == [0, -1]  # in their order as numbers
    with pytest.raises(ValueError, match=r"features are text \('4' first\) and the items of the table whole numbers \(4 first"):
        from_frame(frame, c, ["4", "100", "30"])
    with pytest.raises(ValueError, match=r"features are whole numbers \(0 first\) and the items of the table text \('4' first"):
        from_frame(text, c)  # whether row 4 belongs to '4' is a guess
    with pytest.raises(ValueError, match=r"test: its users are text \('5' first\).*make them one kind"):
        from_frame(frame, test={"5": 4})
    with pytest.raises(ValueError, match=r"test: its items are text"):
        from_frame(frame, test={5: "4"})


def test_a_data_set_has_its_own_features_without_a_second_copy(monkeypatch):
    c, given = np.random.default_rng(0).random((3, 2), dtype=np.float32), []
    real = interactions.Dataset
    monkeypatch.setattr(interactions, "Dataset", lambda *args, **settings: given.append(args[2]) or real(*args, **settings))
    for scale in (True, False):
        shop = from_frame(pd.DataFrame({"user": [0, 0], "item": [0, 1]}), c, [2, 1, 0], scale=scale)
        assert np.shares_memory(shop.features, given[-1]) and not np.shares_memory(shop.features, c)
    kept = from_frame(pd.DataFrame({"user": [0, 0], "item": [0, 1]}), c, scale=False)
    c[0] = 9  # the caller's own array may change, the data set may not
    assert kept.features[0, 0] != 9


def test_arrays():
    frame = pd.DataFrame({"user": [0, 0, 1], "item": [0, 2, 2]})
    features = np.arange(8, dtype=np.float32).reshape(4, 2)
    shop = from_frame(frame, features, scale=False)
    assert np.array_equal(shop.features, features) and shop.n_items == 4
    shop = from_frame(frame, features, feature_ids=[3, 2, 1, 0], scale=False)
    assert np.array_equal(shop.features, features[::-1])
    assert from_frame(frame, features.astype(np.float16)).features.dtype == np.float16


def test_a_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "f.npy", np.ones((3, 2), dtype=np.float32))
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    shop = from_frame(pd.DataFrame({"user": [0, 0, 1], "item": [0, 2, 2]}), mapped, scale=False)
    assert isinstance(shop.features, np.memmap)


def test_what_is_repaired():
    rows = table("ann hat,ann bag,ann hat,bob hat,bob wig,cid wig,dan bag,eve bag,eve hat")
    rows.loc[7, "item"] = None
    rows.loc[8, "user"] = " "
    looks = {**LOOKS, "sock": [np.nan, 1.0]}
    shop = from_frame(rows, looks)
    assert everything(shop)[0] == {"ann hat", "ann bag", "bob hat", "dan bag"}
    assert shop.item_ids.tolist() == ["bag", "hat", "tie"]
    for note, words in zip(
        shop.notes,
        (
            "2 rows without user or item (row 7 first), left out",
            "1 items with NaN or infinite features ('sock' first): as if they had none",
            "1 items without features ('wig' first), left out with 2 rows",
            "2 users are left without an interaction, left out",
            "1 repeated interactions, counted once",
        ),
        strict=True,
    ):
        assert note == words
    assert from_frame(rows).item_ids.tolist() == ["bag", "hat", "wig"]  # without features everything stays


@pytest.mark.parametrize(
    "times",
    [
        [3, 1, 1, 9, 5, 0],
        [3.5, -1.0, 1.0, 9.0, 5.5, 0.0],
        ["2020-03-01", "2020-01-01 10:00", "2020-01-01", "2020-09-01", "2020-05-01", "2019-01-01"],
        pd.to_datetime(["2020-03-01", "2020-01-01", "2020-01-01", "2020-09-01", "2020-05-01", "2019-01-01"]),
    ],
)
def test_the_last_is_held_out(times):
    shop = from_frame(table(when=times), LOOKS, time="when", split="time")
    assert everything(shop)[1] == {"ann hat", "bob sock"}


def test_a_random_one_is_held_out():
    rows = pd.DataFrame({"user": np.repeat(np.arange(300), 3), "item": np.tile([0, 1, 2], 300)})
    first, again, other = (from_frame(rows, seed=seed).test for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.bincount(first, minlength=3).min() > 70  # whichever item it is


def test_what_was_met_again_is_not_new():
    rows = table("ann hat,ann bag,ann hat", when=[1, 2, 3])
    assert everything(from_frame(rows, time="when", split="time"))[1] == {"ann bag"}


def test_a_split_of_your_own():
    shop = from_frame(table(), LOOKS, test={"ann": "tie", "bob": "hat"})
    assert [shop.item_ids[i] for i in shop.test[:2]] == ["tie", "hat"] and shop.test[2] == -1
    assert shop.notes == ("1 test items that were in train too, taken out of train",)
    assert not shop.is_train([1], shop.test[[1]]).any() and len(shop.train) == 5


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: from_frame(table(), user="who"), "no column 'who', only 'user', 'item'; name the columns"),
        (lambda: from_frame(table(), split="last"), "split must be"),
        (lambda: from_frame(table(), split="time"), "needs time="),
        (
            lambda: from_frame(table(t=[1, 2, "soon", 4, 5, 6]), time="t", split="time"),
            r"row 2: t is 'soon', neither a number nor a date .*\(1 such rows\)",
        ),
        (lambda: from_frame(table(t=[None] * 6), time="t", split="time"), "row 0: t is empty .*6 such rows"),
        (lambda: from_frame(table("ann wig"), LOOKS), r"no interaction is left; 1 items without features \('wig'"),
        (lambda: from_frame(table().iloc[:0]), "no interaction is left"),
        (lambda: from_frame(table().assign(user=[1, 2, 3, 0.5, 1, 1])), r"row 3, column 'user': .*0\.5.* is no id"),
        (lambda: from_frame(table(), {"hat": [1.0], "bag": [1.0, 2.0]}), "'bag' has 2 numbers, 'hat' has 1"),
        (lambda: from_frame(table(), np.ones(3)), r"features must have shape \(n_items, D\)"),
        (lambda: from_frame(table(), [["a", "b"]]), "features must be numbers"),
        (lambda: from_frame(table(), np.ones((3, 2)), ["hat"]), "feature_ids has 1 entries for 3 rows"),
        (lambda: from_frame(table(), feature_ids=["hat"]), "feature_ids without features"),
        (lambda: from_frame(table(), test={"eve": "hat"}), "test: user 'eve' is not among"),
        (lambda: from_frame(table(), test={"ann": "wig"}), "test: item 'wig' is not among"),
        (lambda: from_frame(table(), test={"ann": None}), "test holds nothing out"),
        (
            lambda: from_frame(table().assign(user=["ann", 7, "7", 1, 1, 1])),
            r"row 0, column 'user': 'ann' is text, and row 1, column 'user': 7 a number; make them one kind",
        ),
        (
            lambda: from_frame(table().assign(item=[2.0**53 + 2, 1.0, 1.0, 2.0, 3.0, np.nan])),
            r"row 0, column 'item': .* too large for a float .*dtype=str",
        ),
        (lambda: from_frame(table(), np.ones((2, 2)), ["hat", None]), "ids of the features, row 1: missing"),
        (lambda: from_frame(table(), np.ones((2, 2)), ["hat", 3]), "ids of the features, row 0: 'hat' is text"),
        (lambda: from_frame(table().assign(user=None), LOOKS), "no interaction is left; 6 rows without user"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- CSV and pictures


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AMRLIB_DATA", str(tmp_path / "cache"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for n, item in enumerate(["hat", "bag", "007", "tie"]):
        pixels = np.full((40, 30 + n, 3), 255, np.uint8)  # a thing on white
        pixels[10:30, 8:22] = rng.integers(0, 200, (20, 14, 3))
        Image.fromarray(pixels).save(pictures / f"{item}.png")
    (tmp_path / "bought.csv").write_text(
        "when,user,item\n2020-01-02,ann,hat\n2020-01-01,ann,bag\n2020-01-03,bob,hat\n2020-01-01,bob,007\n",
        encoding="utf-8-sig",
    )
    return tmp_path


def test_a_csv_and_a_folder(folder):
    settings = dict(time="when", split="time", progress=False, batch_size=3)
    shop = from_csv(folder / "bought.csv", folder / "pictures", **settings)
    assert shop.item_ids.tolist() == ["007", "bag", "hat", "tie"] and shop.name == "bought"
    assert everything(shop)[1] == {"ann hat", "bob hat"}
    assert len(shop.notes) == 1 and "1 pictures of no item of the table ('tie.png' first) join" in shop.notes[0]
    assert shop.features.shape == (4, 128) and shop.images.shape == (4, 28, 28) and shop.images.dtype == np.uint8
    assert np.median(shop.images[:, 0]) == 0 and shop.images.max() > 60  # bright on black, whatever it was on
    raw = small_cnn.extract_features(shop.images, progress=False)
    assert np.allclose(shop.features * shop.feature_scale, raw, atol=1e-4)
    model = amrlib.VBPR(dim=2).bind(shop)
    model.fit(shop, epochs=1, progress=False)


def test_features_are_kept_until_a_picture_changes(folder, monkeypatch):
    first = features_of_pictures(folder / "pictures", progress=False)
    monkeypatch.setattr(pictures, "extractor", lambda *_: pytest.fail("looked again"))
    again = features_of_pictures(folder / "pictures", progress=False)
    assert np.array_equal(first[1], again[1]) and np.array_equal(first[2], again[2]) and first[0] == again[0]
    monkeypatch.undo()
    monkeypatch.setenv("AMRLIB_DATA", str(folder / "cache"))
    (kept,) = (folder / "cache" / "own").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])  # damaged: made anew
    assert np.array_equal(features_of_pictures(folder / "pictures", progress=False)[1], first[1])
    (folder / "pictures" / "bag.png").unlink()
    assert len(features_of_pictures(folder / "pictures", progress=False)[0]) == 3


def test_pictures_with_faults(folder):
    (folder / "pictures" / "tie.png").write_bytes(b"<html>not found</html>")
    (folder / "pictures" / "hat.jpg").write_bytes((folder / "pictures" / "hat.png").read_bytes())
    (folder / "pictures" / "bag.png").unlink()
    (folder / "pictures" / "notes.txt").write_text("no picture")
    for _ in range(2):  # the second time from the cache
        shop = from_csv(folder / "bought.csv", folder / "pictures", progress=False)
        assert shop.item_ids.tolist() == ["007", "hat"] and everything(shop)[0] == {"ann hat", "bob hat", "bob 007"}
        assert shop.notes == (
            "hat.png: hat.jpg is the picture of that item already, left out",
            "images: no picture for 1 items; looked for 'bag.jpg', 'bag.png' and so on",
            "images: 1 pictures of no item of the table ('tie.png' first) join the catalogue as items that nobody has met; "
            "untouched=False leaves them out",
            "tie.png cannot be read as a picture (UnidentifiedImageError), left out",
            "1 items without features ('bag' first), left out with 1 rows",
        )
    for name in ("hat.jpg", "hat.png", "007.png"):
        (folder / "pictures" / name).unlink()
    with pytest.raises(ValueError, match="none of the 1 pictures"):
        features_of_pictures(folder / "pictures", progress=False)


def test_transparent_pictures_are_seen_on_white(folder):
    pixels = np.zeros((30, 30, 4), np.uint8)
    pixels[8:22, 8:22] = [200, 0, 0, 255]
    Image.fromarray(pixels).save(folder / "pictures" / "ring.png")
    assert np.array_equal(np.asarray(open_picture(folder / "pictures" / "ring.png"))[0, 0], [255, 255, 255])


def test_a_network_of_your_own(folder):
    mean = lambda pictures: np.stack([np.asarray(p).mean((0, 1)) for p in pictures])  # noqa: E731
    shop = from_csv(folder / "bought.csv", folder / "pictures", network=mean, progress=False)
    assert shop.features.shape == (4, 3) and shop.images is None and not (folder / "cache").exists()
    with pytest.raises(ValueError, match=r"network gave \(3,\) for 4 pictures"):
        features_of_pictures(folder / "pictures", lambda pictures: np.ones(3), progress=False)


def test_pictures_are_looked_at_in_batches_under_a_bar(folder, monkeypatch):
    sizes, bars = [], []
    real = pictures.progress_bar
    monkeypatch.setattr(pictures, "progress_bar", lambda *given, **s: bars.append(given[1:]) or real(*given, **s))

    def network(pictures):
        sizes.append(len(pictures))
        return np.ones((len(pictures), 2))

    for progress in (True, False):
        features_of_pictures(folder / "pictures", network, batch_size=3, progress=progress)
    assert sizes == [3, 1, 3, 1] and bars == [("features", True), ("features", False)]


class FakeWeights:
    """What amrlib asks of torchvision's weights: the one recommended, its numbers, and what prepares a picture for it."""

    DEFAULT = None

    def get_state_dict(self, *, progress, check_hash, weights_only):
        assert check_hash and weights_only  # what comes from outside is compared, and nothing in it is run
        return self.numbers

    def transforms(self):
        return lambda picture: torch.from_numpy(np.asarray(picture.resize((8, 8))).copy()).permute(2, 0, 1) / 255


@pytest.mark.parametrize("network, dim, dropped", [("resnet50", 2048, "fc"), ("alexnet", 4096, "the last")])
def test_torchvision_through_a_stand_in(folder, monkeypatch, network, dim, dropped):
    """Whether torchvision is here or not, this holds our side of the bargain: that the last layer is left out, that
    pictures are prepared as the weights ask for, and that nothing is dropped at random."""
    made = []

    class Net(torch.nn.Module):
        def __init__(self, weights):
            super().__init__()
            made.append((self, weights))
            before = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(192, dim))
            if network == "resnet50":
                self.before, self.fc = before, torch.nn.Linear(dim, 1000)
            else:
                self.before, self.classifier = before[0], torch.nn.Sequential(*before[1:], torch.nn.Linear(dim, 1000))

        def forward(self, x):
            return (self.fc if network == "resnet50" else self.classifier)(self.before(x))

    FakeWeights.DEFAULT = FakeWeights()
    FakeWeights.DEFAULT.numbers = {name: theta + 1.0 for name, theta in Net(None).state_dict().items()}
    made.clear()
    models = SimpleNamespace(
        ResNet50_Weights=FakeWeights, AlexNet_Weights=FakeWeights, **{network: lambda weights: Net(weights)}
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    torch.manual_seed(0)
    names, features, seen, _ = features_of_pictures(folder / "pictures", network, "cpu", batch_size=3, progress=False)
    assert features.shape == (4, dim) and features.dtype == np.float32 and seen is None
    ((net, weights),) = made
    assert weights is None and not net.training and not any(p.requires_grad for p in net.parameters())
    numbers = FakeWeights.DEFAULT.numbers
    assert all(torch.equal(theta, numbers[name]) for name, theta in net.state_dict().items()) and len(net.state_dict()) == 2
    alone = FakeWeights.DEFAULT.transforms()(open_picture(folder / "pictures" / f"{names[0]}.png"))
    assert np.allclose(features[0], net(alone[None])[0], atol=1e-6)
    again = features_of_pictures(folder / "pictures", network, "cpu", progress=False)[1]
    assert np.array_equal(again, features) and len(made) == 1  # from the cache


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is absent")
@pytest.mark.parametrize("network, dim", [("resnet50", 2048), ("alexnet", 4096)])
def test_torchvision_itself_under_random_weights(folder, monkeypatch, network, dim):
    """All but the published weights, which are a download: its networks, its preparation of a picture, the cut."""
    from torchvision import models

    weights = {"resnet50": models.ResNet50_Weights, "alexnet": models.AlexNet_Weights}[network]
    torch.manual_seed(0)
    drawn = getattr(models, network)(weights=None).eval()
    monkeypatch.setattr(weights, "get_state_dict", lambda *_, **__: drawn.state_dict())
    names, features, _, notes = features_of_pictures(folder / "pictures", network, "cpu", batch_size=3, progress=False)
    assert features.shape == (4, dim) and notes == [] and (features >= 0).all() and features.std(axis=0).max() > 0
    picture = weights.DEFAULT.transforms()(open_picture(folder / "pictures" / f"{names[0]}.png"))[None]
    last = drawn.fc if network == "resnet50" else drawn.classifier[-1]
    with torch.no_grad():  # what the published network would say, from our features: nothing but its last layer is gone
        assert torch.allclose(last(torch.from_numpy(features[:1])), drawn(picture), atol=1e-4)


def test_torchvision_that_is_not_there(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ValueError, match="pip install torchvision"):
        features_of_pictures(folder / "pictures", "resnet50", progress=False)
    monkeypatch.delitem(sys.modules, "torchvision")
    (folder / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(folder)  # as one that was built for another torch says it
    with pytest.raises(ValueError, match=r"fits this torch \(operator torchvision::nms .*pip install torchvision"):
        features_of_pictures(folder / "pictures", "resnet50", progress=False)


def test_without_pictures(folder):
    shop = from_csv(folder / "bought.csv")
    assert shop.features is None and everything(shop)[0] == {"ann hat", "ann bag", "bob hat", "bob 007"}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"user,item\nann,hat\nann\n", "own.csv, line 3: 1 columns where the header has 2; .*bad_rows='skip'"),
        (b"user,item\nann,hat\n\nann, \n", "own.csv, line 4: user or item is empty"),
        (b'user,item\n"a\nb",hat\nann,hat,1\n', "own.csv, line 2: a quote is opened and not closed .*multiline=True"),
        (b"user;item\nann;hat\n", "own.csv, line 1: no column 'user', only 'user;item'; .*sep="),
        (b"", "own.csv is empty"),
        (b"user,item\n", "no interaction is left"),
        (b"user,item\nann,hat\nann,h\xff\n", "own.csv, line 3: not UTF-8"),
    ],
)
def test_csv_that_is_refused(tmp_path, content, words):
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        from_csv(tmp_path / "own.csv")


def test_rows_skipped_on_request(tmp_path):
    (tmp_path / "own.tsv").write_bytes(b"user\titem\nann\that\nann\nann\tbag\n\t\nbob\t\n")
    shop = from_csv(tmp_path / "own.tsv", bad_rows="skip")
    assert everything(shop)[0] == {"ann hat", "ann bag"}
    assert shop.notes == ("2 rows that cannot be read (own.tsv, line 3: 1 columns where the header has 2), left out",)


def test_times_are_named_by_their_line(tmp_path):
    (tmp_path / "own.csv").write_bytes(b"user,item,t\nann,hat,1\n\nann,bag,soon\n")
    with pytest.raises(ValueError, match=r"own\.csv, line 4: t is 'soon'"):
        from_csv(tmp_path / "own.csv", time="t", split="time")


def test_other_wrong_arguments(folder):
    (folder / "empty").mkdir()
    for call, words in (
        (lambda: from_csv(folder / "bought.csv", bad_rows="keep"), "bad_rows must be"),
        (lambda: features_of_pictures(folder / "nowhere"), "there is no folder"),
        (lambda: features_of_pictures(folder / "empty", progress=False), "no picture in"),
        (lambda: features_of_pictures(folder / "pictures", "vgg"), "network must be one of 'shop', 'efficientnet_lite0'"),
        (lambda: features_of_pictures(folder / "pictures", batch_size=0), "batch_size"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(FileNotFoundError):
        from_csv(folder / "nothing.csv")


FILMS = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml1m"


@pytest.mark.skipif(not FILMS.is_dir(), reason="MovieLens-1M (../shared/data/ml1m) is absent")
def test_a_million_ratings():
    with np.load(FILMS / "ratings.npz", allow_pickle=False) as file:
        ratings, poster_of = file["ratings"], file["poster_movie_ids"]  # (6041, 3953), 0 where there is none; (3867,)
    users, items = np.nonzero(ratings)
    posters = np.load(FILMS / "poster_features_f16.npy", mmap_mode="r", allow_pickle=False)
    shop = from_frame(pd.DataFrame({"user": users, "item": items}), posters, feature_ids=poster_of)
    left = int(np.isin(items, poster_of).sum())
    assert len(users) == 1_000_209 and len(shop.train) + len(shop.test_users) == left
    assert shop.n_users == 6040 and shop.n_items == 3867 and shop.features.dtype == np.float16
    assert ("without features" in "".join(shop.notes)) == (left < len(users))
