"""What LiveEdit learns: how prompts are read, how an expert is made from an edit, and what experts do.

Axes: B prompts of a batch, T their tokens, N edits, H hidden width of the text model, Q learned queries, M width of
what they come back with, R rank of an expert.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from reground.errors import InputError
from reground.methods.identity import fill_module
from reground.methods.liveedit.config import LiveEditFitConfig

__all__ = ["Experts", "LiveEditParts", "Prompts", "Reader", "Router", "fill", "fused", "overlap"]


@dataclass(frozen=True)
class Prompts:
    """Hidden states of a batch of prompts.

    Attributes:
        hidden_BTH: Single precision.
        is_text_BT: The prompts' own words.
        is_image_BT: Image tokens.
    """

    hidden_BTH: torch.Tensor
    is_text_BT: torch.Tensor
    is_image_BT: torch.Tensor

    @property
    def has_image_B(self) -> torch.Tensor:
        """Whether a prompt has an image."""
        return self.is_image_BT.any(dim=1)


@dataclass(frozen=True)
class Experts:
    """What is kept of edits.

    Attributes:
        down_NRH, up_NRH: The two factors of each expert.
        asked_NQM: What stands for an edit's question.
        seen_NQM: What stands for its image, looked at with the question in mind.
        has_image_N: Whether it has one.
    """

    down_NRH: torch.Tensor
    up_NRH: torch.Tensor
    asked_NQM: torch.Tensor
    seen_NQM: torch.Tensor
    has_image_N: torch.Tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything, by name."""
        return dict(vars(self))

    def chosen(self, rows_N: torch.Tensor) -> Experts:
        """Some of them.

        Args:
            rows_N: Positions, or True for each that is wanted.
        """
        return Experts(**{name: tensor[rows_N] for name, tensor in vars(self).items()})

    def added(self, normed_BTH: torch.Tensor, shares_BN: torch.Tensor) -> torch.Tensor:
        """What the experts add to hidden states (BTH): ``sum_n share_n relu(x down_n^T) up_n``.

        Args:
            normed_BTH: Hidden states after the router's norm.
            shares_BN: How much of each expert each prompt gets.
        """
        inner_BTNR = torch.einsum("bth,nrh->btnr", normed_BTH, self.down_NRH).relu()
        added_BTH: torch.Tensor = torch.einsum("btnr,nrh,bn->bth", inner_BTNR, self.up_NRH, shares_BN)
        return added_BTH


def overlap(queries_BQM: torch.Tensor, edits_NQM: torch.Tensor) -> torch.Tensor:
    """How like each query is to each edit (BN): inner products, mean over the learned queries, over the root of M."""
    products_BN = torch.einsum("bqm,nqm->bn", queries_BQM, edits_NQM)
    return products_BN / (queries_BQM.shape[1] * math.sqrt(queries_BQM.shape[2]))


def fused(asked_BN: torch.Tensor, is_kept_BN: torch.Tensor) -> torch.Tensor:
    """How much of each expert each prompt gets (BN): its share among those kept, times how near it is by itself.

    Args:
        asked_BN: How like the questions are.
        is_kept_BN: Experts the image leaves in; with none left, nothing is added.
    """
    shares_BN = asked_BN.masked_fill(~is_kept_BN, -torch.inf).softmax(dim=1)
    return torch.where(is_kept_BN, shares_BN.nan_to_num() * asked_BN.sigmoid(), 0.0)


class Reader(nn.Module):
    """Reads a prompt with learned queries: what is asked, and what is seen with that in mind.

    Args:
        hidden_size: H.
        config: Sizes.
    """

    def __init__(self, hidden_size: int, config: LiveEditFitConfig) -> None:
        super().__init__()
        self.asked_norm, self.seen_norm = nn.LayerNorm(hidden_size), nn.LayerNorm(hidden_size)
        self.asking_QM, self.seeing_QM = (
            nn.Parameter(torch.randn(config.num_queries, config.width) / config.width**0.5) for _ in range(2)
        )
        self.asked_attention, self.question_attention, self.seen_attention = (
            _attention(hidden_size, config) for _ in range(3)
        )

    def asked(self, prompts: Prompts) -> torch.Tensor:
        """What stands for the questions (BQM)."""
        normed_BTH = self.asked_norm(prompts.hidden_BTH)
        return _read(self.asked_attention, _each(self.asking_QM, prompts), normed_BTH, prompts.is_text_BT)

    def seen(self, prompts: Prompts, *, image_SH: torch.Tensor | None = None) -> torch.Tensor:
        """What stands for the images (BQM); of no meaning in rows without one.

        Args:
            prompts: The prompts.
            image_SH: Tokens to look at in place of each prompt's own image.
        """
        normed_BTH = self.seen_norm(prompts.hidden_BTH)
        wanted_BQM = _read(self.question_attention, _each(self.seeing_QM, prompts), normed_BTH, prompts.is_text_BT)
        if image_SH is None:
            # A row without an image looks at everything, since attention to nothing is no number.
            is_looked_at_BT = prompts.is_image_BT | ~prompts.has_image_B[:, None]
            return _read(self.seen_attention, wanted_BQM, normed_BTH, is_looked_at_BT)
        image_BSH = self.seen_norm(image_SH).expand(len(wanted_BQM), -1, -1)
        return _read(self.seen_attention, wanted_BQM, image_BSH, None)


