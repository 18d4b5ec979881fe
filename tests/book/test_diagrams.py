"""The diagrams: the same bytes every time, no font and no link inside, and the arithmetic they show is right."""

import re

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
import pytest
import torch
import yaml

from amrbook import diagrams, figures
from amrbook.intervals import t_interval
from tools.chapter_files import ROOT

BOOT = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]])
CORNERS = {
    ("slow", "tuned"): (75.2, -5.1),
    ("fast", "tuned"): (0.7, -7.7),
    ("slow", "weak"): (98, 37),
    ("fast", "weak"): (70, 24),
}
DRAWN = {
    "book_map": diagrams.book_map,
    "leave_one_out": diagrams.leave_one_out,
    "own_data": diagrams.own_data,
    "retrieve_and_rank": diagrams.retrieve_and_rank,
    "choice": diagrams.choice,
    "bpr_step": lambda: diagrams.bpr_step((1.2, 0.5), (0.3, 1.2), (1.1, -0.4), 0.6),
    "controls": diagrams.controls,
    "game": diagrams.game,
    "threats": diagrams.threats,
    "who_holds_what": diagrams.who_holds_what,
    "when_it_looks": lambda: diagrams.when_it_looks(CORNERS),
    "paired": lambda: diagrams.paired({"VBPR": [1.0, 2.0, 4.0], "AMR": [1.5, 2.4, 4.6]}, "NDCG@10"),
    "convolution": lambda: diagrams.convolution(BOOT, np.array([[-1, 0, 1]] * 3), (1, 1)),
    "sum_of_arrows": lambda: diagrams.sum_of_arrows((1.7, 0.5), (0.3, 1.0), (0.9, -0.2)),
    "flat_direction": lambda: diagrams.flat_direction((-0.1, 1.1), (0.9, 0.25), (0.8, 0.5), (0, 1, 2)),
    "worst_moves": lambda: diagrams.worst_moves((1.7, 0.9), (0.6, 1.5), (1.1, 0.3), 0.42),
}


@pytest.fixture
def shown(monkeypatch):
    """What a diagram would show: the figure, kept open."""
    kept = []
    monkeypatch.setattr(diagrams, "_show", kept.append)
    with mpl.rc_context():
        figures.use_style()
        yield kept


@pytest.mark.parametrize("name", DRAWN)
def test_a_diagram_is_one_piece_that_repeats(name, shown):
    DRAWN[name]()
    DRAWN[name]()
    first, second = (diagrams.svg(fig) for fig in shown)
    assert first == second and len(first) < 100_000
    text = first.decode()
    assert "<text" not in text and "font-family" not in text, "letters are curves: no font is needed"
    assert not re.search(r'(?:href|src)="(?!#)', text.replace("xlink:href", "href")), "nothing is loaded"


def texts(fig) -> str:
    return " ".join(t.get_text() for ax in fig.axes for t in [*ax.texts, ax.title, ax._left_title])


def test_the_step_that_is_drawn_is_a_step_of_bpr(shown):
    p, q_i, q_j = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ((1.2, 0.5), (0.3, 1.2), (1.1, -0.4)))
    margin = p @ (q_i - q_j)
    torch.nn.functional.softplus(-margin).backward()
    new = [v.detach() - 0.6 * v.grad for v in (p, q_i, q_j)]
    DRAWN["bpr_step"]()
    after = (new[0] @ (new[1] - new[2])).item()
    assert f"margin {margin.item():+.2f} before the step, {after:+.2f} after it" in texts(shown[0])


def test_the_map_that_is_drawn_is_a_convolution(shown):
    window = np.array([[-1.0, 0.0, 1.0], [0.5, 0.0, 2.0], [0.0, -3.0, 1.0]])
    diagrams.convolution(BOOT, window, (1, 1))
    x, w = (torch.tensor(a, dtype=torch.float64)[None, None] for a in (BOOT, window))
    expected = torch.relu(torch.nn.functional.conv2d(x, w, padding=1)).ravel()
    numbers = [t.get_text() for t in shown[0].axes[0].texts]
    written = [float(t) for t in numbers if re.fullmatch(r"-?[\d.]+", t)]
    assert np.allclose(written[-9:], expected.numpy())


