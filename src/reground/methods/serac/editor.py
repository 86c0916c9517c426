"""SERAC: edits are kept in a memory, and a second model answers the queries that concern them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import torch

from reground.edits.records import Edit
from reground.methods.base import EditCost
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit
from reground.methods.identity import ArtifactReader
from reground.methods.serac.config import SeracConfig, SeracFitConfig
from reground.methods.serac.counterfactual import lent
from reground.methods.serac.parts import SeracParts, edit_prompt, stated
from reground.methods.serac.scope import hidden_states, route
from reground.methods.training_step import seeded
from reground.methods.weight_edit import (
    WeightEdit,
    check_base,
    num_bytes,
    read_tensors,
    require_edits,
    weights_of,
)
from reground.models.base import Capability, Model, Output, Query, TargetScore
from reground.models.hf.adapter import HfModel
from reground.models.hf.tiles import in_tiles

__all__ = ["SeracEditedModel", "SeracEditor"]

#: Key in the details of a saved edit: settings of the training, which say how large the parts are.
_FIT = "fit"
#: Name, among the saved tensors, of what stands for the edits.
_MEMORY = "memory"
_Reply = TypeVar("_Reply")
_WEIGHT_ACCESS: frozenset[Capability] = frozenset({"weights", "hidden_states"})


class SeracEditor:
    """Puts edits in a memory beside the model, whose weights stay as they are.

    Source:
        Mitchell et al., 2022, "Memory-Based Model Editing at Scale". Differs: see ``serac.scope`` and ``serac.parts``.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset(
        {"generate", "score", "weights", "float_weights", "hidden_states", "notes"}
    )

    def __init__(self, name: str, config: SeracConfig) -> None:
        self._name = name
        self._config = config
        self._artifacts = ArtifactReader(name, config.artifact)

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> SeracEditedModel:
        """The model with ``edits`` in a memory beside it. Nothing is drawn, so ``seed`` has nothing to act on.

        Raises:
            CapabilityError: No access to weights or hidden states, or the model takes no notes.
            InputError: No edits.
            ArtifactError: The method has not been trained for this model.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        artifact, tensors = self._artifacts.read(local)
        fit = SeracFitConfig.model_validate(artifact.config)
        with measured_on(local) as meter, in_tiles(local.mlps):
            parts = _parts(local, fit, tensors)
            memory_NE = _encoded(local, parts, [edit_prompt(edit) for edit in edits], fit.scope_layer)
        kept = {**parts.tensors(), _MEMORY: memory_NE}
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
            details={_FIT: fit.model_dump(mode="json"), "artifact": artifact.request},
        )
        return SeracEditedModel(model, local, saved, parts, memory_NE)

    def load(self, model: Model, folder: Path) -> SeracEditedModel:
        """The model with the memory that was saved to ``folder``; the artifact is not needed any more.

        Raises:
            CapabilityError: No access to weights or hidden states, or the model takes no notes.
            InputError: ``folder`` holds no edit of this method.
            ModelError: The memory was made beside other weights.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        memory_NE = tensors.pop(_MEMORY).to(local.device)
        parts = _parts(local, SeracFitConfig.model_validate(saved.details[_FIT]), tensors)
        check_base(saved, _base_tensors(local, parts), local)
        return SeracEditedModel(model, local, saved, parts, memory_NE)


