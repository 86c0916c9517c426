"""Gemma 3 and MedGemma: SigLIP tower, Gemma text model in which the tokens of a picture see each other both ways.

Axes: B rows of a batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reground.models.hf.family import Family, TokenRow, stock_encode
from reground.models.hf.gemma_inputs import declare_embeddings

__all__ = ["FAMILY"]


def _further_inputs(module: Any, rows: Sequence[TokenRow], length: int) -> dict[str, torch.Tensor]:
    """1 (BT) on image tokens: where the mask of the text model lets a token see to its right."""
    types_BT = torch.zeros((len(rows), length), dtype=torch.long)
    for types_T, row in zip(types_BT, rows, strict=True):
        types_T[length - len(row.ids) :] = (torch.tensor(row.ids) == module.config.image_token_id).long()
    return {"token_type_ids": types_BT}


FAMILY = Family(
    name="gemma3",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.vision_tower", "model.multi_modal_projector"),
    encode=stock_encode("pixel_values"),
    vision_layers="model.vision_tower.encoder.layers",
    projector="model.multi_modal_projector",
    further_inputs=_further_inputs,
    prepare=declare_embeddings,
    end_tokens=("<end_of_turn>",),
)
