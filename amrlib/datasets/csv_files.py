"""Your own data in files: a table of interactions and a folder of pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .csv_rows import read_table
from .dataset import Dataset
from .dates import Times
from .ids import number_distinct, numbered
from .interactions import Interactions, check_split, data_set_of
from .packed_files import without_packing
from .picture_files import of_items, pictures_in
from .pictures import check_network, features_of_files


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
    until: Any = None,
    dayfirst: bool | None = None,
    format: str | None = None,
    test: Any = None,
    columns: Sequence[str] | None = None,
    quote: str | None = '"',
    multiline: bool = False,
    untouched: bool | None = None,
) -> Dataset:
    """A data set from a table of interactions in a file, and a folder of pictures.

    Parameters
    ----------
    csv : path
        UTF-8 text, a row a line, with a header line or ``columns``; it may be packed (.gz, .bz2, .xz, or .zip with nothing
        else in it). Ids are text: 007 and 7 are two things. Or a .parquet file, for which pyarrow is needed; ids are then of
        the kind that they have there.
    images : folder, optional
        The picture of item ``hat`` is ``hat.jpg``, or another of ``PICTURES``, in the folder or a subfolder; an id may have
        the ending, or the subfolder, in it.
    network, device, batch_size, cache : see :func:`amrlib.datasets.pictures.features_of_pictures`
    user, item, time, split, seed, until, dayfirst, format, test : see :func:`amrlib.from_frame`
        ``test`` may be the path of a second file with the columns ``user`` and ``item``.
    bad_rows : ``"refuse"`` or ``"skip"``
        Rows with too many or too few columns or with an empty id. Skipped ones are counted in ``notes``.
    sep : what stands between columns; a tab for .tsv and a comma otherwise
        Of more than one sign ("::") too; quotes then mean nothing.
    columns : names of all columns, for a file without a header line
    quote : one sign, or None where quotes mean nothing
    multiline : bool
        Whether quoted texts may go on over several lines. Left out, such a quote is taken for a forgotten one, and refused.
    untouched : bool, optional
        Whether pictures of no item of the table are items that nobody has met, and join the catalogue. Left out, they do,
        but for those whose names begin with another item's (``hat-back``, ``hat_2``). ``notes`` counts both.

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
    if images is not None:
        check_network(network, batch_size)  # before millions of rows are read
    how = dict(sep=sep, columns=columns, quote=quote, multiline=multiline, skip=bad_rows == "skip", progress=progress)
    notes: list[str] = []
    by_time = check_split(split, time, until, test, notes, dayfirst, format)
    times = Times(str(time), dayfirst, format) if by_time else None
    rows = _read(path, user, item, time, times, how, notes)
    if isinstance(test, str | Path):
        held = _read(Path(test), user, item, None, None, how, notes)
        ids = (held.users, held.user_ids), (held.items, held.item_ids)
        test = pd.DataFrame({name: [known[c] for c in codes] for name, (codes, known) in zip((user, item), ids)}, dtype=object)
    features, names, pixels = None, None, None
    if images is not None:
        folder = Path(images)
        files = of_items(pictures_in(folder), rows.item_ids, untouched, notes)
        if not any(key in files for key in rows.item_ids):
            raise ValueError("no interaction is left, since no item has a picture" + "".join(f"; {note}" for note in notes))
        names, features, pixels, found = features_of_files(folder, files, network, device, batch_size, cache, progress)
        notes += found
    shop = data_set_of(rows, features, names, by_time, until, test, (user, item), True, seed, without_packing(path).stem, notes)
    if pixels is not None and names is not None:
        place = {key: n for n, key in enumerate(names)}
        pixels = pixels[[place[key] for key in shop.item_ids.tolist()]]
        pixels.flags.writeable = False  # ours alone: the data set need not copy it
        shop = shop.replace(images=pixels)
    return shop


def _read(
    path: Path, user: str, item: str, time: str | None, times: Times | None, how: dict[str, Any], notes: list[str]
) -> Interactions:
    needed = [user, item] + ([time] if time is not None else [])
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the file that holds the table")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, needed, times, notes)
    table = read_table(path, needed, times, **how)
    if table.skipped:
        notes.append(f"{len(table.skipped):,} rows that cannot be read ({table.skipped[0]}), left out")
    users, user_ids = number_distinct(*table.column(0), lambda row: f"{table.say(row)}, column {user!r}", notes)
    items, item_ids = number_distinct(*table.column(1), lambda row: f"{table.say(row)}, column {item!r}", notes)
    return Interactions(users, user_ids, items, item_ids, times, table.say)


def _read_parquet(path: Path, needed: list[str], times: Times | None, notes: list[str]) -> Interactions:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ValueError(f"{path.name} needs pyarrow: pip install pyarrow, or save the table as .csv.gz") from None
    try:
        with parquet.ParquetFile(path) as file:
            absent = [name for name in needed if name not in file.schema_arrow.names]
            if absent:
                raise ValueError(f"{path.name}: no column {absent[0]!r}, only "
                                 f"{', '.join(map(repr, file.schema_arrow.names[:10]))}; "
                                 "name the columns with user=, item=, time=")  # fmt: skip
            twice = [name for name in needed if file.schema_arrow.names.count(name) > 1]
            if twice:
                raise ValueError(f"{path.name}: two columns are named {twice[0]!r}; rename one")
            texts = [name for name in needed[:2] if str(file.schema_arrow.field(name).type) in ("string", "large_string")]
        # Texts as codes into their distinct ones: a fraction of the memory. Whole numbers stay so beside holes, and what pandas
        # wrote as its index is a column like others.
        table = parquet.read_table(path, columns=list(dict.fromkeys(needed)), read_dictionary=texts)
        frame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    except ArrowException as error:
        raise ValueError(f"{path.name} cannot be read as parquet: {error}") from None
    say = lambda row: f"{path.name}, row {row}"  # noqa: E731
    users, user_ids = numbered(frame[needed[0]], lambda row: f"{say(row)}, column {needed[0]!r}", notes)
    items, item_ids = numbered(frame[needed[1]], lambda row: f"{say(row)}, column {needed[1]!r}", notes)
    if times is not None:
        times.add(frame[needed[2]])
    return Interactions(users, user_ids, items, item_ids, times, say)