def test_the_map_has_the_parts_and_chapters_of_the_book(shown):
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    found = {
        part["caption"]: [int(f[1]) for c in part["chapters"] if (f := re.match(r"book/(\d\d)_", c["file"]))] for part in parts
    }
    assert {part: list(chapters) for part, chapters in diagrams.PARTS.items()} == {p: n for p, n in found.items() if n}
    diagrams.book_map()
    text = texts(shown[0])
    for part, chapters in diagrams.PARTS.items():
        assert part in text and all(name in text for name in chapters.values())


def arrows(fig) -> list:
    """(panel, from, to) of every arrow."""
    return [(n, np.array(t.xyann), np.array(t.xy)) for n, ax in enumerate(fig.axes) for t in ax.texts
            if getattr(t, "arrow_patch", None) is not None]  # fmt: skip


def test_the_sum_that_is_drawn_is_the_item_vector_and_its_score(shown):
    p, q, picture = np.array([1.7, 0.5]), np.array([0.3, 1.0]), np.array([0.9, -0.2])
    diagrams.sum_of_arrows(p, q, picture)
    fig = shown[0]
    assert f"a warm item: score {p @ q:.1f} + {p @ picture:.1f} = {p @ (q + picture):.1f}" in texts(fig)
    assert f"a cold item: score {p @ picture:.1f}" in texts(fig)
    tips = [end for panel, _, end in arrows(fig) if panel == 0]
    assert any(np.allclose(tip, q + picture) for tip in tips), "the picture's arrow starts where the history's ends"


def test_along_the_flat_direction_a_warm_item_stays_and_a_cold_one_goes(shown):
    q, picture, cold = np.array([-0.1, 1.1]), np.array([0.9, 0.25]), np.array([0.8, 0.5])
    diagrams.flat_direction(q, picture, cold, (0, 1, 2))
    fig = shown[0]
    history = [(start, end) for panel, start, end in arrows(fig) if panel == 0 and np.allclose(end, q + picture)]
    assert len(history) == 3 and {tuple(start.round(9)) for start, _ in history} == {tuple(t * picture) for t in (0, 1, 2)}
    assert not any(np.allclose(start, t * cold) for panel, start, _ in arrows(fig) for t in (1, 2) if panel == 1)


def test_the_moves_that_are_drawn_cost_what_the_bound_says(shown):
    c_i, c_j, like, epsilon = np.array([1.7, 0.9]), np.array([0.6, 1.5]), np.array([1.1, 0.3]), 0.42
    diagrams.worst_moves(c_i, c_j, like, epsilon)
    before = like @ (c_i - c_j)
    assert f"lead {before:+.2f} before, {before - 2 * epsilon * np.linalg.norm(like):+.2f} after both moves" in texts(shown[0])
    (moved_i,) = [end for _, start, end in arrows(shown[0]) if np.allclose(start, c_i)]
    (moved_j,) = [end for _, start, end in arrows(shown[0]) if np.allclose(start, c_j)]
    assert np.isclose(like @ (moved_i - moved_j), before - 2 * epsilon * np.linalg.norm(like))
    assert np.isclose(np.linalg.norm(moved_i - c_i), epsilon), "the move ends on the ball"


def test_the_map_of_amr_says_what_it_was_given(shown):
    DRAWN["when_it_looks"]()
    written = [t.get_text() for t in shown[0].axes[0].texts]
    assert written.count("it looks") == 3 and written.count("it looks away") == 1
    assert "picture's share 1 %" in written and "ranks worse: -8 %" in written and "ranks better: +37 %" in written
    places = {t.get_text(): t.get_position() for t in shown[0].axes[0].texts}
    assert places["picture's share 1 %"][0] > places["picture's share 75 %"][0], "a fast Q is on the right"
    assert places["picture's share 98 %"][1] > places["picture's share 75 %"][1], "a weak penalty is above"


def test_the_paired_design_draws_the_interval_of_the_differences(shown):
    DRAWN["paired"]()
    left, right = shown[0].axes
    differences = right.collections[0].get_offsets()[:, 1]
    assert np.allclose(differences, [0.5, 0.4, 0.6])
    mean, half = t_interval([0.5, 0.4, 0.6])
    ends = right.collections[1].get_segments()[0][:, 1]
    assert np.allclose(ends, [mean - half, mean + half])
    assert len(left.lines) >= 3, "a line for each pair"


def test_each_row_of_the_controls_has_one_thing_more(shown):
    diagrams.controls()
    yes = [round(float(t.get_position()[1]), 3) for t in shown[0].axes[0].texts if t.get_text() == "yes"]
    heights = sorted(set(yes), reverse=True)
    assert [yes.count(y) for y in heights] == [1, 2, 3, 4]
