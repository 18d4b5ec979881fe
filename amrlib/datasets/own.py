"""Your own data: a table of who took what, and a vector or a picture of every item.

Real tables have holes, repetitions and ids of all sorts. What can be repaired without guessing is repaired, and
``shop.notes`` tells what was done; what cannot is refused, with the file and the line or the row of the table.
"""

from __future__ import annotations

import csv as csv_module
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..atomic_files import write_atomically
from ..progress import progress_bar
from .dataset import Dataset, leave_one_out
from .download import cache_folder

__all__ = ["NETWORKS", "PICTURES", "features_of_pictures", "from_csv", "from_frame"]

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
NETWORKS = ("shop", "efficientnet_lite0", "resnet50", "alexnet")


def from_frame(
    frame: pd.DataFrame,
    features: Any = None,
    feature_ids: Sequence[Any] | None = None,
    user: str = "user",
    item: str = "item",
    time: str | None = None,
    split: str = "random",
    test: Mapping[Any, Any] | None = None,
    scale: bool = True,
    seed: int = 0,
    name: str = "own",
    where: Callable[[int], str] | None = None,
) -> Dataset:
    """A data set from a pandas table with a row for each interaction.

    Parameters
    ----------
    frame : DataFrame
        Columns ``user`` and ``item``, and ``time`` if there is one; other columns are left alone. Ids may be text or
        numbers, with gaps; they are numbered 0, 1, 2, … in their order (numbers as numbers, anything else as text).
    features : DataFrame indexed by item id, a mapping of id to vector, or an array (n, D); optional
        Items nobody has touched are part of the catalogue too, known by their features alone.
    feature_ids : n ids, optional
        Whose the rows of the array are; left out, row number and item id are the same.
    time : column of numbers or dates, needed for ``split="time"``
    split : ``"random"`` or ``"time"``
        Which of a user's items is held out: a random one, or the one met last (of items met more than once, the
        first time counts). Users with a single item keep it.
    test : mapping of user id to item id, optional
        A split you already have, instead of ``split``. A pair that is in the table as well is taken out of training.
    scale : bool
        Divide features by their largest absolute value, so that ε means the same as elsewhere in the book. An array
        mapped from a file is read into memory by it.
    where : function, optional
        Names a row of the table in messages; its number when left out.

    Returns
    -------
    Dataset
        ``notes`` tells what was repaired. Extras: ``user_ids`` and ``item_ids``, your own ids as text;
        ``feature_scale``, what the features were divided by (with features).

    Raises
    ------
    ValueError
        Columns missing, times missing under ``split="time"``, features of the wrong shape, ids of ``test`` unknown,
        nothing left; the message names the argument and the first row at fault.
    """
    where = where or (lambda row: f"row {row}")
    notes: list[str] = []
    wanted = [user, item] + ([time] if time else [])
    missing = [c for c in wanted if c not in frame.columns]
    if missing:
        raise ValueError(
            f"the table has no column {missing[0]!r}, only {', '.join(map(repr, frame.columns[:10]))}; "
            f"name the columns with user=, item=, time="
        )
    if split not in ("random", "time"):
        raise ValueError(f"split must be 'random' or 'time', not {split!r}")
    if split == "time" and not time and test is None:
        raise ValueError("split='time' needs time=, the name of the column of times")

    user_codes, user_ids = _numbered(frame[user], user, where)  # (n,), -1 where missing
    item_codes, item_ids = _numbered(frame[item], item, where)
    good = (user_codes >= 0) & (item_codes >= 0)
    if not good.all():
        bad = np.flatnonzero(~good)
        notes.append(f"{len(bad):,} rows without user or item ({where(int(bad[0]))} first), left out")

    table, table_ids = _table(features, feature_ids)
    largest = 1.0
    if table is not None:
        table, table_ids = _usable(table, table_ids, notes)
        place = {key: n for n, key in reversed(list(enumerate(table_ids)))}  # of repeated ids the first
        if len(place) < len(table_ids):
            notes.append(f"{len(table_ids) - len(place):,} feature rows of repeated ids, left out")
        bare = np.array([key not in place for key in item_ids], dtype=bool)
        lost = good & bare[item_codes]
        if bare.any():
            first = item_ids[int(np.flatnonzero(bare)[0])]
            notes.append(
                f"{int(bare.sum()):,} items without features ({first!r} first), left out with {int(lost.sum()):,} rows"
            )
        good &= ~lost
        catalogue = _in_order(set(place))
        number = {key: n for n, key in enumerate(catalogue)}
        item_codes = np.array([number.get(key, -1) for key in item_ids], dtype=np.int64)[item_codes]
        item_ids = catalogue
        rows = np.array([place[key] for key in catalogue], dtype=np.int64)
        if not np.array_equal(rows, np.arange(len(table))):  # in order already: a memory map stays one
            table = table[rows]
        if scale:
            table = np.asarray(table, dtype=np.float32 if table.dtype != np.float16 else np.float16)
            largest = float(np.abs(table).max(initial=0)) or 1.0
            table = (table / table.dtype.type(largest)).astype(table.dtype)

    rows = np.flatnonzero(good)
    if not len(rows):
        raise ValueError("no interaction is left" + "".join(f"; {note}" for note in notes))
    # users all of whose rows went would be empty rows of P
    kept, users = np.unique(user_codes[rows], return_inverse=True)
    if len(kept) < len(user_ids):
        notes.append(f"{len(user_ids) - len(kept):,} users are left without an interaction, left out")
    user_ids = [user_ids[u] for u in kept]
    if table is None:  # without features nothing is known of an item all of whose rows went
        kept_items, items = np.unique(item_codes[rows], return_inverse=True)
        item_ids = [item_ids[i] for i in kept_items]
    else:
        items = item_codes[rows]
    pairs = np.stack([users, items], axis=1).astype(np.int64)  # (n, 2)

    when = None
    if split == "time" and time and test is None:
        when = _times(frame[time].iloc[rows], rows, time, where)
        pairs = pairs[np.argsort(when, kind="stable")]
    keys = pairs[:, 0] * len(item_ids) + pairs[:, 1]
    _, first_rows = np.unique(keys, return_index=True)
    if len(first_rows) < len(pairs):
        notes.append(f"{len(pairs) - len(first_rows):,} repeated interactions, counted once")
    pairs = pairs[np.sort(first_rows)]

    if test is not None:
        train, held = _given(pairs, test, user_ids, item_ids, notes)
    elif when is not None:
        train, held = _last_out(pairs, len(user_ids))
    else:
        train, held = leave_one_out(pairs, seed=seed, n_users=len(user_ids))
    extras = {} if table is None else {"feature_scale": largest}
    return Dataset(train, held, table, n_users=len(user_ids), n_items=len(item_ids), name=name, user_ids=user_ids,
                   item_ids=item_ids, extras=extras, notes=notes)  # fmt: skip


