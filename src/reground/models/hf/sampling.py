"""Sampling that is a function of the query and the seed, whatever else is in the batch.

Axes: B rows of a batch, T tokens so far, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from transformers import LogitsProcessor

__all__ = ["ChainLimit", "SeededSampling", "sample_seed"]


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


class ChainLimit(LogitsProcessor):  # type: ignore[misc]
    """Ends each chain at the first end of a sentence once its budget is used up: given tokens follow there.

    A model that is stopped inside a sentence finishes it and closes its chain a second time, which would be a broken
    format of our making.

    Args:
        budgets: For each row of the batch, after how many generated tokens its chain is to be closed; None for never.
        close_ids: The tokens that follow: the closing delimiter, and what opens an answer.
        ends_sentence: Whether a token ends one.
        is_open: From the tokens a row has generated to whether its chain is still going on.
    """

    def __init__(
        self,
        budgets: Sequence[int | None],
        close_ids: Sequence[int],
        ends_sentence: Callable[[int], bool],
        is_open: Callable[[list[int]], bool],
    ) -> None:
        self._budgets = budgets
        self._close_ids = close_ids
        self._ends_sentence = ends_sentence
        self._is_open = is_open
        self._starts: list[int | None] = [None] * len(budgets)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (BV) in which rows that are being closed have one token left; ``input_ids`` (BT) was generated."""
        num_generated = input_ids.shape[1]
        forced = scores
        for row, budget in enumerate(self._budgets):
            if budget is None or num_generated < max(budget, 1):
                continue
            start = self._starts[row]
            if (
                start is None
                and self._ends_sentence(int(input_ids[row, -1]))
                and self._is_open(input_ids[row].tolist())
            ):
                start = self._starts[row] = num_generated
            if start is not None and num_generated < start + len(self._close_ids):
                forced = forced.clone() if forced is scores else forced
                forced[row] = -torch.inf
                forced[row, self._close_ids[num_generated - start]] = 0.0
        return forced
