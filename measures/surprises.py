"""What surprised us, in words: each sentence takes its numbers from the stored run and says what must hold for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Seen = dict[str, dict[str, dict[str, Any]]]  # library -> case -> measure -> number


class Surprise(NamedTuple):
    topic: str
    text: str  # with {library[case][measure]}
    holds: Callable[[Seen], bool]


def near(*pairs: tuple[float, float]) -> bool:
    return all(abs(a - b) < 1e-5 for a, b in pairs)


SURPRISES = [
    Surprise(
        "agree",
        "**LensKit's NDCG** does not tell the first place from the second: a held-out item in place 2 has "
        "{lenskit[second][NDCG]:.3f}, where the others have {ranx[second][NDCG]:.3f}.",
        lambda v: v["lenskit"]["second"]["NDCG"] == 1 and v["ranx"]["second"]["NDCG"] < 1,
    ),
    Surprise(
        "agree",
        "**RecTools' NDCG** divides by the best that $k$ held-out items could have. With one, a perfect list of ten has "
        "{rectools[first][NDCG]:.3f}; `divide_by_achievable=True` is the usual ideal.",
        lambda v: v["rectools"]["first"]["NDCG"] < 0.23 and v["rectools"]["first"]["HR"] == 1,
    ),
    Surprise(
        "agree",
        "**implicit's precision** divides by $k$ or by the number of held-out items, whichever is smaller. With one held-out "
        "item it is the hit ratio: {implicit[first][precision]:.3f} at $k = 10$, where the others have "
        "{ranx[first][precision]:.3f}.",
        lambda v: v["implicit"]["first"]["precision"] == 1 and v["implicit"]["plain"]["precision"] == v["ranx"]["plain"]["HR"],
    ),
    Surprise(
        "agree",
        "**MRR** is cut at $k$ by ranx, torchmetrics, RecBole, RecTools, RePlay and LensKit ({ranx[plain][MRR]:.3f} in "
        "'plain'), and goes to the end of the list in Cornac, pytrec_eval and ours ({pytrec_eval[plain][MRR]:.3f}).",
        lambda v: len({v[n]["plain"]["MRR"] for n in ("ranx", "torchmetrics", "recbole", "rectools", "replay", "lenskit")}) == 1
        and len({v[n]["plain"]["MRR"] for n in ("cornac", "pytrec_eval", "amrlib")}) == 1
        and v["ranx"]["plain"]["MRR"] < v["amrlib"]["plain"]["MRR"],
    ),
    Surprise(
        "ties",
        "**Cornac** has two rules in one report. HR, NDCG and MRR let the larger item win; AUC and MAP count the tie as lost: "
        "for item 5, MRR is {cornac[all equal, item 5][MRR]:.3f} and MAP {cornac[all equal, item 5][MAP]:.3f}, which with one "
        "held-out item are the same by definition.",
        lambda v: v["cornac"]["all equal, item 5"]["MRR"] == 1 and v["cornac"]["all equal, item 5"]["MAP"] < 0.2,
    ),
    Surprise(
        "ties",
        "**torchmetrics** sorts once for HR and recall and once for the rest, and the two orders differ among equals. For item "
        "0 HR is {torchmetrics[all equal, item 0][HR]:.3f} and MRR {torchmetrics[all equal, item 0][MRR]:.3f}. "
        "NDCG alone shares the places. PyTorch promises no order among equals, so another machine may fill these cells, and "
        "RecBole's, in another way.",
        lambda v: v["torchmetrics"]["all equal, item 0"]["HR"] == 1 and v["torchmetrics"]["all equal, item 0"]["MRR"] == 0,
    ),
    Surprise(
        "ties",
        "**implicit** takes the first $k$ items and then names the last of them first: item 0 is in the list, and its NDCG of "
        "{implicit[all equal, item 0][NDCG]:.3f} is that of place 3.",
        lambda v: v["implicit"]["all equal, item 0"]["NDCG"] == 0.5 and v["implicit"]["all equal, item 5"]["NDCG"] == 0,
    ),
    Surprise(
        "ties",
        "**pytrec_eval and torchmetrics** compare in float32, whatever they are given. A score that is ahead by a billionth is "
        "a tie there: NDCG {pytrec_eval[a billionth apart][NDCG]:.3f} and {torchmetrics[a billionth apart][NDCG]:.3f}. "
        "implicit's and RecBole's models are float32 themselves.",
        lambda v: all(v[n]["a billionth apart"] != v["ranx"]["a billionth apart"] for n in ("pytrec_eval", "torchmetrics"))
        and v["torchmetrics"]["a billionth apart"]["NDCG"] == v["torchmetrics"]["all equal, item 0"]["NDCG"]
        and v["pytrec_eval"]["a billionth apart"] == v["pytrec_eval"]["all equal, item 0"],
    ),
    Surprise(
        "users",
        "**LensKit** leaves a user without a list out of the mean (HR {lenskit[no list][HR]:.3f}), though its `default` is "
        "said to be for them; an empty list counts 0 (HR {lenskit[empty list][HR]:.3f}). A user of whom nothing is held "
        "out does count, as 0 (HR {lenskit[nothing held out][HR]:.3f}).",
        lambda v: v["lenskit"]["no list"]["HR"] == 1
        and v["lenskit"]["empty list"]["HR"] == v["lenskit"]["nothing held out"]["HR"] == 0.5,
    ),
    Surprise(
        "users",
        "**recommenders** averages NDCG over all users and recall, precision and MAP over those with a list: "
        "{recommenders[no list][NDCG]:.3f} and {recommenders[no list][recall]:.3f} from one table.",
        lambda v: v["recommenders"]["no list"]["NDCG"] == 0.5 and v["recommenders"]["no list"]["recall"] == 1,
    ),
    Surprise(
        "users",
        "A user **without a list** is left out by pytrec_eval (HR {pytrec_eval[no list][HR]:.3f}), counts 0 in RecTools and "
        "RePlay ({rectools[no list][HR]:.3f}), and stops ranx, which names the switch. So a program that stays silent where it "
        "would be wrong gains in some libraries.",
        lambda v: v["pytrec_eval"]["no list"]["HR"] == 1 and "no list" not in v["ranx"]
        and v["rectools"]["no list"]["HR"] == v["replay"]["no list"]["HR"] == 0.5,
    ),
    Surprise(
        "users",
        "A user of whom **nothing is held out** counts 0 in torchmetrics, too (HR {torchmetrics[nothing held out][HR]:.3f}); "
        "`empty_target_action` changes it.",
        lambda v: v["torchmetrics"]["nothing held out"]["HR"] == 0.5,
    ),
    Surprise(
        "several",
        "**torchmetrics' MAP** divides by the held-out items that it found, not by those there are: two of three found on top "
        "is {torchmetrics[three held out][MAP]:.3f}, where ranx has {ranx[three held out][MAP]:.3f}. Cornac's MAP has no $k$: "
        "{cornac[three held out][MAP]:.3f}.",
        lambda v: near((v["torchmetrics"]["three held out"]["MAP"], 1), (v["ranx"]["three held out"]["MAP"], 2 / 3),
                       (v["cornac"]["three held out"]["MAP"], (1 + 1 + 3 / 4) / 3)),
    ),
    Surprise(
        "several",
        "**With more held out than $k$** a list cannot hold them all. ranx, pytrec_eval and RecTools divide MAP by all of them "
        "({ranx[more held out than k][MAP]:.3f} at best here), RePlay, recommenders, RecBole and implicit by at most $k$ "
        "({replay[more held out than k][MAP]:.3f}). LensKit alone does so for recall: "
        "{lenskit[more held out than k][recall]:.3f} against {ranx[more held out than k][recall]:.3f}.",
        lambda v: all(v[n]["more held out than k"]["MAP"] == 0.5 for n in ("ranx", "pytrec_eval", "rectools"))
        and all(v[n]["more held out than k"]["MAP"] == 1 for n in ("replay", "recommenders", "recbole", "implicit"))
        and v["lenskit"]["more held out than k"]["recall"] == 1
        and {n for n in v if v[n].get("more held out than k", {}).get("recall") == 1} == {"lenskit"},
    ),
    Surprise(
        "lists",
        "**Precision of a short list**: LensKit divides by its length ({lenskit[short list][precision]:.3f}), implicit by the "
        "number of held-out items ({implicit[short list][precision]:.3f}), the others by $k$: "
        "{ranx[short list][precision]:.3f}.",
        lambda v: near((v["lenskit"]["short list"]["precision"], 0.5), (v["implicit"]["short list"]["precision"], 1))
        and {v[n]["short list"]["precision"] for n in v if "precision" in v[n].get("short list", {})} == {0.1, 0.5, 1.0},
    ),
    Surprise(
        "lists",
        "**Cornac** stops with an error where a user has fewer than $k$ items left to rank.",
        lambda v: bool(v["cornac"]) and "short list" not in v["cornac"],
    ),
    Surprise(
        "lists",
        "**An item twice in a list** is refused by none of those that can be given one, and counts twice: NDCG is "
        "{lenskit[twice in the list][NDCG]:.3f} in LensKit, {replay[twice in the list][NDCG]:.3f} in RePlay, which warns, and "
        "{recommenders[twice in the list][NDCG]:.3f} in recommenders. By definition it is at most 1.",
        lambda v: all(v[n]["twice in the list"]["NDCG"] > 1 for n in ("lenskit", "replay", "recommenders")),
    ),
    Surprise(
        "scores",
        "**torchmetrics** calls an item with a score of 0 or less \"not retrieved\" in some measures and not in others: with "
        "every score below zero the same list has HR {torchmetrics[below zero][HR]:.3f}, NDCG "
        "{torchmetrics[below zero][NDCG]:.3f} and recall {torchmetrics[below zero][recall]:.3f}.",
        lambda v: v["torchmetrics"]["below zero"]["HR"] == 1 and v["torchmetrics"]["below zero"]["recall"] == 0,
    ),
    Surprise(
        "scores",
        "**torchmetrics' AUROC** puts scores outside [0, 1] through a sigmoid. Large ones all become 1, and the AUC of the "
        "same order falls from {torchmetrics[second][AUC]:.3f} to {torchmetrics[large][AUC]:.3f}.",
        lambda v: v["torchmetrics"]["second"]["AUC"] == 0.8 and v["torchmetrics"]["large"]["AUC"] == 0.5,
    ),
    Surprise(
        "auc",
        "In the table of 'plain' Cornac, RecBole and ours have the AUC {amrlib[plain][AUC]:.3f}, the share of rivals "
        "behind the held-out item.",
        lambda v: v["amrlib"]["plain"]["AUC"] == v["cornac"]["plain"]["AUC"] == v["recbole"]["plain"]["AUC"] == 0.65,
    ),
    Surprise(
        "auc",
        "**implicit's AUC** ({implicit[plain][AUC]:.3f}) looks at the first $k$ items alone. A held-out item behind them gets "
        "half of the rivals that were not shown, and what the user had before is among the rivals.",
        # one hit in place 2 of 3, and 11 items that are not held out, though the user had 6 of them; then a miss
        lambda v: near(
            (v["implicit"]["second"]["AUC"], 10 / 11), (v["implicit"]["all equal, item 5"]["AUC"], (11 - 3) / 2 / 11)
        ),
    ),
    Surprise(
        "auc",
        "**RePlay's RocAuc** ({replay[plain][AUC]:.3f}) is the AUC within the first $k$ items: in place 2 of six the held-out "
        "item beats one of two rivals ({replay[second][AUC]:.3f}), not four of five ({amrlib[second][AUC]:.3f}).",
        lambda v: v["replay"]["second"]["AUC"] == 0.5 and v["amrlib"]["second"]["AUC"] == 0.8,
    ),
    Surprise(
        "rivals",
        "**RecBole's uni100** draws its {recbole[sampled][drawn]} rivals with replacement. In a shop of 203 items a user meets "
        "{recbole[sampled][distinct]:.1f} distinct ones on average; ours are {amrlib[sampled][distinct]:.0f}. Fewer rivals are "
        "easier to beat.",
        lambda v: v["recbole"]["sampled"]["distinct"] < 90 and v["amrlib"]["sampled"]["distinct"] == 100,
    ),
]
