"""Held against what the authors' own programs computed, step by step."""

import pytest
from authors_records import STEPS, record_of, start_from, takes_the_recorded_iterations, takes_the_recorded_steps

from amrlib.training import AutogradTrainer, PairwiseTrainer
from amrlib.training.compiled.step import CompiledTrainer


@pytest.mark.parametrize("trainer", [PairwiseTrainer, CompiledTrainer, AutogradTrainer])
@pytest.mark.parametrize("name", STEPS)
def test_every_step_of_the_authors_graph(name, trainer):
    record = record_of(name)
    takes_the_recorded_steps(start_from(record), trainer, record)


def test_every_iteration_of_the_authors_eals():
    takes_the_recorded_iterations(record_of("official_eals"), "cpu")
