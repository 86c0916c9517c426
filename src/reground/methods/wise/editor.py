"""Side memories beside one weight, trained in shards, merged or archived, and routed by activation.

Axes: B rows of a batch, T tokens, S shards, F and H width of the module's input and output.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from reground.edits.records import Edit
from reground.errors import InputError, ModelError
from reground.methods.base import EditCost
from reground.methods.chain_target import completion_targets, edit_query
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit
from reground.methods.row_pieces import gradient_bytes, linears_of, rows_of
from reground.methods.training_step import TrainingReport, descend, seeded
from reground.methods.upper_layers import UpperLayers, recorded
from reground.methods.weight_edit import (
    WeightEdit,
    check_base,
    num_bytes,
    read_tensors,
    require_edits,
    weights_of,
)
from reground.methods.wise.config import Statistic, WiseConfig
from reground.methods.wise.irrelevant import irrelevant_queries
from reground.methods.wise.layers import AttachedMemories
from reground.methods.wise.memory import (
    Mask,
    MaskedChange,
    MaskedRows,
    activations,
    routing_loss,
    ties_merge,
)
from reground.models.base import Capability, Model, Query
from reground.models.hf.adapter import HfModel, Pass, prompt_tokens
from reground.models.hf.tiles import in_tiles

__all__ = ["WiseEditor"]


class WiseEditor:
    """Trains copies of one weight on the edits and routes prompts to them; undo takes the copies off.

    Source:
        Wang et al., 2024, "WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large Language
        Models". Differs: see docs/methods/wise.md.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "score", "weights", "float_weights"})

    def __init__(self, name: str, config: WiseConfig) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def working_bytes(self, model: Model) -> int:
        """A mask, 4 bytes an entry, and what is trained within it; Adam's two moments and a gradient, or the memory."""
        place = _Place.of(weights_of(model, self.needs, self.name), self._config)
        weight = place.module.weight
        size, trained = num_bytes({"weight": weight}), round(4 * weight.numel() * self._config.mask_share)
        return 2 * trained + max(2 * trained + gradient_bytes(size), size)

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> WeightEdit:
        """The model with side memories trained on ``edits``; an error on the way leaves it as it was.

        ``seed`` decides masks and irrelevant prompts.

        Raises:
            CapabilityError: No access to weights, or a chain is wanted from a model that writes none.
            InputError: No edits, a layer or module that the model does not have, or no irrelevant prompts.
            ModelError: Training diverged.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        config = self._config
        place = _Place.of(local, config)
        with measured_on(local) as meter, in_tiles(local.mlps), seeded(seed, local.device):
            targets = completion_targets(
                model, edits, config.target, max_chain_tokens=config.max_chain_tokens, method_name=self.name
            )
            irrelevant = place.prompts(irrelevant_queries(config.irrelevant, config.num_irrelevant, seed))
            pairs = [(edit_query(edit), target.text) for edit, target in zip(edits, targets, strict=True)]
            starts = range(0, len(pairs), config.edits_per_shard)
            shards = [_shard(place, pairs[start : start + config.edits_per_shard], irrelevant) for start in starts]
            weights, thresholds, routing = _memories(place, shards, irrelevant)
        details: dict[str, Any] = {
            "targets": [target.model_dump() for target in targets],
            "training": shards[0].report.model_dump(),
            "shards": [shard.report.model_dump() for shard in shards],
            "routing": routing,
        }
        attached = AttachedMemories(local, place.path, weights, thresholds, config.statistic)
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=num_bytes(attached.tensors()),
            num_changed_parameters=sum(tensor.numel() for tensor in attached.tensors().values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details=details,
        )
        return _in_force(model, place, saved, attached)

    def load(self, model: Model, folder: Path) -> WeightEdit:
        """The model with the side memories that were saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: No access to weights.
            InputError: ``folder`` holds no edit of this method.
            ModelError: The memories were trained on other weights, or do not fit their module.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        config = WiseConfig.model_validate(saved.config)
        place = _Place.of(local, config)
        check_base(saved, place.base_tensors(), local)
        thresholds = tensors.pop("thresholds", torch.empty(0))
        weights = [tensors[f"memory.{number}"] for number in range(len(tensors)) if f"memory.{number}" in tensors]
        if not (
            len(weights) == len(tensors) == len(thresholds) > 0
            and all(weight.shape == place.module.weight.shape for weight in weights)
        ):
            raise ModelError(
                f"the tensors of the side memories saved at {str(folder)!r} do not fit {place.path!r}.",
                f"memory.0, memory.1, ... of shape {tuple(place.module.weight.shape)}, and a threshold for each",
                "apply the edits again and save them.",
            )
        device = place.module.weight.device
        attached = AttachedMemories(
            local, place.path, [weight.to(device) for weight in weights], thresholds.to(device), config.statistic
        )
        return _in_force(model, place, saved, attached)


