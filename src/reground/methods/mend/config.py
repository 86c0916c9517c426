"""Settings of MEND: of an edit, and of the training before it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reground.methods.artifact import FitConfig, TrainedConfig
from reground.methods.chain_target import TargetKind

__all__ = ["MendConfig", "MendFitConfig"]


class MendConfig(TrainedConfig):
    """Which artifact is used; all else was decided when it was trained.

    Attributes:
        artifact: Folder that ``reground methods fit`` wrote; None: the one that ships with the package for the model.
    """


class MendFitConfig(FitConfig):
    """Which weights are edited, how large the network is, and how it is trained.

    Attributes:
        num_steps: Optimiser steps.
        batch_size: Edits whose losses are added up in one step.
        learning_rate: Adam's step size at the start; it falls to zero along a half cosine.
        gradient_limit: Norm to which the gradient of a step is cut.
        validate_every: Steps between two measurements on the validation edits, and between two checkpoints. The
            artifact holds the values that did best there.
        num_validation: Validation edits at most.
        target: What an edit's gradient is of, and what its network is trained to bring about. ``answer``: the new
            answer straight after the prompt. ``chain``: the model's own chain with the fact replaced, then the answer.
        layers: Text layers; negative counts from the last.
        modules: Linear parts of each layer, as paths within it.
        rank: Width of the narrow part of each of the network's two blocks.
        step_size: First value of the learned step sizes (alpha in the paper).
        step_learning_rate: Adam's step size for these.
        edit_weight: Weight of the edit's loss (c_e in the paper); that of locality is 1.
        num_in_scope: Questions about the fact, the edit's own among them, that are drawn for each edit in a step.
        num_locality: Locality probes that are drawn for each edit in a step.
        ends: Train on the end token after the target.
        max_new_tokens: Token budget of what the unedited model is asked to write before the training starts.
    """

    num_steps: int = Field(default=1500, ge=1)
    target: TargetKind = "answer"
    layers: Annotated[tuple[int, ...], Field(min_length=1)] = (-3, -2, -1)
    modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("mlp.up_proj", "mlp.down_proj")
    rank: int = Field(default=64, ge=1)
    step_size: float = Field(default=1e-3, gt=0)
    step_learning_rate: float = Field(default=1e-3, ge=0)
    edit_weight: float = Field(default=0.1, gt=0)
    num_in_scope: int = Field(default=2, ge=1)
    num_locality: int = Field(default=3, ge=1)
    ends: bool = True
    max_new_tokens: int = Field(default=96, ge=1)
