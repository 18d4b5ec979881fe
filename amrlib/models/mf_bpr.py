"""MF-BPR: ŷ_ui = p_uᵀq_i, trained to rank what a user touched above what the user did not.

Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009; AMR paper eq. (3)."""

from .pairwise import PairwiseModel


class MFBPR(PairwiseModel):
    """P (M, K), Q (N, K). Items without a training interaction keep q_i = 0 and tie at score 0. Implements :eq:`eq-mf-score`;
    its loss, :eq:`eq-bpr`, is :class:`amrlib.training.PairwiseTrainer`'s."""
