"""Settings of the low-rank adapter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reground.methods.training_config import TrainingConfig

__all__ = ["LoraConfig", "ModuleChoice"]

#: Presets of linear parts of a layer: those outside its MLP, those of its MLP, or both.
ModuleChoice = Literal["attention", "mlp", "all"]


class LoraConfig(TrainingConfig):
    """Where adapters go, how large they are, what they are trained on and for how long.

    Attributes:
        rank: Rank of each adapter (r in the paper).
        alpha: Scale of the adapters, divided by the rank (alpha in the paper); None: twice the rank, so that another
            rank leaves the scale as it is.
        layers: Text layers; negative counts from the last; None for all.
        modules: Linear parts of each layer: ``attention``, ``mlp``, ``all``, or paths within the layer.
    """

    rank: int = Field(default=8, ge=1)
    alpha: Annotated[float, Field(gt=0)] | None = None
    layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    modules: ModuleChoice | Annotated[tuple[str, ...], Field(min_length=1)] = ("self_attn.q_proj", "self_attn.v_proj")
    learning_rate: float = Field(default=2e-3, gt=0)
    num_steps: int = Field(default=50, ge=1)
