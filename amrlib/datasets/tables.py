"""Your own data: a table of who took what, and a vector of every item.

Real tables have holes, repetitions and ids of all sorts. What can be repaired without guessing is repaired, and
``shop.notes`` tells what was done; what cannot is refused, with the file and the line or the row of the table.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from .dataset import Dataset
from .dates import Times
from .ids import numbered
from .interactions import Interactions, check_split, data_set_of


def from_frame(
    frame: pd.DataFrame,
    features: Any = None,
    feature_ids: Sequence[Any] | None = None,
    user: str = "user",
    item: str = "item",
    time: str | None = None,
    split: str = "random",
    test: Any = None,
    scale: bool = True,
    seed: int = 0,
    name: str = "own",
    where: Callable[[int], str] | None = None,
    until: Any = None,
    dayfirst: bool | None = None,
    format: str | None = None,
) -> Dataset:
    """A data set from a pandas table with a row for each interaction.

    Parameters
    ----------
    frame : DataFrame
        Columns ``user`` and ``item``, and ``time`` if there is one; other columns are left alone. Ids are whole numbers,
        with gaps, or text; the shop keeps them as they are, and numbers them 0, 1, 2, … in their order. One id in two
        Unicode forms is one id.
    features : DataFrame indexed by item id, a mapping of id to vector, or an array (n, D); optional
        Items nobody has touched are part of the catalogue too, known by their features alone. Their ids are of the
        same kind as those of the table: 7 and "7" do not meet.
    feature_ids : n ids, optional
        Whose the rows of the array are; left out, row number and item id are the same.
    time : column of numbers or dates, needed for ``split="time"``
        Dates have one format from the first row to the last.
    split : ``"random"`` or ``"time"``
        Which of a user's items is held out: a random one, or the one met last (of items met more than once, the
        first time counts; of several met at the last time a random one). Users with a single item keep it.
    test : mapping of user id to item id, or a table with the columns ``user`` and ``item``; optional
        A split you already have, instead of ``split``. A pair that is in the table as well is taken out of training; entries
        that the table does not know are left out and counted; None for an item means that the user is not asked.
    scale : bool
        Divide features by their largest absolute value, so that ε means the same as elsewhere in the book. An array
        mapped from a file is read into memory by it.
    where : function, optional
        Names a row of the table in messages; its number when left out.
    until : a time, optional, with ``split="time"``
        One date for all: what was met up to then is train (a day without a clock is meant to its end; where the column has
        offsets, a time without one is UTC's), and the first new item that a user met after it is held out. Users without a
        row up to then are left out and counted, as are items without one, unless they have features.
    dayfirst : bool, optional
        Whether 01/02/2024 is 1 February; needed only where the column itself does not tell.
    format : str, optional
        The one format of the dates, such as ``"%d.%m.%Y"``.

    Returns
    -------
    Dataset
        ``notes`` tells what was repaired; ``user_ids`` and ``item_ids`` are your own ids. Extra: ``feature_scale``, what
        the features were divided by (with features).

    Raises
    ------
    ValueError
        Columns missing, times missing or of several formats or with two readings under ``split="time"``, ids of two
        kinds, features of the wrong shape, nothing left; the message names the argument and the first row at fault.
    """
    notes: list[str] = []
    say = where or (lambda row: f"row {row}")
    missing = [c for c in (user, item, *([time] if time is not None else [])) if c not in frame.columns]
    if missing:
        raise ValueError(
            f"the table has no column {missing[0]!r}, only {', '.join(map(repr, frame.columns[:10]))}; "
            "name the columns with user=, item=, time="
        )
    twice = [c for c in (user, item, time) if c is not None and list(frame.columns).count(c) > 1]
    if twice:
        raise ValueError(f"the table has two columns {twice[0]!r}; rename one")
    by_time = check_split(split, time, until, test, notes, dayfirst, format)
    users, user_ids = numbered(frame[user], lambda row: f"{say(row)}, column {user!r}", notes)
    items, item_ids = numbered(frame[item], lambda row: f"{say(row)}, column {item!r}", notes)
    times = None
    if by_time:
        times = Times(str(time), dayfirst, format)
        times.add(frame[time])
    rows = Interactions(users, user_ids, items, item_ids, times, say)
    return data_set_of(rows, features, feature_ids, by_time, until, test, (user, item), scale, seed, name, notes)