class Router(nn.Module):
    """Which experts a prompt gets, and how much of each; with the norm before them, all that inference needs.

    An expert whose edit has an image is kept for a prompt that has one if the two images are more alike than the
    prompt's image and the sentinel. Where one of the two has no image there is nothing to compare, and the question
    decides alone.

    Args:
        hidden_size: H.
        config: Sizes.
    """

    def __init__(self, hidden_size: int, config: LiveEditFitConfig) -> None:
        super().__init__()
        self.reader = Reader(hidden_size, config)
        self.norm = nn.LayerNorm(hidden_size)
        self.sentinel_SH = nn.Parameter(torch.randn(config.num_sentinel, hidden_size))

    def seen_overlaps(self, prompts: Prompts, edits_NQM: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How like each prompt's image is to each edit's (BN), and to the sentinel (B)."""
        seen_BQM = self.reader.seen(prompts)
        sentinel_BQM = self.reader.seen(prompts, image_SH=self.sentinel_SH)
        to_sentinel_B = (seen_BQM * sentinel_BQM).sum((1, 2)) / (seen_BQM.shape[1] * math.sqrt(seen_BQM.shape[2]))
        return overlap(seen_BQM, edits_NQM), to_sentinel_B

    def kept(self, prompts: Prompts, experts: Experts) -> torch.Tensor:
        """Experts that the image leaves in (BN)."""
        to_edits_BN, to_sentinel_B = self.seen_overlaps(prompts, experts.seen_NQM)
        is_compared_BN = prompts.has_image_B[:, None] & experts.has_image_N[None]
        return ~is_compared_BN | (to_edits_BN > to_sentinel_B[:, None])

    def shares(self, prompts: Prompts, experts: Experts, is_kept_BN: torch.Tensor) -> torch.Tensor:
        """How much of each expert each prompt gets (BN)."""
        return fused(overlap(self.reader.asked(prompts), experts.asked_NQM), is_kept_BN)


class LiveEditParts(nn.Module):
    """Everything that is trained.

    Args:
        hidden_size: H.
        config: Sizes.

    Raises:
        InputError: The heads cannot share the width.

    Source:
        Chen et al., 2025, "Lifelong Knowledge Editing for Vision Language Models with Low-Rank Mixture-of-Experts"
        (LiveEdit). Differs: see docs/methods/liveedit.md.
    """

    def __init__(self, hidden_size: int, config: LiveEditFitConfig) -> None:
        super().__init__()
        if config.width % config.num_heads:
            raise InputError(
                f"`width`={config.width} was to be shared by `num_heads`={config.num_heads}.",
                "a width that is a multiple of the number of heads",
                "change one of the two.",
            )
        self._scale = 1 / (config.scale * config.rank**0.5)
        self.router = Router(hidden_size, config)
        self.reader = Reader(hidden_size, config)
        self.edit_norm = nn.LayerNorm(hidden_size)
        self.generating_RM = nn.Parameter(torch.randn(2 * config.rank, config.width) / config.width**0.5)
        self.generator = _attention(hidden_size, config)
        self.factors = nn.Linear(config.width, hidden_size)

    def experts(self, prompts: Prompts, is_edit_BT: torch.Tensor) -> Experts:
        """An expert for each edit.

        Args:
            prompts: The edits' prompts, of which their features are made.
            is_edit_BT: The tokens an expert is made from: prompt, image and target.
        """
        normed_BTH = self.edit_norm(prompts.hidden_BTH)
        read_BRM = _read(self.generator, _each(self.generating_RM, prompts), normed_BTH, is_edit_BT)
        factors_BRH = self.factors(read_BRM) * self._scale
        down_BRH, up_BRH = factors_BRH.chunk(2, dim=1)
        return Experts(down_BRH, up_BRH, self.reader.asked(prompts), self.reader.seen(prompts), prompts.has_image_B)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that is kept, the very tensors."""
        return dict(self.state_dict())


def fill(part: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Set a part to kept values, after which nothing of it is trained.

    Raises:
        ArtifactError: They are of other sizes.
    """
    fill_module(part, tensors, "LiveEdit")
    part.requires_grad_(False)


def _attention(hidden_size: int, config: LiveEditFitConfig) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(config.width, config.num_heads, kdim=hidden_size, vdim=hidden_size, batch_first=True)


def _each(queries_QM: torch.Tensor, prompts: Prompts) -> torch.Tensor:
    return queries_QM.expand(len(prompts.hidden_BTH), -1, -1)


def _read(
    attention: nn.MultiheadAttention,
    queries_BQM: torch.Tensor,
    tokens_BTH: torch.Tensor,
    is_read_BT: torch.Tensor | None,
) -> torch.Tensor:
    ignored_BT = None if is_read_BT is None else ~is_read_BT
    read_BQM: torch.Tensor = attention(
        queries_BQM, tokens_BTH, tokens_BTH, key_padding_mask=ignored_BT, need_weights=False
    )[0]
    return read_BQM
