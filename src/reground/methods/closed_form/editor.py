"""The course of every closed-form edit: find tokens, gather statistics, write weights, keep what undoes them.

Axes: I inputs and O outputs of an edited module, N edits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from reground.edits.records import Edit
from reground.errors import InputError, ModelError
from reground.methods.base import EditCost
from reground.methods.chain_target import completion_targets
from reground.methods.closed_form.config import ClosedFormConfig
from reground.methods.closed_form.corpus import Corpus, open_corpus
from reground.methods.closed_form.panels import PANEL_BYTES
from reground.methods.closed_form.statistics import KeyStatistics
from reground.methods.closed_form.value import Request, ValueReport, edit_requests
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit
from reground.methods.originals import Originals, copy_bytes
from reground.methods.training_step import seeded
from reground.methods.weight_edit import (
    WeightEdit,
    check_base,
    copy_into,
    num_bytes,
    read_tensors,
    require_edits,
    weights_of,
)
from reground.models.base import Capability, Model
from reground.models.hf.adapter import HfModel
from reground.models.hf.checkpoint import is_finite
from reground.models.hf.tiles import in_tiles

__all__ = ["ClosedFormEdit", "ClosedFormEditor", "add_update"]

_C = TypeVar("_C", bound=ClosedFormConfig)

#: Words of a corpus question that stand before the edit's question as a context.
_CONTEXT_WORDS = 10


class ClosedFormEdit(WeightEdit):
    """A model with weights written in closed form; remembers the weights it replaced.

    Args:
        base: The model as it was handed to the editor.
        local: Where the weights are.
        saved: What is kept of the edits, without tensors.
        parameters: The edited weights, by full name.
        original: Their values before the edit.
    """

    def __init__(
        self,
        base: Model,
        local: HfModel,
        saved: SavedEdit,
        *,
        parameters: Mapping[str, torch.nn.Parameter],
        original: Mapping[str, torch.Tensor],
    ) -> None:
        super().__init__(
            base,
            local,
            saved,
            base_tensors=original,
            edit_tensors=lambda: {name: parameter.detach() for name, parameter in parameters.items()},
            undo=lambda: copy_into(parameters, original),
        )
        self.parameters = parameters
        self.original = original


class ClosedFormEditor(ABC, Generic[_C]):
    """Base of the editors; a method says which layers it edits and how it writes."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "score", "weights", "float_weights"})
    config_class: ClassVar[type[ClosedFormConfig]]

    def __init__(self, name: str, config: _C) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    @abstractmethod
    def layers(self, model: HfModel, config: _C) -> list[int]:
        """The text layers that are edited, from 0, lowest first."""

    def prepare(self, path: str, statistics: KeyStatistics) -> None:
        """Put on disk what of the statistics of the module at ``path`` is read while edits are made."""
        statistics.inverse(path)

    @abstractmethod
    def write(
        self,
        model: HfModel,
        weights: Mapping[str, torch.nn.Parameter],
        requests: Sequence[Request],
        statistics: KeyStatistics,
        keep: Callable[[], None],
    ) -> list[ValueReport]:
        """Change ``weights`` (by module path, lowest layer first) in place so that the requests hold.

        ``keep`` is called before any change, at the latest: what undoes it is copied then, and not while the first
        values are searched for.

        Returns:
            For each request, how its value was found.
        """

    def working_bytes(self, model: Model) -> int:
        """A copy of each weight that is kept in memory, and one panel of a layer's statistics."""
        weights = self._weights(weights_of(model, self.needs, self.name), self._config)
        return sum(copy_bytes(num_bytes({path: weight})) for path, weight in weights.items()) + PANEL_BYTES

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> ClosedFormEdit:
        """The model with ``edits`` written into its weights; an error on the way leaves it as it was.

        Statistics of the corpus that are not yet on disk are gathered first; the cost does not count them. Nothing is
        drawn at random, so ``seed`` does not matter.

        Raises:
            CapabilityError: No access to weights or to the places of tokens, or a chain is wanted from a model that
                writes none.
            InputError: No edits; a layer or module that the model does not have or that cannot carry the edit; no
                corpus; an edit that is to act at a subject its question does not name.
            ModelError: A value or a weight is no longer finite.
        """
        local = weights_of(model, self.needs, self.name)
        require_edits(edits, self.name)
        config = self._config
        weights = self._weights(local, config)
        corpus = open_corpus(config.corpus, local)
        contexts = _contexts(corpus, config.num_contexts)
        with unedited(local):
            statistics = KeyStatistics.gathered(local, list(weights), corpus, config.num_texts)
        for path in weights:
            self.prepare(path, statistics)
        parameters = {f"{path}.weight": parameter for path, parameter in weights.items()}
        with measured_on(local) as meter, in_tiles(local.mlps), seeded(seed, local.device):
            targets = completion_targets(
                model, edits, config.target, max_chain_tokens=config.max_chain_tokens, method_name=self.name
            )
            requests = edit_requests(local, edits, targets, contexts, config)
            copies: list[Originals] = []

            def keep() -> None:
                if not copies:
                    copies.append(Originals(parameters))

            try:
                values = self.write(local, weights, requests, statistics, keep)
                _check_finite(parameters)
            except BaseException:
                if copies:
                    copy_into(parameters, copies[0])
                raise
        details: dict[str, Any] = {
            "values": [value.model_dump() for value in values],
            "targets": [target.model_dump() for target in targets],
            "statistics": statistics.report.model_dump(),
        }
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=num_bytes(parameters),
            num_changed_parameters=sum(parameter.numel() for parameter in parameters.values()),
        )
        saved = SavedEdit(
            method=self.name,
            config=config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details=details,
        )
        return ClosedFormEdit(model, local, saved, parameters=parameters, original=copies[0])

    def load(self, model: Model, folder: Path) -> ClosedFormEdit:
        """The model with the weights that were saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: No access to weights.
            InputError: ``folder`` holds no edit of this method.
            ModelError: The edit was made on other weights.
        """
        local = weights_of(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        tensors = read_tensors(folder)
        weights = self._weights(local, self.config_class.model_validate(saved.config))  # type: ignore[arg-type]
        parameters = {f"{path}.weight": parameter for path, parameter in weights.items()}
        check_base(saved, parameters, local)
        if {name: tensor.shape for name, tensor in tensors.items()} != {
            name: parameter.shape for name, parameter in parameters.items()
        }:
            raise ModelError(
                f"the tensors of the edit saved at {str(folder)!r} are not those its settings name.",
                ", ".join(parameters),
                "apply the edits again and save them.",
            )
        original = Originals(parameters)
        copy_into(parameters, tensors)
        return ClosedFormEdit(model, local, saved, parameters=parameters, original=original)

    def _weights(self, model: HfModel, config: _C) -> dict[str, torch.nn.Parameter]:
        """The weights (OI) that are edited, by module path, lowest layer first."""
        weights: dict[str, torch.nn.Parameter] = {}
        for layer in self.layers(model, config):
            if layer == len(model.text_layers) - 1:
                raise InputError(
                    f"method {self.name!r} was to write to text layer {layer} of {model.info.name!r}, the last one.",
                    f"0 to {layer - 1}: no later token reads what the last layer writes",
                    "choose a lower layer.",
                )
            path = model.layer_path(layer, config.module)
            module = model.module.get_submodule(path)
            if not isinstance(module, torch.nn.Linear):
                raise InputError(
                    f"method {self.name!r} was to write to {path!r}, which is a {type(module).__name__}.",
                    "a linear layer, such as mlp.down_proj",
                    "correct the method's `module`.",
                )
            weights[path] = module.get_parameter("weight")
        return weights


@contextmanager
def unedited(model: HfModel) -> Iterator[None]:
    """Inside the block, the closed-form edits that lie on top of all others are taken off; after it they are back.

    Statistics are those of the model as the first of them found it, so that an edit does not count its forerunners'
    work among what is to be spared, and finds the statistics that they gathered.
    """
    on_top = [*takewhile(lambda edit: isinstance(edit, ClosedFormEdit), reversed(model.edits_in_force))]
    edits = [edit for edit in on_top if isinstance(edit, ClosedFormEdit)]
    parameters = {name: parameter for edit in edits for name, parameter in edit.parameters.items()}
    edited = Originals(parameters)
    try:
        for edit in edits:
            copy_into(edit.parameters, edit.original)
        yield
    finally:
        copy_into(parameters, edited)


def add_update(weight: torch.nn.Parameter, values_ON: torch.Tensor, directions_IN: torch.Tensor) -> None:
    """Add V U^T to a weight (OI) in place, some rows at a time; the sum is taken in the precision of the two.

    Args:
        weight: The weight.
        values_ON: V.
        directions_IN: U.
    """
    step = max(1, PANEL_BYTES // (len(directions_IN) * directions_IN.element_size()))
    with torch.no_grad():
        for rows_RI, values_RN in zip(torch.split(weight, step), torch.split(values_ON, step), strict=True):
            rows_RI.copy_(rows_RI.to(directions_IN) + values_RN @ directions_IN.T)


def _contexts(corpus: Corpus, num_contexts: int) -> list[str]:
    """Beginnings of the first questions of a corpus."""
    return [" ".join(text.query.question.split()[:_CONTEXT_WORDS]) for text in corpus.texts(num_contexts)]


def _check_finite(parameters: Mapping[str, torch.nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        if not is_finite(parameter):
            raise ModelError(
                f"{name} is not finite after the edit was written.",
                "an update that stays finite",
                "use a larger corpus, a lower learning_rate, or load the model in float32.",
            )
