"""A low-rank adapter on the text model, trained on the edits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from reground.edits.records import Edit
from reground.methods.base import EditCost
from reground.methods.chain_target import completion_targets, edit_query
from reground.methods.cost import measured
from reground.methods.edited import SavedEdit
from reground.methods.lora.config import LoraConfig
from reground.methods.lora.layers import AttachedAdapter
from reground.methods.training_step import fit_completions, seeded
from reground.methods.weight_edit import (
    WeightEdit,
    check_base,
    num_bytes,
    read_tensors,
    require_edits,
    weights_of,
)
from reground.models.base import Capability, Model
from reground.models.hf.adapter import HfModel

__all__ = ["LoraEditor"]


class LoraEditor:
    """Trains one adapter on all edits together; undo takes the adapter out.

    Source:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Differs: trained on single edits.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "score", "weights"})

    def __init__(self, name: str, config: LoraConfig) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> WeightEdit:
        """The model with an adapter trained on ``edits``; an error on the way leaves it as it was.

        ``seed`` decides the adapter's first values.

        Raises:
            CapabilityError: No access to weights, or a chain is wanted from a model that writes none.
            InputError: No edits, an adapter in force already, or modules that the model does not have.
            ModelError: Training diverged.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        config = self._config
        with measured(local.info.device) as meter, seeded(seed, local.device):
            targets = completion_targets(
                model, edits, config.target, max_chain_tokens=config.max_chain_tokens, method_name=self.name
            )
            adapter = AttachedAdapter(local, config)
            try:
                report = fit_completions(
                    local,
                    adapter.parameters,
                    [edit_query(edit) for edit in edits],
                    [target.text for target in targets],
                    learning_rate=config.learning_rate,
                    num_steps=config.num_steps,
                    loss_floor=config.loss_floor,
                    weight_decay=config.weight_decay,
                    batch_size=config.batch_size,
                    ends=config.ends,
                )
            except BaseException:
                adapter.detach()
                raise
        details: dict[str, Any] = {
            "training": report.model_dump(),
            "targets": [target.model_dump() for target in targets],
        }
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            stored_bytes=num_bytes(adapter.tensors()),
            num_changed_parameters=sum(parameter.numel() for parameter in adapter.parameters.values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details=details,
        )
        return _in_force(model, local, saved, adapter)

    def load(self, model: Model, folder: Path) -> WeightEdit:
        """The model with the adapter that was saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: No access to weights.
            InputError: ``folder`` holds no edit of this method, or the model carries an adapter already.
            ModelError: The adapter was trained on other weights.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        with seeded(0, local.device):
            adapter = AttachedAdapter(local, LoraConfig.model_validate(saved.config))
        try:
            check_base(saved, adapter.base_tensors, local)
            adapter.fill(tensors)
        except BaseException:
            adapter.detach()
            raise
        return _in_force(model, local, saved, adapter)


def _in_force(model: Model, local: HfModel, saved: SavedEdit, adapter: AttachedAdapter) -> WeightEdit:
    for parameter in adapter.parameters.values():
        parameter.requires_grad_(False)
    return WeightEdit(
        model,
        local,
        saved,
        base_tensors=adapter.base_tensors,
        edit_tensors=adapter.tensors,
        undo=adapter.detach,
    )
