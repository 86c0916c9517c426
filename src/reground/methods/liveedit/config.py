"""Settings of LiveEdit: of an edit, and of the training before it."""

from __future__ import annotations

from pydantic import Field

from reground.methods.artifact import FitConfig, TrainedConfig
from reground.methods.chain_target import TargetKind

__all__ = ["LiveEditConfig", "LiveEditFitConfig"]


class LiveEditConfig(TrainedConfig):
    """Which artifact is used; all else was decided when it was trained.

    Attributes:
        artifact: Folder that ``reground methods fit`` wrote; None: the one that ships with the package for the model.
    """


class LiveEditFitConfig(FitConfig):
    """Where experts act, how large they and the router are, and how they are trained.

    Attributes:
        num_steps: Optimiser steps.
        batch_size: Edits whose losses are added up in one step; their experts compete.
        learning_rate: Adam's step size at the start; it falls to zero along a half cosine.
        gradient_limit: Norm to which the gradient of a step is cut.
        validate_every: Steps between two measurements on the validation edits, and between two checkpoints. The
            artifact holds the values that did best there.
        num_validation: Validation edits at most.
        target: What an expert is made from and trained to bring about. ``answer``: the new answer straight after the
            prompt. ``chain``: the model's own chain with the fact replaced, then the answer.
        layer: Text layer to whose output the experts add; negative counts from the last; None: two thirds of the way
            up.
        rank: Rank of an expert.
        scale: What an expert's two factors are divided by at the start, beside the root of the rank.
        num_queries: Learned queries that read a prompt, of each kind.
        width: Numbers that each of these comes back with.
        num_heads: Attention heads of the reading; they share ``width``.
        num_sentinel: Tokens of the sentinel, the learned image that stands for none of the edited ones.
        routing_weight: Weight of the router's losses; those of the answers are 1.
        num_in_scope: Questions about the fact, the edit's own among them, that are drawn for each edit in a step.
        num_locality: Locality probes that are drawn for each edit in a step.
        ends: Train on the end token after the target.
        max_new_tokens: Token budget of what the unedited model is asked to write before the training starts.
    """

    num_steps: int = Field(default=1500, ge=1)
    batch_size: int = Field(default=8, ge=1)
    target: TargetKind = "answer"
    layer: int | None = None
    rank: int = Field(default=4, ge=1)
    scale: float = Field(default=5.0, gt=0)
    num_queries: int = Field(default=4, ge=1)
    width: int = Field(default=128, ge=1)
    num_heads: int = Field(default=4, ge=1)
    num_sentinel: int = Field(default=8, ge=1)
    routing_weight: float = Field(default=1.0, gt=0)
    num_in_scope: int = Field(default=2, ge=1)
    num_locality: int = Field(default=3, ge=1)
    ends: bool = True
    max_new_tokens: int = Field(default=96, ge=1)
