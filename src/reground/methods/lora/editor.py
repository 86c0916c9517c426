"""A low-rank adapter on the text model, trained on the edits."""

from __future__ import annotations

from typing import ClassVar

from reground.methods.base import MethodConfig
from reground.methods.lora.config import LoraConfig
from reground.methods.lora.layers import AttachedAdapter
from reground.methods.trained_edit import CompletionEditor
from reground.models.hf.adapter import HfModel

__all__ = ["LoraEditor"]


class LoraEditor(CompletionEditor[LoraConfig]):
    """Trains one adapter on all edits together; undo takes the adapter out. The seed decides its first values.

    Source:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Differs: trained on single edits.
    """

    config_class: ClassVar[type[MethodConfig]] = LoraConfig

    def _change(self, local: HfModel, config: LoraConfig) -> AttachedAdapter:
        return AttachedAdapter(local, config)
