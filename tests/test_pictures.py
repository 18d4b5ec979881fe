"""Folders of pictures: whose each is, what a person sees in it, and a hundred thousand of them."""

import os
import struct
import subprocess
import sys
import unicodedata
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from amrlib.datasets import from_csv, from_frame, pictures
from amrlib.datasets.open_pictures import open_picture
from amrlib.datasets.picture_files import of_items, pictures_in
from amrlib.datasets.pictures import features_of_pictures

MEAN = lambda seen: np.stack([np.asarray(p).mean((0, 1)) for p in seen])  # noqa: E731


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AMRLIB_DATA", str(tmp_path / "cache"))


def shop_of(folder, ids, files, **settings):
    """A shop whose two users have all items, with the pictures of these names."""
    where = folder / "pictures"
    for n, name in enumerate(files):
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {".heic": "PNG", ".jxl": "PNG"}.get(os.path.splitext(name)[1].lower())
        pixels = np.full((8, 8, 3), 15 * n + 10, np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None]
        Image.fromarray(pixels).save(where / name, kind)
    rows = "".join(f"{u},{i}\n" for u in ("ann", "bob") for i in ids)
    (folder / "own.csv").write_text("user,item\n" + rows, encoding="utf-8")
    return from_csv(folder / "own.csv", where, network=MEAN, progress=False, **settings)


# ---- whose picture


@pytest.mark.parametrize(
    "ids, files",
    [
        (["0108775015", "0108775044"], ["010/0108775015.jpg", "010/0108775044.jpg"]),  # in subfolders
        (["010/0108775015", "010/0108775044"], ["010/0108775015.jpg", "010/0108775044.jpg"]),
        (["a/1", "b/1"], ["a/1.png", "b/1.png"]),  # one name in two folders, told apart by the ids
        (["hat.png", "bag.png"], ["hat.png", "bag.png"]),  # with the ending
        (["x/hat.png", "x/bag.jpg"], ["x/hat.png", "x/bag.jpg"]),
        (["hat", "bag"], ["HAT.PNG", "Bag.JPG"]),  # in other letters
        (["Hat", "BAG"], ["hat.png", "deep/er/bag.jpeg"]),
        (["hat", "bag"], ["hat.tif", "bag.tiff"]),
        (["hat.v2", "hat.v1"], ["hat.v2.png", "hat.v1.png"]),
        ([unicodedata.normalize("NFC", "café"), "bag"], [unicodedata.normalize("NFD", "café") + ".png", "bag.png"]),
        ([unicodedata.normalize("NFD", "café"), "bag"], [unicodedata.normalize("NFC", "café") + ".png", "bag.png"]),
    ],
)
def test_a_picture_is_found(tmp_path, ids, files):
    shop = shop_of(tmp_path, ids, files)
    assert sorted(shop.item_ids.tolist()) == sorted(unicodedata.normalize("NFC", i) for i in ids)
    level = {str(i): 15 * n + 13.5 for n, i in enumerate(unicodedata.normalize("NFC", i) for i in ids)}
    found = dict(zip(shop.item_ids.tolist(), (shop.features[:, 0] * shop.feature_scale).tolist()))
    assert found == pytest.approx(level, abs=1)
    other = any(os.path.splitext(os.path.basename(f))[0] not in "".join(ids) and f.isascii() for f in files)
    assert len(shop.notes) == other and (not other or "named in other letters" in shop.notes[0])


@pytest.mark.parametrize(
    "ids, files, words",
    [
        (["108775015", "bag"], ["0108775015.png", "bag.png"], r"'0108775015\.png' differs from '108775015' by its "
                                                              r"zeros.*dtype=str"),
        (["hat", "bag"], ["hat_1.png", "hat_2.png", "bag.png"], r"'hat_1\.png' begins with 'hat'"),
        (["/shop/img/hat.png", "bag"], ["hat.png", "bag.png"], r"'hat\.png' is the last part of '/shop/img/hat\.png': keep"),
        ([r"C:\img\hat", "bag"], ["a/hat.png", "bag.png"], r"'a/hat\.png' is the last part of 'C:"),
        (["https://x.org/hat.png", "bag"], ["hat.png", "bag.png"], r"is the last part of 'https://x\.org/hat\.png'"),
        (["hat", "bag"], ["bag.png"], r"no picture for 1 items; looked for 'hat\.jpg', 'hat\.png'"),
        (["Hat", "hat", "bag"], ["hat.png", "bag.png"], r"looked for 'Hat\.jpg'"),  # two ids, one picture: whose it is, is told
    ],
)
def test_the_name_looked_for_is_told(tmp_path, ids, files, words):
    shop = shop_of(tmp_path, ids, files, untouched=False)
    assert pd.Series(shop.notes).str.contains(words).any(), shop.notes
    assert ids[0] not in shop.item_ids.tolist()


