"""LiveEdit: an expert is generated for each edit; a router gives a prompt the experts that concern it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch

from reground.edits.records import Edit
from reground.errors import ModelError
from reground.methods.base import EditCost
from reground.methods.chain_target import CompletionTarget, completion_targets, edit_query
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit
from reground.methods.identity import ArtifactReader
from reground.methods.layer_output import layer_output
from reground.methods.liveedit.config import LiveEditConfig, LiveEditFitConfig
from reground.methods.liveedit.experts import AttachedExperts
from reground.methods.liveedit.parts import Experts, LiveEditParts, Prompts, Router, fill
from reground.methods.training_step import seeded
from reground.methods.weight_edit import (
    WeightEdit,
    check_base,
    num_bytes,
    read_tensors,
    require_edits,
    weights_of,
)
from reground.models.base import Capability, Model, Query
from reground.models.hf.adapter import HfModel, prompt_tokens
from reground.models.hf.tiles import in_tiles

__all__ = ["ExpertEdit", "LiveEditEditor", "expert_layer", "experts_of", "new_parts", "prompts_in"]

#: Key in the details of a saved edit: settings of the training, which say how large the parts are.
_FIT = "fit"
_ROUTER = "router."
_EXPERTS = "experts."
_WEIGHT_ACCESS: frozenset[Capability] = frozenset({"weights", "hidden_states"})


class LiveEditEditor:
    """Puts a generated expert for each edit on one layer, whose own weights stay as they are.

    Source:
        Chen et al., 2025, "Lifelong Knowledge Editing for Vision Language Models with Low-Rank Mixture-of-Experts".
        Differs: see docs/methods/liveedit.md.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset(
        {"generate", "score", "weights", "hidden_states", "image_tokens"}
    )

    def __init__(self, name: str, config: LiveEditConfig) -> None:
        self._name = name
        self._config = config
        self._artifacts = ArtifactReader(name, config.artifact)

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> ExpertEdit:
        """The model with an expert for each of ``edits``. Nothing is drawn, so ``seed`` has nothing to act on.

        Raises:
            CapabilityError: No access to weights or hidden states, or a chain is wanted from a model that writes none.
            InputError: No edits.
            ArtifactError: The method has not been trained for this model.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        artifact, tensors = self._artifacts.read(local)
        fit = LiveEditFitConfig.model_validate(artifact.config)
        with measured_on(local) as meter, in_tiles(local.mlps), torch.no_grad():
            parts = _filled(local, fit, tensors)
            targets = completion_targets(
                model, edits, fit.target, max_chain_tokens=fit.max_new_tokens, method_name=self.name
            )
            experts = _generated(local, parts, fit, edits, targets)
        kept = _kept(parts.router, experts)
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=num_bytes(kept),
            num_changed_parameters=sum(tensor.numel() for tensor in kept.values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=self._config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details={
                _FIT: fit.model_dump(mode="json"),
                "artifact": artifact.request,
                "targets": [target.model_dump() for target in targets],
            },
        )
        return ExpertEdit(model, local, saved, parts.router, experts)

    def load(self, model: Model, folder: Path) -> ExpertEdit:
        """The model with the experts that were saved to ``folder``; the artifact is not needed any more.

        Raises:
            CapabilityError: No access to weights or hidden states.
            InputError: ``folder`` holds no edit of this method.
            ModelError: The experts were made beside other weights, or are not one for each edit.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        fit = LiveEditFitConfig.model_validate(saved.details[_FIT])
        check_base(saved, _base_tensors(local, fit), local)
        tensors = read_tensors(folder)
        with seeded(0, local.device):
            router = new_parts(local, fit).router
        fill(router, _under(_ROUTER, tensors))
        has_image_N = torch.tensor([edit.image is not None for edit in saved.edits], device=local.device)
        rest = {name: tensor.to(local.device) for name, tensor in _under(_EXPERTS, tensors).items()}
        experts = Experts(has_image_N=has_image_N, **rest)
        if len(experts.down_NRH) != len(saved.edits):
            raise ModelError(
                f"{len(experts.down_NRH)} experts are saved at {str(folder)!r} for {len(saved.edits)} edits.",
                "an expert for each edit",
                "apply the edits again and save them.",
            )
        return ExpertEdit(model, local, saved, router, experts)


