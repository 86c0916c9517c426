"""Settings that methods share which train on completions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reground.methods.base import MethodConfig
from reground.methods.chain_target import TargetKind

__all__ = ["Objective", "TrainingConfig"]

#: Where the tokens of a target are predicted: each after those before it, or all of them at the prompt's last token.
Objective = Literal["target_new", "prompt_last"]


class TrainingConfig(MethodConfig):
    """What is trained on, and for how long.

    Attributes:
        target: ``answer``: the new answer straight after the prompt, as the field does. ``chain``: the
            model's own chain with the fact replaced, then the answer.
        learning_rate: Adam's step size.
        num_steps: Passes over the edits at most; with one batch of edits, steps.
        loss_floor: Mean loss per token, in nats, below which training stops.
        weight_decay: Adam's L2 penalty.
        batch_size: Edits in one step.
        ends: Train on the end token after the target. For ``answer`` that is what teaches a model to answer
            without thinking; without it the model is free to go on.
        max_chain_tokens: Token budget of the model's own chain, for ``chain``.
    """

    target: TargetKind = "answer"
    learning_rate: float = Field(default=1e-3, gt=0)
    num_steps: int = Field(default=25, ge=1)
    loss_floor: float = Field(default=1e-2, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    batch_size: int = Field(default=16, ge=1)
    ends: bool = True
    max_chain_tokens: int = Field(default=96, ge=1)
