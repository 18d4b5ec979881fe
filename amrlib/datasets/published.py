"""Counts of a public data set beside those that were published of it."""

import numpy as np

from .dataset import Dataset


def differences(shop: Dataset, published: dict[str, float], where: str) -> list[str]:
    """Notes on where a data set's counts are not those that were published of it, in ``where``."""
    held = np.unique(shop.test[shop.test >= 0])
    here: dict[str, float] = {
        "users": shop.n_users,
        "items": shop.n_items,
        "interactions": len(shop.train) + len(shop.test_users),
        "cold share of distinct test items": float(shop.cold[held].mean()) if len(held) else 0.0,
    }
    notes = []
    for what, theirs in published.items():
        share = isinstance(theirs, float)
        # a share depends on which items were held out, so a redrawn split may differ by half a point
        if abs(here[what] - theirs) > (0.005 if share else 0):
            form = "{:.1%}" if share else "{:,}"
            notes.append(f"{what}: {form.format(here[what])} here, {form.format(theirs)} in {where}")
    return notes