class SeracEditedModel(WeightEdit):
    """A model with a memory of edits beside it.

    A query that concerns an edit goes to the counterfactual model, the edit stated before it; all others go to the
    model as it is. The counterfactual model's weights are lent to the module for the length of such a call.

    Args:
        base: The model as it was handed to the editor.
        local: Where the weights are.
        saved: What is kept of the edits, without tensors.
        parts: Classifier and counterfactual model.
        memory_NE: What stands for each edit.
    """

    def __init__(
        self, base: Model, local: HfModel, saved: SavedEdit, parts: SeracParts, memory_NE: torch.Tensor
    ) -> None:
        super().__init__(
            base,
            local,
            saved,
            base_tensors=_base_tensors(local, parts),
            edit_tensors=lambda: {**parts.tensors(), _MEMORY: memory_NE},
            undo=lambda: None,
        )
        self._parts, self._memory_NE = parts, memory_NE
        self._fit = SeracFitConfig.model_validate(saved.details[_FIT])
        self._threshold = SeracConfig.model_validate(saved.config).threshold
        with torch.no_grad():
            self._weights = parts.difference.weights()
        self._parameters: dict[str, torch.Tensor] = {name: local.module.get_parameter(name) for name in self._weights}

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the wrapped model, without its weights: what is done to those would not reach the memory."""
        return self.base.capabilities - _WEIGHT_ACCESS

    def routes(self, queries: Sequence[Query]) -> list[int | None]:
        """For each query the position of the edit it concerns, or None."""
        if self.is_restored or not queries:
            return [None] * len(queries)
        encoded_BE = _encoded(self._local, self._parts, queries, self._fit.scope_layer)
        with torch.no_grad():
            return route(self._parts.scope(encoded_BE, self._memory_NE), self._threshold)

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        """Answers of whichever model a query is for."""

        def ask(_: Sequence[int], chosen: Sequence[Query]) -> list[list[Output]]:
            return self.base.generate(
                chosen, max_new_tokens=max_new_tokens, temperature=temperature, num_samples=num_samples, seed=seed
            )

        return self._asked(queries, self.routes(queries), ask)

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        """Scores of whichever model a query is for."""
        if len(queries) != len(targets):
            return self.base.score(queries, targets)  # says what is wrong

        def ask(positions: Sequence[int], chosen: Sequence[Query]) -> list[TargetScore]:
            return self.base.score(chosen, [targets[position] for position in positions])

        return self._asked(queries, self.routes(queries), ask)

    def fingerprint(self, queries: Sequence[Query]) -> str:
        """Fingerprint of whichever model each query is for; that of the wrapped model where none concerns an edit."""
        routes = self.routes(queries)
        if all(edit is None for edit in routes):
            return self.base.fingerprint(queries)
        prints = self._asked(queries, routes, lambda _, chosen: [self.base.fingerprint(chosen)] * len(chosen))
        return hashlib.sha256(repr((routes, prints)).encode()).hexdigest()

    def _asked(
        self,
        queries: Sequence[Query],
        routes: Sequence[int | None],
        ask: Callable[[Sequence[int], Sequence[Query]], list[_Reply]],
    ) -> list[_Reply]:
        """Replies in the order of ``queries``: those that concern no edit are asked first, then those that do."""
        outside = [position for position, edit in enumerate(routes) if edit is None]
        inside = {position: edit for position, edit in enumerate(routes) if edit is not None}
        replies: dict[int, _Reply] = {}
        if outside:
            own = ask(outside, [queries[position] for position in outside])
            replies |= dict(zip(outside, own, strict=True))
        if inside:
            noted = [stated(self.saved.edits[edit], queries[position]) for position, edit in inside.items()]
            with lent(self._parameters, self._weights):
                replies |= dict(zip(inside, ask(list(inside), noted), strict=True))
        return [replies[position] for position in range(len(queries))]


def _parts(local: HfModel, fit: SeracFitConfig, tensors: Mapping[str, torch.Tensor]) -> SeracParts:
    with seeded(0, local.device):
        parts = SeracParts(local, fit)
    parts.fill(tensors)
    return parts.requires_grad_(False)


@torch.no_grad()
def _encoded(local: HfModel, parts: SeracParts, queries: Sequence[Query], layer: int) -> torch.Tensor:
    """What stands for each prompt (BE), batch by batch."""
    size = local.batch_size
    batches = [queries[start : start + size] for start in range(0, len(queries), size)]
    return torch.cat([parts.scope.encode(*hidden_states(local, batch, layer)) for batch in batches])


def _base_tensors(local: HfModel, parts: SeracParts) -> dict[str, torch.Tensor]:
    """The weights that the counterfactual model differs in, and the token embeddings: how the model is known again."""
    names = [f"{path}.weight" for path in parts.difference.paths]
    embeddings = local.module.get_input_embeddings().weight
    return {**{name: local.module.get_parameter(name) for name in names}, "embeddings": embeddings}
