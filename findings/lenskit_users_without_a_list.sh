#!/bin/sh
# LensKit's mean leaves out the users whom a recommender had nothing for, and takes in users of whom nothing is held out.
#
# Guess, written first: a run is measured over the test users. `RunAnalysis.add_metric` says of `default` that it is "the
# default value to use in aggregates when a user does not have recommendations", and the measures' own default is 0, so a
# recommender that answers one of two test users, rightly, has a hit rate of 0.5. A list for someone who is not a test user
# changes nothing.
#
# Seen with LensKit 2025.8.1 on Python 3.11: the hit rate is 1.0, the silent user is not in the table, and `default=0.0` makes
# no difference. A list for a third user, of whom nothing is held out, takes it down to 0.5, with a warning. So a recommender
# gains by saying nothing where it would be wrong. Who wants the guess gives every test user a list, an empty one if need be:
# then it is 0.5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet lenskit==2025.8.1 numpy==2.4.6 pandas==2.3.3
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from lenskit.data import ItemList, ItemListCollection
from lenskit.metrics import Hit, RunAnalysis


def hit_rate(lists):
    held_out = ItemListCollection.from_dict({"ann": ItemList(item_ids=[1]), "bob": ItemList(item_ids=[2])}, key="user_id")
    run = ItemListCollection.from_dict({user: ItemList(item_ids=items, ordered=True) for user, items in lists.items()}, key="user_id")
    analysis = RunAnalysis()
    analysis.add_metric(Hit(3), label="hit", default=0.0)
    result = analysis.measure(run, held_out)
    return float(result.list_summary().loc["hit", "mean"]), [*result.list_metrics().index]


seen = {
    "bob has no list": hit_rate({"ann": [1, 3, 4]}),
    "bob has an empty list": hit_rate({"ann": [1, 3, 4], "bob": []}),
    "nothing is held out of cyd": hit_rate({"ann": [1, 3, 4], "cyd": [1, 3, 4]}),
}
print("LensKit", version("lenskit"))
for what, (mean, users) in seen.items():
    print(f"{what}: hit rate {mean} over {', '.join(users)}")
assert seen["bob has no list"] == (1.0, ["ann"])
assert seen["bob has an empty list"] == (0.5, ["ann", "bob"])
assert seen["nothing is held out of cyd"] == (0.5, ["ann", "cyd"])
PY
