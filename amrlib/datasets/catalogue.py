"""The public data sets: what they are, where they come from, under which terms, and how to load one.

Nothing here was written by us and none of it may be passed on with the book: files are downloaded to the reader's own
machine, at the first call. None of them is unpickled or evaluated: interactions are text, features are plain arrays.

Large files are read as streams, or in blocks of a memory map that are let go of one after another, so memory holds
the interactions that were kept and the feature rows that are needed, or only the former with ``on_disk=True``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .amazon import four_columns, read_amazon, whole_records
from .checked_files import Remote
from .colour_themes import read_colour_themes
from .cornac_sets import read_cornac
from .dataset import Dataset
from .download import cache_folder, fetch
from .mapped_features import FeatureReader
from .pinterest import read_pinterest
from .published import differences

__all__ = ["SETS", "PublicSet", "load_public"]


@dataclass(frozen=True)
class PublicSet:
    """What ``python -m amrlib datasets`` tells of a set, and what its reader needs."""

    name: str
    about: str
    size: str  # to download
    terms: str
    origin: str
    files: dict[str, Remote]
    published: dict[str, float] = field(default_factory=dict)  # statistics after reading, as published
    published_in: str = ""
    activity: tuple[int, ...] = ()  # how many users have 0, 1, 2, … training interactions, where that is known
    popularity: tuple[int, ...] = ()  # and how many items


_AMR = "https://raw.githubusercontent.com/duxy-me/AMR/c924225cb3357b8ec5a7122d64880d125894a1ec/data/pinterest/"
_AMR_TOO = "https://github.com/duxy-me/AMR/raw/c924225cb3357b8ec5a7122d64880d125894a1ec/data/pinterest/"
_CORNAC = "https://static.preferred.ai/cornac/datasets/"
_COLOURS = "https://www.dgp.toronto.edu/~donovan/cfcolor/cfcolor.zip"
_SNAP = ("https://snap.stanford.edu/data/amazon/productGraph/", "http://snap.stanford.edu/data/amazon/productGraph/")
_CLOTHING = "Clothing_Shoes_and_Jewelry"
# Where the others fail: the Internet Archive's copy of an address as it was, and Software Heritage's of a file by its
# git blob id. Neither is sure to have it.
_ARCHIVE = "https://web.archive.org/web/2024id_/"
_HERITAGE = "https://archive.softwareheritage.org/api/1/content/sha1_git:"
_NO_LICENCE = "no licence stated: for your own study, not to be passed on"


def _pinterest(name: str, git: str, size: int) -> Remote:
    return Remote(f"pinterest/{name}", (_AMR + name, _AMR_TOO + name, f"{_HERITAGE}{git}/raw/"), git=git, size=size)


def _cornac(name: str, size: int) -> Remote:
    return Remote(name, (_CORNAC + name, _ARCHIVE + _CORNAC + name), size=size)


def _amazon(name: str, size: int, check: Callable[[Path], None] | None = None) -> Remote:
    places = (*_SNAP, _ARCHIVE + _SNAP[1])
    return Remote(f"amazon-2014/{name.rpartition('/')[2]}", tuple(a + name for a in places), size=size, check=check)


_AMAZON_FILES = {
    "ratings": _amazon(f"categoryFiles/ratings_{_CLOTHING}.csv", 236_000_000, four_columns),
    "5-core": _amazon(f"categoryFiles/reviews_{_CLOTHING}_5.json.gz", 45_000_000),
    "meta": _amazon(f"categoryFiles/meta_{_CLOTHING}.json.gz", 280_000_000),
    "images": _amazon(f"image_features/categoryFiles/image_features_{_CLOTHING}.b", 24_600_000_000, whole_records),
}
_AMAZON: dict[str, Any] = dict(
    size="about 25 GB",
    terms=_NO_LICENCE + "; its authors ask to be cited (McAuley et al., SIGIR 2015)",
    origin="snap.stanford.edu/data/amazon/productGraph, Amazon 2014",
    files=_AMAZON_FILES,
)

SETS: dict[str, PublicSet] = {
    s.name: s
    for s in (
        PublicSet(
            "pinterest",
            "pins with ResNet-50 features, the AMR paper's own split and sampled negatives",
            "about 57 MB",
            _NO_LICENCE,
            "github.com/duxy-me/AMR at c924225",
            {
                "train": _pinterest("pos.txt", "3a8ba23ae08bbe2d9171a3fa17a0fbb4714a495d", 62_459),
                "test": _pinterest("neg.txt", "1b17f6e9216b81f80b982fb4eb2ef1aef616521a", 16_000_000),
                "features": _pinterest("f_resnet.npy", "5ff4abd4b80c2037464c38c70782e6b3f23f6e88", 40_943_744),
            },
            {"users": 3226, "items": 4998, "interactions": 9844, "cold share of distinct test items": 0.526},
            "the AMR paper, Table 1",
            # counted over the rows of pos.txt, 87 of which repeat another
            (0, 1512, 822, 472, 230, 105, 35, 19, 23, 6, 2),
            (1180, 2629, 594, 268, 122, 72, 38, 32, 18, 14, 5, 4, 5, 5, 4, 1, 0, 1, 2, 2, 0, 1, 0, 0, 0, 1),
        ),
        PublicSet(
            "amazon-clothing",
            "a small cut of Amazon clothing with 4096-d features",
            "about 60 MB",
            _NO_LICENCE,
            "static.preferred.ai/cornac, from Amazon 2014",
            {
                "ratings": _cornac("amazon_clothing/rating.zip", 200_000),
                "features": _cornac("amazon_clothing/image.zip", 60_000_000),
                "ids": _cornac("amazon_clothing/item_ids.zip", 20_000),
            },
            {"users": 5377, "items": 3393, "interactions": 13689},
            "Cornac's list of data sets",
        ),
        PublicSet(
            "tradesy",
            "second-hand clothes bought and wanted, with 4096-d features",
            "up to 2.7 GB",
            _NO_LICENCE,
            "static.preferred.ai/cornac, from jmcauley.ucsd.edu",
            {
                "ratings": _cornac("tradesy/users.zip", 3_000_000),
                "features": _cornac("tradesy/item_features.zip", 2_700_000_000),
                "ids": _cornac("tradesy/item_ids.zip", 1_000_000),
            },
            {"users": 19243, "items": 165906, "interactions": 394421},
            "Cornac's list of data sets",
        ),
        PublicSet(
            "amazon-women",
            "Amazon's women's clothing with 4096-d features",
            **_AMAZON,
            published={
                "users": 83337,
                "items": 299555,
                "interactions": 706949,
                "cold share of distinct test items": 0.459,
            },
            published_in="the AMR paper, Table 1",
        ),
        PublicSet("amazon-men", "Amazon's men's clothing with 4096-d features, cut in the same way", **_AMAZON),
        PublicSet(
            "colour-themes",
            "1,137 people's ratings of themes of five colours, drawn and described by the book",
            "a few MB",
            "none stated; taken as CC BY-NC-SA 2.5 Canada, the licence of its sister release of 2011: for your own study",
            "dgp.toronto.edu/~donovan/cfcolor (O'Donovan, Agarwala & Hertzmann, CAe 2014)",
            {
                "archive": Remote(
                    "colour-themes/cfcolor.zip",
                    (_COLOURS, _ARCHIVE + _COLOURS),
                    sha256="47c07095642cfab3c2eeab366a5d152b07783cbb5af390cbfda7d7c13db4b54c",
                )
            },
        ),
    )
}


def load_public(
    name: str,
    folder: str | Path | None = None,
    dtype: str = "float32",
    on_disk: bool | None = None,
    scale: bool = True,
    seed: int = 0,
    ratings: str = "ratings",
    progress: bool = True,
    likes: float | None = None,
) -> Dataset:
    """One of :data:`SETS`, downloaded at the first call; ``amrlib.load_dataset(name)``.

    Parameters
    ----------
    folder : path, optional
        Of the downloads, instead of ``AMRLIB_DATA`` or the user's cache folder. Files put there by hand are used.
    dtype : ``"float32"`` or ``"float16"``
        Of the features; half of the memory, about three digits.
    on_disk : bool, optional
        Keep the features in the cache folder and map them into memory. Left out: from 1 GiB on.
    scale : bool
        Divide the features by their largest absolute value, as the AMR paper's authors do: ε is in these units.
    seed : int
        Draws the held-out items. Pinterest comes with its own.
    ratings : ``"ratings"`` or ``"5-core"``
        The two Amazon 2014 sets: every rating, or the cut in which users and items have five or more.
    progress : bool
        Bars for whatever takes more than a second.
    likes : number
        Of ``"colour-themes"`` alone: the lowest rating, of 1 to 5, that counts as an interaction; 4 when left out.

    Returns
    -------
    Dataset
        ``notes`` tells what was dropped or repaired and where the counts differ from the published ones. Extras:
        ``item_ids`` (n_items,), ``feature_scale`` what the features were divided by, ``published`` counts.

    Raises
    ------
    OSError, ValueError
        From the download (:func:`amrlib.datasets.download.fetch`); a file that is not what it should be, with its
        name and the line or row; a full disk; unknown options.
    """
    if name not in SETS:
        raise ValueError(f"unknown public data set {name!r}; the known ones are: {', '.join(SETS)}")
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype must be 'float32' or 'float16', not {dtype!r}")
    if ratings not in ("ratings", "5-core"):
        raise ValueError(f"ratings must be 'ratings' or '5-core', not {ratings!r}")
    if likes is not None and name != "colour-themes":
        raise ValueError(f"likes= means nothing to {name!r}, only to 'colour-themes'")
    chosen, base = SETS[name], Path(folder or cache_folder())
    unused = {"ratings": "5-core", "5-core": "ratings"}[ratings]
    paths = {key: fetch(f, base, progress) for key, f in chosen.files.items() if not (key == unused and "meta" in chosen.files)}
    reader = FeatureReader(base / name, dtype, on_disk, scale, progress)
    try:
        if name == "colour-themes":
            shop = read_colour_themes(paths["archive"], 4 if likes is None else likes, seed, scale, dtype)
        elif name == "pinterest":
            shop = read_pinterest(paths, reader)
        elif name.startswith("amazon-") and "meta" in paths:
            word = name.removeprefix("amazon-").capitalize()
            shop = read_amazon(paths, word, ratings, reader, seed, progress, base / name)
        else:
            members = {
                "amazon-clothing": ("rating.txt", "image_features.npy", "\t"),
                "tradesy": ("users.csv", "item_features.npy", ","),
            }
            shop = read_cornac(paths, *members[name], reader, seed)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG):
            raise
        raise OSError(f"{base}: {error.strerror}; free some space, or name another folder in AMRLIB_DATA") from None
    notes = (*shop.source_notes, *differences(shop, chosen.published, chosen.published_in))
    return shop.replace(name=name, extras={**shop.extras, "published": chosen.published}, notes=notes)
