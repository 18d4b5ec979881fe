"""LensKit: ``RunAnalysis`` of two collections of item lists; the figures are its summary's means."""

from __future__ import annotations

from ..cases import Case

DISTRIBUTION = "lenskit"


def measure(case: Case) -> dict[str, float]:
    from lenskit import metrics as theirs
    from lenskit.data import ItemList, ItemListCollection

    k = case.k
    lists = ItemListCollection.from_dict(
        {user: ItemList(item_ids=[i for i, _ in rows], scores=[s for _, s in rows], ordered=True)
         for user, rows in case.lists.items()}, key="user_id")  # fmt: skip
    truth = ItemListCollection.from_dict({user: ItemList(item_ids=items) for user, items in case.held.items()}, key="user_id")
    analysis = theirs.RunAnalysis()
    names = {}
    for ours, kind in (("HR", theirs.Hit), ("NDCG", theirs.NDCG), ("precision", theirs.Precision), ("recall", theirs.Recall),
                       ("MRR", theirs.RecipRank)):  # fmt: skip
        analysis.add_metric(metric := kind(k))
        names[ours] = metric.label
    summary = analysis.compute(lists, truth).list_summary()
    return {ours: float(summary.loc[label, "mean"]) for ours, label in names.items()}
