"""Editors that train on completions: the body they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

import torch

from reground.edits.records import Edit
from reground.methods.base import EditCost, MethodConfig
from reground.methods.chain_target import completion_targets, edit_query
from reground.methods.completion_training import LowestChange, fit_completions
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit
from reground.methods.row_pieces import gradient_bytes
from reground.methods.training_config import Objective, TrainingConfig
from reground.methods.training_step import seeded
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
from reground.models.hf.tiles import in_tiles

__all__ = ["CompletionEdit", "CompletionEditor", "WeightChange"]

_Config = TypeVar("_Config", bound=TrainingConfig)


class WeightChange(Protocol):
    """A change of a model's weights, in place from construction until ``undo``.

    Attributes:
        trains_vision: Whether it lies on the way of an image to the text model, so that images have to be encoded
            anew at every step.
        lowest: Below what it changes nothing; None if that is not known, or everything.
    """

    trains_vision: bool
    lowest: LowestChange | None

    @property
    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """What is trained, by name."""
        ...

    @property
    def base_tensors(self) -> Mapping[str, torch.Tensor]:
        """The weights the change stands on, as they were before it."""
        ...

    @property
    def copied_bytes(self) -> int:
        """What of memory takes what undo puts back; of an adapter, which is taken out, its own values."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """What has to be kept."""
        ...

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set it to saved values; a ``ModelError`` if they do not fit."""
        ...

    def settle(self) -> None:
        """Called once it is trained or filled."""
        ...

    def undo(self) -> None:
        """Leave the model bit for bit as it was found."""
        ...


class CompletionEdit(WeightEdit):
    """A local model with a trained change of its weights.

    Args:
        base: The model as it was handed to the editor.
        local: Where the weights are.
        saved: What is kept of the edits, without tensors.
        change: The change, trained and settled.
    """

    def __init__(self, base: Model, local: HfModel, saved: SavedEdit, change: WeightChange) -> None:
        super().__init__(
            base, local, saved, base_tensors=change.base_tensors, edit_tensors=change.tensors, undo=change.undo
        )
        self.change = change


class CompletionEditor(ABC, Generic[_Config]):
    """Trains a change of the weights until the targets of all edits follow their prompts.

    A method says where the change is (``_change``), and which edits it cannot carry (``_check_edits``).
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "score", "weights"})
    config_class: ClassVar[type[MethodConfig]]

    def __init__(self, name: str, config: _Config) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    @property
    def objective(self) -> Objective:
        """Where the tokens of a target are predicted."""
        return "target_new"

    def working_bytes(self, model: Model) -> int:
        """Adam's two moments of what is trained, its gradient, and what undo puts back, as far as they are in memory.

        Of an adapter, which is taken out to be undone, its own values are counted.
        """
        local = weights_of(model, self.needs, self.name)
        with seeded(0, local.device):
            change = self._change(local, self._config)
        try:
            sizes = [num_bytes({name: parameter}) for name, parameter in change.parameters.items()]
            return change.copied_bytes + sum(2 * size + gradient_bytes(size) for size in sizes)
        finally:
            change.undo()

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> CompletionEdit:
        """The model trained on ``edits``; an error on the way leaves it as it was.

        ``seed`` decides whatever the change draws at random.

        Raises:
            CapabilityError: No access to weights, a part of the model that its family does not describe, or a chain
                is wanted from a model that writes none.
            InputError: No edits, edits the method cannot carry, or layers or modules that the model does not have.
            ModelError: Training diverged.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        self._check_edits(edits)
        config = self._config
        with measured_on(local) as meter, in_tiles(local.mlps), seeded(seed, local.device):
            change = self._change(local, config)
            try:
                targets = completion_targets(
                    model, edits, config.target, max_chain_tokens=config.max_chain_tokens, method_name=self.name
                )
                report = fit_completions(
                    local,
                    change.parameters,
                    [edit_query(edit) for edit in edits],
                    [target.text for target in targets],
                    learning_rate=config.learning_rate,
                    num_steps=config.num_steps,
                    loss_floor=config.loss_floor,
                    weight_decay=config.weight_decay,
                    batch_size=config.batch_size,
                    ends=config.ends,
                    objective=self.objective,
                    trains_vision=change.trains_vision,
                    lowest=change.lowest,
                )
            except BaseException:
                change.undo()
                raise
            change.settle()
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=num_bytes(change.tensors()),
            num_changed_parameters=sum(parameter.numel() for parameter in change.parameters.values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details={"training": report.model_dump(), "targets": [target.model_dump() for target in targets]},
        )
        return CompletionEdit(model, local, saved, change)

    def load(self, model: Model, folder: Path) -> CompletionEdit:
        """The model with the weights that were saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: No access to weights.
            InputError: ``folder`` holds no edit of this method, or the model cannot take the change.
            ModelError: The edit was made on other weights, or its tensors do not fit.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        config: _Config = self.config_class.model_validate(saved.config)  # type: ignore[assignment]
        with seeded(0, local.device):
            change = self._change(local, config)
        try:
            check_base(saved, change.base_tensors, local)
            change.fill(tensors)
        except BaseException:
            change.undo()
            raise
        change.settle()
        return CompletionEdit(model, local, saved, change)

    def _check_edits(self, edits: Sequence[Edit]) -> None:
        """Raise ``InputError`` for edits that the method cannot carry; by default it carries all."""

    @abstractmethod
    def _change(self, local: HfModel, config: _Config) -> WeightChange:
        """The change, untrained and in place; a failure leaves the model as it was."""
