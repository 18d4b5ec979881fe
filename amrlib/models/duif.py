"""DUIF: ŷ_ui = p_uᵀ(Eᵀc_i), the item known by its picture alone.

Geng et al., "Learning Image and User Features for Recommendation in Social Networks", ICCV 2015, in the form the AMR paper
compares with (§4.1.2): no item vector of its own, trained with BPR."""

from .pairwise import PairwiseModel


class DUIF(PairwiseModel):
    """P (M, K), E (D, K); VBPR with Q held at zero. Implements :eq:`eq-duif`."""

    has_history = False
    uses_features = True
