"""Settings of the side-memory editor."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from reground.methods.base import MethodConfig
from reground.methods.chain_target import TargetKind

__all__ = ["MemoryUse", "Statistic", "WiseConfig"]

#: ``merge``: one side memory for all edits. ``retrieve``: several, of which the most activated answers.
MemoryUse = Literal["merge", "retrieve"]

#: The prompt tokens that activation is read from: the mean over all of them, or the last one.
Statistic = Literal["mean", "last"]


class WiseConfig(MethodConfig):
    """Where the side memory sits, how edits share it, and how prompts are routed.

    Activations and the margins alpha, beta and gamma are in units of what the main memory itself puts out: its mean
    norm over the irrelevant prompts.

    Attributes:
        target: ``answer``: the new answer straight after the prompt, as the field does. ``chain``: the model's own
            chain with the fact replaced, then the answer.
        layer: Text layer; negative counts from the last. None: the one five sixths of the way up.
        module: Linear part of that layer whose weight is the main memory (W_v in the paper), as a path within it.
        memory: How edits share memory.
        edits_per_shard: Edits that are trained together, in a random subspace of their own.
        shards_per_memory: For ``retrieve``: shards merged into one memory, which is then archived.
        mask_share: Share of the weight's entries that a shard may change (rho).
        merge_density: Share of each shard's changes, the largest, that a merge keeps.
        statistic: Prompt tokens that the activation is read from.
        alpha: Activation of irrelevant prompts above which they add to the loss.
        beta: Activation of edits below which they add to the loss.
        gamma: Margin between the two below which they add to the loss.
        route_share: Threshold of a memory (epsilon), as a share of the smallest activation among its own edits.
        irrelevant: Where irrelevant prompts come from: ``phantom-train``, or a JSONL file of queries. Never what is
            scored.
        num_irrelevant: How many of them.
        learning_rate: Adam's step size.
        num_steps: Steps for a shard at most.
        loss_floor: Loss, in nats for each token and with what routing adds, below which training stops.
        ends: Train on the end token after the target.
        max_chain_tokens: Token budget of the model's own chain, for ``chain``.
    """

    target: TargetKind = "answer"
    layer: int | None = None
    module: str = "mlp.down_proj"
    memory: MemoryUse = "merge"
    edits_per_shard: int = Field(default=10, ge=1)
    shards_per_memory: int = Field(default=2, ge=1)
    mask_share: float = Field(default=0.2, gt=0, le=1)
    merge_density: float = Field(default=0.53, gt=0, le=1)
    statistic: Statistic = "last"
    alpha: float = Field(default=0.1, ge=0)
    beta: float = Field(default=0.4, ge=0)
    gamma: float = Field(default=0.2, ge=0)
    route_share: float = Field(default=0.8, gt=0, lt=1)
    irrelevant: str = "phantom-train"
    num_irrelevant: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=3e-2, gt=0)
    num_steps: int = Field(default=50, ge=1)
    loss_floor: float = Field(default=1e-2, ge=0)
    ends: bool = True
    max_chain_tokens: int = Field(default=96, ge=1)

    @model_validator(mode="after")
    def _margins_fit(self) -> Self:
        if self.beta - self.alpha < self.gamma:
            raise ValueError("beta - alpha must be at least gamma, or the three margins cannot all be kept")
        return self
