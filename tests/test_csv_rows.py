"""Tables in files: quotes, packing, headers, lines that are not text, and blocks that change nothing."""

import bz2
import csv
import datetime
import gzip
import io
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amrlib.datasets import csv_lines, from_csv, text_codes
from amrlib.datasets.csv_rows import read_table
from amrlib.datasets.text_codes import Collision, TextCodes, encoded

PAIRS = {"ann hat", "ann bag", "bob hat", "bob 007"}
TEXT = "user,item\nann,hat\nann,bag\nbob,hat\nbob,007\n"


def write(folder, content, name="own.csv"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def pairs(shop):
    held = [(u, shop.test[u]) for u in shop.test_users]
    return {f"{shop.user_ids[u]} {shop.item_ids[i]}" for u, i in [*shop.train, *held]}


# ---- quotes


@pytest.mark.parametrize("behind", [0, 1, 2000])
@pytest.mark.parametrize("bad_rows", ["refuse", "skip"])
def test_an_unclosed_quote_is_refused_where_it_begins(tmp_path, behind, bad_rows):
    rows = "".join(f"u{n},shoe\n" for n in range(behind))
    path = write(tmp_path, f'user,item\nann,hat\nann,"hat\n{rows}')
    with pytest.raises(ValueError, match=r"own\.csv, line 3: a quote is opened and not closed .*quote=None.*multiline=True"):
        from_csv(path, bad_rows=bad_rows)
    with pytest.raises(ValueError, match=r"own\.csv, line 3: a quote is opened and never closed"):
        from_csv(path, multiline=True, bad_rows=bad_rows)
    assert len(from_csv(path, quote=None).train) and '"hat' in from_csv(path, quote=None).item_ids.tolist()


@pytest.mark.parametrize("last, line", [('cas,3,"small" bag', 2), ('cas,3,monitor 5"', 2), ('cas,"3",small', 2)])
def test_a_quote_in_an_unused_column_swallows_nothing(tmp_path, last, line):
    path = write(tmp_path, f'user,item,what\nann,1,"big hat\nbob,2,bag\n{last}\n')
    with pytest.raises(ValueError, match=rf"own\.csv, line {line}: "):
        from_csv(path)
    assert from_csv(path, quote=None).n_users == 3


def test_quotes_that_are_closed_mean_what_they_say(tmp_path):
    path = write(tmp_path, 'user,item,what\n"ann, the first","hat ""x""",5" heel\n"ann, the first",bag,"a, b"\nbob,bag,\n')
    shop = from_csv(path)
    assert pairs(shop) == {'ann, the first hat "x"', "ann, the first bag", "bob bag"}
    with pytest.raises(ValueError, match=r"own\.csv, line 2: .*expected after"):
        from_csv(write(tmp_path, 'user,item\nann,"hat" x\n'))


def test_texts_over_several_lines_on_request(tmp_path, monkeypatch):
    text = 'user,item,review\nann,hat,"good,\nvery, good\n"\nann,bag,fine\nbob,hat,"\r\n"\nbob\nbob,007,x\n'
    for block in (10, 40, 1 << 20):
        monkeypatch.setattr(csv_lines, "BLOCK", block)
        path = write(tmp_path, text)
        with pytest.raises(ValueError, match="line 2: a quote is opened and not closed in the line"):
            from_csv(path)
        shop = from_csv(path, multiline=True, bad_rows="skip")
        assert pairs(shop) == PAIRS and "line 8: 1 columns" in shop.notes[0]
        with pytest.raises(ValueError, match="line 2: a user, item or time goes on over the line's end"):
            from_csv(write(tmp_path, 'user,item\n"ann\nbob",hat\n'), multiline=True)


# ---- forms


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed(tmp_path, pack):
    ending = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[pack]
    shop = from_csv(write(tmp_path, pack(TEXT.encode()), f"own.csv.{ending}"))
    assert pairs(shop) == PAIRS and shop.name == "own"
    assert pairs(from_csv(write(tmp_path, pack(TEXT.replace(",", "\t").encode()), f"own.tsv.{ending}"))) == PAIRS
    big = pack(("user,item\n" + "".join(f"u{n},i{n % 7}\n" for n in range(9999))).encode())
    with pytest.raises(ValueError, match=r"own\.csv\.\w+: damaged"):
        from_csv(write(tmp_path, big[: len(big) // 2], f"own.csv.{ending}"))


def test_zip(tmp_path):
    for names, fine in ((["own.csv"], True), (["own.csv", "__MACOSX/._own.csv"], True), (["a.csv", "b.csv"], False)):
        with zipfile.ZipFile(tmp_path / "own.csv.zip", "w") as archive:
            for name in names:
                archive.writestr(name, TEXT)
        if fine:
            assert pairs(from_csv(tmp_path / "own.csv.zip")) == PAIRS
        else:
            with pytest.raises(ValueError, match="holds 2 files"):
                from_csv(tmp_path / "own.csv.zip")


def test_without_a_header_line(tmp_path):
    path = write(tmp_path, "A1,B1,5.0,1300000000\nA1,B2,1.0,1400000000\nA2,B1,5.0,1200000000\n", "ratings.csv")
    with pytest.raises(ValueError, match=r"line 1: no column 'user', only 'A1', 'B1'.*no header line.*columns=\["):
        from_csv(path)
    shop = from_csv(path, columns=["user", "item", "rating", "when"], time="when", split="time")
    assert pairs(shop) == {"A1 B1", "A1 B2", "A2 B1"} and shop.item_ids[shop.test[0]] == "B2"
    with pytest.raises(ValueError, match=r"columns= has no 'user', only 'who'"):
        from_csv(path, columns=["who", "item"])
    with pytest.raises(ValueError, match="line 1: 4 columns where the header has 3"):
        from_csv(path, columns=["user", "item", "rating"])
    with pytest.raises(ValueError, match=r"line 1 is a header line; leave out columns="):
        from_csv(write(tmp_path, TEXT), columns=["user", "item"])


@pytest.mark.parametrize("sep", ["::", ";", "\t", "|", " "])
def test_other_separators(tmp_path, sep):
    path = write(tmp_path, TEXT.replace(",", sep))
    assert pairs(from_csv(path, sep=sep)) == PAIRS
    if sep != " ":
        with pytest.raises(ValueError, match=r"own\.csv, line 1: no column 'user'.*pass sep="):
            from_csv(path)
    with pytest.raises(ValueError, match=r"line 3: 1 columns where the header has 2"):
        from_csv(write(tmp_path, f"user{sep}item\nann{sep}hat\nbob\n"), sep=sep)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("block", [1, 7, 30, 1 << 20])
def test_line_ends_and_blocks(tmp_path, monkeypatch, end, last, block):
    monkeypatch.setattr(csv_lines, "BLOCK", block)
    text = TEXT.replace("\n", end)
    path = write(tmp_path, b"\xef\xbb\xbf" + (text if last else text.removesuffix(end)).encode())
    assert pairs(from_csv(path)) == PAIRS and from_csv(path).notes == ()
    with pytest.raises(ValueError, match="line 4: user or item is empty"):
        from_csv(write(tmp_path, text.replace("bob,hat", "bob, ")))


@pytest.mark.parametrize(
    "text, line", [("ann\nbob,hat,bag\n", 2), ("ann,hat,bag\nbob\n", 2), ("ann,hat\nbob,hat,bag\ncid\n", 3)]
)
def test_lines_too_short_and_too_long_do_not_make_up_for_each_other(tmp_path, text, line):
    """As many separators as there should be, in the wrong lines."""
    with pytest.raises(ValueError, match=rf"own\.csv, line {line}: \d columns where the header has 2"):
        from_csv(write(tmp_path, "user,item\n" + text))
    with pytest.raises(ValueError, match=rf"own\.csv, line {line}: \d columns"):
        from_csv(write(tmp_path, ("user,item\n" + text).replace("\n", "\r\n")))


def test_what_is_no_table_in_text(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_lines, "BLOCK", 10)
    monkeypatch.setattr(csv_lines, "LONGEST", 1 << 10)
    with pytest.raises(ValueError, match=r"own\.csv: a line of more than 0 MB; this is no table in text"):
        from_csv(write(tmp_path, "user,item\n" + "x" * 2000))
    for sep in (5, "\n", '"'):
        with pytest.raises(ValueError, match="sep must be text"):
            from_csv(write(tmp_path, TEXT), sep=sep)
    for quote in ("ab", 5):
        with pytest.raises(ValueError, match="quote must be one sign"):
            from_csv(write(tmp_path, TEXT), quote=quote)
    with pytest.raises(ValueError, match="multiline=True needs quotes"):
        from_csv(write(tmp_path, TEXT), quote=None, multiline=True)


def excel(sheet):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
    return file.getvalue()


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "packed with zstd; unpack it, or pack it as .gz"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7-Zip"),
        (b"Rar!\x1a\x07" + bytes(20), "RAR"),
        (excel("x"), "is an Excel workbook; save its sheet as CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(20), "is an Excel workbook"),
        (b"PK\x03\x04" + bytes(20), "damaged .* pack or download it again"),
        (b"PAR1" + bytes(20), r"in Parquet; let its name end in \.parquet"),
        (b"SQLite format 3\0", "is a database"),
        (TEXT.encode("utf-16"), "not UTF-8 but UTF-16"),
        (TEXT.encode("utf-16-le"), "not UTF-8 but UTF-16"),
        (b'"user,item\nann,hat\n', "line 1: a quote is opened and not closed"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, words):
    for name in ("own.csv", "own.csv.gz", "own.csv.zst"):
        with pytest.raises(ValueError, match=rf"own\.csv.*{words}"):
            from_csv(write(tmp_path, content, name))
    with pytest.raises(ValueError, match="is a folder; name the file"):
        from_csv(tmp_path)


def test_columns_of_one_name(tmp_path):
    with pytest.raises(ValueError, match="two columns are named 'item'"):
        from_csv(write(tmp_path, "user,item,item\nann,1,2\n"))


@pytest.mark.parametrize("bad, line", [(b"ann,h\xff\n", 4), (b"ann,hat\nbob,\xe9\n", 5), ("ann,hat\n".encode("utf-16"), 4)])
def test_a_line_that_is_not_text(tmp_path, monkeypatch, bad, line):
    for block in (8, 1 << 20):
        monkeypatch.setattr(csv_lines, "BLOCK", block)
        with pytest.raises(ValueError, match=rf"own\.csv, line {line}: not UTF-8 .*save it as UTF-8"):
            from_csv(write(tmp_path, "user,item\nann,hat\ncafé,bag\n".encode() + bad))
        with pytest.raises(ValueError, match=rf"own\.csv, line {line}: not UTF-8"):
            from_csv(tmp_path / "own.csv", multiline=True)
    with pytest.raises(ValueError, match="not UTF-8"):
        from_csv(write(tmp_path, gzip.compress(b"user,item,x\nann,hat,\xff\n")))  # in an unused column too
    with pytest.raises(ValueError, match=r"own\.csv, line 3, column 'item': .*cannot be seen"):
        from_csv(write(tmp_path, "user,item\nann,hat\nann,b\0ag\n"))


# ---- parquet


def test_parquet_without_pyarrow_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"own\.parquet needs pyarrow: pip install pyarrow"):
        from_csv(write(tmp_path, b"PAR1", "own.parquet"))


def parquet(folder, name="own.parquet", **columns):
    """A file as other programs write it, column by column."""
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is absent")
    from pyarrow import parquet as files

    columns = {"user": ["ann", "ann", "bob", "bob"], "item": ["x", "y", "x", "y"]} | columns
    files.write_table(arrow.table(columns), folder / name)
    return folder / name


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is absent")
    when = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01", "2024-01-02"])
    items = [2**60 + 1, 2**60 + 2, 7, 2**60 + 1]
    frame = pd.DataFrame({"user": ["ann", "ann", "bob", "bob"], "item": items, "when": when, "x": 0})
    frame.to_parquet(tmp_path / "own.parquet")
    shop = from_csv(tmp_path / "own.parquet", time="when", split="time")
    assert shop.item_ids.tolist() == [7, 2**60 + 1, 2**60 + 2] and shop.item_ids[shop.test].tolist() == [2**60 + 2, 2**60 + 1]
    with pytest.raises(ValueError, match="no column 'who', only 'user', 'item'"):
        from_csv(tmp_path / "own.parquet", user="who")
    holes = frame.assign(item=[2**60 + 1, 2**60 + 2, None, 7], user=[None, "ann", "bob", "bob"])
    holes.astype({"item": "Int64"}).to_parquet(tmp_path / "own.parquet")
    shop = from_csv(tmp_path / "own.parquet")
    assert "2 rows without user or item" in shop.notes[0]
    frame[["user", "item"]].set_index("user").to_parquet(tmp_path / "own.PARQUET")  # pandas' index is a column
    assert pairs(from_csv(tmp_path / "own.PARQUET")) == {f"{u} {i}" for u, i in zip(frame["user"], items)}
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        from_csv(write(tmp_path, b"PAR1 and then not", "own.parquet"))


def test_long_ids_beside_holes_stay_whole_in_parquet(tmp_path):
    a, b = 1234567890123456789, 1234567890123456790  # one float for both
    shop = from_csv(parquet(tmp_path, user=[a, b, None, b]))
    assert shop.user_ids.tolist() == [a, b] and shop.notes[0].startswith("1 rows without user or item")
    assert from_csv(parquet(tmp_path, user=[b"ann", b"ann", b"bob", b"bob"])).user_ids.tolist() == ["ann", "bob"]


def test_columns_of_every_kind_in_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is absent")
    users = ["ann", "ann", "bob", "bob"]
    texts = [arrow.array(users, kind) for kind in (arrow.string(), arrow.large_string(), arrow.string_view())]
    for column in (*texts, texts[0].dictionary_encode(), [1, 1, 2, 2], arrow.array([1, 1, 2, 2], arrow.int8())):
        assert from_csv(parquet(tmp_path, user=column)).n_users == 2
    days = [datetime.datetime(2024, 1, day) for day in (2, 1, 1, 2)]
    kinds = [arrow.timestamp(unit) for unit in ("s", "ms", "us", "ns")] + [arrow.timestamp("us", tz="Asia/Tokyo")]
    dates = [arrow.array(days, kind) for kind in kinds] + [[day.date() for day in days], [f"{d:%d/%m/%Y}" for d in days]]
    for column in dates:
        path = parquet(tmp_path, when=column)
        shop = from_csv(path, time="when", split="time", dayfirst=True if isinstance(column[0], str) else None)
        assert shop.item_ids[shop.test].tolist() == ["x", "y"]
    for column in ([[1], [1], [2], [2]], [{"a": 1}] * 4):
        with pytest.raises(ValueError, match=r"own\.parquet, row 0, column 'user': ids are text or whole numbers"):
            from_csv(parquet(tmp_path, user=column))
    with pytest.raises(ValueError, match="in Parquet; let its name end in"):
        from_csv(parquet(tmp_path, "own.pq"))
    short = parquet(tmp_path, "test.parquet", user=["ann", "cas"], item=["y", "x"])
    assert "1 entries with users that are not" in from_csv(parquet(tmp_path), test=short).notes[0]


# ---- blocks of bytes beside Python's own csv


TEXT_CELL = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(TEXT_CELL, TEXT_CELL, TEXT_CELL), max_size=20),
    st.integers(1, 200), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_what_csv_writes_is_read_as_csv_reads_it(tmp_path_factory, rows, block, quoting, end):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=quoting, lineterminator=end).writerows([("user", "item", "x"), *rows])
    path = write(tmp_path_factory.getbasetemp(), buffer.getvalue(), "any.csv")
    table = csv.reader(io.StringIO(buffer.getvalue(), newline=""), strict=True)
    next(table)
    sound = [row for row in table if len(row) == 3 and row[0].strip() and row[1].strip()]
    if any("\n" in text or "\r" in text for row in rows for text in row[:2]):
        return  # refused: see above
    before, csv_lines.BLOCK = csv_lines.BLOCK, block
    try:
        found = read_table(path, ["user", "item"], None, multiline=True, skip=True, progress=False)
        quick = None
        if not any("\n" in text or "\r" in text for row in rows for text in row):
            quick = read_table(path, ["user", "item"], None, skip=True, progress=False)
    finally:
        csv_lines.BLOCK = before
    for one in (found, quick):
        if one is not None:
            columns = [(codes, texts) for codes, texts in map(one.column, (0, 1))]
            read = [tuple(texts[codes[n]] for codes, texts in columns) for n in range(one.rows)]
            assert read == [tuple(row[:2]) for row in sound]


def test_many_texts_get_numbers_in_the_order_in_which_they_come():
    rng = np.random.default_rng(0)
    codes, numbers = TextCodes(), {}
    for _ in range(20):
        column = ["é" * int(n % 3) + "x" * int(n % 37) + str(n) for n in rng.integers(2000, size=500)]
        found = codes(*encoded(column))
        assert found.tolist() == [numbers.setdefault(text, len(numbers)) for text in column]
    assert codes.texts == list(numbers)


def test_hashes_that_agree_are_not_taken_for_one_text(monkeypatch):
    real = text_codes._hashes

    def poor(*given):
        h = real(*given)
        h[0] = 5  # all texts alike in the first hash
        return h

    monkeypatch.setattr(text_codes, "_hashes", poor)
    with pytest.raises(Collision):
        TextCodes()(*encoded(["ann", "bob"]))
    codes = TextCodes()
    codes(*encoded(["ann"]))
    with pytest.raises(Collision):
        codes(*encoded(["bob"]))


def test_half_a_million_rows_in_little_memory(tmp_path):
    """Of every row a few numbers: texts are kept once each."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(3000, size=500_000), rng.integers(2000, size=500_000)
    path = write(tmp_path, "user,item\n" + "".join(f"u{u:030},i{i:030}\n" for u, i in zip(users.tolist(), items.tolist())))
    import tracemalloc

    tracemalloc.start()
    try:
        shop = from_csv(path, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(shop.train) + len(shop.test_users) == len(np.unique(users * 2000 + items))
    assert peak < 120e6  # the file has 31 MB, its rows as Python texts some 100 MB


CELLS = ['""', '"', '"a', 'a"', '"a""b"', '"",""', '","', '"""', '"a,""b"', 'a"b"', '"a"b', '"a" ', ' "a"', "a"]


@pytest.mark.parametrize("cell", CELLS)
def test_quotes_around_whole_fields_are_taken_off_and_no_others(tmp_path, cell):
    """The block at once, beside Python's csv line by line."""
    path = write(tmp_path, f'user,item,x\n"ann",hat,"1"\nbob,{cell},1\n"cid","bag",\n')
    try:
        rows = [row for row in csv.reader(io.StringIO(path.read_text()), strict=True)][1:]
        sound = all(len(row) == 3 and row[1].strip() for row in rows) and "\n" not in "".join(map("".join, rows))
    except csv.Error:
        sound = False
    if not sound:
        with pytest.raises(ValueError, match=r"own\.csv, line 3"):
            from_csv(path)
        return
    table = read_table(path, ["user", "item"], None, progress=False)
    columns = [table.column(which) for which in (0, 1)]
    assert [[texts[codes[n]] for codes, texts in columns] for n in range(3)] == [row[:2] for row in rows]
