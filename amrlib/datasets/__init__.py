"""Where data comes from: the shop that ships, and your own arrays."""

from __future__ import annotations

from typing import Any

from .dataset import Dataset, data_folder, leave_one_out

__all__ = ["Dataset", "data_folder", "leave_one_out", "load_dataset"]


def load_dataset(name: str, **options: Any) -> Dataset:
    """A data set by its name.

    Parameters
    ----------
    name : ``"boutique"``
        The shop that ships: real product photographs, simulated shoppers
        (:func:`amrlib.datasets.boutique.boutique` lists the options).

    Raises
    ------
    ValueError
        An unknown name; the message lists the known ones.
    """
    if name == "boutique":
        from .boutique import boutique

        return boutique(**options)
    raise ValueError(f"unknown data set {name!r}; the known ones are: boutique")
