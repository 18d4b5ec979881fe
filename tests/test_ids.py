"""Ids of one's own: long numbers, leading zeros, Unicode, what floats and spreadsheets leave of them; and a split by them."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

import amrlib
from amrlib.datasets import from_csv, from_frame

A, B = 1234567890123456789, 1234567890123456790  # one float for both


def frame(users, items=None, **columns):
    return pd.DataFrame({"user": users, "item": list("xyxyxyxyxy")[: len(users)] if items is None else items, **columns})


def csv(folder, users, items="xyxyxy"):
    (folder / "x.csv").write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in zip(users, items)), encoding="utf-8")
    return from_csv(folder / "x.csv")


def test_long_ids_that_became_floats_are_refused():
    for column in ([A, A, B, B, None], pd.array([float(A)] * 4 + [None], dtype="Float64"), [str(float(A))] * 4 + [None]):
        with pytest.raises(ValueError, match=r"row 0, column 'user': .*(too large for a float|shortened)"):
            from_frame(frame(column, list("xyxzy")))
    whole = from_frame(frame(pd.array([A, A, B, B, None], dtype="Int64"), list("xyxzy")))
    assert whole.user_ids.tolist() == [A, B] and whole.user_ids.dtype == np.int64
    text = from_frame(frame([str(A), str(A), str(B), str(B)], list("xyxz")))
    assert text.user_ids.tolist() == [str(A), str(B)]


@pytest.mark.parametrize("largest", [2**63 - 1, 2**63 + 5, 2**64 + 5, 10**30])
def test_whole_numbers_of_any_length_stay_apart(largest):
    ids = [largest, largest, largest - 1, largest - 1, -4, -4]
    shop = from_frame(frame(pd.Series(ids, dtype=object)))
    assert shop.user_ids.tolist() == [-4, largest - 1, largest] and shop.user_number(largest) == 2


def test_ids_with_one_trailing_zero_behind_the_point_are_mended_where_all_have_it(tmp_path):
    shop = csv(tmp_path, ["12.0", "12.0", "7.0", "7.0"])
    assert shop.user_ids.tolist() == ["7", "12"]
    assert shop.notes == ("2 ids have been floats ('12.0' first), taken as whole ('12')",)
    assert csv(tmp_path, ["12.0", "12.0", "7", "7.5"]).user_ids.tolist() == ["12.0", "7", "7.5"]  # versions, say
    with pytest.raises(ValueError, match=r"x\.csv, line 2, column 'user': '12\.0' and '12' are both ids"):
        csv(tmp_path, ["12.0", "12.0", "12", "7"])
    with pytest.raises(ValueError, match=r"'1234567890123456768.0' has been a float"):
        csv(tmp_path, [f"{float(A):.1f}"] * 2 + ["7.0"] * 2)


@pytest.mark.parametrize("text", ["1.23457E+18", "1.2e+12", "1E+15", '"1,23457E+12"', "1.23457e12"])
def test_what_a_spreadsheet_shortened_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"x\.csv, line 3, column 'user': .* a spreadsheet has shortened"):
        csv(tmp_path, ["77", text, text, "77"])
    assert csv(tmp_path, ["7E12", "7E12", "1E5", "e+5"]).n_users == 3  # codes


def test_float_ids_are_understood_wherever_ids_are_given():
    f = frame([1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 1.0, 2.0])
    shop = from_frame(f, pd.DataFrame(np.eye(2), index=[1.0, 2.0]), test={1.0: 2.0, 2.0: 1.0})
    assert shop.user_ids.tolist() == [1, 2] and shop.test.tolist() == [1, 0]


@pytest.mark.parametrize("kind, first", [("float32", 2**24), ("float16", 2**11), ("Float32", 2**24)])
def test_short_floats_lose_their_digits_sooner(kind, first):
    """float32 has one number for 16,777,216 and 16,777,217: two users would be one."""
    users = pd.Series([first - 1, first - 1, 2, 2]).astype(kind)
    assert from_frame(frame(users)).user_ids.tolist() == [2, first - 1]
    for column in (users + 1, -users - 1):
        with pytest.raises(ValueError, match=rf"row 0, column 'user': -?{first} is too large for float\d\d to tell"):
            from_frame(frame(column))
    assert from_frame(frame(users.where(users != 2))).n_users == 1  # holes stay holes


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\u00ad", "\u2060"])
def test_ids_that_differ_by_what_cannot_be_seen_are_refused(tmp_path, unseen):
    with pytest.raises(ValueError, match=r"column 'user': .* differ by signs that cannot be seen alone; take these out"):
        csv(tmp_path, ["ann", "ann", f"an{unseen}n", "bob"])
    with pytest.raises(ValueError, match="cannot be seen alone"):
        csv(tmp_path, [f"{unseen}ann", f"an{unseen}n", "bob", "bob"])
    assert csv(tmp_path, [f"an{unseen}n", f"an{unseen}n", "bob", "bob"]).notes == ()  # some scripts write so


def test_bytes_are_text_and_lists_are_no_ids():
    assert from_frame(frame([b"ann", b"ann", "bob", "caf\u00e9".encode()])).user_ids.tolist() == ["ann", "bob", "caf\u00e9"]
    with pytest.raises(ValueError, match=r"row 0, column 'user': .* not text in UTF-8"):
        from_frame(frame([b"\xff", b"\xff", b"a", b"a"]))
    for odd in ([1], {"a": 1}, np.ones(2)):
        with pytest.raises(ValueError, match="column 'user': ids are text or whole numbers"):
            from_frame(frame([odd] * 4))


def test_leading_zeros_are_kept(tmp_path):
    shop = csv(tmp_path, ["007", "007", "7", "7"])
    assert shop.user_ids.tolist() == ["007", "7"] and shop.notes == ()


@pytest.mark.parametrize("name", ["café", "Ångström", "가방", "ﬁ é"])
def test_one_id_in_two_unicode_forms_is_one(tmp_path, name):
    composed, apart = unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)
    shop = csv(tmp_path, [composed, apart, "bob", "bob"])
    assert sorted(shop.user_ids.tolist()) == sorted([composed, "bob"])
    assert len(shop.notes) == 1 and "1 ids are written in several ways" in shop.notes[0] and "line 2" in shop.notes[0]
    looks = {apart: [1.0], "hat": [2.0]}
    shop = from_frame(frame(["a", "a", "b", "b"], [composed, "hat", apart, "hat"]), looks, test={"a": apart})
    assert shop.n_items == 2 and shop.item_ids[shop.test[0]] == composed
    assert csv(tmp_path, [apart, apart, "bob", "bob"]).notes == ()  # one form alone is nothing odd


def test_blanks_around_an_id_and_holes_are_told(tmp_path):
    shop = csv(tmp_path, ["ann", "ann ", "NULL", "NULL"])
    assert shop.user_ids.tolist() == ["NULL", "ann"] and "several ways" in shop.notes[0]
    assert shop.notes[1] == "'NULL' is an id here, in 2 rows; if it stands for a hole, drop these rows"


def test_a_table_with_one_name_for_two_columns():
    with pytest.raises(ValueError, match="two columns 'item'"):
        from_frame(pd.DataFrame([["a", "x", "y"]], columns=["user", "item", "item"]))


# ---- a split of one's own


def table():
    return pd.DataFrame({"user": list("aabb"), "item": list("xyxy")})


def test_what_a_split_has_and_the_table_not_is_left_out_and_counted(tmp_path):
    given = {"a": "y", "c": "x", "d": "y", "b": "z", "e": None}
    forms = [given, pd.Series(given), pd.DataFrame({"user": given.keys(), "item": given.values()})]
    (tmp_path / "test.csv").write_text("user,item\na,y\nc,x\nd,y\nb,z\n")
    (tmp_path / "train.csv").write_text("user,item\na,x\na,y\nb,x\nb,y\n")
    for test in forms:
        shop = from_frame(table(), test=test)
        assert shop.test.tolist() == [1, -1] and len(shop.train) == 3
        assert shop.notes == (
            "test: 2 entries with users that are not among those of the table ('c' first), left out",
            "test: 1 entries with items that are not among those of the table ('z' first), left out",
            "test: 1 entries without an item: nobody is asked",
            "1 test items that were in train too, taken out of train",
        )
    shop = from_csv(tmp_path / "train.csv", test=tmp_path / "test.csv")
    assert shop.test.tolist() == [1, -1] and len(shop.notes) == 3


@pytest.mark.parametrize(
    "test, words",
    [
        ({"c": "x", "d": "y"}, "user 'c' is not among those of the table .*no other entry is left"),
        ({"a": None, "b": np.nan}, "test holds nothing out"),
        ({}, "test holds nothing out"),
        (pd.DataFrame({"user": ["a", "a"], "item": ["x", "y"]}), "user 'a' has two items, 'x' and 'y'"),
        (pd.DataFrame({"who": ["a"], "item": ["x"]}), "test: the table has no column 'user', only 'who', 'item'"),
        ([("a", "x")], "test must map user ids .*until="),
        ({1: "x"}, "test: its users are whole numbers"),
    ],
)
def test_a_split_that_is_refused(test, words):
    with pytest.raises(ValueError, match=words):
        from_frame(table(), test=test)


def test_two_equal_entries_are_one():
    assert from_frame(table(), test=pd.DataFrame({"user": ["a", "a"], "item": ["x", "x"]})).test.tolist() == [0, -1]


# ---- users


WITHOUT_NEGATIVES = (amrlib.Popularity, amrlib.MFeALS)
WITH_NEGATIVES = (amrlib.MFBPR, amrlib.DUIF, amrlib.VBPR, amrlib.VBPRTwoVector, amrlib.AMR)


@pytest.mark.parametrize("kind", [*WITHOUT_NEGATIVES, *WITH_NEGATIVES])
def test_small_shops_work_whoever_has_everything(kind, recwarn):
    """One account that has it all stops nobody, and the usual k fits a shop of any size."""
    everything = frame(["boss"] * 3 + ["u1"] * 2 + ["u2"] * 2, list("abcabab"))
    looks = {key: [float(n), 1.0] for n, key in enumerate("abc")}
    for seed in range(4):
        shop = from_frame(everything, looks, seed=seed)
        model = kind() if kind is amrlib.Popularity else kind(dim=2)
        model.fit(shop, **({} if kind is amrlib.Popularity else dict(epochs=2, progress=False)))
        assert amrlib.evaluate(model, shop, progress=False).k == (3,)
        assert amrlib.compare({"a": model, "b": model}, shop, progress=False)["HR@3"].tolist() == [1, 1]  # of three items
        assert model.recommend(0)[0].shape == model.similar_items(0)[0].shape == (3,)
        assert model.recommend_for(model.user_vectors()[0])[0].shape == (3,)
        assert set(model.recommend_for_ids("u1")["item"]) <= set("abc")
        assert 0 < amrlib.adversary.category_hit_ratio(model, shop, [0, 1, 2]) <= 1
        if hasattr(model, "sensitivity"):
            assert len(amrlib.adversary.breaking_epsilon(model, shop)) == len(shop.test_users)
        if kind in (amrlib.DUIF, amrlib.VBPR, amrlib.AMR):
            assert amrlib.perturb(model, shop, 0.1, triples="train").shape == (3, 2)
    told = [str(w.message) for w in recwarn if "touched every warm item" in str(w.message)]
    assert (len(told) > 0) == (kind in WITH_NEGATIVES) and all("'boss' first" in text for text in told)
