"""Closed-form updates of a linear layer, in the precision they are asked for.

A layer maps a key to a value: v = W k. An update D is added to W. Beside its residuals it costs tr(D S D^T), S saying
what it should disturb little. S is as large as a layer is wide, squared, and is never needed: what its inverse makes
of a few keys is, and that can be read off the disk piece by piece (``panels``).

Axes: I inputs (keys), O outputs (values), N keys written at once, P other keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["Inverse", "batch_directions", "jittered_factor", "rank_one_direction", "sparing"]

#: From keys (IN) to what S^-1 makes of them (IN). Where an update may act along some directions F alone, F S^-1 F^T.
Inverse = Callable[[torch.Tensor], torch.Tensor]

#: Added to the diagonal of a second moment, as a share of its mean, so that it can be inverted whatever the corpus.
_JITTER = 1e-6


def rank_one_direction(inverse: Inverse, key_I: torch.Tensor, written_key_I: torch.Tensor) -> torch.Tensor:
    """The direction (I) of the rank-one update that shifts the value of one key and disturbs what is spared least.

    u = S^-1 k* / (k^T S^-1 k*); the update that shifts the value of k by d is d u^T.

    Args:
        inverse: That of what is spared (S).
        key_I: The direction to write along, a mean over contexts (k*).
        written_key_I: The key whose value is shifted by exactly d (k).

    Source:
        Meng et al., 2022, "Locating and Editing Factual Associations in GPT", equation 2, where S is the second moment
        of a corpus. Differs as their released code does: k need not be k*.
    """
    direction_I = inverse(key_I[:, None])[:, 0]
    return direction_I / (direction_I @ written_key_I)


def batch_directions(inverse: Inverse, keys_IN: torch.Tensor) -> torch.Tensor:
    """The directions (IN, U) of the update D = R U^T that moves the values of many keys by their residuals R (ON).

    U = (S + K K^T)^-1 K, as nearly as what is spared allows: D minimises |D K - R|^2 + tr(D S D^T).

    Args:
        inverse: That of what is spared (S).
        keys_IN: Keys to write at (K).

    Source:
        With S = w C: Meng et al., 2023, "Mass-Editing Memory in a Transformer", equations 14 and 15. Along free
        directions F with S = F^T K_p K_p^T F + r I: Fang et al., 2025, "AlphaEdit: Null-Space Constrained Knowledge
        Editing for Language Models", equation 14, R K^T P (K_p K_p^T P + K K^T P + r I)^-1. Differs in form alone:
        by Woodbury's identity U = S^-1 K (1 + K^T S^-1 K)^-1, a system as large as there are keys.
    """
    turned_IN = inverse(keys_IN)
    system_NN = torch.eye(keys_IN.shape[1]).to(keys_IN) + keys_IN.T @ turned_IN
    directions_NI: torch.Tensor = torch.linalg.solve(system_NN, turned_IN.T)
    return directions_NI.T


def sparing(inverse: Inverse, keys_IP: torch.Tensor) -> Inverse:
    """The inverse of S + K_p K_p^T: what spares the values of some keys (K_p) beside what is spared already (S)."""
    directions_IP = batch_directions(inverse, keys_IP)

    def beside(keys_IN: torch.Tensor) -> torch.Tensor:
        turned_IN = inverse(keys_IN)
        return turned_IN - directions_IP @ (keys_IP.T @ turned_IN)

    return beside


def jittered_factor(moment_II: torch.Tensor) -> torch.Tensor:
    """Lower triangular L (II) with L L^T the second moment and a little on its diagonal."""
    jitter = _JITTER * moment_II.diagonal().mean()
    factor_II: torch.Tensor = torch.linalg.cholesky(moment_II + jitter * torch.eye(len(moment_II)).to(moment_II))
    return factor_II
