"""One file a model; the equation stands at its top."""

from .amr import AMR
from .base import PairwiseModel, Recommender
from .duif import DUIF
from .mf_bpr import MFBPR
from .mf_eals import MFeALS
from .popularity import Popularity
from .vbpr import VBPR, VBPRTwoVector

__all__ = [
    "AMR", "DUIF", "MFBPR", "VBPR", "MFeALS", "PairwiseModel", "Popularity", "Recommender", "VBPRTwoVector",
]  # fmt: skip
