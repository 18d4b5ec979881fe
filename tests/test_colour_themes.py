"""The set of real taste, on a file that is made here in the form of the published one."""

import hashlib
import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

import amrlib
from amrlib.datasets import colour_themes, list_datasets
from amrlib.datasets.catalogue import SETS
from amrlib.datasets.colour_themes import colour_features, draw, lab

N, PEOPLE = 120, 60


def ratings_and_themes(seed=0, largest=1.0):
    rng = np.random.default_rng(seed)
    themes = rng.random((N, 15))
    blue = themes.reshape(N, 5, 3)[..., 2].mean(1) - themes.reshape(N, 5, 3)[..., 0].mean(1)
    rows = []
    for person in range(PEOPLE):
        for theme in rng.choice(N - 5, 40, replace=False):  # the last five nobody has rated
            taste = blue[theme] * (1 if person % 2 else -1)  # half of the people like blue, half red
            rows.append((100 + person, theme + 1, np.clip(np.rint(3 + 8 * taste + rng.normal(0, 0.5)), 1, 5), 33, 1, 44))
    return np.array(rows, dtype=float), themes * largest


def release(ratings, themes, **other):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        parts = {"allMTurkRatings.mat": {"testRatings": ratings, "people": np.array(["age", "sex"], dtype=object), **other},
                 "themeData.mat": {"datapoints": {"rgb": themes, "names": np.array(["a"] * 3, dtype=object)}}}  # fmt: skip
        for name, content in parts.items():
            packed = io.BytesIO()
            savemat(packed, content)
            archive.writestr(f"release/{name}", packed.getvalue())
    return file.getvalue()


@pytest.fixture
def put(tmp_path, monkeypatch):
    monkeypatch.setenv("AMRLIB_DATA", str(tmp_path))

    def place(content, sha256=None):
        chosen = SETS["colour-themes"]
        remote = replace(chosen.files["archive"], sha256=sha256 or hashlib.sha256(content).hexdigest(), urls=())
        monkeypatch.setitem(SETS, "colour-themes", replace(chosen, files={"archive": remote}))
        path = tmp_path / remote.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    return place


def load(**options):
    return amrlib.load_dataset("colour-themes", progress=False, **options)


@pytest.mark.parametrize("largest", [1.0, 255.0])
def test_ratings_and_themes_as_they_were_given(put, largest):
    ratings, themes = ratings_and_themes(largest=largest)
    put(release(ratings, themes))
    shop = load()
    liked = {(int(p), int(t)) for p, t, r, *_ in ratings if r >= 4}
    have = [(u, i) for u, i in shop.train] + [(u, shop.test[u]) for u in shop.test_users]
    assert {(int(shop.user_ids[u]), int(shop.item_ids[i])) for u, i in have} == liked
    assert shop.n_items == N and shop.cold[-5:].all() and shop.item_ids[-1] == N and shop.likes == 4
    assert shop.images.shape == (N, 20, 30, 3) and shop.images.dtype == np.uint8
    colours = np.rint(themes / largest * 255).astype(int).reshape(N, 5, 3)
    for n in range(5):  # five rectangles from left to right
        assert (shop.images[:, :, 6 * n : 6 * n + 6] == colours[:, None, None, n]).all()
    assert shop.features.shape == (N, 60) and np.abs(shop.features).max() == 1
    assert np.array_equal(load().test, shop.test) and not np.array_equal(load(seed=1).test, shop.test)
    told = f"{len(ratings):,} ratings by {PEOPLE} people; 4 and more are likes: {len(liked):,} of {len(ratings):,}"
    assert told in shop.notes
    assert shop.notes[-3:] == ("ratings: 2,400 here, 528,106 as published", "people: 60 here, 1,137 as published",
                               "themes: 120 here, 13,343 as published")  # fmt: skip


def test_what_counts_as_a_like_can_be_changed(put):
    ratings, themes = ratings_and_themes()
    put(release(ratings, themes))
    for likes in (1, 3, 5):
        shop = load(likes=likes)
        assert len(shop.train) + len(shop.test_users) == (ratings[:, 2] >= likes).sum() and shop.likes == likes
    for wrong in (0, 6, "4", True):
        with pytest.raises(ValueError, match="likes must be a rating between 1 and 5"):
            load(likes=wrong)
    with pytest.raises(ValueError, match="means nothing to 'pinterest'"):
        amrlib.load_dataset("pinterest", likes=4)