class ExpertEdit(WeightEdit):
    """A model with experts on one layer.

    Args:
        base: The model as it was handed to the editor.
        local: Where the layer is.
        saved: What is kept of the edits, without tensors.
        router: Gives prompts their experts.
        experts: One for each edit.
    """

    def __init__(self, base: Model, local: HfModel, saved: SavedEdit, router: Router, experts: Experts) -> None:
        fit = LiveEditFitConfig.model_validate(saved.details[_FIT])
        self.attached = AttachedExperts(local, expert_layer(local, fit), router, experts)
        super().__init__(
            base,
            local,
            saved,
            base_tensors=_base_tensors(local, fit),
            edit_tensors=lambda: _kept(router, experts),
            undo=self.attached.detach,
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the wrapped model, without its weights: the router was trained on those as they are."""
        return self.base.capabilities - _WEIGHT_ACCESS


def expert_layer(local: HfModel, fit: LiveEditFitConfig) -> int:
    """Index of the layer that experts add to; two thirds of the way up unless one is named.

    Raises:
        InputError: There is no such layer.
    """
    return 2 * len(local.text_layers) // 3 if fit.layer is None else local.layer_index(fit.layer)


def new_parts(local: HfModel, fit: LiveEditFitConfig) -> LiveEditParts:
    """Untrained parts on the model's device, drawn from torch's random state where they are to be trained."""
    expert_layer(local, fit)
    hidden_size = local.module.get_input_embeddings().weight.shape[-1]
    return LiveEditParts(hidden_size, fit).to(local.device)


def experts_of(
    local: HfModel, parts: LiveEditParts, fit: LiveEditFitConfig, edits: Sequence[Edit], targets: Sequence[str]
) -> Experts:
    """An expert for each edit, from one pass over edits and targets; gradients reach the parts alone."""
    queries = [edit_query(edit) for edit in edits]
    batch = local.training_batch(queries, targets, ends=fit.ends)
    prompts = prompts_in(local, batch, queries, expert_layer(local, fit))
    return parts.experts(prompts, batch["attention_mask"] == 1)


def prompts_in(local: HfModel, batch: Mapping[str, torch.Tensor], queries: Sequence[Query], layer: int) -> Prompts:
    """Hidden states of a batch that was made from ``queries``, with or without completions; one pass, no gradients."""
    prompt_BT = prompt_tokens(batch)
    hidden_BTH = layer_output(local, batch, layer, prompt_BT).float()
    image_BT = local.image_tokens(queries, prompt_BT)
    return Prompts(hidden_BTH, prompt_BT & ~image_BT, image_BT)


def _filled(local: HfModel, fit: LiveEditFitConfig, tensors: Mapping[str, torch.Tensor]) -> LiveEditParts:
    with seeded(0, local.device):  # what is drawn is replaced; the caller's random state is not to feel it
        parts = new_parts(local, fit)
    fill(parts, tensors)
    return parts


def _generated(
    local: HfModel,
    parts: LiveEditParts,
    fit: LiveEditFitConfig,
    edits: Sequence[Edit],
    targets: Sequence[CompletionTarget],
) -> Experts:
    """Experts for any number of edits, each from a pass of its own, so that none depends on which others there are."""
    each = [
        experts_of(local, parts, fit, [edit], [target.text]).tensors()
        for edit, target in zip(edits, targets, strict=True)
    ]
    return Experts(**{name: torch.cat([tensors[name] for tensors in each]) for name in each[0]})


def _kept(router: Router, experts: Experts) -> dict[str, torch.Tensor]:
    found = {f"{_ROUTER}{name}": tensor for name, tensor in router.state_dict().items()}
    numbers = {name: tensor for name, tensor in experts.tensors().items() if tensor.is_floating_point()}
    return found | {f"{_EXPERTS}{name}": tensor for name, tensor in numbers.items()}


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _base_tensors(local: HfModel, fit: LiveEditFitConfig) -> dict[str, torch.Tensor]:
    """Token embeddings and the layer that experts add to: how the model is known again."""
    path = local.layer_path(expert_layer(local, fit))
    layer = local.module.get_submodule(path).named_parameters()
    embeddings = local.module.get_input_embeddings().weight
    return {**{f"{path}.{name}": tensor for name, tensor in layer}, "embeddings": embeddings}
