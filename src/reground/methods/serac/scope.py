"""Which edit a query concerns, if any.

Axes: B prompts of a batch, T their tokens, H hidden width of the text model, K heads, E numbers that stand for a
prompt, N edits in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reground.methods.layer_output import layer_output
from reground.models.base import Query
from reground.models.hf.adapter import HfModel

__all__ = ["ScopeClassifier", "hidden_states", "route"]


class ScopeClassifier(torch.nn.Module):
    """The probability that a query is in the scope of an edit, from what the unedited model makes of both prompts.

    A prompt (image, note and question) is stood for by a few weighted means of the hidden states at its tokens, image
    tokens among them; the weights are learned. The two are compared number by number.

    Args:
        hidden_size: H.
        num_heads: K.
        width: E.

    Source:
        Mitchell et al., 2022, "Memory-Based Model Editing at Scale", section 3.2. Differs: it reads the model's own
        hidden states instead of text alone, so that it sees the image; edits are encoded once, as in the paper's
        embedding classifier, and compared by a small network instead of by their distance.
    """

    def __init__(self, hidden_size: int, num_heads: int, width: int) -> None:
        super().__init__()
        self.heads_KH = torch.nn.Parameter(torch.randn(num_heads, hidden_size) / hidden_size**0.5)
        self.encoder = torch.nn.Linear(num_heads * hidden_size, width)
        self.compared = torch.nn.Linear(4 * width, width)
        self.decided = torch.nn.Linear(width, 1)

    def encode(self, hidden_BTH: torch.Tensor, is_token_BT: torch.Tensor) -> torch.Tensor:
        """What stands for each prompt (BE).

        Args:
            hidden_BTH: Hidden states, any float dtype.
            is_token_BT: False on padding.
        """
        normed_BTH = torch.nn.functional.layer_norm(hidden_BTH.float(), hidden_BTH.shape[-1:])
        scores_BKT = (normed_BTH @ self.heads_KH.T).transpose(1, 2)
        weights_BKT = scores_BKT.masked_fill(~is_token_BT[:, None], -torch.inf).softmax(-1)
        encoded: torch.Tensor = self.encoder((weights_BKT @ normed_BTH).flatten(1))
        return encoded

    def forward(self, queries_BE: torch.Tensor, edits_NE: torch.Tensor) -> torch.Tensor:
        """Log-odds (BN) that each query is in the scope of each edit."""
        shape = (len(queries_BE), len(edits_NE), queries_BE.shape[-1])
        query, edit = queries_BE[:, None].expand(shape), edits_NE[None].expand(shape)
        pairs = torch.cat([query, edit, query * edit, (query - edit).abs()], dim=-1)
        odds: torch.Tensor = self.decided(self.compared(pairs).relu())
        return odds.squeeze(-1)


def route(odds_BN: torch.Tensor, threshold: float) -> list[int | None]:
    """For each query the edit most likely to concern it, or None if that is less likely than the threshold.

    Of equally likely edits the latest counts.

    Args:
        odds_BN: Log-odds.
        threshold: A probability in [0, 1].
    """
    probabilities_BN = odds_BN.sigmoid()
    chosen: list[int | None] = []
    for row_N in probabilities_BN.flip(-1):
        best = int(row_N.argmax())
        chosen.append(len(row_N) - 1 - best if float(row_N[best]) >= threshold else None)
    return chosen


def hidden_states(local: HfModel, queries: Sequence[Query], layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Output of a text layer (BTH) for whole prompts, and where their tokens are (BT; False on padding).

    Raises:
        InputError: There is no such layer.
    """
    batch = local.prompt_batch(queries)
    is_token_BT = batch["attention_mask"] == 1
    return layer_output(local, batch, layer, is_token_BT), is_token_BT
