"""The AMR paper's own figures: Tang, Du, He, Yuan, Tian & Chua, TKDE 32(5), 2020, as typed from its tables and figures.

Read from the authors' PDF of December 2018. Figures that were read off a curve are good to 5e-5."""

from __future__ import annotations

__all__ = [
    "CONTINUED", "EPSILONS", "IMPROVEMENT", "MEASURES", "NO_NOISE", "OTHERS", "PARTS", "STUDIES", "TABLE_2", "TABLE_3",
    "improvement",
]  # fmt: skip

MEASURES = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20")

# Table 2: set -> model -> the six measures, in this order
TABLE_2: dict[str, dict[str, tuple[float, ...]]] = {
    "pinterest": {
        "Popularity": (0.0353, 0.0604, 0.0927, 0.0213, 0.0296, 0.0376),
        "MF-eALS": (0.1262, 0.1584, 0.1953, 0.0922, 0.1025, 0.1118),
        "MF-BPR": (0.1228, 0.1534, 0.1891, 0.0949, 0.1048, 0.1138),
        "DUIF": (0.1116, 0.1600, 0.2179, 0.0806, 0.0962, 0.1108),
        "VBPR": (0.1352, 0.1829, 0.2347, 0.1005, 0.1157, 0.1287),
        "AMR": (0.1392, 0.2033, 0.2697, 0.1026, 0.1230, 0.1398),
    },
    "amazon-women": {
        "Popularity": (0.1003, 0.1460, 0.2040, 0.0685, 0.0832, 0.0978),
        "MF-eALS": (0.1322, 0.1660, 0.2026, 0.1009, 0.1118, 0.1211),
        "MF-BPR": (0.1306, 0.1720, 0.2183, 0.0950, 0.1084, 0.1201),
        "DUIF": (0.0865, 0.1317, 0.1964, 0.0568, 0.0714, 0.0876),
        "VBPR": (0.1333, 0.1747, 0.2249, 0.0980, 0.1113, 0.1240),
        "AMR": (0.1402, 0.1864, 0.2360, 0.1022, 0.1171, 0.1296),
    },
}
# Table 2, last column, "RI": by how many per cent AMR is above a model, mean of the six measures
IMPROVEMENT = {
    "pinterest": {"Popularity": 281.73, "MF-eALS": 22.18, "MF-BPR": 22.82, "DUIF": 26.17, "VBPR": 7.70},
    "amazon-women": {"Popularity": 34.27, "MF-eALS": 7.98, "MF-BPR": 7.91, "DUIF": 52.61, "VBPR": 5.14},
}
EPSILONS = (0.05, 0.1, 0.2)
# Table 3: set -> model -> change of NDCG@10 in % under adversarial noise of EPSILONS
TABLE_3 = {
    "pinterest": {"VBPR": (-4.2, -11.9, -31.8), "AMR": (-2.6, -6.2, -18.4)},
    "amazon-women": {"VBPR": (-8.7, -30.4, -67.7), "AMR": (-1.4, -5.3, -20.2)},
}
# Figure 3, NDCG@10 of the test items: at the end of VBPR continued for another 2,000 epochs
CONTINUED = {"pinterest": 0.1140, "amazon-women": 0.1067}
# Figure 6, NDCG@10 at λ = 1 and ε = 1e-4, where there is no adversary to speak of
NO_NOISE = {"pinterest": 0.1190, "amazon-women": 0.1073}
# §4.2: by how many per cent AMR is above VBPR, (HR@10, NDCG@10), on Pinterest
PARTS = {"cold": (74.0, 101.0), "warm": (6.2, 2.2)}
# What others measured of both, as their files and tables have it: study, set, measure, VBPR, AMR
OTHERS: tuple[tuple[str, str, str, float, float], ...] = (
    ("denoise", "Amazon Boys & Girls", "HR@20", 0.0337, 0.0316),
    ("denoise", "Amazon Boys & Girls", "NDCG@20", 0.0121, 0.0113),
    ("denoise", "Amazon Men", "HR@20", 0.0144, 0.0081),
    ("denoise", "Amazon Men", "NDCG@20", 0.0056, 0.0032),
    ("denoise", "Pinterest", "HR@20", 0.0597, 0.0301),
    ("denoise", "Pinterest", "NDCG@20", 0.0236, 0.0111),
    ("mtpr", "Amazon Men", "NDCG@10, all", 0.0541, 0.0590),
    ("mtpr", "Amazon Men", "NDCG@10, warm", 0.0557, 0.0749),
    ("mtpr", "Amazon Men", "NDCG@10, cold", 0.0493, 0.0236),
    ("mtpr", "Tiktok", "NDCG@10, all", 0.1152, 0.1177),
    ("mtpr", "MovieLens", "NDCG@10, all", 0.1743, 0.1778),
)
# study: its name and link, its protocol, how its AMR departs from the paper's
STUDIES = {
    "denoise": (
        "[Denoise to Protect, SIGIR 2023](https://github.com/sisinflab/Denoise-to-protect-VRS), result files",
        "all items ranked; Elliot's program, 50 of 100 epochs, ε = 1, λ = 1",
        "biases; noise on the positive item alone; random start; Adam; features not scaled",
    ),
    "mtpr": (
        "[MTPR, ACM MM 2020](https://github.com/duxy-me/MTPR), by AMR's first author, table 2",
        "lists of 1,000 items, a tenth held out, features of 64 numbers",
        "two user vectors; the gradient of the features is never set back to zero",
    ),
}


def improvement(dataset: str, model: str) -> float:
    """The paper's RI from its own cells: by how many per cent AMR is above ``model``, mean of the six measures."""
    ours, theirs = TABLE_2[dataset]["AMR"], TABLE_2[dataset][model]
    return 100 * sum(a / b - 1 for a, b in zip(ours, theirs, strict=True)) / len(ours)
