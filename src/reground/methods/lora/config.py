"""Settings of the low-rank adapter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reground.methods.base import MethodConfig
from reground.methods.chain_target import TargetKind

__all__ = ["LoraConfig"]


class LoraConfig(MethodConfig):
    """Where adapters go, how large they are, what they are trained on and for how long.

    Attributes:
        target: ``answer``: the new answer straight after the prompt, as the field does. ``chain``: the
            model's own chain with the fact replaced, then the answer.
        rank: Rank of each adapter (r in the paper).
        alpha: Scale of the adapters, divided by the rank (alpha in the paper).
        layers: Text layers; negative counts from the last; None for all.
        modules: Linear parts of each layer, as paths within it.
        learning_rate: Adam's step size.
        num_steps: Passes over the edits at most; with one batch of edits, steps.
        loss_floor: Mean loss per token, in nats, below which training stops.
        weight_decay: Adam's L2 penalty.
        batch_size: Edits in one step.
        ends: Train on the end token after the target.
        max_chain_tokens: Token budget of the model's own chain, for ``chain``.
    """

    target: TargetKind = "answer"
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("self_attn.q_proj", "self_attn.v_proj")
    learning_rate: float = Field(default=5e-3, gt=0)
    num_steps: int = Field(default=50, ge=1)
    loss_floor: float = Field(default=1e-2, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=16, ge=1)
    ends: bool = True
    max_chain_tokens: int = Field(default=96, ge=1)
