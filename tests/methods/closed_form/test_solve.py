"""Closed forms against dense solves of what they are the solution of."""

from __future__ import annotations

import pytest
import torch

from reground.methods.closed_form.solve import rank_one_direction

pytestmark = pytest.mark.reference

NUM_INPUTS, NUM_OUTPUTS = 7, 4


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def normal(random: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=random, dtype=torch.float64)


def test_a_rank_one_update_is_the_least_disturbing_one_that_sets_the_value(random: torch.Generator) -> None:
    """Row by row: minimise d^T C d subject to d^T k = shift, by its Karush-Kuhn-Tucker system."""
    corpus_NI = normal(random, 40, NUM_INPUTS)
    moment_II = corpus_NI.T @ corpus_NI / len(corpus_NI)
    key_I, shift_O = normal(random, NUM_INPUTS), normal(random, NUM_OUTPUTS)
    update_OI = torch.outer(shift_O, rank_one_direction(moment_II, key_I, key_I))

    system = torch.zeros(NUM_INPUTS + 1, NUM_INPUTS + 1, dtype=torch.float64)
    system[:-1, :-1] = 2 * moment_II
    system[:-1, -1] = system[-1, :-1] = key_I
    for row_I, shift in zip(update_OI, shift_O, strict=True):
        wanted = torch.zeros(NUM_INPUTS + 1, dtype=torch.float64)
        wanted[-1] = shift
        torch.testing.assert_close(row_I, torch.linalg.solve(system, wanted)[:-1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(update_OI @ key_I, shift_O)


def test_the_written_key_gets_the_whole_shift_though_the_direction_is_a_mean(random: torch.Generator) -> None:
    moment_II = torch.eye(NUM_INPUTS, dtype=torch.float64)
    key_I, shift_O = normal(random, NUM_INPUTS), normal(random, NUM_OUTPUTS)
    mean_key_I = key_I + 0.3 * normal(random, NUM_INPUTS)
    update_OI = torch.outer(shift_O, rank_one_direction(moment_II, mean_key_I, key_I))
    torch.testing.assert_close(update_OI @ key_I, shift_O)
    assert torch.linalg.matrix_rank(update_OI) == 1


def test_a_corpus_of_too_few_tokens_can_still_be_inverted(random: torch.Generator) -> None:
    one_I, key_I = normal(random, NUM_INPUTS), normal(random, NUM_INPUTS)
    update_OI = torch.ones(NUM_OUTPUTS, 1).double() * rank_one_direction(torch.outer(one_I, one_I), key_I, key_I)
    torch.testing.assert_close(update_OI @ key_I, torch.ones(NUM_OUTPUTS, dtype=torch.float64))
    assert (update_OI @ one_I).abs().max() < 1e-4, "the one key of the corpus is spared"
