"""The readers of the public sets, on made files of the same formats served from this machine."""

import contextlib
import gzip
import hashlib
import io
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import amrlib
from amrlib import __main__
from amrlib.datasets import amazon as amazon_room
from amrlib.datasets import list_datasets, mapped_features, text_files
from amrlib.datasets.amazon import RECORD, find_records
from amrlib.datasets.catalogue import SETS, load_public
from amrlib.datasets.checked_files import Remote
from amrlib.datasets.text_files import read_pairs

PINS = Path(__file__).resolve().parents[2] / "shared" / "data" / "pinterest" / "pos.txt"
rng = np.random.default_rng(0)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder that is served; ``web(set, key, bytes)`` puts a file of a set there and points the set to it."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("AMRLIB_DATA", str(tmp_path / "cache"))
    site = tmp_path / "site"
    site.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()

    def put(set_name, key, content, git=False):
        old = SETS[set_name].files[key]
        file = site / old.name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        url = f"http://127.0.0.1:{httpd.server_address[1]}/{old.name}"
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() if git else None
        new = Remote(old.name, (url + ".gone", url), git=blob, check=old.check)
        chosen = SETS[set_name]
        monkeypatch.setitem(SETS, set_name, replace(chosen, files={**chosen.files, key: new}))

    put.site = site
    yield put
    httpd.shutdown()
    httpd.server_close()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def packed(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def pinterest(web, pos=b"0 0\n1 1\n1 2\n1 1\n2 3\n", neg=b"1 2 3\n3 0 4\n5 0 1\n", features=None):
    features = rng.normal(size=(6, 8)).astype(np.float32) if features is None else features
    web("pinterest", "train", pos, git=True)
    web("pinterest", "test", neg, git=True)
    web("pinterest", "features", npy(features), git=True)
    return features


# ---- pinterest


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pinterest(web, dtype, on_disk):
    features = pinterest(web)
    shop = amrlib.load_dataset("pinterest", dtype=dtype, on_disk=on_disk, progress=False)
    assert shop.train.tolist() == [[0, 0], [1, 1], [1, 2], [1, 1], [2, 3]] and shop.test.tolist() == [1, 3, 5]
    assert shop.candidates.tolist() == [[2, 3], [0, 4], [0, 1]] and shop.name == "pinterest"
    assert shop.features.dtype == dtype and isinstance(shop.features, np.memmap) == on_disk
    largest = np.abs(features).max()
    assert np.allclose(shop.features, features / largest, atol=1e-3) and shop.feature_scale == pytest.approx(largest)
    notes = "\n".join(shop.notes)
    assert "1 repeated training rows" in notes
    assert "users: 3 here, 3,226 in the AMR paper, Table 1" in notes and "interactions: 8 here" in notes
    assert not np.abs(load_public("pinterest", scale=False, progress=False).features - features).any()
    model = amrlib.VBPR(dim=2).bind(shop)  # whatever the precision, it can be trained
    model.fit(shop, epochs=1, progress=False)
    amrlib.evaluate(model, shop, k=(1, 2), ranking="sampled")


def test_features_kept_on_disk_are_made_anew_when_they_are_damaged(web):
    pinterest(web)
    first = load_public("pinterest", on_disk=True, progress=False)
    expected = np.array(first.features)
    (kept,) = Path(os.environ["AMRLIB_DATA"]).glob("pinterest/features-*.npy")
    scale = kept.with_suffix(".scale")
    for file, content in ((kept, kept.read_bytes()[:-4]), (kept, b""), (kept, npy(np.ones(3))), (scale, b""), (scale, b"0")):
        file.write_bytes(content)
        again = load_public("pinterest", on_disk=True, progress=False)
        assert np.array_equal(again.features, expected) and again.feature_scale == first.feature_scale
    before = kept.stat().st_mtime_ns
    load_public("pinterest", on_disk=True, progress=False)
    assert kept.stat().st_mtime_ns == before  # and not without need


def test_pinterest_of_another_version(web):
    pinterest(web)
    (web.site / "pinterest" / "neg.txt").write_bytes(b"1 2 4\n3 0 4\n5 0 1\n")
    with pytest.raises(ValueError, match=r"pinterest/neg\.txt could not be downloaded"):
        load_public("pinterest", progress=False)


@pytest.mark.parametrize(
    "files, words",
    [
        (dict(pos=b"0 0\n1 x\n"), r"pos\.txt, line 2: ids must be whole numbers .*'1 x'"),
        (dict(pos=b"0 0\n\n1\n"), r"pos\.txt, line 3: expected a user and an item, found '1'"),
        (dict(neg=b"1 2 3\n3 0\n5 0 1\n"), r"neg\.txt, line 2: 2 items, 3 in the lines before"),
        (dict(neg=b"1 2 3\n(3) 0 4\n"), r"neg\.txt, line 2: expected item numbers"),
        (dict(neg=b"\n"), r"neg\.txt is empty"),
        (dict(features=np.array([None, 1], dtype=object)), r"f_resnet\.npy does not hold the features .*delete it"),
        (dict(features=np.arange(6)), r"f_resnet\.npy does not hold the features of the pins: found int64 \(6,\)"),
        (dict(features=np.full((6, 2), np.inf, np.float32)), r"f_resnet\.npy, row 0: NaN or infinite"),
        (dict(features=np.where(np.arange(6) == 4, np.nan, 1)[:, None]), r"f_resnet\.npy, row 4: NaN or infinite"),
        (dict(features=np.ones((3, 2), np.float32)), r"neg\.txt, line 1: item 3, but there are 3 items"),
        (dict(pos=b"0 0\n\n1 6\n"), r"pos\.txt, line 3: '1 6', but there are 3 users and 6 items"),
        (dict(pos=b"3 0\n"), r"pos\.txt, line 1: '3 0', but there are 3 users"),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_pinterest_malformed(web, files, words, on_disk):
    pinterest(web, **files)
    with pytest.raises(ValueError, match=words):
        load_public("pinterest", on_disk=on_disk, progress=False)
    cache = Path(os.environ["AMRLIB_DATA"])
    assert not list(cache.rglob("features-*")) and not list(cache.rglob("*.part"))  # nothing half-made stays
    pinterest(web)  # the right files now: the next call repairs
    load_public("pinterest", on_disk=on_disk, progress=False)


def test_a_test_item_that_is_also_in_train_is_reported(web):
    pinterest(web, neg=b"0 2 3\n3 0 4\n5 0 1\n")
    assert "1 users have their test item in train as well" in "\n".join(load_public("pinterest", progress=False).notes)


def test_large_features_go_to_disk_by_themselves(web, monkeypatch):
    features = pinterest(web)
    for limit, mapped in ((features.nbytes + 1, False), (features.nbytes, True)):
        monkeypatch.setattr(mapped_features, "LARGE", limit)
        assert isinstance(load_public("pinterest", progress=False).features, np.memmap) == mapped


@contextlib.contextmanager
def no_file_larger_than(size):  # what a full disk is to write()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["tradesy", "amazon-women"])
def test_a_disk_that_is_full_when_the_features_are_written(web, name):
    """The downloads fit; what is unpacked or cut out of them does not."""
    if name == "tradesy":
        cornac(web, name, zeros=True)  # 64 KB, packed to next to nothing
    else:
        amazon(web)
        load_public(name, on_disk=False, progress=False)  # 115 KB of records are here, 80 KB of features are not
    with no_file_larger_than(50_000), pytest.raises(OSError, match=r"cache: .*free some space.*AMRLIB_DATA"):
        load_public(name, on_disk=True, progress=False)
    cache = Path(os.environ["AMRLIB_DATA"])
    assert not [p for p in cache.rglob("*") if p.suffix in (".part", ".npy", ".scale")]
    assert load_public(name, on_disk=True, progress=False).features.shape[1] == 4096


def _loaded(name, results):
    shop = load_public(name, on_disk=True, progress=False)
    results.put((shop.train.tolist(), float(np.abs(shop.features).max()), sorted(shop.notes)))


@pytest.mark.parametrize("name", ["pinterest", "tradesy", "amazon-women"])
def test_two_processes_load_a_set_at_once(web, name):
    {"pinterest": pinterest, "amazon-women": amazon}.get(name, partial(cornac, name=name))(web)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=_loaded, args=(name, results)) for _ in range(2)]
    for process in both:
        process.start()
    first, second = results.get(timeout=60), results.get(timeout=60)
    for process in both:
        process.join(60)
    assert first == second and first[1] == pytest.approx(1)
    assert not list(Path(os.environ["AMRLIB_DATA"]).rglob("*.part"))


@pytest.mark.skipif(not PINS.exists(), reason="the authors' pairs (../shared/data/pinterest) are absent")
def test_the_authors_pairs_through_the_reader(web, monkeypatch):
    """Their pairs under their own git blob id; beside them a made neg.txt and made features, for want of theirs."""
    real = SETS["pinterest"].files["train"]
    made = np.random.default_rng(0)
    web("pinterest", "test", "".join(f"{i} 0 1\n" for i in made.permutation(4998)[:3226]).encode(), git=True)
    web("pinterest", "features", npy(made.normal(size=(4998, 4)).astype(np.float32)), git=True)
    place = Path(os.environ["AMRLIB_DATA"]) / real.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(PINS.read_bytes())  # put there by hand: taken, because its blob id is right
    shop = amrlib.load_dataset("pinterest", progress=False)
    assert SETS["pinterest"].files["train"] is real and (len(shop.train), len(shop.unique_keys)) == (6618, 6531)
    # users, items and interactions agree with Table 1, so nothing is said of them; the made test items differ
    assert not [n for n in shop.notes if n.startswith(("users", "items", "interactions"))]
    assert any(n.startswith("cold share of distinct test items: ") and "52.6% in the AMR paper" in n for n in shop.notes)
    place.write_bytes(PINS.read_bytes()[:-1])  # a byte less: refused, and there is nobody to fetch it from
    files = {**SETS["pinterest"].files, "train": replace(real, urls=("http://127.0.0.1:9/pos.txt",))}
    monkeypatch.setitem(SETS, "pinterest", replace(SETS["pinterest"], files=files))
    with pytest.raises(OSError, match=r"pos\.txt could not be downloaded"):
        load_public("pinterest", progress=False)


@pytest.mark.skipif(not PINS.exists(), reason="the authors' pairs (../shared/data/pinterest) are absent")
def test_the_authors_pairs():
    content = PINS.read_bytes()
    assert hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == SETS["pinterest"].files["train"].git
    with open(PINS, "rb") as file:
        users, items = read_pairs(file, "pos.txt", numbers=True)
    shop = amrlib.Dataset(np.stack([users, items], 1), np.full(3226, -1), n_items=4998)
    assert (len(shop.train), len(shop.unique_keys)) == (6618, 6531)
    assert (int(users.max()) + 1, int(items.max())) == (3226, 4997)
    assert int(shop.cold.sum()) == 1180 and len(np.unique(items)) == 3818
    per_user = np.bincount(users)
    assert (per_user == 1).sum() == 1512 and np.median(per_user) == 2 and per_user.max() == 10
    assert np.median(shop.item_counts[~shop.cold]) == 1 and shop.item_counts.max() == 25
    assert len(shop.train) + 3226 == SETS["pinterest"].published["interactions"]
    assert SETS["pinterest"].activity == tuple(np.bincount(per_user))
    assert SETS["pinterest"].popularity == tuple(np.bincount(shop.item_counts))
    assert "87 repeated training rows" in shop.notes[0]


# ---- the two sets of Cornac


def cornac(web, name, zeros=False):
    features = rng.normal(size=(4, 4096)).astype(np.float32) * (not zeros)
    if name == "tradesy":
        web(name, "ratings", packed("users.csv", "ann,c,a\nbob,a\nbob,d\nbob,a\n"))
        web(name, "features", packed("item_features.npy", npy(features)))
    else:
        web(name, "ratings", packed("a/rating.txt", "ann\tc\t5.0\nann\ta\t1\nbob\ta\t3\nbob\td\t4\nbob\tzz\t4\n"))
        web(name, "features", packed("image_features.npy", npy(features)))
    web(name, "ids", packed("item_ids.txt", "d\nc\nb\na\n"))
    return features


@pytest.mark.parametrize("name", ["amazon-clothing", "tradesy"])
def test_cornac(web, name):
    features = cornac(web, name)
    shop = load_public(name, progress=False)
    held = {(u, int(i)) for u, i in enumerate(shop.test)}
    assert set(map(tuple, shop.train.tolist())) | held == {(0, 1), (0, 3), (1, 3), (1, 0)}
    assert shop.item_ids.tolist() == ["d", "c", "b", "a"] and shop.n_items == 4
    assert np.allclose(shop.features * np.float32(shop.feature_scale), features, rtol=1e-5)
    repaired = {"tradesy": "1 repeated", "amazon-clothing": "1 interactions with items that have no image"}[name]
    assert repaired in shop.notes[0] and "items: 4 here" in "\n".join(shop.notes)
    again = load_public(name, progress=False)
    assert np.array_equal(again.test, shop.test)
    assert any(x["name"] == name and x["cached"] for x in list_datasets())


def test_cornac_wrong_files(web):
    cornac(web, "tradesy")
    web("tradesy", "ids", packed("item_ids.txt", "d\nc\n"))
    with pytest.raises(ValueError, match=r"item_features\.npy has 4 rows, item_ids\.txt 2"):
        load_public("tradesy", progress=False)
    web("tradesy", "ratings", packed("other.csv", ""))
    (Path(os.environ["AMRLIB_DATA"]) / "tradesy" / "users.zip").unlink()
    with pytest.raises(ValueError, match=r"users\.zip does not hold users\.csv, only other\.csv"):
        load_public("tradesy", progress=False)


# ---- amazon


def record_bytes(asins, values):
    table = np.zeros(len(asins), dtype=RECORD)
    table["asin"], table["features"] = asins, values
    return table.tobytes()


def amazon(web, name="amazon-women", extra=b""):
    """Six items of women, one of them without image, one of men; ann, bob and eve have five or more, dan four."""
    word = {"amazon-women": "Women", "amazon-men": "Men"}[name]
    asins = [f"B{n:09d}" for n in range(7)]
    meta = []
    for n, asin in enumerate(asins):
        steps = ["Clothing, Shoes & Jewelry", word if n < 6 else {"Women": "Men", "Men": "Women"}[word], "It's"]
        meta.append(repr({"asin": asin, "title": f"no {word}'s", "categories": [["Sports"], steps]}).encode() + b"\n")
    bought = {"ann": [0, 1, 2, 3, 4, 6], "bob": [0, 1, 2, 3, 5, 5], "dan": [0, 1, 2, 3, 6], "eve": [0, 1, 2, 3, 4, 5]}
    rows = [(user, asins[i]) for user, items in bought.items() for i in items]
    csv = "".join(f"{u},{i},5.0,1400000000\n" for u, i in rows).encode()
    reviews = "".join(json.dumps({"reviewerID": u, "asin": i, "reviewText": "a, b"}) + "\n" for u, i in rows).encode()
    values = rng.normal(size=(7, 4096)).astype(np.float32)
    order = [3, 6, 1, 0, 2, 5, 3]  # not sorted, one twice, and none of item 4
    second = values[order].copy()
    second[-1] = 99
    web(name, "meta", gzip.compress(b"".join(meta) + extra))
    web(name, "ratings", csv + extra)
    web(name, "5-core", gzip.compress(reviews))
    web(name, "images", record_bytes([asins[i] for i in order], second))
    return asins, values


@pytest.mark.parametrize("name, ratings", [("amazon-women", "ratings"), ("amazon-men", "5-core")])
@pytest.mark.parametrize("on_disk", [False, True])
def test_amazon(web, monkeypatch, name, ratings, on_disk):
    for room in (amazon_room, text_files, mapped_features):  # several blocks even of so little
        for constant, value in (("LINES", 4), ("BLOCK", 3)):
            if hasattr(room, constant):
                monkeypatch.setattr(room, constant, value)
    asins, values = amazon(web, name)
    shop = load_public(name, ratings=ratings, on_disk=on_disk, progress=False)
    assert shop.item_ids.tolist() == [asins[i] for i in (0, 1, 2, 3, 5)]
    held = {(u, int(i)) for u, i in enumerate(shop.test)}
    everything = {(0, i) for i in range(4)} | {(u, i) for u in (1, 2) for i in range(5)}
    assert set(map(tuple, shop.train.tolist())) | held == everything
    kept = values[[0, 1, 2, 3, 5]]
    assert shop.feature_scale == pytest.approx(np.abs(kept).max())
    assert np.allclose(shop.features * np.float32(shop.feature_scale), kept, rtol=1e-5)
    notes = "\n".join(shop.notes)
    for words in ("1 repeated interactions", "1 users with fewer than 5", "1 items without an image"):
        assert words in notes
    assert ("users: 3 here, 83,337" in notes) == (name == "amazon-women")


def same(a, b):
    assert np.array_equal(a.train, b.train) and np.array_equal(a.test, b.test) and np.array_equal(a.features, b.features)
    assert a.notes == b.notes and a.item_ids.tolist() == b.item_ids.tolist()


def never(*_):
    pytest.fail("the files were read again")


def test_amazon_is_parsed_once(web, monkeypatch):
    amazon(web)
    first = load_public("amazon-women", progress=False)
    (kept,) = Path(os.environ["AMRLIB_DATA"]).glob("amazon-women/interactions-*.npz")
    with monkeypatch.context() as patch:
        for name in ("_items_of", "_ratings_of", "find_records"):
            patch.setattr(amazon_room, name, never)
        same(load_public("amazon-women", progress=False), first)
        other = load_public("amazon-women", seed=5, progress=False)  # another split needs no reading either
        assert len(other.train) == len(first.train)
        with pytest.raises(pytest.fail.Exception):  # other ratings do
            load_public("amazon-women", ratings="5-core", progress=False)
    content = kept.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:-100], bytes(flipped), b"", b"PK"):
        kept.write_bytes(damaged)
        same(load_public("amazon-women", progress=False), first)
        assert len(kept.read_bytes()) == len(content)  # repaired