def test_no_picture_at_all_is_refused_before_any_is_opened(tmp_path):
    with pytest.raises(ValueError, match=r"no item has a picture.*'0108775015\.png' differs from '108775015'"):
        shop_of(tmp_path, ["108775015"], ["0108775015.png"])
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no picture in .* and its subfolders"):
        from_csv(tmp_path / "own.csv", tmp_path / "none")


def test_two_pictures_of_one_name(tmp_path):
    with pytest.raises(ValueError, match=r"a/hat\.png and b/hat\.png are both a picture of 'hat'.*write the folder "
                                         r"into the ids"):
        shop_of(tmp_path, ["hat"], ["a/hat.png", "b/hat.png"])
    with pytest.raises(ValueError, match="both a picture of 'hat'"):
        features_of_pictures(tmp_path / "pictures", MEAN, progress=False)
    shop = shop_of(tmp_path, ["hat"], ["hat.png"])  # above the others: small copies, mostly, lie below
    assert shop.notes == ("a/hat.png: hat.png is the picture of that item already, left out",
                          "b/hat.png: hat.png is the picture of that item already, left out")  # fmt: skip


STRAY = ["logo.png", "a3-back.png", "a7_2.png", "a1 (1).png"]


@pytest.mark.parametrize("untouched, n", [(None, 11), (True, 14), (False, 10)])
def test_stray_pictures_never_join_in_silence(tmp_path, untouched, n):
    ids = [f"a{k}" for k in range(10)]
    shop = shop_of(tmp_path, ids, [f"{i}.png" for i in ids] + STRAY, untouched=untouched)
    assert shop.n_items == n and len(shop.notes) == (2 if untouched is None else 1)
    told = " ".join(shop.notes)
    if untouched is None:
        assert "3 pictures whose names begin with an item's ('a1 (1).png' first)" in told and "1 pictures of no item" in told
        assert shop.item_ids.tolist()[-1] == "logo"
    else:
        assert f"{4} pictures of no item of the table" in told


def test_ids_that_are_numbers(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is absent")
    shop_of(tmp_path, ["7", "8"], ["7.png", "8.png", "9.png"])
    pd.DataFrame({"user": ["a", "a"], "item": [7, 8]}).to_parquet(tmp_path / "own.parquet")
    shop = from_csv(tmp_path / "own.parquet", tmp_path / "pictures", network=MEAN, progress=False)
    assert shop.item_ids.tolist() == [7, 8, 9]


def test_matching_takes_ids_of_both_kinds(tmp_path):
    shop_of(tmp_path, ["7"], ["7.png", "9.png", "logo.png"])
    files, notes = pictures_in(tmp_path / "pictures"), []
    assert {k: v.name for k, v in of_items(files, [7], False, notes).items()} == {7: "7.png"}
    with pytest.raises(ValueError, match="'logo' is no id like those of the table"):
        of_items(files, [7], True, notes)


def test_what_lies_beside_pictures_is_not_looked_at(tmp_path):
    shop_of(tmp_path, ["hat"], ["hat.png"])
    for name in (".hat2.png", "._hat.png", "__MACOSX/hat.png", ".thumbs/hat.png", "@eaDir/hat.png", "hat.txt"):
        (tmp_path / "pictures" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "pictures" / name).write_bytes(b"no picture")
    assert [p.as_posix() for p in pictures_in(tmp_path / "pictures")] == ["hat.png"]


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    shop_of(tmp_path, ["hat"], ["hat.png"])
    for name in ("bag.heic", "boot.jxl", "sock.svg"):
        (tmp_path / "pictures" / name).write_bytes(b"\0\0\0\x18ftypheic or another")
    (tmp_path / "own.csv").write_text("user,item\nann,hat\nann,bag\nann,boot\nann,sock\nbob,hat\n")
    shop = from_csv(tmp_path / "own.csv", tmp_path / "pictures", network=MEAN, progress=False)
    os.symlink(tmp_path / "gone.png", tmp_path / "pictures" / "link.png")
    assert "link.png cannot be read as a picture (FileNotFoundError), left out" in features_of_pictures(
        tmp_path / "pictures", progress=False)[3]  # fmt: skip
    for name in ("bag.heic", "boot.jxl", "sock.svg"):
        assert f"{name} cannot be read as a picture (UnidentifiedImageError), left out; save it as .png or .jpg" in shop.notes


# ---- what is seen


def sixteen(pixels, kind="I;16"):
    turned = pixels.astype(">u2" if kind == "I;16B" else "<u2")
    return Image.frombytes(kind, pixels.shape[::-1], turned.tobytes())


def png(depth, colour, rows, chunks=b""):
    """A PNG of uint8 or uint16 rows (h, w·channels), by hand: Pillow does not write all kinds."""
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))  # noqa: E731
    h, wide = rows.shape
    w = wide // {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    raw = b"".join(b"\0" + row.tobytes() for row in rows.astype(f">u{depth // 8}"))
    extra = chunk(b"tRNS", chunks) if chunks else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


