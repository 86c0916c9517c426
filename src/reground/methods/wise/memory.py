"""Side memories: what activates them, the loss that keeps edits and other prompts apart, and how they are merged.

Axes: B rows of a batch, E edits, I irrelevant prompts, T tokens, S shards, F and H width of the module's input and
output, R rows of a piece of its weight, M entries of a piece within its mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from reground.methods.wise.config import Statistic

__all__ = ["Mask", "MaskedChange", "MaskedRows", "activations", "routing_loss", "ties_merge"]


def activations(
    side_BTH: torch.Tensor, main_BTH: torch.Tensor, prompt_BT: torch.Tensor, statistic: Statistic
) -> torch.Tensor:
    """How much a side memory would change each row's prompt (B, float32): the one statistic that routing knows.

    Training and inference both call this, on prompt tokens alone: a completion is not known when a row is routed.

    Args:
        side_BTH: The module's output with the side memory.
        main_BTH: Its output without.
        prompt_BT: True on the prompts' own tokens.
        statistic: ``mean``: of the norm of the difference over the prompt's tokens. ``last``: at its last token.

    Source:
        Wang et al., 2024, "WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large Language
        Models", equation 3: the activation indicator |A(x) (W_v' - W_v)|_2. Differs: the paper leaves open how tokens
        are pooled; its released code uses the mean, and the maximum on long inputs at inference.
    """
    norms_BT: torch.Tensor = (side_BTH - main_BTH).float().norm(dim=-1)
    prompt_BT = prompt_BT.to(norms_BT.device)
    if statistic == "last":
        columns_T = torch.arange(prompt_BT.shape[1], device=norms_BT.device)
        ends_B = (columns_T * prompt_BT).argmax(dim=1)
        return norms_BT.take_along_dim(ends_B[:, None], dim=1)[:, 0]
    return (norms_BT * prompt_BT).sum(dim=1) / prompt_BT.sum(dim=1)


def routing_loss(
    edits_E: torch.Tensor, irrelevant_I: torch.Tensor, *, alpha: float, beta: float, gamma: float
) -> torch.Tensor:
    """What is added to the loss of an edit so that activation tells edits from other prompts.

    The mean over pairs of relu(d_i - alpha) + relu(beta - d_e) + relu(gamma - (d_e - d_i)).

    Args:
        edits_E: Activations of the edits' prompts (d_e).
        irrelevant_I: Activations of irrelevant prompts (d_i).
        alpha, beta, gamma: The margins, in the same unit.

    Source:
        Wang et al., 2024, equation 5: the routing activation loss L_a.
    """
    gaps_EI = edits_E[:, None] - irrelevant_I[None, :]
    return (irrelevant_I - alpha).relu().mean() + (beta - edits_E).relu().mean() + (gamma - gaps_EI).relu().mean()


class MaskedRows(Sequence[torch.Tensor]):
    """A weight with other entries within a mask, in pieces of rows (RF), each made when it is asked for.

    Args:
        main_HF: The weight; it stays as it is.
        masks: For each piece, where the other entries are.
        values: For each piece, these (M).
        dtype: What the pieces are to be in.
    """

    def __init__(
        self, main_HF: torch.Tensor, masks: Sequence[Mask], values: Sequence[torch.Tensor], dtype: torch.dtype
    ) -> None:
        self._main, self._masks, self._values, self._dtype = _cut(main_HF.detach(), masks), masks, values, dtype

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, number: Any) -> Any:
        main_RF = self._main[number].to(self._dtype)
        places = (self._masks[number].places_M,)
        return main_RF.reshape(-1).index_put(places, self._values[number].to(self._dtype)).view_as(main_RF)


@dataclass(frozen=True)
class Mask:
    """Some entries of a piece of a weight's rows.

    Attributes:
        num_rows: R.
        places_M: Where they are, counted through the rows, in order, int32.
    """

    num_rows: int
    places_M: torch.Tensor

    @classmethod
    def random(cls, piece_RF: torch.Tensor, share: float) -> Self:
        """A random share of the entries; the caller's seed decides which."""
        is_within_RF = torch.rand(piece_RF.shape) < share
        return cls(len(piece_RF), is_within_RF.flatten().nonzero()[:, 0].int().to(piece_RF.device))

    def of(self, piece_RF: torch.Tensor) -> torch.Tensor:
        """The entries (M)."""
        return piece_RF.view(-1)[self.places_M]

    def put(self, piece_RF: torch.Tensor, values_M: torch.Tensor) -> None:
        """Set the entries in place."""
        piece_RF.view(-1)[self.places_M] = values_M.to(piece_RF.dtype)


