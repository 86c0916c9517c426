"""A codebook of keys, values and radii, filled edit by edit.

Axes: B rows of a batch, T tokens, F width of keys, H width of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from reground.edits.records import Edit
from reground.errors import ModelError
from reground.methods.base import EditCost
from reground.methods.chain_target import CompletionTarget, completion_targets, edit_query
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit
from reground.methods.grace.codebook import Codebook
from reground.methods.grace.config import GraceConfig
from reground.methods.grace.layers import AttachedCodebook, replaced_columns
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
from reground.models.base import Capability, Model, Query
from reground.models.hf.adapter import HfModel, Pass, prompt_tokens
from reground.models.hf.tiles import in_tiles

__all__ = ["CodebookEdit", "GraceEditor"]


class CodebookEdit(WeightEdit):
    """A local model with a codebook on one module.

    Attributes:
        attached: The codebook at work.
    """

    attached: AttachedCodebook


class GraceEditor:
    """Gives each edit a key, a value and a radius; undo takes the codebook off. No weight is changed.

    Source:
        Hartvigsen et al., 2023, "Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors". Differs:
        see docs/methods/grace.md.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "score", "weights"})

    def __init__(self, name: str, config: GraceConfig) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def working_bytes(self, model: Model) -> int:
        """A value with its gradient and Adam's two moments, and a key, in single precision, each of a layer's width."""
        local = weights_of(model, self.needs, self.name)
        module = local.module.get_submodule(local.layer_path(_layer(local, self._config), self._config.module))
        hidden_size: int = local.module.get_input_embeddings().weight.shape[-1]
        width_in, width_out = (getattr(module, name, hidden_size) for name in ("in_features", "out_features"))
        return 4 * (4 * int(width_out) + int(width_in))

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> CodebookEdit:
        """The model with ``edits`` in its codebook, one after the other; an error on the way leaves it as it was.

        On a model that has a codebook on the same module, the edits are put into a copy of that one.

        ``seed`` decides the first values, with ``value_start="cold"``.

        Raises:
            CapabilityError: No access to weights, or a chain is wanted from a model that writes none.
            InputError: No edits, or a layer or module that the model does not have.
            ModelError: Training diverged.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        config = self._config
        layer = _layer(local, config)
        path = local.layer_path(layer, config.module)
        earlier = _in_force_at(local, path)
        with measured_on(local) as meter, in_tiles(local.mlps), seeded(seed, local.device):
            targets = completion_targets(
                model, edits, config.target, max_chain_tokens=config.max_chain_tokens, method_name=self.name
            )
            with _set_aside(earlier):
                filling = _Filling(local, layer, path, config, None if earlier is None else earlier.codebook.copy())
                for edit, target in zip(edits, targets, strict=True):
                    filling.add(edit_query(edit), target)
        codebook = filling.filled
        details: dict[str, Any] = {
            "targets": [target.model_dump() for target in targets],
            "places": filling.places(),
            "labels": list(codebook.labels),
        }
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=num_bytes(codebook.tensors()),
            num_changed_parameters=sum(tensor.numel() for tensor in codebook.tensors().values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details=details,
        )
        return _in_force(model, local, saved, path, codebook, config)

    def load(self, model: Model, folder: Path) -> CodebookEdit:
        """The model with the codebook that was saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: No access to weights.
            InputError: ``folder`` holds no edit of this method.
            ModelError: The codebook was filled on other weights, or does not fit its module.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        config = GraceConfig.model_validate(saved.config)
        path = local.layer_path(_layer(local, config), config.module)
        check_base(saved, _base_tensors(local, path), local)
        labels = tuple(saved.details.get("labels", ()))
        if set(tensors) != {"keys", "values", "radii"} or any(
            len(tensor) != len(labels) for tensor in tensors.values()
        ):
            raise ModelError(
                f"the tensors of the codebook saved at {str(folder)!r} are not those of its {len(labels)} labels.",
                "keys, values and radii, a row for each label",
                "apply the edits again and save them.",
            )
        codebook = Codebook.from_tensors(tensors, labels, _device(local, path))
        return _in_force(model, local, saved, path, codebook, config)


@dataclass
class _Place:
    """What became of one edit, and what a later edit with the same label needs to know of it."""

    query: Query
    target: CompletionTarget
    key_F: torch.Tensor
    entry: int
    kind: str
    report: TrainingReport