def from_csv(
    csv: str | Path,
    images: str | Path | None = None,
    network: str | Callable[[list[Any]], Any] = "shop",
    user: str = "user",
    item: str = "item",
    time: str | None = None,
    split: str = "random",
    seed: int = 0,
    bad_rows: str = "refuse",
    sep: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Dataset:
    """A data set from a CSV of interactions and a folder of pictures.

    Parameters
    ----------
    csv : path
        UTF-8 with a header line. Ids are text: 007 and 7 are two things.
    images : folder, optional
        The picture of item ``hat`` is ``hat.jpg``, or another of ``PICTURES``. Pictures of items nobody has touched
        join the catalogue.
    network, device, batch_size, cache : see :func:`amrlib.datasets.own.features_of_pictures`
    user, item, time, split, seed : see :func:`amrlib.from_frame`
    bad_rows : ``"refuse"`` or ``"skip"``
        Rows with too many or too few columns or with an empty id. Skipped ones are counted in ``notes``.
    sep : one character; a tab for .tsv and a comma otherwise

    Returns
    -------
    Dataset
        As :func:`amrlib.from_frame`; with ``network="shop"`` its ``images`` are what the CNN saw, uint8
        (n_items, 28, 28).

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; a row that cannot be read, with file and line; no picture in the folder.
    """
    path = Path(csv)
    if bad_rows not in ("refuse", "skip"):
        raise ValueError(f"bad_rows must be 'refuse' or 'skip', not {bad_rows!r}")
    wanted = [user, item] + ([time] if time else [])
    rows, lines, skipped = _read_csv(path, wanted, sep or ("\t" if path.suffix == ".tsv" else ","), bad_rows)
    columns = list(zip(*rows)) or [()] * len(wanted)
    frame = pd.DataFrame({name: list(column) for name, column in zip(wanted, columns)}, dtype=str)
    features, names, seen = None, None, None
    notes: list[str] = []
    if images is not None:
        names, features, seen, notes = features_of_pictures(images, network, device, batch_size, cache, progress)
    shop = from_frame(
        frame, features, names, user, item, time, split, seed=seed, name=path.stem,
        where=lambda row: f"{path.name}, line {lines[row]}",
    )  # fmt: skip
    if skipped:
        notes = [f"{len(skipped):,} rows that cannot be read ({skipped[0]}), left out", *notes]
    if seen is not None and names is not None:
        place = {key: n for n, key in enumerate(names)}
        shop = shop.replace(images=seen[[place[key] for key in shop.item_ids]])
    return shop.replace(notes=(*notes, *shop.source_notes))


def features_of_pictures(
    folder: str | Path,
    network: str | Callable[[list[Any]], Any] = "shop",
    device: str = "auto",
    batch_size: int = 64,
    cache: str | Path | None = None,
    progress: bool = True,
) -> tuple[list[str], np.ndarray, np.ndarray | None, list[str]]:
    """What a CNN makes of every picture in a folder; kept in the cache until a picture changes.

    Parameters
    ----------
    network : ``"shop"``, ``"efficientnet_lite0"``, ``"resnet50"``, ``"alexnet"``, or a function
        The CNN that ships with the book (128-d, sees 28×28 grey pixels: good for trying out); EfficientNet-Lite0
        (1280-d, colour, :mod:`amrlib.efficientnet`), whose weights are a package to install; torchvision's two,
        where it is installed (2048-d before the classifier, 4096-d fc7; it fetches their weights at the first use:
        where the book is made there is no way to them, so the tests draw random ones); or your own, which takes a
        list of RGB ``PIL.Image`` and gives (n, D). Results of a function are not cached.
    batch_size : int
        Pictures looked at together.
    cache : folder, optional
        Instead of ``own`` in the usual cache folder.

    Returns
    -------
    names : list of str, the pictures' names without their endings
    features : float32, shape (n, D)
    seen : uint8, shape (n, 28, 28), or None
        The pixels the shop's CNN was shown.
    notes : list of str, what was found odd

    Raises
    ------
    ValueError
        No readable picture; an unknown network, or its package missing, with the command that installs it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"images: there is no folder {folder}")
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}")
    if not callable(network) and network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(map(repr, NETWORKS))} or a function, not {network!r}")
    notes: list[str] = []
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES and path.is_file():
            if path.stem in files:
                notes.append(f"{path.name}: {files[path.stem].name} is the picture of that item already, left out")
            files.setdefault(path.stem, path)
    if not files:
        raise ValueError(f"images: no picture in {folder}; looked for names that end in {', '.join(PICTURES)}")

    kept: Path | None = None
    if not callable(network):
        stats = ((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files.values())
        key = hashlib.sha256(repr((1, network, str(folder.resolve()), list(stats))).encode()).hexdigest()[:24]
        kept = Path(cache or cache_folder() / "own") / f"{network}-{key}.npz"
        found = _read_kept(kept)
        if found is not None:
            names = found["names"].tolist()
            return names, found["features"], found.get("seen"), notes + found["notes"].tolist()

    look = network if callable(network) else _looker(network, device)
    names, parts, seen, unreadable = [], [], [], []
    batches = [list(files.items())[n : n + batch_size] for n in range(0, len(files), batch_size)]
    for batch in progress_bar(batches, "features", progress):
        pictures = []
        for stem, path in batch:
            try:
                pictures.append(_open(path))
                names.append(stem)
            except Exception as error:  # Pillow has many, and a picture from the web may raise any
                unreadable.append(f"{path.name} cannot be read as a picture ({type(error).__name__}), left out")
        if pictures:
            if network == "shop":
                seen.append(np.stack([_as_in_the_shop(p) for p in pictures]))
                parts.append(np.asarray(look(list(seen[-1])), dtype=np.float32))
            else:
                out: Any = look(pictures)
                parts.append(np.asarray(out.cpu() if hasattr(out, "cpu") else out, dtype=np.float32))
            if parts[-1].ndim != 2 or len(parts[-1]) != len(pictures):
                raise ValueError(f"network gave {parts[-1].shape} for {len(pictures)} pictures, not ({len(pictures)}, D)")
    if not parts:
        raise ValueError(f"images: none of the {len(files)} pictures in {folder} can be read: {unreadable[0]}")
    features = np.concatenate(parts)
    pixels = np.concatenate(seen) if seen else None
    if kept is not None:
        arrays: dict[str, Any] = {"names": np.array(names), "features": features}
        arrays["notes"] = np.array(unreadable, dtype=str)
        if pixels is not None:
            arrays["seen"] = pixels
        packed = io.BytesIO()
        np.savez(packed, **arrays)
        write_atomically(kept, packed.getvalue())
    return names, features, pixels, notes + unreadable


# ---------------------------------------------------------------- tables


def _numbered(column: pd.Series, name: str, where: Callable[[int], str]) -> tuple[np.ndarray, list[str]]:
    """Codes (n,) into the ids in order, -1 where missing; ids as text."""
    codes, found = pd.factorize(column)  # missing values get -1
    texts = []
    for code, value in enumerate(found):
        if isinstance(value, float | np.floating):
            if not float(value).is_integer():
                row = where(int(np.flatnonzero(codes == code)[0]))
                raise ValueError(f"{row}, column {name!r}: {value!r} is no id; ids are text or whole numbers")
            value = int(value)  # a column of whole numbers with holes arrives as floats
        texts.append(str(value).strip())
    ids = _in_order({t for t in texts if t})
    number = {key: n for n, key in enumerate(ids)}
    lookup = np.array([number.get(t, -1) for t in texts] + [-1], dtype=np.int64)
    return lookup[codes], ids


def _in_order(ids: set[str]) -> list[str]:
    if all(re.fullmatch(r"-?\d{1,18}", key) for key in ids):
        return sorted(ids, key=lambda key: (int(key), key))
    return sorted(ids)


def _table(features: Any, ids: Sequence[Any] | None) -> tuple[np.ndarray | None, list[str]]:
    """Feature rows (n, D) and whose they are, as text."""
    if features is None:
        if ids is not None:
            raise ValueError("feature_ids without features")
        return None, []
    if isinstance(features, pd.DataFrame):
        ids, features = list(features.index), features.to_numpy()
    elif isinstance(features, Mapping):
        ids, features = list(features), list(features.values())
        lengths = [np.size(vector) for vector in features]
        odd = [n for n, length in enumerate(lengths) if length != lengths[0]]
        if odd:
            raise ValueError(f"features: {ids[odd[0]]!r} has {lengths[odd[0]]} numbers, {ids[0]!r} has {lengths[0]}")
    try:
        table = np.asanyarray(features)
        if not np.issubdtype(table.dtype, np.floating):
            table = table.astype(np.float32)
    except (TypeError, ValueError):
        raise ValueError("features must be numbers, one row for each item") from None
    if table.ndim != 2:
        raise ValueError(f"features must have shape (n_items, D), not {table.shape}")
    names = [str(key).strip() for key in (range(len(table)) if ids is None else ids)]
    if len(names) != len(table):
        raise ValueError(f"feature_ids has {len(names)} entries for {len(table)} rows of features")
    return table, names


def _usable(table: np.ndarray, ids: list[str], notes: list[str]) -> tuple[np.ndarray, list[str]]:
    fine = np.concatenate(
        [np.isfinite(table[n : n + 4096]).all(axis=1) for n in range(0, len(table), 4096)] or [np.ones(0, dtype=bool)]
    )
    if fine.all():
        return table, ids
    bad = np.flatnonzero(~fine)
    notes.append(f"{len(bad):,} items with NaN or infinite features ({ids[bad[0]]!r} first): as if they had none")
    return table[fine], [key for key, ok in zip(ids, fine) if ok]


def _times(column: pd.Series, rows: np.ndarray, name: str, where: Callable[[int], str]) -> np.ndarray:
    """Numbers that grow with time, float64 or int64."""
    values = pd.to_numeric(column, errors="coerce")
    if pd.api.types.is_datetime64_any_dtype(column) or values.isna().all():
        values = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
    bad = np.flatnonzero(values.isna().to_numpy())
    if len(bad):
        raise ValueError(
            f"{where(int(rows[bad[0]]))}: {name} is {column.iloc[bad[0]]!r}, neither a number nor a date as the others "
            f"are ({len(bad):,} such rows); correct it, drop the rows or take split='random'"
        )
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.astype("int64").to_numpy()
    return values.to_numpy()


def _last_out(pairs: np.ndarray, n_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Of distinct pairs in the order of time, each user's last one is held out if there are two or more."""
    order = np.argsort(pairs[:, 0], kind="stable")
    counts = np.bincount(pairs[:, 0], minlength=n_users)
    last = np.cumsum(counts) - 1
    held = order[last[counts >= 2]]
    test = np.full(n_users, -1, dtype=np.int64)
    test[pairs[held, 0]] = pairs[held, 1]
    train = np.delete(pairs, held, axis=0)
    return train[np.lexsort((train[:, 1], train[:, 0]))], test


def _given(
    pairs: np.ndarray, test: Mapping[Any, Any], user_ids: list[str], item_ids: list[str], notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    users = {key: n for n, key in enumerate(user_ids)}
    items = {key: n for n, key in enumerate(item_ids)}
    held = np.full(len(user_ids), -1, dtype=np.int64)
    for user, item in test.items():
        for what, key, known in (("user", user, users), ("item", item, items)):
            if str(key).strip() not in known:
                raise ValueError(f"test: {what} {key!r} is not among those of the table (or was left out)")
        held[users[str(user).strip()]] = items[str(item).strip()]
    leaked = held[pairs[:, 0]] == pairs[:, 1]
    if leaked.any():
        notes.append(f"{int(leaked.sum()):,} test items that were in train too, taken out of train")
    return pairs[~leaked], held


def _read_csv(path: Path, wanted: list[str], sep: str, bad_rows: str) -> tuple[list[list[str]], list[int], list[str]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    skipped: list[str] = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv_module.reader(file, delimiter=sep)
        try:
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in wanted if name not in header]
            if missing:
                raise ValueError(
                    f"{path.name}, line 1: no column {missing[0]!r}, only {', '.join(map(repr, header[:10]))}; "
                    f"name the columns with user=, item=, time=, or the separator with sep="
                )
            columns = [header.index(name) for name in wanted]
            for row in _numbered_rows(reader):
                line, values = row
                if not any(v.strip() for v in values):
                    continue
                fault = ""
                if len(values) != len(header):
                    fault = f"{len(values)} columns where the header has {len(header)}"
                elif not all(values[c].strip() for c in columns[:2]):
                    fault = "user or item is empty"
                if fault and bad_rows == "refuse":
                    raise ValueError(f"{path.name}, line {line}: {fault}; correct it, or pass bad_rows='skip'")
                if fault:
                    skipped.append(f"{path.name}, line {line}: {fault}")
                    continue
                rows.append([values[c] for c in columns])
                lines.append(line)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path.name}, line {_not_utf8(path)}: not UTF-8 ({error.reason}); save it as UTF-8"
            ) from None
        except csv_module.Error as error:
            raise ValueError(f"{path.name}, line {reader.line_num}: {error}") from None
    return rows, lines, skipped


