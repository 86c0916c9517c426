"""Closed-form updates of a linear layer, in the precision they are asked for.

A layer maps a key to a value: v = W k. An update D is added to W.

Axes: I inputs (keys), O outputs (values).
"""

from __future__ import annotations

import torch

__all__ = ["rank_one_direction"]

#: Added to the diagonal of a second moment, as a share of its mean, so that it can be inverted whatever the corpus.
_JITTER = 1e-6


def rank_one_direction(moment_II: torch.Tensor, key_I: torch.Tensor, written_key_I: torch.Tensor) -> torch.Tensor:
    """The direction (I) of the rank-one update that shifts the value of one key and disturbs those of a corpus least.

    u = C^-1 k* / (k^T C^-1 k*); the update that shifts the value of k by d is d u^T.

    Args:
        moment_II: Mean of k k^T over the corpus (C).
        key_I: The direction to write along, a mean over contexts (k*).
        written_key_I: The key whose value is shifted by exactly d (k).

    Source:
        Meng et al., 2022, "Locating and Editing Factual Associations in GPT", equation 2. Differs as their released
        code does: k need not be k*.
    """
    direction_I = torch.cholesky_solve(key_I[:, None], _factor(moment_II))[:, 0]
    return direction_I / (direction_I @ written_key_I)


def _factor(moment_II: torch.Tensor) -> torch.Tensor:
    jitter = _JITTER * moment_II.diagonal().mean()
    factor_II: torch.Tensor = torch.linalg.cholesky(moment_II + jitter * torch.eye(len(moment_II)).to(moment_II))
    return factor_II
