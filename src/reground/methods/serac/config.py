"""Settings of SERAC: of an edit, and of the training before it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reground.methods.artifact import FitConfig, TrainedConfig

__all__ = ["SeracConfig", "SeracFitConfig"]


class SeracConfig(TrainedConfig):
    """Which artifact is used, and when an edit applies.

    Attributes:
        artifact: Folder that ``reground methods fit`` wrote; None: the one that ships with the package for the model.
        threshold: Probability from which on a query is in the scope of an edit.
    """

    threshold: float = Field(default=0.5, ge=0, le=1)


class SeracFitConfig(FitConfig):
    """How large classifier and counterfactual model are, and how they are trained.

    Attributes:
        num_steps: Optimiser steps.
        batch_size: Edits whose losses are added up in one step; each is also tried against the others' queries.
        learning_rate: Adam's step size at the start; it falls to zero along a half cosine.
        gradient_limit: Norm to which the gradient of a step is cut.
        validate_every: Steps between two measurements on the validation edits, and between two checkpoints. The
            artifact holds the values that did best there.
        num_validation: Validation edits at most.
        scope_layer: Text layer whose output the classifier reads; negative counts from the last.
        num_heads: Weighted means of that output over a prompt's tokens, image tokens among them.
        width: Numbers that stand for an edit or a query.
        layers: Text layers in which the counterfactual model differs from the model; None for all.
        modules: Linear parts of each of these, as paths within it.
        rank: Rank of each difference.
        num_in_scope: Questions in the edit's scope that are drawn for each edit in a step.
        num_out_of_scope: Locality probes that are drawn for each edit in a step.
        ends: Train on the end token after the answer.
    """

    num_steps: int = Field(default=1200, ge=1)
    batch_size: int = Field(default=8, ge=1)
    scope_layer: int = -2
    num_heads: int = Field(default=4, ge=1)
    width: int = Field(default=128, ge=1)
    layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("self_attn.q_proj", "self_attn.v_proj")
    rank: int = Field(default=8, ge=1)
    num_in_scope: int = Field(default=2, ge=1)
    num_out_of_scope: int = Field(default=3, ge=1)
    ends: bool = True