@dataclass(frozen=True)
class _Prompts:
    """What a batch of prompts brings to the module, computed once.

    Attributes:
        input_BTF: What goes in.
        main_BTH: What the main memory puts out.
        prompt_BT: True on the prompts' own tokens.
    """

    input_BTF: torch.Tensor
    main_BTH: torch.Tensor
    prompt_BT: torch.Tensor

    def read_by(self, statistic: Statistic) -> _Prompts:
        """The tokens that the statistic reads, and no others where that is one token."""
        if statistic == "mean":
            return self
        ends_B11 = Pass(self.prompt_BT).prompt_ends_B[:, None, None].to(self.input_BTF.device)
        return _Prompts(
            self.input_BTF.take_along_dim(ends_B11, dim=1),
            self.main_BTH.take_along_dim(ends_B11, dim=1),
            torch.ones(len(ends_B11), 1, dtype=torch.bool, device=self.input_BTF.device),
        )


@dataclass(frozen=True)
class _Place:
    """The module that side memories stand beside."""

    model: HfModel
    config: WiseConfig
    layer: int
    path: str
    module: torch.nn.Linear

    @classmethod
    def of(cls, local: HfModel, config: WiseConfig) -> _Place:
        """The place that the settings name.

        Raises:
            InputError: The model does not have it, or it is not linear.
        """
        layer = 5 * len(local.text_layers) // 6 if config.layer is None else config.layer
        path = local.layer_path(layer, config.module)
        module = local.module.get_submodule(path)
        if not isinstance(module, torch.nn.Linear):
            raise InputError(
                f"a side memory was to be put beside {path!r}, which is a {type(module).__name__}.",
                "a linear layer",
                "correct the method's `module`, e.g. mlp.down_proj.",
            )
        return cls(local, config, layer, path, module)

    @property
    def is_last(self) -> bool:
        """Whether no text layer follows, so that a prompt's other tokens read nothing of the edit."""
        return self.model.layer_index(self.layer) == len(self.model.text_layers) - 1

    def base_tensors(self) -> dict[str, torch.Tensor]:
        """The weights that the memories stand beside."""
        return {f"{self.path}.{name}": tensor for name, tensor in self.module.named_parameters()}

    def sides(self, inputs_BTF: Sequence[torch.Tensor], rows: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The module's outputs (BTH) with another weight, given as pieces of its rows."""
        return linears_of(inputs_BTF, rows, self.module.bias)

    def activated(self, prompts: _Prompts, side_BTH: torch.Tensor) -> torch.Tensor:
        """What each prompt activates (B) in a memory that puts this out."""
        return activations(side_BTH, prompts.main_BTH, prompts.prompt_BT, self.config.statistic)

    @torch.no_grad()
    def prompts(self, queries: Sequence[Query]) -> _Prompts:
        """What these queries bring to the module."""
        batch = self.model.training_batch(queries, ["yes"] * len(queries))
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        prompt_BT = prompt_tokens(batch)
        with recorded(self.model, self.path) as record, self.model.passing(prompt_BT):
            self.model.module(**inputs, use_cache=False, logits_to_keep=1, return_dict=True)
        return _Prompts(*record.tensors, prompt_BT).read_by(self.config.statistic)


@dataclass(frozen=True)
class _Shard:
    """Edits trained together.

    Attributes:
        change: What was trained, within the shard's mask.
        prompts: What the edits' prompts bring to the module.
        report: How the training went.
    """

    change: MaskedChange
    prompts: _Prompts
    report: TrainingReport


def _shard(place: _Place, pairs: Sequence[tuple[Query, str]], irrelevant: _Prompts) -> _Shard:
    """A copy of the main memory trained on some edits, within a random mask, and on the routing margin."""
    config = place.config
    queries, texts = zip(*pairs, strict=True)
    batch = place.model.training_batch(queries, texts, ends=config.ends)
    prompt_BT = prompt_tokens(batch)
    first_column = int(Pass(prompt_BT).prompt_ends_B.min()) if place.is_last else 0
    with recorded(place.model, place.path) as record:
        upper = UpperLayers(place.model, place.layer, batch, part=config.module, first_column=first_column)
    prompts = _Prompts(*record.tensors, prompt_BT).read_by(config.statistic)
    del record  # it holds every token
    main_HF = place.module.weight.detach()
    pieces = rows_of(main_HF)
    masks = [Mask.random(piece_RF, config.mask_share) for piece_RF in pieces]
    values = [
        torch.nn.Parameter(mask.of(piece_RF).float(), requires_grad=False)
        for piece_RF, mask in zip(pieces, masks, strict=True)
    ]
    rows = MaskedRows(main_HF, masks, values, prompts.input_BTF.dtype)
    unit = _unit(irrelevant, config.statistic)
    routed = [prompts.input_BTF, irrelevant.input_BTF]
    starts_here = upper.starts_at(place.path)

    def loss() -> torch.Tensor:
        if starts_here:
            side_BCH, *sides = place.sides([upper.part_input, *routed], rows)
            fit = upper.loss(lambda _: side_BCH)
        else:
            fit, sides = upper.loss(), place.sides(routed, rows)
        return fit + routing_loss(
            place.activated(prompts, sides[0]) / unit,
            place.activated(irrelevant, sides[1]) / unit,
            alpha=config.alpha,
            beta=config.beta,
            gamma=config.gamma,
        )

    def use_side(_: torch.nn.Module, inputs: tuple[Any, ...], __: torch.Tensor) -> torch.Tensor:
        return place.sides(inputs[:1], rows)[0]

    with nullcontext() if starts_here else place.module.register_forward_hook(use_side):
        report = descend(
            {f"memory[{number}]": values_M for number, values_M in enumerate(values)},
            [loss],
            learning_rate=config.learning_rate,
            num_steps=config.num_steps,
            loss_floor=config.loss_floor,
            is_lean=True,
        )
    return _Shard(MaskedChange.between(main_HF, masks, values), prompts, report)


def _unit(irrelevant: _Prompts, statistic: Statistic) -> float:
    """Mean norm of what the main memory puts out for irrelevant prompts, read as activations are."""
    nothing = torch.zeros_like(irrelevant.main_BTH)
    return float(activations(irrelevant.main_BTH, nothing, irrelevant.prompt_BT, statistic).mean())


@torch.no_grad()
def _memories(
    place: _Place, shards: Sequence[_Shard], irrelevant: _Prompts
) -> tuple[list[torch.Tensor], torch.Tensor, list[dict[str, float]]]:
    """Weights and thresholds of the side memories, and for each what activates it, in units of the main memory."""
    config = place.config
    size = len(shards) if config.memory == "merge" else config.shards_per_memory
    unit = _unit(irrelevant, config.statistic)
    main_HF = place.module.weight.detach()

    def activated(prompts: _Prompts, weight_HF: torch.Tensor) -> torch.Tensor:
        return place.activated(prompts, place.sides([prompts.input_BTF], [weight_HF])[0])

    weights: list[torch.Tensor] = []
    thresholds: list[float] = []
    routing: list[dict[str, float]] = []
    for start in range(0, len(shards), size):
        members = shards[start : start + size]
        if len(members) == 1:
            weight_HF = members[0].change.added_to(main_HF)
        else:
            change_HF = ties_merge([shard.change.dense(main_HF) for shard in members], config.merge_density)
            weight_HF = (main_HF + change_HF).to(main_HF.dtype)  # added in the precision of the change
        smallest = min(float(activated(shard.prompts, weight_HF).min()) for shard in members)
        weights.append(weight_HF)
        thresholds.append(config.route_share * smallest)
        routing.append(
            {
                "threshold": thresholds[-1] / unit,
                "smallest_edit": smallest / unit,
                "largest_irrelevant": float(activated(irrelevant, weight_HF).max()) / unit,
            }
        )
    return weights, torch.tensor(thresholds, dtype=torch.float32, device=main_HF.device), routing


def _in_force(model: Model, place: _Place, saved: SavedEdit, attached: AttachedMemories) -> WeightEdit:
    return WeightEdit(
        model,
        place.model,
        saved,
        base_tensors=place.base_tensors(),
        edit_tensors=attached.tensors,
        undo=attached.detach,
    )
