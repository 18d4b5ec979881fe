"""The data that ships with the book: where it lies, and its files, compared with their checksums."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np

__all__ = ["data_folder", "read_shipped"]


def data_folder() -> Path:
    """The folder of the data that ships: ``AMRLIB_SHIPPED``, the installed package's, or the checkout's.

    Raises
    ------
    FileNotFoundError
        When none of the three exists.
    """
    package = Path(__file__).resolve().parent
    named = os.environ.get("AMRLIB_SHIPPED")
    places = [Path(named)] if named else [package / "data", package.parent / "data"]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"the shipped data is not in {' nor in '.join(map(str, places))}; "
        "install amrlib from a clone of its repository, or name the folder in AMRLIB_SHIPPED"
    )


def read_shipped(name: str) -> dict[str, np.ndarray]:
    """The arrays of ``data/boutique/<name>``, read-only, after comparing it with ``data/SHA256SUMS``.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, or is not the one that shipped; the message names it and the remedy.
    """
    folder = data_folder()
    remedy = "restore it with `git checkout -- data`, or make it again with `python data/make_boutique.py`"

    def read(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(f"data/{path} is missing from {folder}; {remedy}") from None

    content, sums = read(f"boutique/{name}"), read("SHA256SUMS").decode()
    if f"{hashlib.sha256(content).hexdigest()}  boutique/{name}" not in sums.splitlines():
        raise ValueError(f"data/boutique/{name} is not the file that shipped (SHA256SUMS has another sum); {remedy}")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    for array in arrays.values():
        array.flags.writeable = False  # a data set takes such arrays without a copy
    return arrays