DEEP = np.array([[0, 257, 30000, 65535]], dtype=np.uint16)
EIGHT = [0, 1, 117, 255]


@pytest.mark.parametrize("kind", ["I;16", "I;16B"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path, kind, ending):
    if kind == "I;16B" and ending == "png":
        pytest.skip("Pillow writes no such PNG")
    sixteen(DEEP, kind).save(tmp_path / f"a.{ending}")
    seen = np.asarray(open_picture(tmp_path / f"a.{ending}"))
    assert seen.shape == (1, 4, 3) and (seen == np.array(EIGHT)[None, :, None]).all()


def test_sixteen_bits_with_a_see_through_grey_colour_and_alpha():
    seen = np.asarray(open_picture(png(16, 0, DEEP, struct.pack(">H", 30000))))
    assert seen[0, :, 0].tolist() == [0, 1, 255, 255]
    rgb = np.asarray(open_picture(png(16, 2, np.array([[30000, 2000, 65535]]))))
    assert np.abs(rgb[0, 0].astype(int) - [117, 8, 255]).max() <= 1
    la = np.asarray(open_picture(png(16, 4, np.array([[0, 0, 0, 65535]]))))
    assert la[0, :, 0].tolist() == [255, 0]


def test_pixels_of_which_nobody_says_what_is_white(tmp_path):
    shop_of(tmp_path, ["hat"], ["hat.png"])
    for n, pixels in enumerate((DEEP.astype(np.int32), DEEP.astype(np.float32) / 65535)):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"x{n}.tif")
    notes = features_of_pictures(tmp_path / "pictures", MEAN, progress=False)[3]
    assert len(notes) == 2 and all("its pixels have 32 bits" in note for note in notes)


def red_on_nothing(mode):
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    picture.paste((200, 0, 0, 255), (0, 0, 2, 4))
    return picture.convert(mode) if mode != "P" else picture.quantize(4)


@pytest.mark.parametrize(
    "mode, ending, settings",
    [
        ("RGBA", "png", {}), ("P", "png", {}), ("RGBA", "gif", {}), ("RGBA", "webp", dict(lossless=True)), ("LA", "png", {}),
        ("RGBA", "tif", {}), ("RGBA", "avif", dict(quality=100)), ("La", "tif", {}),
    ],
)  # fmt: skip
def test_what_is_seen_through_is_white(tmp_path, mode, ending, settings):
    path = tmp_path / f"a.{ending}"
    try:
        red_on_nothing("LA" if mode == "La" else mode).save(path, **settings)
    except (OSError, KeyError, ValueError):
        pytest.skip(f"this Pillow writes no {mode} as {ending}")
    seen = np.asarray(open_picture(path)).astype(int)
    assert (seen[:, 3] >= 253).all()
    want = [60, 60, 60] if mode in ("LA", "La") else [200, 0, 0]
    assert np.abs(seen[:, 0] - want).max() <= 12


