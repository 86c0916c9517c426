"""Settings of the codebook editor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reground.methods.base import MethodConfig
from reground.methods.chain_target import TargetKind

__all__ = ["GraceConfig", "Replacement"]

#: Where a value takes the place of the module's output: at the prompt's last token; at every token of the prompt; at
#: those and every token that follows.
Replacement = Literal["last", "prompt", "all"]


class GraceConfig(MethodConfig):
    """Where the codebook sits, how far a key reaches, and how its value is trained.

    Attributes:
        target: ``answer``: the new answer straight after the prompt, as the field does. ``chain``: the model's own
            chain with the fact replaced, then the answer.
        layer: Text layer (l in the paper); negative counts from the last. None: two thirds of the way up, and below
            the last, so that what is put in is read by a layer.
        module: Part of that layer whose input is the key and whose output is replaced, as a path within it.
        radius: Radius of a new key, Euclidean (epsilon_init in the paper).
        replacement: Which tokens' outputs are replaced.
        value_start: ``cold``: drawn uniformly from [0, 1), as the released code does. ``warm``: what the module
            itself puts out for the key.
        learning_rate: Adam's step size for a value.
        num_steps: Steps for a value at most.
        loss_floor: Mean loss per token, in nats, below which training stops.
        ends: Train on the end token after the target.
        max_chain_tokens: Token budget of the model's own chain, for ``chain``.
    """

    target: TargetKind = "answer"
    layer: int | None = None
    module: str = "mlp.down_proj"
    radius: float = Field(default=1.0, gt=0)
    replacement: Replacement = "prompt"
    value_start: Literal["cold", "warm"] = "warm"
    learning_rate: float = Field(default=1.0, gt=0)
    num_steps: int = Field(default=100, ge=1)
    loss_floor: float = Field(default=1e-2, ge=0)
    ends: bool = True
    max_chain_tokens: int = Field(default=96, ge=1)
