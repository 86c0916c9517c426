"""Routing and merging of side memories, worked out by hand and against plain rewrites of the equations."""

from __future__ import annotations

import math

import pytest
import torch

from reground.methods.wise.memory import Mask, activations, routing_loss, ties_merge

pytestmark = pytest.mark.reference


def test_the_activation_is_the_mean_norm_of_the_difference_over_the_prompts_own_tokens() -> None:
    """Norms 5, 13 and 1; the first row has one pad, the second a completion, of which neither counts."""
    main_BTH = torch.zeros(2, 3, 2)
    side_BTH = torch.tensor([[[9.0, 9.0], [3.0, 4.0], [5.0, 12.0]], [[0.0, 1.0], [3.0, 4.0], [9.0, 9.0]]])
    prompt_BT = torch.tensor([[False, True, True], [True, True, False]])
    assert activations(side_BTH, main_BTH, prompt_BT, "mean").tolist() == [9.0, 3.0]
    assert activations(side_BTH, main_BTH, prompt_BT, "last").tolist() == [13.0, 5.0]


def test_the_activation_is_that_of_the_papers_equation() -> None:
    """|A(x) (W' - W)|, whatever the bias."""
    torch.manual_seed(0)
    layer, side_HF = torch.nn.Linear(3, 2), torch.randn(2, 3)
    input_BTF = torch.randn(1, 1, 3)
    side_BTH = torch.nn.functional.linear(input_BTF, side_HF, layer.bias)
    found = activations(side_BTH, layer(input_BTF), torch.ones(1, 1, dtype=torch.bool), "mean")
    torch.testing.assert_close(found, (input_BTF[0] @ (side_HF - layer.weight).T).norm(dim=-1).detach())


def test_a_kept_margin_costs_nothing() -> None:
    assert float(routing_loss(torch.tensor([20.0]), torch.tensor([5.0]), alpha=5, beta=20, gamma=10)) == 0.0


def test_each_margin_that_is_missed_costs_by_how_much() -> None:
    """d_i = 7 exceeds alpha = 5 by 2; d_e = 12 misses beta = 20 by 8; the gap of 5 misses gamma = 10 by 5."""
    assert float(routing_loss(torch.tensor([12.0]), torch.tensor([7.0]), alpha=5, beta=20, gamma=10)) == 15.0


def test_the_routing_loss_is_the_mean_over_pairs() -> None:
    edits, others = [3.0, 18.0, 25.0], [1.0, 9.0]
    expected = 0.0
    for edit in edits:
        for other in others:
            terms = (max(0.0, other - 5), max(0.0, 20 - edit), max(0.0, 10 - (edit - other)))
            expected += sum(terms) / (len(edits) * len(others))
    found = float(routing_loss(torch.tensor(edits), torch.tensor(others), alpha=5, beta=20, gamma=10))
    assert math.isclose(found, expected, rel_tol=1e-6)


def test_a_merge_trims_elects_a_sign_and_averages_what_agrees() -> None:
    """Half of four entries is two: [4, -3, 0, 0], [0, 5, 0, -2] and [2, 0, 0, -6] are left.

    Sums are 6, 2, 0 and -8. Positive agree 4 and 2: 3. Then 5 alone; nothing; and -2 and -6: -4.
    """
    changes = [
        torch.tensor([4.0, -3.0, 1.0, 0.5]),
        torch.tensor([1.0, 5.0, -1.5, -2.0]),
        torch.tensor([2.0, -1.0, 0.5, -6.0]),
    ]
    assert ties_merge(changes, 0.5).tolist() == [3.0, 5.0, 0.0, -4.0]


def test_changes_in_disjoint_subspaces_are_all_kept() -> None:
    """The share that is kept is of the entries a masked change has, not of its zeros."""
    changes = [torch.tensor([1.0, 0.0, 0.0, -2.0]), torch.tensor([0.0, 3.0, 0.0, 0.0])]
    assert ties_merge(changes, 1.0).tolist() == [1.0, 3.0, 0.0, -2.0]


def test_entries_that_cancel_are_left_out() -> None:
    assert ties_merge([torch.tensor([2.0, 1.0]), torch.tensor([-2.0, 1.0])], 1.0).tolist() == [0.0, 1.0]


def test_a_mask_covers_its_share_and_follows_the_seed() -> None:
    torch.manual_seed(1)
    first = Mask.random(torch.empty(200, 200), 0.2)
    torch.manual_seed(1)
    assert torch.equal(first.places_M, Mask.random(torch.empty(200, 200), 0.2).places_M)
    assert abs(len(first.places_M) / 200**2 - 0.2) < 0.01
    assert len(first.places_M.unique()) == len(first.places_M)
