"""Llama 3.2 Vision: some text layers look across at the pictures, which have no features among the tokens of a prompt.

One token stands for a picture; it keeps its own embedding. The layers that look across are skipped in prompts without
an image, so they are not edited. In a batch that holds both kinds of prompt, those without an image are given states of
zeros: for them these layers then add exactly nothing. Tokens that no image is shown to, in a prompt that has one, are
given the mean over all states of their row by the stock layers; so rows of fewer images are filled up with whole copies
of their own, which leave a mean as it is.

Axes: B rows of a batch, T tokens, I images a row is filled up to, L tiles of an image at most, N states of a row,
H hidden width of the text model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from reground.models.hf.family import EncodedFrame, Family, TokenRow

__all__ = ["FAMILY"]

_STATES, _NUM_TILES = "cross_attention_states", "num_tiles"


def _encode(module: Any, processor: Any, inputs: Any) -> EncodedFrame:
    embedding = module.get_input_embeddings().weight
    inner = module.model
    states = inner.vision_model(
        pixel_values=inputs["pixel_values"].to(embedding.device, module.dtype),
        aspect_ratio_ids=inputs["aspect_ratio_ids"].to(embedding.device),
        aspect_ratio_mask=inputs["aspect_ratio_mask"].to(embedding.device),
    ).last_hidden_state
    states_NH = inner.multi_modal_projector(states).reshape(-1, embedding.shape[-1])
    token = module.config.image_token_id
    return EncodedFrame(
        embedding[token : token + 1].detach(),
        processor.image_token,
        further={_STATES: states_NH, _NUM_TILES: torch.tensor(inputs["num_tiles"][0][0])},
    )


def _further_inputs(module: Any, rows: Sequence[TokenRow], length: int) -> dict[str, torch.Tensor]:
    """States (BNH), and which token sees which tile of which image (BTIL); nothing for a batch without images."""
    if not any(row.frames for row in rows):
        return {}
    num_images = math.lcm(*(len(row.frames) for row in rows if row.frames))
    one_image = next(frame.further[_STATES] for row in rows for frame in row.frames)
    nothing_NH = one_image.new_zeros((num_images * len(one_image), one_image.shape[-1]))
    return {
        _STATES: torch.stack([_filled(row, num_images) if row.frames else nothing_NH for row in rows]),
        "cross_attention_mask": torch.stack([_seen(module, row, length, num_images) for row in rows]),
    }


def _filled(row: TokenRow, num_images: int) -> torch.Tensor:
    states_NH = torch.cat([frame.further[_STATES] for frame in row.frames])
    return states_NH.repeat(num_images // len(row.frames), 1)


def _seen(module: Any, row: TokenRow, length: int, num_images: int) -> torch.Tensor:
    max_tiles = module.config.vision_config.max_num_tiles
    seen_TIL = torch.zeros((length, num_images, max_tiles), dtype=torch.long)
    if row.frames:
        dense = convert_sparse_cross_attention_mask_to_dense(
            [get_cross_attention_token_mask(list(row.ids), module.config.image_token_id)],
            num_tiles=[[int(frame.further[_NUM_TILES]) for frame in row.frames]],
            max_num_tiles=max_tiles,
            length=len(row.ids),
        )
        seen_TIL[length - len(row.ids) :, : len(row.frames)] = torch.from_numpy(dense[0])
    return seen_TIL


def _layers_run(config: Any) -> list[int]:
    text = config.get_text_config()
    return [index for index in range(text.num_hidden_layers) if index not in text.cross_attention_layers]


FAMILY = Family(
    name="mllama",
    text_layers="model.language_model.layers",
    mlp="mlp",
    vision=("model.vision_model", "model.multi_modal_projector"),
    encode=_encode,
    vision_layers="model.vision_model.transformer.layers",
    tapped_vision_layers=lambda config: config.vision_config.intermediate_layers_indices,
    projector="model.multi_modal_projector",
    lacks=frozenset({"image_tokens"}),
    layers_run=_layers_run,
    further_inputs=_further_inputs,
    first_call_inputs=frozenset({_STATES}),
)
