"""Times in tables of one's own: one format a column, ties by the seed, one date for all."""

import datetime

import numpy as np
import pandas as pd
import pytest

import amrlib
from amrlib.datasets import csv_lines, from_csv, from_frame
from amrlib.datasets.date_formats import readings_of


def ann(dates, **settings):
    """Who met one thing after the other, a date each: the one that is held out, and the notes."""
    frame = pd.DataFrame({"user": "ann", "item": [f"i{n}" for n in range(len(dates))], "date": dates})
    shop = from_frame(frame, time="date", split="time", **settings)
    return str(shop.item_ids[shop.test[0]]), shop.notes


@pytest.mark.parametrize("sign", "/.-")
@pytest.mark.parametrize("clock", ["", " 10:30", " 10:30:05", ", 9:05:05.25", " 09:05 pm"])
def test_day_first_is_told_by_one_date_and_meant_in_all(sign, clock):
    dates = [f"{d}{clock}" for d in ("13/01/2024", "20/01/2024", "01/02/2024")]
    held, notes = ann([d.replace("/", sign) for d in dates])
    assert held == "i2"  # 1 February, not 2 January
    assert len(notes) == 1 and "read as day/month/year, since '13" in notes[0]
    assert ann([d.replace("/", sign) for d in ("01/13/2024" + clock, "12/20/2024" + clock, "02/01/2024" + clock)])[0] == "i1"


def test_both_readings_are_refused_and_named(tmp_path):
    dates = ["05/11/2023", "02/12/2023", "01/11/2023"]
    with pytest.raises(ValueError, match=r"day/month/year and as month/day/year .*row 0.*dayfirst=True"):
        ann(dates)
    assert ann(dates, dayfirst=True)[0] == "i1" and ann(dates, dayfirst=False)[0] == "i0"
    assert ann(dates, format="%d/%m/%Y")[0] == "i1"
    (tmp_path / "x.csv").write_text("user,item,date\n" + "".join(f"ann,i{n},{d}\n" for n, d in enumerate(dates)))
    with pytest.raises(ValueError, match=r"x\.csv, line 2.*dayfirst"):
        from_csv(tmp_path / "x.csv", time="date", split="time")
    assert ann(["05/05/2024", "06/06/2024"])[0] == "i1"  # two readings of one value


def test_years_first_mean_the_same_whatever_dayfirst_says():
    for dayfirst in (True, False):
        assert ann(["2024-01-03", "2024-02-01", "2024-01-02"], dayfirst=dayfirst)[0] == "i1"
        assert ann(["2024/01/03", "2024/02/01", "2024/01/02"], dayfirst=dayfirst)[0] == "i1"


def test_columns_may_be_numbered():
    frame = pd.DataFrame([["2024-01-02", "ann", "x"], ["2024-01-01", "ann", "y"]])
    shop = from_frame(frame, user=1, item=2, time=0, split="time")
    assert shop.item_ids[shop.test].tolist() == ["x"]


