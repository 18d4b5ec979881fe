"""Figures show the numbers they are given; the slider is one self-contained, repeatable piece of HTML."""

import base64
import re
from html.parser import HTMLParser

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from amrbook import figures
from amrbook.slider import slider


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context():
        figures.use_style()
        yield
    plt.close("all")


def test_every_model_has_a_colour_and_a_marker_of_its_own():
    assert set(figures.MARKERS) == set(figures.COLORS) - {"ink"}
    assert len(set(figures.MARKERS.values())) == len(figures.MARKERS)
    assert len(set(figures.COLORS.values())) == len(figures.COLORS)
    assert not {*figures.PLAIN, figures.FRAME} & set(figures.COLORS.values()), "what is no model has no model's colour"
    assert figures.style_of("MFBPR")["color"] == figures.COLORS["MF-BPR"]
    control = figures.style_of("AMR, ε → 0")
    assert control["color"] == figures.COLORS["AMR"] and control["linestyle"] == "--"
    assert figures.style_of("something new")["marker"] == figures.MARKERS["other"]


def test_sweep_and_bars_draw_the_means():
    _, (left, right) = plt.subplots(1, 2)
    runs = np.array([[1.0, 2.0], [3.0, 6.0]])
    figures.sweep(left, [0, 1], runs, "AMR", label="here")
    assert left.lines[0].get_ydata().tolist() == [2, 4] and left.lines[0].get_label() == "here"
    figures.bars(right, {"VBPR": [1.0, 3.0], "AMR": [2.0, 6.0]}, "NDCG@10")
    assert [p.get_height() for p in right.patches] == [2, 4]
    assert [t.get_text() for t in right.get_xticklabels()] == ["VBPR", "AMR"]


def test_training_curves_leave_out_what_is_not_there():
    one = pd.DataFrame({"epoch": [1, 2, 3], "bpr": [3.0, 2.0, 1.0], "ndcg@10": [np.nan, 0.1, np.nan]})
    two = pd.DataFrame({"epoch": [1, 2], "bpr": [2.0, 1.5]})
    loss, score = figures.training_curves({"VBPR": one, "AMR": two}).axes
    assert [line.get_label() for line in loss.lines] == ["VBPR", "AMR"]
    assert score.lines[0].get_xdata().tolist() == [2] and len(score.lines) == 1
    with pytest.raises(ValueError, match="no history has any"):
        figures.training_curves({"VBPR": one}, ["speed"])


def test_comparison_draws_the_table():
    table = pd.DataFrame({"HR@10": [0.3, 0.2], "NDCG@10": [0.2, 0.1], "low": [0.15, 0.05], "high": [0.25, 0.15]},
                         index=["AMR", "VBPR"])  # fmt: skip
    table.attrs["interval"] = "NDCG@10"
    ax = figures.comparison(table).axes[0]
    assert [line.get_xdata()[0] for line in ax.lines] == [0.1, 0.2]  # best on top
    assert [t.get_text() for t in ax.get_yticklabels()] == ["VBPR", "AMR"] and len(ax.collections) == 2
    assert not figures.comparison(table, "HR@10").axes[0].collections  # the interval is not of this measure
    with pytest.raises(ValueError, match="no column 'AUC'"):
        figures.comparison(table, "AUC")


def test_noise_curves_are_losses_in_per_cent():
    _, ax = plt.subplots()
    figures.noise_curves(ax, [0, 0.1], {"VBPR": [[0.2, 0.1], [0.4, 0.2]], "AMR": [0.2, 0.19]})
    assert ax.lines[0].get_ydata() == pytest.approx([0, -50]) and ax.lines[1].get_ydata() == pytest.approx([0, -5])
    with pytest.raises(ValueError, match="must be 0"):
        figures.noise_curves(ax, [0.1], {"VBPR": [[0.1]]})


def test_rank_change_boxes():
    _, ax = plt.subplots()
    clean = np.arange(101)
    figures.rank_change(ax, {"VBPR": clean}, {"VBPR": clean + np.arange(101)})
    assert any(np.allclose(line.get_ydata(), 50) for line in ax.lines)  # the median
    with pytest.raises(ValueError, match="must agree"):
        figures.rank_change(ax, {"VBPR": clean}, {"AMR": clean})


