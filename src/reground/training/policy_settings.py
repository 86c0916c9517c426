"""What a recipe says about the training of a policy."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from reground.edits.records import Record
from reground.training.phantom.policy_samples import POLICY_KINDS, PolicyKind, PolicySetting, PooledImages
from reground.training.rewards import RewardWeights

__all__ = ["GrpoRecipe", "PolicyRecipe", "SftRecipe", "measured_setting", "training_setting"]


class PolicyRecipe(Record):
    """What both trainings have.

    Attributes:
        name: Name of the recipe.
        model: Which model the adapter is for.
        num_steps: Optimiser steps.
        learning_rate: Peak; it rises over the first steps and falls along a cosine.
        warmup_share: Share of the steps in which it rises.
        gradient_limit: Norm to which the gradient of a step is cut.
        seed: Of samples, first values and order.
        images_per_subject: Images of each finding and device in the training's pool.
        invented_share, percept_share, strange_share, called_share: See ``PolicySetting``.
        kinds: How often each kind of sample comes.
        save_every: Steps between two checkpoints.
        log_every: Steps between two lines of the curve.
        num_measured: Samples of each kind in the measurement on the calibration split.
    """

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    model: str = "phantom-med"
    num_steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_share: float = Field(default=0.05, ge=0, le=1)
    gradient_limit: float = Field(default=1.0, gt=0)
    seed: int = Field(default=1, ge=0)
    images_per_subject: int = Field(default=24, ge=1)
    invented_share: float = Field(default=0.8, ge=0, le=1)
    percept_share: float = Field(default=0.9, ge=0, le=1)
    strange_share: float = Field(default=0.15, ge=0, le=1)
    called_share: float = Field(default=0.6, ge=0, le=1)
    kinds: dict[PolicyKind, Annotated[float, Field(ge=0)]] = Field(default_factory=lambda: dict(POLICY_KINDS))
    save_every: int = Field(default=200, ge=1)
    log_every: int = Field(default=20, ge=1)
    num_measured: int = Field(default=100, ge=1)


class SftRecipe(PolicyRecipe):
    """Supervised training on right chains.

    Attributes:
        batch_size: Samples a step.
        rank, alpha: Of the low-rank adapter (r and alpha); it stands on every linear layer of the text model.
        rehearsal_share: Share of the samples that are about invented names, with what the unedited model says of them
            (``training.rehearsal``).
        num_rehearsed: Questions about invented names that the unedited model is asked for that.
    """

    batch_size: int = Field(default=32, ge=1)
    rank: int = Field(default=32, ge=1)
    alpha: float = Field(default=64.0, gt=0)
    rehearsal_share: float = Field(default=0.0, ge=0, lt=1)
    num_rehearsed: int = Field(default=6000, ge=1)


class GrpoRecipe(PolicyRecipe):
    """Reinforcement with the Cognitive Routing Reward, from a policy that can read cards or from none.

    Attributes:
        policy: Folder of the policy to go on from; the command line may name another.
        rank, alpha: Of the adapter, where it is a new one: reinforcement without supervised training before it. None:
            it goes on from a policy, and with its rank.
        num_prompts: Prompts a step.
        num_generations: Chains of each, whose rewards are held against each other (G).
        temperature: At which they are drawn.
        max_new_tokens: Budget of one.
        beta: Weight of the divergence from the policy it started from (beta).
        reward: Weights of the reward's terms.
    """

    policy: str | None = None
    rank: Annotated[int, Field(ge=1)] | None = None
    alpha: Annotated[float, Field(gt=0)] | None = None
    num_prompts: int = Field(default=4, ge=1)
    num_generations: int = Field(default=8, ge=2)
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=128, ge=1)
    beta: float = Field(default=0.02, ge=0)
    reward: RewardWeights = RewardWeights()

    @model_validator(mode="after")
    def _starts_in_one_way(self) -> Self:
        if (self.rank is None) != (self.alpha is None):
            raise ValueError("rank and alpha are given together, for a new adapter")
        if self.rank is not None and self.policy is not None:
            raise ValueError("a new adapter goes on from no policy: leave out policy, or rank and alpha")
        return self


def training_setting(recipe: PolicyRecipe, *, always_thinks: bool = False) -> PolicySetting:
    """Where the samples of a training come from: subjects of ``train`` alone."""
    return PolicySetting(
        images=PooledImages(recipe.images_per_subject),
        invented_share=recipe.invented_share,
        percept_share=recipe.percept_share,
        strange_share=recipe.strange_share,
        called_share=recipe.called_share,
        always_thinks=always_thinks,
        kinds=recipe.kinds,
    )


def measured_setting() -> PolicySetting:
    """Where the samples of the measurement come from: subjects of ``calibration``, fresh images, held-out wordings."""
    return PolicySetting(split="calibration", wording="held_out", styles=False)
