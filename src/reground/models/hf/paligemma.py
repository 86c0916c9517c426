"""PaliGemma: SigLIP tower, Gemma text model; all of a prompt sees all of it, only what is written is read in order.

There is no chat in it: a prompt is the pictures, the start token, the text and a line end, and the checkpoints carry no
chat template.

Axes: B rows of a batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reground.models.hf.family import Family, TokenRow, stock_encode
from reground.models.hf.gemma_inputs import declare_embeddings

__all__ = ["FAMILY"]

_TEMPLATE = (
    "{% for message in messages %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{{ bos_token }}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{{ '\n' }}{% endfor %}"
)


def _further_inputs(module: Any, rows: Sequence[TokenRow], length: int) -> dict[str, torch.Tensor]:
    """1 (BT) on what is written after the prompt, which is read in order."""
    types_BT = torch.zeros((len(rows), length), dtype=torch.long)
    for types_T, row in zip(types_BT, rows, strict=True):
        types_T[length - row.num_completion :] = 1
    return {"token_type_ids": types_BT}


FAMILY = Family(
    name="paligemma",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.vision_tower", "model.multi_modal_projector"),
    encode=stock_encode("pixel_values"),
    vision_layers="model.vision_tower.encoder.layers",
    projector="model.multi_modal_projector",
    position_offset=1,
    further_inputs=_further_inputs,
    prepare=declare_embeddings,
    chat_template=_TEMPLATE,
)
