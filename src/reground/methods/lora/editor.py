"""A low-rank adapter on the text model, trained on the edits."""

from __future__ import annotations

from typing import ClassVar

from reground.methods.base import MethodConfig
from reground.methods.lora.config import LoraConfig
from reground.methods.lora.layers import AttachedAdapter, ContinuedAdapter
from reground.methods.trained_edit import CompletionEdit, CompletionEditor
from reground.models.hf.adapter import HfModel

__all__ = ["LoraEditor"]


class LoraEditor(CompletionEditor[LoraConfig]):
    """Trains one adapter on all edits together; undo takes the adapter out. The seed decides its first values.

    On a model that carries an adapter of the same settings, that one is trained further.

    Source:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Differs: trained on single edits.
    """

    config_class: ClassVar[type[MethodConfig]] = LoraConfig

    def _change(self, local: HfModel, config: LoraConfig) -> AttachedAdapter | ContinuedAdapter:
        latest = local.edits_in_force[-1] if local.edits_in_force else None
        if isinstance(latest, CompletionEdit) and latest.saved.method == self.name:
            change = latest.change.adapter if isinstance(latest.change, ContinuedAdapter) else latest.change
            if isinstance(change, AttachedAdapter) and LoraConfig.model_validate(latest.saved.config) == config:
                return ContinuedAdapter(change)
        return AttachedAdapter(local, config)