@dataclass(frozen=True)
class MaskedChange:
    """What a side memory differs in from the main memory.

    Attributes:
        masks: For each piece of rows, where it may differ.
        differences: For each piece, side memory minus main memory there (M), float32.
    """

    masks: Sequence[Mask]
    differences: Sequence[torch.Tensor]

    @classmethod
    def between(cls, main_HF: torch.Tensor, masks: Sequence[Mask], values: Sequence[torch.Tensor]) -> Self:
        """That of a side memory with these values (M) within its masks."""
        pieces = zip(_cut(main_HF, masks), masks, values, strict=True)
        return cls(masks, [values_M.detach() - mask.of(main_RF).float() for main_RF, mask, values_M in pieces])

    def dense(self, like_HF: torch.Tensor) -> torch.Tensor:
        """The whole of it (HF), float32, zero outside the mask."""
        change_HF = torch.zeros_like(like_HF, dtype=torch.float32)
        pieces = _cut(change_HF, self.masks)
        for piece_RF, mask, difference_M in zip(pieces, self.masks, self.differences, strict=True):
            mask.put(piece_RF, difference_M)
        return change_HF

    def added_to(self, main_HF: torch.Tensor) -> torch.Tensor:
        """The side memory (HF); the sum is taken in the precision of the change."""
        side_HF = main_HF.clone()
        pieces = _cut(side_HF, self.masks)
        for piece_RF, mask, difference_M in zip(pieces, self.masks, self.differences, strict=True):
            mask.put(piece_RF, mask.of(piece_RF) + difference_M)
        return side_HF


def _cut(weight_HF: torch.Tensor, masks: Sequence[Mask]) -> tuple[torch.Tensor, ...]:
    """Views of a weight, the rows of each mask."""
    return torch.split(weight_HF, [mask.num_rows for mask in masks])


def ties_merge(changes: Sequence[torch.Tensor], density: float) -> torch.Tensor:
    """One change of a weight in the place of several.

    Of each change the largest entries are kept, a ``density`` of those that are not zero; every position takes the
    sign of the sum of what is kept there; and the mean of what has that sign, over the changes that have it.

    Args:
        changes: Differences to the weight that all of them started from, of one shape.
        density: Share in (0, 1].

    Source:
        Yadav et al., 2023, "TIES-Merging: Resolving Interference When Merging Models", algorithm 1, with a scale of 1.
        Differs: the share is of the entries a change has, since a masked change is zero nearly everywhere.
    """
    trimmed = torch.stack([_trimmed(change.float(), density) for change in changes])
    elected = trimmed.sum(dim=0).sign()
    agrees = (trimmed.sign() == elected) & (elected != 0)
    merged = (trimmed * agrees).sum(dim=0) / agrees.sum(dim=0).clamp(min=1)
    return merged.to(changes[0].dtype)


def _trimmed(change: torch.Tensor, density: float) -> torch.Tensor:
    size = change.abs().flatten()
    num_kept = max(1, round(density * int((size > 0).sum())))
    kept = size.topk(num_kept).indices
    return torch.zeros_like(change).flatten().index_copy(0, kept, change.flatten()[kept]).view_as(change)