def _not_utf8(path: Path) -> int:
    """The first line that is not UTF-8. The reader does not know: it decodes many lines ahead."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError:
                return number
    return 0


def _numbered_rows(reader: Any) -> Iterator[tuple[int, list[str]]]:
    last = reader.line_num
    for values in reader:  # a quoted field may span lines: a row is named by its first
        yield last + 1, values
        last = reader.line_num


# ---------------------------------------------------------------- pictures


def _open(path: Path) -> Any:
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        picture: Any = ImageOps.exif_transpose(file)
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:  # as it looks on a white page
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return picture.convert("RGB")


def _square(picture: Any) -> tuple[Any, Any]:
    """The picture in the middle of a square of its border's colour, so that nothing is cut off; and that colour."""
    from PIL import Image

    pixels = np.asarray(picture)  # (H, W) or (H, W, 3)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(np.median(edge.reshape(len(edge), -1), axis=0).astype(int).tolist())
    side = max(picture.size)
    square = Image.new(picture.mode, (side, side), colour if len(colour) > 1 else colour[0])
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square, colour


def _as_in_the_shop(picture: Any) -> np.ndarray:
    """uint8 (28, 28): a bright thing on black, as the shop's pictures are; product photographs are often on white."""
    from PIL import Image

    square, (border,) = _square(picture.convert("L"))
    small = np.asarray(square.resize((28, 28), Image.Resampling.LANCZOS))
    return 255 - small if border > 127 else small


