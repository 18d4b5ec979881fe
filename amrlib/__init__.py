"""amrlib: recommenders that look at pictures, and an adversary that changes them.

>>> import amrlib
>>> shop = amrlib.load_dataset("boutique")
>>> model = amrlib.AMR(shop, epsilon=0.1)
>>> history = model.fit(shop, epochs=100)
>>> amrlib.evaluate(model, shop).table()
"""

from . import adversary, datasets, evaluation, models, training
from .adversary import perturb, worst_case_ranks
from .datasets import Dataset, from_csv, from_frame, leave_one_out, load_dataset
from .evaluation import compare, evaluate
from .models import AMR, DUIF, MFBPR, VBPR, MFeALS, Popularity, VBPRTwoVector

__version__ = "0.1.0"

__all__ = [
    "AMR", "DUIF", "MFBPR", "VBPR", "Dataset", "MFeALS", "Popularity", "VBPRTwoVector", "adversary", "compare",
    "datasets", "evaluate", "evaluation", "from_csv", "from_frame", "leave_one_out", "load_dataset", "models", "perturb",
    "training", "worst_case_ranks",
]  # fmt: skip
