"""A chapter's parameters: what is wrong with them is told in one sentence, in the first cell."""

import numpy as np
import pytest

import amrlib
from amrbook.settings import by_mode, check_mode, check_parameters, device, require, settings, trials
from tools import chapter_files


def test_a_value_by_mode():
    assert [by_mode(mode, smoke=1, book=None, paper=(3,)) for mode in ("smoke", "book", "paper")] == [1, None, (3,)]
    for wrong in ("Smoke", "fast", None):
        with pytest.raises(ValueError, match=rf"MODE must be one of smoke, book, paper .*, not {wrong!r}"):
            by_mode(wrong, smoke=1, book=2, paper=3)
        with pytest.raises(ValueError, match="MODE must be"):
            check_mode(wrong)


def test_unknown_parameters_are_refused_with_the_known_ones():
    for dataset in ("boutique", "amazon-clothing", "colour-themes"):
        check_parameters("smoke", dataset)
    for wrong in ("Boutique", "amazon", None):
        with pytest.raises(ValueError, match=rf"DATASET must be one of boutique, .*colour-themes.*, not {wrong!r}"):
            check_parameters("book", wrong)
    with pytest.raises(ValueError, match="MODE must be one of smoke, book, paper"):
        check_parameters("fast", "boutique")


@pytest.mark.parametrize("path", chapter_files.notebooks(), ids=lambda path: path.stem)
def test_every_chapter_checks_its_parameters_in_its_first_cell(path):
    code = [cell for cell in chapter_files.read(path).cells if cell.cell_type == "code"]
    assert code[1].metadata.tags == ["parameters"]
    assert "\ncheck_parameters(MODE, DATASET)" in code[2].source


def test_a_data_set_without_what_the_chapter_shows_is_refused():
    bare = amrlib.Dataset([[0, 0]], [1], features=np.eye(2), n_items=2, name="bare")
    require(bare, "features")
    with pytest.raises(ValueError, match="shows images and labels, which 'bare' does not have; take DATASET = \"boutique\""):
        require(bare, "images", "features", "labels")
    require(bare, "cold held-out items")  # item 1 is held out, and nobody's training row
    both = amrlib.Dataset([[0, 0], [1, 1]], [1, 0], name="both")
    with pytest.raises(ValueError, match="shows cold held-out items and stored results, which 'both' does not have"):
        require(both, "cold held-out items", "stored results")
    require(amrlib.load_dataset("boutique"), "images", "labels", "cold held-out items", "stored results")


def test_a_device_that_is_not_there_is_refused():
    assert str(device("cpu")) == "cpu"
    with pytest.raises(ValueError, match="device"):
        device("gpu")


def test_every_model_that_was_tuned_has_settings():
    assert set(settings()) == {"MF-BPR", "MF-eALS", "DUIF", "VBPR", "AMR"}
    assert not any("ndcg@10" in key for values in settings().values() for key in values)


def test_trials_are_those_of_a_known_model():
    assert max(t["ndcg@10"] for t in trials("VBPR")) > 0
    with pytest.raises(ValueError, match="model must be one of"):
        trials("SVD")
