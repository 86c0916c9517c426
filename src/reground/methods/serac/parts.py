"""What SERAC learns, in one piece, and how it reads an edit."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from reground.edits.records import Edit
from reground.methods.chain_target import edit_query
from reground.methods.identity import fill_module
from reground.methods.mend.layers import edited_layers
from reground.methods.serac.config import SeracFitConfig
from reground.methods.serac.counterfactual import LowRankDifference
from reground.methods.serac.scope import ScopeClassifier
from reground.models.base import Query
from reground.models.hf.adapter import HfModel

__all__ = ["SeracParts", "edit_prompt", "stated"]


class SeracParts(torch.nn.Module):
    """Scope classifier and counterfactual model for one model.

    Args:
        local: The model.
        config: Sizes.

    Raises:
        InputError: The model has no such layer, or a module is not linear.
    """

    def __init__(self, local: HfModel, config: SeracFitConfig) -> None:
        super().__init__()
        local.layer_path(config.scope_layer)
        layers = range(len(local.text_layers)) if config.layers is None else config.layers
        hidden_size = local.module.get_input_embeddings().weight.shape[-1]
        self.scope = ScopeClassifier(hidden_size, config.num_heads, config.width)
        self.difference = LowRankDifference(edited_layers(local, tuple(layers), config.modules), config.rank)
        self.to(local.device)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that is kept, the very tensors."""
        return dict(self.state_dict())

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set everything to kept values.

        Raises:
            ArtifactError: They are of other sizes.
        """
        fill_module(self, tensors, "SERAC")


def edit_prompt(edit: Edit) -> Query:
    """The prompt that stands for an edit in the memory: its question and image, and its statement as a note."""
    return stated(edit, edit_query(edit))


def stated(edit: Edit, query: Query) -> Query:
    """A query with an edit stated before it, and before any note it carries itself."""
    note = f"Note: {edit.statement}"
    return query.model_copy(update={"note": f"{note}\n{query.note}" if query.note else note})
