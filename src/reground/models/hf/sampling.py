"""Sampling that is a function of the query and the seed, whatever else is in the batch.

Axes: B rows of a batch, T tokens so far, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

__all__ = ["SeededSampling", "sample_seed"]


def sample_seed(prompt: str, image: str, sample: int, seed: int) -> int:
    """The seed of one sample of one query, in [0, 2**63).

    The same query asked twice in one call therefore gives the same samples; ask for ``num_samples`` to get different
    ones.

    Args:
        prompt: The whole prompt.
        image: Content key of its image; empty if there is none.
        sample: Which sample of the query.
        seed: The caller's seed.
    """
    content = f"{seed}\n{sample}\n{image}\n{prompt}"
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") >> 1


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Turns arg max decoding into sampling, each row from a random stream of its own.

    The arg max of logits / temperature + Gumbel noise is a draw from the softmax of logits / temperature. The
    global random state is neither read nor moved.

    Args:
        seeds: One for each row of the batch.
        temperature: Above 0.
        device: Where the logits are; streams differ between kinds of device.

    Source:
        Gumbel, 1954; used for categorical draws in Maddison, Tarlow and Minka, "A* sampling", 2014.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, device: torch.device) -> None:
        self._temperature = temperature
        self._streams = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Noisy scores (BV) whose arg max is the sample; ``input_ids`` (BT) is not used."""
        noise_BV = torch.empty_like(scores, dtype=torch.float32)
        for row_V, stream in zip(noise_BV, self._streams, strict=True):
            row_V.exponential_(generator=stream)
        return scores.float() / self._temperature - noise_BV.log()
