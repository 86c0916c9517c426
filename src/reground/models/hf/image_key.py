"""A head that names what a frozen tower sees, so that images can be compared by name.

Axes: B images, P patches, D tower width, Q queries, C names.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ImageKeyHead"]


class ImageKeyHead(nn.Module):
    """One head: learned queries look at the patches, a linear layer names what they see.

    Args:
        width: D.
        num_queries: Q.
        num_names: C.
    """

    def __init__(self, width: int, num_queries: int, num_names: int) -> None:
        super().__init__()
        self.looks = nn.Linear(width, num_queries)
        self.names = nn.Linear(num_queries * width, num_names)

    def forward(self, states_BPD: torch.Tensor) -> torch.Tensor:
        """Logits (BC)."""
        seen_BQD = self.looks(states_BPD).softmax(1).transpose(1, 2) @ states_BPD
        logits_BC: torch.Tensor = self.names(seen_BQD.flatten(1))
        return logits_BC
