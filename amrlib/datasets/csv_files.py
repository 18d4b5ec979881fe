"""Your own data in files: a CSV of interactions and a folder of pictures."""

from __future__ import annotations

import csv as csv_module
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .dataset import Dataset
from .pictures import features_of_pictures
from .tables import from_frame

__all__ = ["from_csv"]


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
    network, device, batch_size, cache : see :func:`amrlib.datasets.pictures.features_of_pictures`
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
    needed = [user, item] + ([time] if time else [])
    rows, lines, skipped = _read_csv(path, needed, sep or ("\t" if path.suffix == ".tsv" else ","), bad_rows)
    columns = list(zip(*rows)) or [()] * len(needed)
    frame = pd.DataFrame({name: list(column) for name, column in zip(needed, columns)}, dtype=str)
    features, names, pixels = None, None, None
    notes: list[str] = []
    if images is not None:
        names, features, pixels, notes = features_of_pictures(images, network, device, batch_size, cache, progress)
    shop = from_frame(
        frame, features, names, user, item, time, split, seed=seed, name=path.stem,
        where=lambda row: f"{path.name}, line {lines[row]}",
    )  # fmt: skip
    if skipped:
        notes = [f"{len(skipped):,} rows that cannot be read ({skipped[0]}), left out", *notes]
    if pixels is not None and names is not None:
        place = {key: n for n, key in enumerate(names)}
        pixels = pixels[[place[key] for key in shop.item_ids.tolist()]]
        pixels.flags.writeable = False  # ours alone: the data set need not copy it
        shop = shop.replace(images=pixels)
    return shop.replace(notes=(*notes, *shop.source_notes))


def _read_csv(path: Path, needed: list[str], sep: str, bad_rows: str) -> tuple[list[list[str]], list[int], list[str]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    skipped: list[str] = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv_module.reader(file, delimiter=sep)
        try:
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in needed if name not in header]
            if missing:
                raise ValueError(
                    f"{path.name}, line 1: no column {missing[0]!r}, only {', '.join(map(repr, header[:10]))}; "
                    f"name the columns with user=, item=, time=, or the separator with sep="
                )
            columns = [header.index(name) for name in needed]
            for line, values in _numbered_rows(reader):
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