def test_amazon_is_parsed_again_when_a_file_has_changed(web):
    asins, _ = amazon(web)
    first = load_public("amazon-women", progress=False)
    file = Path(os.environ["AMRLIB_DATA"]) / SETS["amazon-women"].files["ratings"].name
    Path(f"{file}.seen").unlink()  # put there by hand, say: its checksum is taken anew
    file.write_text(file.read_text() + "".join(f"zoe,{asin},5.0,1400000000\n" for asin in asins[:6]))
    again = load_public("amazon-women", progress=False)
    assert again.n_users == first.n_users + 1
    assert len(list(file.parents[1].glob("amazon-women/interactions-*.npz"))) == 2


def test_parsing_that_is_interrupted_leaves_nothing(web, monkeypatch):
    amazon(web)
    with monkeypatch.context() as patch:
        patch.setattr(amazon_room, "write_atomically", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load_public("amazon-women", progress=False)
    assert not list(Path(os.environ["AMRLIB_DATA"]).glob("amazon-women/*"))
    load_public("amazon-women", progress=False)


def test_amazon_lines_that_cannot_be_read(web):
    amazon(web, extra=b"{'asin': 'Women', __import__('os')}\n,,\n")
    notes = "\n".join(load_public("amazon-women", progress=False).notes)
    assert "1 lines of meta_Clothing_Shoes_and_Jewelry.json.gz that cannot be read (line 8 first), left out" in notes
    assert "2 lines of ratings_Clothing_Shoes_and_Jewelry.csv that cannot be read (line 24 first)" in notes


def test_a_page_in_place_of_the_ratings_is_not_kept(web):
    amazon(web)
    content = (web.site / SETS["amazon-women"].files["ratings"].name).read_bytes()
    web("amazon-women", "ratings", b"<html>moved, with the status of a success</html>\n" * 20)
    with pytest.raises(ValueError, match=r"its first line is not user,item,rating,time but '<html>moved"):
        load_public("amazon-women", progress=False)
    web("amazon-women", "ratings", content)
    assert load_public("amazon-women", progress=False).n_users == 3  # the next call repairs


def test_metadata_are_read_and_never_run(web, monkeypatch):
    """A line that eval would run: it is a fine expression, and no literal."""
    monkeypatch.setattr(amrlib, "run", [], raising=False)
    line = "{'asin': 'B000000009', 'categories': [['C', 'Women']], 'x': __import__('amrlib').run.append(1)}\n"
    amazon(web, extra=line.encode())
    notes = "\n".join(load_public("amazon-women", progress=False).notes)
    assert amrlib.run == [] and "(line 8 first), left out" in notes


def test_text_is_read_with_bounded_memory(tmp_path, monkeypatch):
    for room in (amazon_room, text_files):
        monkeypatch.setattr(room, "LINES", 4096)
    ratings, meta, n = tmp_path / "r.csv", tmp_path / "m.json.gz", 60_000
    ratings.write_bytes(b"".join(b"A%019d,B%09d,5.0,1400000000\n" % (i, i) for i in range(n)))
    with gzip.open(meta, "wb", compresslevel=1) as file:
        for i in range(n):  # 14 MB, of which one line in a thousand is about women
            entry = {"asin": f"B{i:09d}", "title": "x" * 150, "categories": [["C", "Boys" if i % 1000 else "Women"]]}
            file.write(repr(entry).encode() + b"\n")
    notes: list[str] = []
    tracemalloc.start()
    try:
        asins = amazon_room._items_of(meta, "Women", notes, False)
        users, items = amazon_room._ratings_of(ratings, asins, notes, False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(asins) == len(users) == len(items) == n // 1000 and not notes
    assert peak < 2e6, f"{peak:,} bytes"  # a block of ROWS lines, whatever the file's size


@pytest.mark.parametrize("key, words", [("meta", "line 1: not a Python literal"), ("ratings", "line 2: not a user and")])
def test_amazon_another_format(web, key, words):
    amazon(web)
    page = b"<p>Women\n" * 20
    page = page if key == "meta" else b"user,item,rating,time\n" + page
    web("amazon-women", key, gzip.compress(page) if key == "meta" else page)
    with pytest.raises(ValueError, match=rf"{words}.*19 more lines.*another format"):
        load_public("amazon-women", progress=False)


@pytest.mark.parametrize("block", [1, 2, 10])
def test_of_two_records_of_an_item_the_first_counts(tmp_path, monkeypatch, block):
    monkeypatch.setattr(amazon_room, "BLOCK", block)  # in one block, or in two
    asins = np.array([b"B000000001", b"B000000002", b"B000000003"])
    (tmp_path / "f.b").write_bytes(record_bytes(asins[[1, 0, 0, 1]], 0))
    assert find_records(tmp_path / "f.b", asins, progress=False).tolist() == [1, 0, -1]


def test_image_features_cut_off(web, tmp_path):
    amazon(web)
    web("amazon-women", "images", b"x" * (RECORD.itemsize + 1))
    with pytest.raises(ValueError, match="not a whole number of records"):
        load_public("amazon-women", progress=False)
    (tmp_path / "f.b").write_bytes(b"x" * 3)
    with pytest.raises(ValueError, match=r"f\.b: not a whole number of records.*delete it"):
        find_records(tmp_path / "f.b", np.array([b"a"]))


MEASURE = """
import resource, sys, threading, time
import numpy as np
from pathlib import Path
from amrlib.datasets import amazon
from amrlib.datasets.mapped_features import FeatureReader

path, n, dtype = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = most = resident()
stop = False
def watch():
    global most
    while not stop:
        most = max(most, resident())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
wanted = np.array([b"%010d" % i for i in range(0, n, 4)], dtype="S10")
found = amazon.find_records(path, wanted, progress=False)
assert (found == np.arange(0, n, 4)).all()
read = FeatureReader(path.parent / "cache", dtype, True, True, False)
features, largest = read(path, amazon.block_of_records(path), found, 4096)
stop = True
thread.join()
assert features.shape == (len(wanted), 4096) and largest == n - n % 4 - (0 if n % 4 else 4), largest
assert np.allclose(features[:, 0], wanted.astype(int) / largest, atol=1e-3)
print((most - before) // 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory through /proc")
def test_a_large_file_of_features_takes_little_memory(tmp_path):
    n = int(float(os.environ.get("AMRLIB_TEST_GB", 1)) * 2**30) // RECORD.itemsize
    path = tmp_path / "image_features.b"
    with open(path, "wb", buffering=0) as file:  # sparse: only the pages with an id and one number take room
        for i in range(n):
            os.pwrite(file.fileno(), b"%010d" % i + np.float32(i).tobytes(), i * RECORD.itemsize)
        file.truncate(n * RECORD.itemsize)
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path, str(n), "float16"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path.unlink()  # what pytest keeps of the last runs would be gigabytes
    print(f"{n * RECORD.itemsize / 2**30:.2f} GB of features read with {done.stdout.strip()} MB of memory")
    assert int(done.stdout) < 180, f"{done.stdout.strip()} MB"  # a block and its copies, whatever the file's size


# ---- what is offered


def test_every_file_is_looked_for_on_more_than_one_host():
    for name, chosen in SETS.items():
        for file in chosen.files.values():
            hosts = [url.split("/")[2] for url in file.urls]
            assert len(set(hosts)) > 1 and not hosts[0].startswith("web.archive"), f"{name}: {hosts}"
            if file.git:
                assert any(file.git in url for url in file.urls)


def test_every_set_is_listed(web, capsys):
    assert __main__.main(["datasets"]) == 0
    out = capsys.readouterr().out
    for entry in list_datasets():
        assert all(str(entry[key]) in out for key in ("name", "about", "size", "terms", "origin"))
    assert [e["name"] for e in list_datasets()] == ["boutique", *SETS] and "not downloaded yet" in out
    assert [e["cached"] for e in list_datasets()] == [True] + [False] * len(SETS)


@pytest.mark.parametrize("ratings", ["ratings", "5-core"])
def test_of_amazon_either_file_of_interactions_is_enough_to_be_cached(web, capsys, ratings):
    amazon(web)
    load_public("amazon-women", ratings=ratings, progress=False)
    assert {e["name"] for e in list_datasets() if e["cached"]} == {"boutique", "amazon-women", "amazon-men"}  # same files
    __main__.main(["datasets"])
    assert capsys.readouterr().out.count("25 GB, here") == 2
    (Path(os.environ["AMRLIB_DATA"]) / SETS["amazon-women"].files["meta"].name).unlink()
    assert not any(e["cached"] for e in list_datasets() if e["name"].startswith("amazon"))


def test_wrong_options(web):
    for options, words in (
        (dict(name="pinterst"), "'pinterst'; the known ones"),
        (dict(name="pinterest", dtype="int8"), "dtype must be 'float32' or 'float16'"),
        (dict(name="amazon-men", ratings="all"), "ratings must be"),
    ):
        with pytest.raises(ValueError, match=words):
            load_public(**options)
