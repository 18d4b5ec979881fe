#!/bin/sh
# torchmetrics: one list, one relevant document, HR@3 = 1 and precision@3 = 0, because the scores are below zero.
#
# Guess, written first: the retrieval measures look at the order of the scores. With one relevant document per query
# precision@3 is HR@3 / 3, recall@3 is HR@3, and a constant added to every score changes none of them.
#
# Seen with torchmetrics 1.9.0, torch 2.13.0 on Python 3.11: precision, recall, MRR and MAP take a document whose score is 0 or
# less as not retrieved; hit rate and NDCG do not. A model that scores with logarithms, distances or inner products is below
# zero often, so measures of one list disagree, with no warning. The arguments are described as "estimated probabilities", and
# no value is refused. Putting torch.sigmoid before it brings them together.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
import torchmetrics
from torchmetrics import retrieval

MEASURES = {
    "HR@3": retrieval.RetrievalHitRate, "NDCG@3": retrieval.RetrievalNormalizedDCG, "recall@3": retrieval.RetrievalRecall,
    "precision@3": retrieval.RetrievalPrecision, "MRR@3": retrieval.RetrievalMRR, "MAP@3": retrieval.RetrievalMAP,
}
relevant = torch.tensor([False, True, False, False, False, False])  # the second best
query = torch.zeros(6, dtype=torch.long)


def measured(scores):
    return {name: round(float(kind(top_k=3)(scores, relevant, indexes=query)), 3) for name, kind in MEASURES.items()}


scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
seen = {"as they are": measured(scores), "minus 2": measured(scores - 2), "minus 2, sigmoid": measured(torch.sigmoid(scores - 2))}
print("torchmetrics", torchmetrics.__version__)
for what, values in seen.items():
    print(f"scores {what}: {values}")
guess = {"HR@3": 1.0, "NDCG@3": 0.631, "recall@3": 1.0, "precision@3": 0.333, "MRR@3": 0.5, "MAP@3": 0.5}
assert seen["as they are"] == seen["minus 2, sigmoid"] == guess
assert seen["minus 2"] == {"HR@3": 1.0, "NDCG@3": 0.631, "recall@3": 0.0, "precision@3": 0.0, "MRR@3": 0.0, "MAP@3": 0.0}
PY