def test_rated_twice_the_mean_counts(put):
    ratings, themes = ratings_and_themes()
    ratings = ratings[:2]
    ratings[:, :3] = [[7, 3, 5], [7, 3, 2]]
    more = np.vstack([ratings, [7, 4, 4, 0, 0, 0], [8, 4, 1, 0, 0, 0]])
    put(release(more, themes))
    shop = load()
    assert shop.user_ids.tolist() == [7] and shop.train.tolist() == [[0, 3]] and len(shop.test_users) == 0
    assert "1 ratings are of a theme that the person rated before: the mean counts" in shop.notes
    assert "1 people like nothing, left out" in shop.notes


def test_of_the_people_nothing_else_is_read(put, monkeypatch):
    ratings, themes = ratings_and_themes()
    put(release(ratings, themes))
    read = []
    real = colour_themes._array
    monkeypatch.setattr(colour_themes, "_array", lambda a, p, *what: read.append(what) or real(a, p, *what))
    shop = load()
    assert read == [("allMTurkRatings.mat", "testRatings"), ("themeData.mat", "datapoints", "rgb")]
    strange = ratings.copy()
    strange[:, 3:] = np.nan
    put(release(strange, themes))
    again = load()
    assert np.array_equal(again.train, shop.train) and set(shop.extras) == {"likes", "feature_scale", "published"}


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda r, t: (np.vstack([r, [[1, N + 1, 3, 0, 0, 0]]]), t), r"testRatings, row 2400: .*theme of 120"),
        (lambda r, t: (np.vstack([r, [[1, 1, 9, 0, 0, 0]]]), t), "row 2400"),
        (lambda r, t: (r[:, :2], t), r"holds ratings \(2400, 2\)"),
        (lambda r, t: (r, t[:, :14]), r"colours \(120, 14\)"),
        (lambda r, t: (r, t - 1), "colours must be numbers"),
    ],
)
def test_a_file_that_is_another_is_refused(put, change, words):
    put(release(*change(*ratings_and_themes())))
    with pytest.raises(ValueError, match=words):
        load()


def test_the_checksum_is_looked_at(put, tmp_path):
    content = release(*ratings_and_themes())
    put(content, sha256="47c07095642cfab3c2eeab366a5d152b07783cbb5af390cbfda7d7c13db4b54c")
    with pytest.raises(OSError, match=r"(?s)could not be downloaded.*save it yourself"):
        load()
    assert not list(tmp_path.rglob("*.zip"))
    put(b"PK\x03\x04 and then not")
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        load()


def test_terms_are_told():
    (entry,) = [e for e in list_datasets() if e["name"] == "colour-themes"]
    assert "CC BY-NC-SA 2.5 Canada" in entry["terms"] and "donovan" in entry["origin"]


# ---- colours


@pytest.mark.parametrize(
    "rgb, expected",  # as colour tables print them, for D65
    [
        ((255, 255, 255), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)), ((0, 0, 255), (32.30, 79.19, -107.86)), ((128, 128, 128), (53.59, 0, 0)),
        ((5, 5, 5), (1.37, 0, 0)),
    ],
)  # fmt: skip
def test_lab_beside_the_tables(rgb, expected):
    assert np.allclose(lab(np.array(rgb)), expected, atol=0.03)


def test_features_by_a_plain_loop():
    colours = np.random.default_rng(1).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    found = colour_features(draw(colours))
    for theme, row in zip(colours, found):
        x = [lab(c.astype(float)) / [100, 128, 128] for c in theme]
        plain = [v for c in x for v in c] + [abs(x[n + 1][c] - x[n][c]) for n in range(4) for c in range(3)]
        plain += list(np.mean(x, 0)) + list(np.std(x, 0))
        for level in colour_themes.LEVELS:
            plain.append(sum(np.exp(-((c - level) ** 2).sum() / 0.08) for c in x))
        assert np.allclose(row, plain, atol=1e-5)


def test_taste_in_colours_is_learnt_from_pictures_alone(put):
    put(release(*ratings_and_themes()))
    shop = load()
    model = amrlib.DUIF(dim=8).fit(shop, epochs=40, lr=0.05, progress=False, trainer="closed_form", device="cpu")
    assert amrlib.evaluate(model, shop, progress=False).auc() > 0.7