def _looker(network: str, device: str) -> Callable[[list[Any]], Any]:
    import torch

    from ..device import resolve_device
    from ..vision import extract_features, load_cnn

    target = resolve_device(device)
    if network == "shop":
        cnn = load_cnn(target)
        return lambda pixels: extract_features(np.stack(pixels), cnn, target, progress=False)
    if network == "efficientnet_lite0":
        from ..efficientnet import as_pixels, load_efficientnet_lite0

        lite0 = load_efficientnet_lite0(target)
        return lambda pictures: lite0.features(torch.stack([as_pixels(_square(p)[0]) for p in pictures]).to(target))
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # the second: one that was built for another torch
        raise ValueError(
            f"network={network!r} needs a torchvision that fits this torch ({error}): pip install torchvision, "
            f"or take network='shop'"
        ) from None
    if network == "resnet50":
        weights = models.ResNet50_Weights.DEFAULT
        model = models.resnet50(weights=weights)
        model.fc = torch.nn.Identity()  # (B, 2048), as the AMR paper
    else:
        weights = models.AlexNet_Weights.DEFAULT
        model = models.alexnet(weights=weights)
        model.classifier = model.classifier[:-1]  # (B, 4096), fc7 as VBPR
    model = model.eval().requires_grad_(False).to(target)
    transform = weights.transforms()
    return lambda pictures: model(torch.stack([transform(p) for p in pictures]).to(target))


def _read_kept(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
    except Exception:  # absent, or damaged: made anew
        return None
    if not {"names", "features", "notes"} <= set(found) or len(found["names"]) != len(found["features"]):
        return None
    return found