def test_galleries():
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
    fig = figures.gallery(images, [str(n) for n in range(12)], columns=5, edge=np.array(["red"] * 12))
    assert len(fig.axes[0].images) == len(fig.axes[0].texts) == 12
    top = figures.top_k_gallery(images, [3, 1, -1], [2.0, 1.5, -np.inf], held_out=1)
    ax = top.axes[0]
    assert [text.get_text() for text in ax.texts] == ["1. 2.00", "2. ★ 1.50"]
    assert (np.asarray(ax.images[0].get_array()) == images[3]).all()
    for call in (lambda: figures.gallery(images[:0]), lambda: figures.gallery(images, ["a"]),
                 lambda: figures.top_k_gallery(images, [1, 2], [0.1])):  # fmt: skip
        with pytest.raises(ValueError):
            call()


# ---- the slider


def pictures():
    out = []
    for n in range(3):
        fig, ax = plt.subplots(figsize=(3, 2))
        ax.plot([0, n])
        out.append(fig)
    return out


def made():
    return slider(pictures(), 'ε <of "AMR">', [0, 0.1, 0.2], ["flat", "rises", "rises & falls"])


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [a for t, a in self.tags if t == tag]


def test_the_slider_repeats_byte_for_byte():
    text = made()._repr_html_()
    assert text == made()._repr_html_() and not plt.get_fignums()  # and the figures are closed
    other = slider(pictures(), "ε", [0, 0.1, 0.3], ["flat", "rises", "falls"])._repr_html_()
    name = re.search(r'id="(amr-[0-9a-f]{12})"', text).group(1)
    assert name not in other
    assert repr(made()) == 'Slider(ε <of "AMR">: 0, 0.1, 0.2)'


def test_the_slider_loads_nothing_and_can_be_used_by_anyone():
    text = made()._repr_html_()
    page = Tags(text)
    assert not page.open  # well formed
    assert "http" not in re.sub(r"base64,[^\"]*", "", text) and not page.of("link") and len(text) < 200_000
    assert all(s.keys() == set() for s in page.of("script"))
    sources = [a["src"] for a in page.of("img")]
    assert len(sources) == 3 and all(s.startswith("data:image/png;base64,") for s in sources)
    assert all(base64.b64decode(s.split(",")[1]).startswith(b"\x89PNG") for s in sources)
    assert [a["alt"] for a in page.of("img")] == ["flat", "rises", "rises & falls"]
    (control,) = page.of("input")
    assert (control["type"], control["min"], control["max"], control["value"]) == ("range", "0", "2", "0")
    (label,) = page.of("label")
    assert label["for"] == control["id"] and control["aria-valuetext"] == "0"
    (live,) = [a for _, a in page.tags if a.get("aria-live") == "polite"]
    assert live["id"] == control["aria-describedby"]
    assert ['hidden' in a for a in page.of("figure")] == [False, True, True]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    without = text[text.index("<noscript>") : text.index("</noscript>")]
    assert "data-step='0'" in without and "data-step='2'" in without and "rises &amp; falls" in without
    assert "@media print" in text


@pytest.mark.parametrize("change", [
    {"frames": []}, {"values": [1]}, {"alt": ["a", "b", " "]}, {"label": " "}, {"frames": [b"GIF"] * 3},
])  # fmt: skip
def test_the_slider_refuses_what_some_readers_could_not_use(change):
    good = dict(frames=[b"\x89PNG"] * 3, label="ε", values=[0, 1, 2], alt=["a", "b", "c"])
    assert slider(**good)
    with pytest.raises(ValueError):
        slider(**{**good, **change})


def test_a_map_shows_verdict_sign_and_number():
    assert [figures.verdict(*d) for d in ((0.2, 0.1), (-0.2, 0.1), (0.05, 0.1))] == ["better", "worse", "a tie"]
    fig, ax = plt.subplots()
    figures.verdict_map(ax, {"a": [(2.0, 1.0), (-2.0, 1.0)], "b": [(0.5, 1.0), (np.nan, np.nan)]}, ["x", "y"])
    assert [t.get_text() for t in ax.texts] == ["▲ +2.0", "▼ -2.0", "= +0.5"]
    assert len({p.get_facecolor() for p in ax.patches}) == 3
    plt.close(fig)