@dataclass
class _Filling:
    """A codebook while edits are put into it."""

    model: HfModel
    layer: int
    path: str
    config: GraceConfig
    codebook: Codebook | None
    done: list[_Place] = field(default_factory=list)

    @property
    def filled(self) -> Codebook:
        assert self.codebook is not None
        return self.codebook

    def add(self, query: Query, target: CompletionTarget) -> None:
        """Find a place for one edit and train its value.

        Where an equal label was expanded, the value goes on training on all edits of this call that it answers.
        """
        upper, key_F, output_H = self._prepared([query], [target.text])
        if self.codebook is None:
            self.codebook = Codebook.empty(len(key_F), len(output_H), key_F.device)
        admission = self.codebook.admit(key_F, target.text, self.config.radius)
        if admission.is_new:
            start_H = output_H
            if self.config.value_start == "cold":
                start_H = torch.rand(len(start_H)).to(start_H.device)
        else:
            start_H = self.codebook.values_NH[admission.entry]
            members = [place for place in self.done if place.entry == admission.entry]
            if members:
                queries = [*(place.query for place in members), query]
                upper, *_ = self._prepared(queries, [target.text] * len(queries))
        value_H, report = self._learned(upper, start_H)
        self.codebook.values_NH[admission.entry] = value_H
        if admission.kind == "replaced":
            self.done = [place for place in self.done if place.entry != admission.entry]
        self.done.append(_Place(query, target, key_F, admission.entry, admission.kind, report))

    def places(self) -> list[dict[str, Any]]:
        """For each edit that is not replaced by a later one: its entry, how it came there, whether it is reached.

        A split can take an earlier edit out of the radius that had been expanded to reach it.
        """
        is_reached_B, _ = self.filled.lookup(torch.stack([place.key_F for place in self.done]))
        _, entries_B = self.filled.nearest(torch.stack([place.key_F for place in self.done]))
        return [
            {
                "question": place.query.question,
                "entry": place.entry,
                "kind": place.kind,
                "is_reached": bool(is_reached) and int(entry) == place.entry,
                "training": place.report.model_dump(),
            }
            for place, is_reached, entry in zip(self.done, is_reached_B, entries_B, strict=True)
        ]

    def _prepared(
        self, queries: Sequence[Query], texts: Sequence[str]
    ) -> tuple[UpperLayers, torch.Tensor, torch.Tensor]:
        """The upper layers on these completions; the module's input (F) and output (H) at the first row's query token.

        These are copies in single precision: a view would hold on to all tokens.
        """
        batch = self.model.training_batch(queries, texts, ends=self.config.ends)
        ends_B = Pass(prompt_tokens(batch)).prompt_ends_B
        first_column = int(ends_B.min()) if self.config.replacement == "last" else 0
        with recorded(self.model, self.path) as record:
            upper = UpperLayers(self.model, self.layer, batch, part=self.config.module, first_column=first_column)
        key_F, output_H = (tensor[0, int(ends_B[0])].to(torch.float32, copy=True) for tensor in record.tensors)
        return upper, key_F, output_H

    def _learned(self, upper: UpperLayers, start_H: torch.Tensor) -> tuple[torch.Tensor, TrainingReport]:
        value_H = torch.nn.Parameter(start_H.clone(), requires_grad=False)
        where_BC1 = replaced_columns(Pass(upper.prompt_BC), self.config.replacement).to(value_H.device)[:, :, None]

        def put_in(output_BCH: torch.Tensor) -> torch.Tensor:
            return torch.where(where_BC1, value_H.to(output_BCH.dtype), output_BCH)

        with ExitStack() as stack:
            loss: Callable[[], torch.Tensor] = upper.loss
            if upper.starts_at(self.path):
                upper.forget_part_input()
                loss = partial(upper.loss, put_in)
            else:
                module = self.model.module.get_submodule(self.path)
                handle = module.register_forward_hook(lambda _, __, output_BCH: put_in(output_BCH))
                stack.callback(handle.remove)
            report = descend(
                {"value": value_H},
                [loss],
                learning_rate=self.config.learning_rate,
                num_steps=self.config.num_steps,
                loss_floor=self.config.loss_floor,
            )
        return value_H.detach(), report


def _layer(local: HfModel, config: GraceConfig) -> int:
    num_layers = len(local.text_layers)
    default = max(0, min(2 * num_layers // 3, num_layers - 2))
    return default if config.layer is None else config.layer


def _in_force_at(local: HfModel, path: str) -> AttachedCodebook | None:
    """The latest codebook on a module."""
    found = [edit.attached for edit in local.edits_in_force if isinstance(edit, CodebookEdit)]
    return next((attached for attached in reversed(found) if attached.path == path), None)


@contextmanager
def _set_aside(earlier: AttachedCodebook | None) -> Iterator[None]:
    """The earlier codebook without effect inside the block."""
    if earlier is None:
        yield
        return
    earlier.is_active = False
    try:
        yield
    finally:
        earlier.is_active = True


def _device(local: HfModel, path: str) -> torch.device:
    device: torch.device = next(local.module.get_submodule(path).parameters()).device
    return device


def _base_tensors(local: HfModel, path: str) -> dict[str, torch.Tensor]:
    """What a codebook stands on: the module's weights, and the entries that were there before."""
    earlier = _in_force_at(local, path)
    entries: Mapping[str, torch.Tensor] = {} if earlier is None else earlier.codebook.tensors()
    weights = local.module.get_submodule(path).named_parameters()
    return {**{f"{path}.{name}": tensor for name, tensor in weights}, **entries}


def _in_force(
    model: Model, local: HfModel, saved: SavedEdit, path: str, codebook: Codebook, config: GraceConfig
) -> CodebookEdit:
    earlier = _in_force_at(local, path)
    base_tensors = _base_tensors(local, path)
    attached = AttachedCodebook(local, path, codebook, config.replacement)
    if earlier is not None:
        earlier.is_active = False
    edited = CodebookEdit(
        model,
        local,
        saved,
        base_tensors=base_tensors,
        edit_tensors=codebook.tensors,
        undo=partial(_undo, attached, earlier),
    )
    edited.attached = attached
    return edited


def _undo(attached: AttachedCodebook, earlier: AttachedCodebook | None) -> None:
    attached.detach()
    if earlier is not None:
        earlier.is_active = True
