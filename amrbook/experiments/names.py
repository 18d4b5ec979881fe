"""Names and points of the experiments, as the result files and the chapters spell them."""

from __future__ import annotations

SHARES = (0.05, 0.1, 0.2)  # ε as a share of the features' mean norm
PAPER_EPSILONS = (0.05, 0.1, 0.2)  # Table 3 of the AMR paper, in the features' own units
NO_ADVERSARY = 1e-4  # an ε that only doubles the loss: the paper's own smallest, its Fig. 6
TENTH = 0.1  # of ‖c‖: where the sweeps are attacked
STRONGER = 2.0  # "VBPR, stronger L2": times as much on P and on the items' vectors; at 3 it collapses
WEAK = "AMR, ε=0.05‖c‖"  # a quarter of the strength in the boutique's settings
BLIND = "MF-BPR, continued"  # AMR's second stage without E: what is left of AMR if it uses no picture
TWIN = "blind twin"  # the same from (P, Q + CE, 0), which ranks warm items as the VBPR that it starts from does
DROPOUT = 0.2  # "VBPR, feature dropout": share of the entries
AGAIN = 100  # added to the seed after a warm start: other triples than in the first training

MODELS = (
    "Popularity", "MF-BPR", "MF-eALS", "DUIF", "VBPR", "VBPR, continued", "AMR, ε → 0", "AMR",
    "AMR, random noise", "VBPR, stronger L2", "VBPR, feature dropout",
)  # fmt: skip
EPSILON_POINTS = ("0", "0.02", "0.05", "0.1", "0.2", "0.5", "1")
LAMBDA_POINTS = ("0.01", "0.1", "1", "10")
WEAK_LAMBDA_POINTS = ("0.1", "1", "10")
SHARE_POINTS = ("0", "0.5", "1")
SPARSITY_POINTS = ("1613", "3226", "6452")
FEATURE_POINTS = ("×0.25", "×1", "×4", "D=16")
RATE_POINTS = ("1", "0.1", "0.01", "0.005", "authors", "authors' rates", "authors' penalties")  # the first four: lr_Q / lr_E
GRID_POINTS = RATE_POINTS[:4]  # with λ = 0.1 as well
ADVERSARY_POINTS = ("0", "0.05", "0.1", "0.2")  # ε/‖c‖; "0" is ε = 1e-4
AUTHORS_RATES = (0.01, 0.0001, 0.001)  # of P, Q and E: run.sh of the authors' program
AUTHORS_PENALTIES = (0.1, 0.001, 0.0)  # of P, item vectors and E: the same
AUTHORS_EPOCHS = 2000  # of VBPR, and again of AMR: the same, and §4.1.4
DROPOUT_POINTS = ("0.1", "0.2", "0.5")  # share of the features' entries
PENALTY_POINTS = ("1.5", "2", "2.5")  # times as much on P and on the items' vectors
VOLUME_POINTS = ("0", "0.25", "0.5", "0.75")  # times E
SIZE_POINTS = ("K=16", "K=32", "K=128", "D=256")  # K = 64 and D = 128 are those of rates
SIZE_RATES = ("1", "0.01")  # lr_Q / lr_E
