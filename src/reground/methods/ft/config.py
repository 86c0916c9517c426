"""Settings of fine-tuning."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reground.methods.training_config import Objective, TrainingConfig

__all__ = ["FtConfig", "ModelPart"]

#: Where the trained weights are.
ModelPart = Literal["text", "vision", "projector"]


class FtConfig(TrainingConfig):
    """Which weights are trained, on what, and for how long.

    Attributes:
        part: ``text``: layers of the text model. ``vision``: layers of the vision tower. ``projector``: all of what
            stands between the two.
        objective: ``target_new``: each token of the target is predicted after those before it. ``prompt_last``: all
            of them at the last token of the prompt.
        layers: Layers of that part; negative counts from the last; None for the projector.
        modules: Parts of each layer, as paths within it, e.g. ``mlp`` or ``mlp.down_proj``; None for the projector.
        learning_rate: Adam's step size.
    """

    part: ModelPart = "text"
    objective: Objective = "target_new"
    layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = (-1,)
    modules: Annotated[tuple[str, ...], Field(min_length=1)] | None = ("mlp.down_proj",)
    learning_rate: float = Field(default=3e-3, gt=0)

    @model_validator(mode="after")
    def _settings_take_effect(self) -> Self:
        is_whole = self.part == "projector"
        if (self.layers is None) != is_whole or (self.modules is None) != is_whole:
            raise ValueError("`layers` and `modules` are null for the projector, and given for text and vision")
        if self.objective == "prompt_last" and (self.target == "chain" or self.ends):
            raise ValueError("objective='prompt_last' predicts the answer's tokens alone: target='answer', ends=false")
        return self
