"""Closed forms against dense solves of what they are the solution of."""

from __future__ import annotations

import pytest
import torch

from reground.methods.closed_form.solve import (
    Inverse,
    batch_directions,
    jittered_factor,
    rank_one_direction,
    sparing,
)

pytestmark = pytest.mark.reference

NUM_INPUTS, NUM_OUTPUTS = 7, 4


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def normal(random: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=random, dtype=torch.float64)


def inverse_of(weight_II: torch.Tensor) -> Inverse:
    return lambda keys_IN: torch.linalg.solve(weight_II, keys_IN)


def along(free_IF: torch.Tensor, ridge: float) -> Inverse:
    return lambda keys_IN: free_IF @ (free_IF.T @ keys_IN) / ridge


def update(spared: Inverse, keys_IN: torch.Tensor, residuals_ON: torch.Tensor) -> torch.Tensor:
    return residuals_ON @ batch_directions(spared, keys_IN).T


def test_a_rank_one_update_is_the_least_disturbing_one_that_sets_the_value(random: torch.Generator) -> None:
    """Row by row: minimise d^T C d subject to d^T k = shift, by its Karush-Kuhn-Tucker system."""
    corpus_NI = normal(random, 40, NUM_INPUTS)
    moment_II = corpus_NI.T @ corpus_NI / len(corpus_NI)
    key_I, shift_O = normal(random, NUM_INPUTS), normal(random, NUM_OUTPUTS)
    update_OI = torch.outer(shift_O, rank_one_direction(inverse_of(moment_II), key_I, key_I))

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
    update_OI = torch.outer(shift_O, rank_one_direction(inverse_of(moment_II), mean_key_I, key_I))
    torch.testing.assert_close(update_OI @ key_I, shift_O)
    assert torch.linalg.matrix_rank(update_OI) == 1


def test_a_corpus_of_too_few_tokens_can_still_be_inverted(random: torch.Generator) -> None:
    one_I, key_I = normal(random, NUM_INPUTS), normal(random, NUM_INPUTS)
    factor_II = jittered_factor(torch.outer(one_I, one_I))
    direction_I = rank_one_direction(lambda keys_IN: torch.cholesky_solve(keys_IN, factor_II), key_I, key_I)
    update_OI = torch.ones(NUM_OUTPUTS, 1).double() * direction_I
    torch.testing.assert_close(update_OI @ key_I, torch.ones(NUM_OUTPUTS, dtype=torch.float64))
    assert (update_OI @ one_I).abs().max() < 1e-4, "the one key of the corpus is spared"


def test_many_values_move_as_the_normal_equations_say(random: torch.Generator) -> None:
    """Minimise |D K - R|^2 + tr(D S D^T) as one dense least-squares problem, its rows stacked."""
    corpus_NI = normal(random, 40, NUM_INPUTS)
    weight_II = 3.0 * corpus_NI.T @ corpus_NI / len(corpus_NI)
    keys_IN, residuals_ON = normal(random, NUM_INPUTS, 3), normal(random, NUM_OUTPUTS, 3)
    update_OI = update(inverse_of(weight_II), keys_IN, residuals_ON)

    rows = torch.cat([keys_IN.T, torch.linalg.cholesky(weight_II).T])
    wanted = torch.cat([residuals_ON.T, torch.zeros(NUM_INPUTS, NUM_OUTPUTS, dtype=torch.float64)])
    expected_IO = torch.linalg.lstsq(rows, wanted).solution
    torch.testing.assert_close(update_OI, expected_IO.T, rtol=1e-4, atol=1e-6)


def test_with_a_light_corpus_the_values_move_all_the_way(random: torch.Generator) -> None:
    keys_IN, residuals_ON = normal(random, NUM_INPUTS, 3), normal(random, NUM_OUTPUTS, 3)
    update_OI = update(inverse_of(1e-9 * torch.eye(NUM_INPUTS, dtype=torch.float64)), keys_IN, residuals_ON)
    torch.testing.assert_close(update_OI @ keys_IN, residuals_ON, rtol=1e-4, atol=1e-4)


def test_the_update_of_a_single_edit_lies_along_its_direction(random: torch.Generator) -> None:
    corpus_NI = normal(random, 40, NUM_INPUTS)
    key_I, residual_O = normal(random, NUM_INPUTS), normal(random, NUM_OUTPUTS)
    free_IF = torch.linalg.qr(normal(random, NUM_INPUTS, 4)).Q
    moment_II = corpus_NI.T @ corpus_NI
    for spared in (inverse_of(moment_II), sparing(along(free_IF, 2.0), corpus_NI.T)):
        direction_I = rank_one_direction(spared, key_I, key_I)
        update_OI = update(spared, key_I[:, None], residual_O[:, None])
        assert float(direction_I @ key_I) == pytest.approx(1.0)
        written = float((update_OI @ key_I) @ residual_O / (residual_O @ residual_O))
        assert 0 < written < 1, "what is spared holds the edit back"
        torch.testing.assert_close(update_OI, written * torch.outer(residual_O, direction_I), rtol=1e-4, atol=1e-6)


def test_an_update_along_free_directions_is_that_of_the_paper_and_leaves_the_corpus_alone(
    random: torch.Generator,
) -> None:
    corpus_NI = normal(random, 40, 3) @ normal(random, 3, NUM_INPUTS)
    free_IF = torch.linalg.eigh(corpus_NI.T @ corpus_NI).eigenvectors[:, : NUM_INPUTS - 3]
    keys_IN, residuals_ON, past_IP = (normal(random, rows, 2) for rows in (NUM_INPUTS, NUM_OUTPUTS, NUM_INPUTS))
    ridge, projector_II = 0.3, free_IF @ free_IF.T
    update_OI = update(sparing(along(free_IF, ridge), past_IP), keys_IN, residuals_ON)

    eye_II = torch.eye(NUM_INPUTS, dtype=torch.float64)
    system_II = (past_IP @ past_IP.T + keys_IN @ keys_IN.T) @ projector_II + ridge * eye_II
    expected_OI = residuals_ON @ keys_IN.T @ projector_II @ torch.linalg.inv(system_II)
    torch.testing.assert_close(update_OI, expected_OI, rtol=1e-4, atol=1e-6)
    assert (update_OI @ corpus_NI.T).abs().max() < 1e-5


def test_keys_of_earlier_edits_are_spared_where_there_is_room(random: torch.Generator) -> None:
    keys_IN, residuals_ON, past_IP = (normal(random, rows, 2) for rows in (NUM_INPUTS, NUM_OUTPUTS, NUM_INPUTS))
    light = inverse_of(1e-7 * torch.eye(NUM_INPUTS, dtype=torch.float64))
    update_OI = update(sparing(light, past_IP), keys_IN, residuals_ON)
    assert (update_OI @ past_IP).norm() < 0.01 * (update(light, keys_IN, residuals_ON) @ past_IP).norm()
    with_past_OI = update(sparing(light, 100 * past_IP), keys_IN, residuals_ON)
    assert (with_past_OI @ past_IP).abs().max() < 1e-3


def test_sparing_keys_is_adding_them_to_what_is_spared(random: torch.Generator) -> None:
    corpus_NI, past_IP, keys_IN = (
        normal(random, *shape) for shape in ((40, NUM_INPUTS), (NUM_INPUTS, 3), (NUM_INPUTS, 2))
    )
    moment_II = corpus_NI.T @ corpus_NI
    spared = sparing(inverse_of(moment_II), past_IP)
    torch.testing.assert_close(spared(keys_IN), torch.linalg.solve(moment_II + past_IP @ past_IP.T, keys_IN))