def test_a_file_is_read_as_pandas_reads_it(tmp_path):
    rng = np.random.default_rng(5)
    days = pd.Timestamp("2023-12-20") + pd.to_timedelta(rng.integers(60, size=3000), unit="D")
    users, items = [f"ü{n:03}" for n in rng.integers(200, size=3000)], rng.integers(90, size=3000).astype(str)
    frame = pd.DataFrame({"user": users, "item": items, "date": days.strftime("%d.%m.%Y")})
    frame.to_csv(tmp_path / "x.csv", index=False)
    for settings in (dict(), dict(time="date", split="time"), dict(time="date", split="time", until="2024-01-31")):
        one, other = from_csv(tmp_path / "x.csv", **settings), from_frame(frame, **settings)
        for name in ("train", "test", "user_ids", "item_ids"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        assert len(one.notes) == len(other.notes)


def test_a_column_in_two_formats_is_refused():
    with pytest.raises(ValueError, match=r"no one format: row 1 is '13/01/2024' and row 0 is '01/13/2024'|no one "
                                         r"format: row 0 .*row 1"):
        ann(["01/13/2024", "13/01/2024", "01/02/2024"])
    with pytest.raises(ValueError, match=r"row 2: date is '2024-02-01', neither a number nor a date as the others"):
        ann(["13/01/2024", "20/01/2024", "2024-02-01"])
    with pytest.raises(ValueError, match=r"two-digit|can be read as"):
        ann(["01/02/03", "02/03/04"])
    with pytest.raises(ValueError, match="day/month/year and as year/month/day"):
        ann(["31/12/03", "01/02/04"])  # 2003, or 2031
    assert ann(["31/12/03", "01/02/04"], dayfirst=True)[0] == "i1"
    with pytest.raises(ValueError, match=r"offset in row 0 .* and none in row 1"):
        ann(["2024-01-01T10:00:00+02:00", "2024-01-01T09:00:00"])
    with pytest.raises(ValueError, match="offset"):
        ann(["2024-01-01T10:00:00Z", "2024-01-01T09:00:00Z", "2024-01-02 09:00"])


@pytest.mark.parametrize(
    "dates",
    [
        ["2024-01-31", "2024-02-01 10:00", "2024-02-01T09:59:59.5", "2023-12-31"],  # ISO 8601, with and without a clock
        ["2024-1-31", "2024-2-10", "2024-2-9", "2023-12-31"],
        ["2024/01/31", "2024/02/02", "2024/02/01", "2023/12/31"],
        ["31 Jan 2024", "1 Feb 2024", "29 January 2024", "3 May 2023"],
        ["31-Jan-24", "01-Feb-24", "29-Jan-24", "03-May-23"],
        ["January 31, 2024", "February 1, 2024", "January 29, 2024", "May 3, 2023"],
        ["Jan 31, 2024 9:00 AM", "Feb 1, 2024 1:00 PM", "Feb 1, 2024 12:00 AM", "May 3, 2023 1:00 PM"],
        ["2024-01-31T10:00:00+01:00", "2024-01-31T10:00:00Z", "2024-01-31T10:00:00+00:30", "2023-01-01T00:00:00-05:00"],
        ["2024-01-31 10:00:00 UTC", "2024-01-31 10:00:01.25 UTC", "2024-01-31 11:00:00+01:00", "2023-12-31 23:00:00 GMT"],
        ["31/01/2024 10:00 UTC", "01/02/2024 10:00 UTC", "30/01/2024 10:00 UTC", "31/12/2023 10:00 UTC"],
        ["20240131", "20240201", "20240130", "20231231"],
        ["1706659200", "1706745600.5", "1706745600", "0"],
        [10, 30, 20, 0], [10.0, 30.5, 20, -3], [10, 30.5, 20, 1],
        [datetime.date(2024, 1, 31), datetime.date(2024, 2, 1), datetime.date(2023, 2, 1), datetime.date(2022, 2, 1)],
        list(pd.to_datetime(["2024-01-31", "2024-02-01", "2023-02-01", "2022-02-01"])),
        list(pd.to_datetime(["2024-01-31", "2024-02-01", "2023-02-01", "2022-02-01"]).tz_localize("Asia/Tokyo")),
        pd.Categorical(["31/01/2024", "01/02/2024", "30/01/2024", "31/12/2023"]),
    ],
)  # fmt: skip
def test_forms_that_are_known(dates):
    assert ann(dates)[0] == "i1"


def test_numbers_that_are_dates_are_not_taken_for_numbers():
    dates = [13012024, 20012024, 1022024]
    with pytest.raises(ValueError, match=r"look like a day, a month and a year.*format="):
        ann(dates)
    with pytest.raises(ValueError, match="look like a day"):
        ann([str(d).zfill(8) for d in dates])
    assert ann(dates, format="%d%m%Y")[0] == "i2" and ann([str(d).zfill(8) for d in dates], format="%d%m%Y")[0] == "i2"


S, MS = 1_700_000_000, 1000


@pytest.mark.parametrize("kind", [int, float, str])
@pytest.mark.parametrize(
    "dates, one, other",
    [
        ([S, (S + 100) * MS, S + 200], "seconds", "milliseconds"),
        ([S * MS, S + 100, S * MS], "seconds", "milliseconds"),
        ([S, (S + 100) * MS**2, S + 200], "seconds", "microseconds"),
        ([S * MS, S * MS**3, S * MS], "milliseconds", "nanoseconds"),
        ([20240101, S, 20240103], "a year, a month and a day", "seconds"),
        ([20240101, 20240102101500, 20240103], "a year, a month and a day", "a clock"),
        ([0, S, S * MS], "seconds", "milliseconds"),
    ],
)
def test_numbers_of_two_units_are_refused(tmp_path, dates, one, other, kind):
    """A millisecond of 2023 is larger than any second, so the wrong purchase would be the last."""
    with pytest.raises(ValueError, match=rf"date is .* in row .* which look like {one}.* and like .*{other}.*one unit.*rank"):
        ann([kind(d) for d in dates])
    rows = "".join(f"ann,i{n},{d}\n" for n, d in enumerate(dates))
    (tmp_path / "x.csv").write_text("user,item,date\n" + rows)
    with pytest.raises(ValueError, match=r"x\.csv, line \d"):
        from_csv(tmp_path / "x.csv", time="date", split="time")


@pytest.mark.parametrize(
    "dates",
    [
        [S, S + 200, S + 100], [S * MS, S * MS + 1, S * MS], [S * MS**3, S * MS**3 + 1, 0], [-5, S, 0], [1, 10**12, 10**9 + 5],
        [5, S, 17], [1, 2 * 10**10, 10**9], [20231231, 20240101, 20230101], [45000, 45002, 45001.5], [2023, 2024, 2022],
    ],
)  # fmt: skip
def test_numbers_that_may_be_of_one_unit_are_taken(dates):
    assert ann(dates)[0] == ann([str(d) for d in dates])[0] == "i1"
    assert ann([float(d) for d in dates])[0] == "i1" or dates[0] > 2**53


def test_moments_with_and_without_a_zone_are_refused():
    zoned, bare = pd.Timestamp("2024-01-01 10:00", tz="Asia/Tokyo"), pd.Timestamp("2024-01-01 09:00")
    for dates in ([zoned, bare], [None, bare, zoned], [datetime.datetime(2024, 1, 1), zoned.to_pydatetime()]):
        with pytest.raises(ValueError, match=r"date: 2024-01-01 10.* has a zone and 2024-01-01 0.* has none"):
            ann(dates)
    assert ann([zoned, pd.Timestamp("2024-01-01 09:00", tz="UTC")])[0] == "i1"  # two zones, both told


@pytest.mark.parametrize(
    "dates, settings, words",
    [
        (["2024-01-01", "", "2024-01-03"], {}, r"row 1: date is empty \(1 such rows\)"),
        (["2024-01-01", None, "2024-01-03"], {}, "row 1: date is empty"),
        ([1, np.nan, 3], {}, "row 1: date is empty"),
        ([1, np.inf, 3], {}, "row 1: date is empty"),
        (pd.to_datetime(["2024-01-01", None, "2024-01-03"]), {}, "row 1: date is empty"),
        (["2024-01-01", "2024-02-30", "2024-01-03"], {}, "row 1: date is '2024-02-30', neither"),
        (["Monday", "Tuesday"], {}, "no date of a form that is known here; pass format="),
        (["13/01/2024", "20/01/2024"], dict(dayfirst=False), "row 0: date is '13/01/2024'"),
        (["13/01/2024", "20/01/2024"], dict(format="%m/%d/%Y"), r"row 0: date is '13/01/2024', not of the format "
                                                                r"'%m/%d/%Y' \(2"),
        (["13/01/2024"], dict(format="%d/%m/%Y", dayfirst=True), "not both"),
        (["13/01/2024"], dict(format="mixed"), "one format for the whole column"),
        (["13/01/2024"], dict(dayfirst="yes"), "dayfirst must be"),
    ],
)  # fmt: skip
def test_what_is_refused(dates, settings, words):
    with pytest.raises(ValueError, match=words):
        ann(dates, **settings)


def test_all_that_python_writes_is_read_as_python_reads_it():
    moment = datetime.datetime(2024, 1, 31, 14, 5, 6, 250_000)
    for date in ("%d/%m/%Y", "%Y/%m/%d", "%d.%m.%y", "%d %b %Y", "%B %d, %Y"):
        for clock in ("", " %H:%M", " %H:%M:%S", ", %H:%M:%S.%f", " %I:%M %p", "T%H:%M", " %H:%M:%S+01:00"):
            text = moment.strftime(date + clock)
            formats = [f for reading in readings_of(text) for f in reading]
            plain = [part.removesuffix("+01:00") for part in (text, date + clock)]
            assert any(_python_reads(text, f) == datetime.datetime.strptime(*plain) for f in formats), text


def _python_reads(text, form):
    try:
        return datetime.datetime.strptime(text, form).replace(tzinfo=None)
    except ValueError:
        return None


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_blocks_do_not_change_what_is_read(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(csv_lines, "BLOCK", 26 * rows)
    dates = ["05/11/2023", "02/12/2023", "01/11/2023", "01/11/2023", "13/12/2023", "03/12/2023"]
    (tmp_path / "x.csv").write_text("user,item,date\n" + "".join(f"ann,i{n},{d}\n" for n, d in enumerate(dates)))
    shop = from_csv(tmp_path / "x.csv", time="date", split="time")
    assert shop.item_ids[shop.test[0]] == "i4" and "line 6" in shop.notes[0]


# ---- ties, and what is not used


def baskets(seed=0, n=300):
    """Day-granular purchases, several a day, sorted by day, user, item, as shops store them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.integers(high, size=8 * n) for name, high in (("day", 3), ("user", n), ("item", 200))})
    frame = frame.drop_duplicates().sort_values(["day", "user", "item"])
    return frame.assign(day=(pd.Timestamp("2024-03-01") + pd.to_timedelta(frame["day"], unit="D")).dt.strftime("%Y-%m-%d"))


def test_ties_are_drawn_whatever_the_order_of_the_rows():
    frame = baskets()
    orders = [frame, frame[::-1], frame.sample(frac=1, random_state=1)]
    shops = [from_frame(f, time="day", split="time") for f in orders]
    for shop in shops[1:]:
        assert np.array_equal(shop.test, shops[0].test) and np.array_equal(shop.train, shops[0].train)
    assert not np.array_equal(from_frame(frame, time="day", split="time", seed=1).test, shops[0].test)
    plain = 0
    for _, rows in frame.groupby("user"):
        met = rows.groupby("item")["day"].min()
        plain += len(met) > 1 and (met == met.max()).sum() > 1
    assert plain > 50 and f"{plain:,} users met several items at their last time" in shops[0].notes[-1]
    held = shops[0].item_ids[shops[0].test[shops[0].test_users]]
    assert 85 < held.mean() < 115  # of 0 … 199: no pattern


def test_held_out_is_the_last_new_item_by_a_plain_loop():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"user": rng.integers(40, size=400), "item": rng.integers(30, size=400), "t": rng.permutation(400)})
    shop = from_frame(frame, time="t", split="time")
    for u, user in enumerate(shop.user_ids):
        met = frame[frame.user == user].groupby("item")["t"].min()
        assert shop.test[u] == (-1 if len(met) == 1 else shop.item_number(met.idxmax()))
    assert len(shop.train) + len(shop.test_users) == len(frame.drop_duplicates(["user", "item"]))


def test_time_that_is_not_used_is_told(tmp_path):
    frame = pd.DataFrame({"user": list("aabb"), "item": list("xyxy"), "date": ["odd"] * 4})
    assert from_frame(frame, time="date").notes == ("time='date' is not used: the split is random; split='time' holds "
                                                    "the last one out",)
    assert "test= is the split" in from_frame(frame, time="date", split="time", test={"a": "x"}).notes[0]
    assert "dayfirst=True is not used" in from_frame(frame, dayfirst=True).notes[0]
    frame.to_csv(tmp_path / "x.csv", index=False)
    assert "time='date' is not used" in from_csv(tmp_path / "x.csv", time="date").notes[0]


# ---- one date for all


def table():
    rows = """ann a 2024-06-01|ann b 2024-06-30|ann a 2024-07-02|ann c 2024-07-03|ann d 2024-07-04|bob a 2024-06-02
    bob b 2024-06-03|cid a 2024-07-01|dan b 2024-05-01|dan e 2024-07-01|dan f 2024-07-01"""
    return pd.DataFrame([r.split() for r in rows.replace("\n", "|").split("|")], columns=["user", "item", "day"])


def test_one_date_for_all():
    looks = {key: [float(n), 1.0] for n, key in enumerate("abcdef")}
    eve = pd.DataFrame({"user": "eve", "item": ["a", "b", "c"], "day": ["2024-07-05", "2024-07-05", "2024-07-06"]})
    shop = from_frame(pd.concat([table(), eve]), looks, time="day", split="time", until="2024-06-30")
    assert shop.user_ids.tolist() == ["ann", "bob", "dan"]  # cid and eve are newcomers, and counted nowhere else
    held = {str(shop.user_ids[u]): str(shop.item_ids[shop.test[u]]) for u in shop.test_users}
    assert held["ann"] == "c" and held["dan"] in "ef" and "bob" not in held  # a was met before, d is later
    assert {(str(shop.user_ids[u]), str(shop.item_ids[i])) for u, i in shop.train} == {
        ("ann", "a"), ("ann", "b"), ("bob", "a"), ("bob", "b"), ("dan", "b")}  # fmt: skip
    assert [n.split(" (")[0] for n in shop.notes] == [
        "1 repeated interactions, counted once",
        "1 users met several items at their first new time: which of them is held out is drawn with seed=",
        "2 users are newcomers after until='2024-06-30', left out",
        "2 further interactions after until='2024-06-30', neither learnt from nor held out",
    ]
    bare = from_frame(table(), time="day", split="time", until="2024-06-30")  # without features new items are not known
    assert bare.item_ids.tolist() == ["a", "b"] and not len(bare.test_users)
    assert "2 users' held-out items are new" in bare.notes[-1]


def test_nothing_new_after_a_date_is_told():
    for until in ("2024-07-05", "2030-01-01"):
        shop = from_frame(table(), time="day", split="time", until=until)
        assert not len(shop.test_users) and f"new after until={until!r}: nothing is held out" in shop.notes[-1]
    frame = pd.DataFrame({"user": "ann", "item": list("abc"), "t": [S, S + 1, S + 2]})
    assert "nothing is held out" in from_frame(frame, time="t", split="time", until=S * MS).notes[-1]  # a slip


def test_until_is_a_day_to_its_end_or_a_moment():
    frame = table().assign(day=table().day + " 12:00")
    ends = {"2024-06-30": 2, "2024-06-30 11:59": 1, "2024-06-30 12:00": 2, datetime.date(2024, 6, 30): 2,
            pd.Timestamp("2024-06-30"): 1, np.datetime64("2024-06-30"): 2, np.datetime64("2024-06-30T00:00"): 1}  # fmt: skip
    for until, n in ends.items():
        shop = from_frame(frame, time="day", split="time", until=until)
        assert (shop.train[:, 0] == 0).sum() == n, until
    numbers = table().assign(day=range(11))
    assert len(from_frame(numbers, time="day", split="time", until=1).train) == 2
    dmy = table().assign(day=pd.to_datetime(table().day).dt.strftime("%d/%m/%Y"))
    for until in ("30/06/2024", "2024-06-30"):
        assert len(from_frame(dmy, time="day", split="time", until=until, dayfirst=True).train) == 5


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(until="2024-06-30"), "until= needs split='time'"),
        (dict(until="2024-06-30", test={"ann": "a"}), "pass one of them"),
        (dict(split="time", until=20240630), "column of dates; give until as they are"),
        (dict(split="time", until="June"), "no date of the form"),
        (dict(split="time", until="2020-01-01"), "nothing was met up to"),
    ],
)
def test_until_that_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        from_frame(table(), time="day", **settings)


def test_the_models_take_it():
    looks = {key: [float(n), 1.0] for n, key in enumerate("abcdef")}
    shop = from_frame(table(), looks, time="day", split="time", until="2024-06-30")
    model = amrlib.VBPR(dim=2).fit(shop, epochs=1, progress=False)
    assert len(amrlib.evaluate(model, shop, k=2, progress=False).ranks) == 2
