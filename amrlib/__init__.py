"""amrlib: recommenders that use pictures, and an adversary that changes them.

>>> import amrlib
>>> shop = amrlib.load_dataset("boutique")
>>> model = amrlib.AMR(epsilon=0.1).fit(shop, epochs=100)
>>> amrlib.evaluate(model, shop).table()

The protocol is the AMR paper's: each user has at most one held-out item, and every measure rests on its rank."""

from . import adversary, datasets, evaluation, models, training
from .adversary import perturb, worst_case_ranks
from .datasets import Dataset, from_csv, from_frame, leave_one_out, load_dataset
from .evaluation import compare, evaluate
from .models import AMR, DUIF, MFBPR, VBPR, MFeALS, Popularity, Recommender, VBPRTwoVector

__version__ = "0.2.0"
load = Recommender.load

__all__ = [
    "AMR", "DUIF", "MFBPR", "VBPR", "Dataset", "MFeALS", "Popularity", "VBPRTwoVector", "adversary", "compare",
    "datasets", "evaluate", "evaluation", "from_csv", "from_frame", "leave_one_out", "load", "load_dataset", "models",
    "perturb", "training", "worst_case_ranks",
]  # fmt: skip
