"""Seeded sampling draws from the softmax, each row from its own stream."""

from __future__ import annotations

import torch

from reground.models.hf.sampling import SeededSampling, sample_seed

CPU = torch.device("cpu")


def draws(logits_V: torch.Tensor, temperature: float, num_rows: int) -> torch.Tensor:
    sampling = SeededSampling(range(num_rows), temperature, CPU)
    return sampling(torch.zeros(num_rows, 0), logits_V.expand(num_rows, -1)).argmax(-1)


def test_frequencies_follow_the_softmax_at_the_given_temperature() -> None:
    logits_V = torch.tensor([0.0, 1.0, 2.0, -3.0])
    for temperature in (0.5, 1.0, 2.0):
        shares = torch.bincount(draws(logits_V, temperature, 4000), minlength=4) / 4000
        # Three standard errors of a share of one half.
        torch.testing.assert_close(shares, (logits_V / temperature).softmax(-1), atol=0.024, rtol=0)


def test_a_row_draws_the_same_whatever_stands_beside_it() -> None:
    logits_BV = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together = SeededSampling([7, 8, 9], 1.0, CPU)
    alone = SeededSampling([8], 1.0, CPU)
    for _ in range(5):
        noisy = together(torch.zeros(3, 0), logits_BV)
        assert torch.equal(noisy[1], alone(torch.zeros(1, 0), logits_BV[1:2])[0])


def test_seeds_differ_in_each_of_their_parts() -> None:
    seeds = {
        sample_seed(prompt, image, sample, seed)
        for prompt in ("a", "b")
        for image in ("", "x")
        for sample in (0, 1)
        for seed in (0, 1)
    }
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
