"""Where data comes from: the shop that ships, the public sets, and your own tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import boutique
from .catalogue import SETS, PublicSet, load_public
from .csv_files import from_csv
from .dataset import Dataset, leave_one_out
from .download import is_cached
from .tables import from_frame

__all__ = [
    "Dataset", "from_csv", "from_frame", "leave_one_out", "list_datasets", "load_dataset",
]  # fmt: skip


def load_dataset(name: str, **options: Any) -> Dataset:
    """A data set by its name.

    Parameters
    ----------
    name : str
        ``"boutique"``, the shop that ships: real product photographs, simulated shoppers
        (:func:`amrlib.datasets.boutique.boutique` lists the options); or a public set, downloaded at the first
        call: ``"pinterest"``, ``"amazon-clothing"``, ``"tradesy"``, ``"amazon-women"``, ``"amazon-men"``, ``"colour-themes"``
        (:func:`amrlib.datasets.catalogue.load_public`). :func:`list_datasets` tells size and terms of each.

    Raises
    ------
    ValueError
        An unknown name; the message lists the known ones.
    """
    if name == "boutique":
        return boutique.boutique(**options)
    if name in SETS:
        return load_public(name, **options)
    raise ValueError(f"unknown data set {name!r}; the known ones are: {', '.join(['boutique', *SETS])}")


def list_datasets(folder: str | Path | None = None) -> list[dict[str, Any]]:
    """Every data set: ``name``, ``about``, ``size``, ``terms``, ``origin``, and ``cached``, whether it is here already.

    ``folder`` is that of the downloads, the usual one when left out. Nothing is downloaded.
    """

    def here(chosen: PublicSet) -> bool:
        found = {key: is_cached(file, folder) for key, file in chosen.files.items()}
        if "5-core" in found:  # of the Amazon sets one file of interactions is enough
            found["ratings"] = found.pop("5-core") or found["ratings"]
        return all(found.values())

    shop = dict(
        name="boutique",
        about="real product photographs, simulated shoppers",
        size="5 MB",
        terms="MIT, with Fashion-MNIST's notice",
        origin="ships with the book",
        cached=True,
    )
    return [shop] + [
        dict(
            name=s.name,
            about=s.about,
            size=s.size,
            terms=s.terms,
            origin=s.origin,
            cached=here(s),
        )
        for s in SETS.values()
    ]
