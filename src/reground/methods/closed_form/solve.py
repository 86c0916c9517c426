"""Closed-form updates of a linear layer, in the precision they are asked for.

A layer maps a key to a value: v = W k. An update D is added to W.

Axes: I inputs (keys), O outputs (values), N keys written at once, P other keys, F free directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Spared", "free_directions", "rank_one_direction"]

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


@dataclass(frozen=True)
class Spared:
    """What an update of many values at once should disturb little, and the directions of keys it acts on at all.

    Attributes:
        weight_FF: What an update D costs beside its residuals: tr(D S D^T) (S).
        free_IF: Orthonormal directions of keys outside of which the update does nothing (F, where P = F F^T is the
            paper's projector); None: it may act on all, and ``weight_FF`` is over the inputs.
    """

    weight_FF: torch.Tensor
    free_IF: torch.Tensor | None = None

    def update(self, keys_IN: torch.Tensor, residuals_ON: torch.Tensor) -> torch.Tensor:
        """The update (OI) that moves the values of many keys by their residuals, as nearly as what is spared allows.

        D = R K^T F (S + F^T K K^T F)^-1 F^T, which minimises |D K - R|^2 + tr(D S D^T) among the updates that act on
        free directions alone.

        Args:
            keys_IN: Keys to write at (K).
            residuals_ON: What is missing from their values (R).

        Source:
            Without F and with S = w C: Meng et al., 2023, "Mass-Editing Memory in a Transformer", equations 14 and 15.
            With F and S = F^T K_p K_p^T F + r I: Fang et al., 2025, "AlphaEdit: Null-Space Constrained Knowledge
            Editing for Language Models", equation 14, R K^T P (K_p K_p^T P + K K^T P + r I)^-1. Differs: solved among
            the free directions, where the matrix is symmetric, positive and no larger than it must be; the update is
            the same.
        """
        keys_FN = self._inside(keys_IN)
        solved_FN = torch.cholesky_solve(keys_FN, _factor(self.weight_FF + keys_FN @ keys_FN.T))
        return self._outside(residuals_ON @ solved_FN.T)

    def direction(self, key_I: torch.Tensor, written_key_I: torch.Tensor) -> torch.Tensor:
        """The direction (I) along which the update of one edit by itself lies, scaled to write its residual in full.

        Args:
            key_I: The key the edit is written at.
            written_key_I: The key whose product with the direction is 1.
        """
        inside_F, written_F = self._inside(key_I), self._inside(written_key_I)
        return self._outside(rank_one_direction(self.weight_FF, inside_F, written_F))

    def _inside(self, key: torch.Tensor) -> torch.Tensor:
        return key if self.free_IF is None else self.free_IF.T @ key

    def _outside(self, update: torch.Tensor) -> torch.Tensor:
        return update if self.free_IF is None else update @ self.free_IF.T


def free_directions(strengths_I: torch.Tensor, directions_II: torch.Tensor, threshold: float) -> torch.Tensor:
    """Orthonormal directions (IF) in which a corpus has next to no keys.

    Args:
        strengths_I: Mean square of the corpus's keys along each principal direction, smallest first.
        directions_II: Those directions, one a column.
        threshold: Largest strength of a free direction, as a share of the largest there is.

    Source:
        Fang et al., 2025, "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models", section 3.2: the
        projector P is this matrix times its transpose. Differs: the threshold is relative, so that it does not hang on
        the scale of a model's keys.
    """
    return directions_II[:, strengths_I <= threshold * strengths_I[-1]]
