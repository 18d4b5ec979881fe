"""One file a model; the equation stands at its top."""

from ..recommender import Recommender
from .amr import AMR
from .duif import DUIF
from .mf_bpr import MFBPR
from .mf_eals import MFeALS
from .pairwise import PairwiseModel
from .popularity import Popularity
from .vbpr import VBPR, VBPRTwoVector

__all__ = ["AMR", "DUIF", "MFBPR", "VBPR", "MFeALS", "PairwiseModel", "Popularity", "Recommender", "VBPRTwoVector"]