def test_other_kinds_of_picture(tmp_path):
    colours = np.array([[[200, 30, 30], [30, 200, 30], [30, 30, 200], [250, 250, 250]]], np.uint8).repeat(8, 0).repeat(8, 1)
    plain = Image.fromarray(colours)
    plain.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
    plain.convert("CMYK").save(tmp_path / "cmyk.tif")
    plain.convert("P").save(tmp_path / "palette.png")
    plain.save(tmp_path / "rgb.bmp")
    plain.save(tmp_path / "moves.gif", save_all=True, append_images=[Image.new("RGB", plain.size)])
    plain.save(tmp_path / "moves.webp", save_all=True, append_images=[Image.new("RGB", plain.size)], lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    plain.rotate(180).save(tmp_path / "turned.jpg", exif=turned, quality=100, subsampling=0)
    for path in sorted(tmp_path.glob("*.*")):
        seen = np.asarray(open_picture(path)).astype(int)
        assert np.abs(seen[4, 4::8] - colours[4, 4::8].astype(int)).max() <= 50, path.name  # a palette has few colours
        assert seen[4, 4::8].argmax(1)[:3].tolist() == [0, 1, 2], path.name
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert np.asarray(open_picture(tmp_path / "bits.png"))[0, :, 0].tolist() == [255, 0]


def test_pictures_in_which_there_is_nothing_to_see_are_noted(tmp_path):
    where = tmp_path / "p"
    where.mkdir()
    rng = np.random.default_rng(0)
    for n in range(30):
        Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(where / f"i{n:02}.png")
    for n in (3, 4, 5, 6):
        (where / f"i{n:02}.png").write_bytes((where / "i02.png").read_bytes())  # "no picture available"
    Image.new("RGB", (9, 9), (255, 255, 255)).save(where / "i07.png")
    (where / "i08.png").unlink()
    Image.new("CMYK", (9, 9), (0, 255, 0, 0)).save(where / "i08.jpg")
    expected = [
        "2 pictures are of one colour (i07.png first): nothing can be seen in them",
        "5 pictures are one and the same file (i02.png first): a stand-in for missing ones?",
    ]
    for _ in range(2):  # the second time from the cache
        assert features_of_pictures(where, progress=False)[3] == expected
    assert features_of_pictures(where, MEAN, progress=False)[3] == expected


# ---- many


def test_a_call_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    shop_of(tmp_path, ["hat"], [f"i{n}.png" for n in range(9)] + ["hat.png"])
    whole = features_of_pictures(tmp_path / "pictures", cache=tmp_path / "other", progress=False)
    monkeypatch.setattr(pictures, "PART", 4)
    real, looked = pictures.open_picture, []

    def breaks(content):
        looked.append(1)
        if len(looked) == 7:
            raise KeyboardInterrupt
        return real(content)

    monkeypatch.setattr(pictures, "open_picture", breaks)
    monkeypatch.setattr(pictures, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        features_of_pictures(tmp_path / "pictures", progress=False)
    looked.clear()
    monkeypatch.setattr(pictures, "open_picture", lambda content: looked.append(1) or real(content))
    again = features_of_pictures(tmp_path / "pictures", progress=False)
    assert len(looked) == 6 and again[0] == whole[0] and np.array_equal(again[2], whole[2])
    assert np.allclose(again[1], whole[1], atol=1e-5)
    Image.new("RGB", (5, 5)).save(tmp_path / "pictures" / "i8.png")  # one that has changed: its part alone
    looked.clear()
    features_of_pictures(tmp_path / "pictures", progress=False)
    assert len(looked) == 2
    (part,) = [p for p in (tmp_path / "cache" / "own").iterdir()][:1]
    part.write_bytes(part.read_bytes()[:50])
    assert np.array_equal(features_of_pictures(tmp_path / "pictures", progress=False)[2][:4], whole[2][:4])


def test_a_function_never_holds_more_than_a_batch(tmp_path):
    shop_of(tmp_path, ["hat"], [f"i{n}.png" for n in range(9)] + ["hat.png"])
    sizes = []
    features_of_pictures(tmp_path / "pictures", lambda p: sizes.append(len(p)) or MEAN(p), batch_size=4, progress=False)
    assert sizes == [4, 4, 2]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let a program choose its cores")
def test_memory_does_not_grow_with_the_pictures(tmp_path):
    """Sixty pictures of 9 MB each, in far less than they take together."""
    where = tmp_path / "large"
    where.mkdir()
    Image.effect_noise((1500, 2000), 50).save(where / "i0.jpg", quality=30)
    for n in range(1, 60):
        os.link(where / "i0.jpg", where / f"i{n}.jpg")
    program = (
        "import os, resource, sys\nos.sched_setaffinity(0, list(os.sched_getaffinity(0))[:2])\n"  # a picture a core
        "from amrlib.datasets.pictures import features_of_pictures\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "features_of_pictures(sys.argv[1], cache=sys.argv[2], progress=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    run = subprocess.run([sys.executable, "-c", program, where, tmp_path / "c"], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 250_000  # kB; all sixty are 540,000


def test_from_frame_takes_what_features_of_pictures_gives(tmp_path):
    shop_of(tmp_path, ["hat"], ["hat.png", "bag.png"])
    names, features, seen, notes = features_of_pictures(tmp_path / "pictures", progress=False)
    assert names == ["bag", "hat"] and features.shape == (2, 128) and seen.shape == (2, 28, 28) and notes == []
    assert from_frame(pd.DataFrame({"user": ["a"], "item": ["hat"]}), features, names).n_items == 2
