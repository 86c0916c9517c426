"""Training chosen parameters until completions follow their prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from reground.errors import CapabilityError, ModelError
from reground.methods.lower_tower import LowerTower
from reground.methods.pieces import in_pieces
from reground.methods.recomputing import recomputing, recomputing_tower
from reground.methods.training_config import Objective
from reground.methods.training_step import (
    TrainingReport,
    completion_columns,
    descend,
    label_loss,
    prompt_last_loss,
)
from reground.methods.upper_layers import UpperLayers
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, prompt_tokens

__all__ = ["LowestChange", "fit_completions"]

_LOSSES: dict[Objective, Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]] = {
    "target_new": label_loss,
    "prompt_last": prompt_last_loss,
}


@dataclass(frozen=True)
class LowestChange:
    """Below what a training changes nothing.

    Attributes:
        layer: The lowest text layer it changes, from 0.
        part: What of it, as a path within it; empty: anything.
    """

    layer: int
    part: str = ""


def fit_completions(
    model: HfModel,
    parameters: Mapping[str, torch.nn.Parameter],
    queries: Sequence[Query],
    completions: Sequence[str],
    *,
    learning_rate: float,
    num_steps: int,
    loss_floor: float,
    weight_decay: float,
    batch_size: int,
    ends: bool,
    objective: Objective = "target_new",
    trains_vision: bool = False,
    lowest: LowestChange | None = None,
) -> TrainingReport:
    """Train ``parameters`` in place with Adam until the completions follow their prompts.

    Queries are cut into batches in the order given. A pass takes one step on each batch whose loss is not yet
    below the floor; training stops when a pass takes none. With no more edits than ``batch_size`` this is
    plain full-batch training for at most ``num_steps`` steps, and what lies below the lowest change is computed once.

    Args:
        model: The model; it stays in eval mode, so that an edit does not depend on dropout.
        parameters: What is trained, by name; nothing else receives gradients.
        queries: What is asked.
        completions: What should follow, one for each query.
        learning_rate: Adam's step size.
        num_steps: Passes at most.
        loss_floor: Mean loss of a batch below which it is left alone.
        weight_decay: Adam's L2 penalty.
        batch_size: Queries in one step.
        ends: Train on the end token after each completion.
        objective: Where the tokens of a completion are predicted.
        trains_vision: ``parameters`` lie between an image and the text model: encode images anew at every step.
        lowest: Where the lowest of ``parameters`` is; None: anywhere.

    Raises:
        ModelError: The loss or a trained parameter is no longer finite.
    """
    starts = range(0, len(queries), batch_size)
    loss_of = _LOSSES[objective]
    tower = LowerTower(model, parameters) if trains_vision else None
    if len(starts) == 1 and not trains_vision:
        batch = model.training_batch(queries, completions, ends=ends)
        logits = _logits_from(model, lowest, batch)
        losses = [lambda: loss_of(logits(), batch)]
    else:

        def loss_from(start: int) -> torch.Tensor:
            chosen = slice(start, start + batch_size)
            make = partial(
                model.training_batch, queries[chosen], completions[chosen], ends=ends, trains_vision=trains_vision
            )
            batch = make() if tower is None else tower.batch(make)
            return loss_of(_whole_logits(model, batch), batch)

        losses = [partial(loss_from, start) for start in starts]
    with ExitStack() as stack:
        if tower is not None:
            stack.enter_context(tower.in_force())
            stack.enter_context(recomputing_tower(model))
        pieces = stack.enter_context(in_pieces(model.module, parameters))
        return descend(
            pieces,
            losses,
            learning_rate=learning_rate,
            num_steps=num_steps,
            loss_floor=loss_floor,
            weight_decay=weight_decay,
            is_lean=len(pieces) > len(parameters),
        )


def _logits_from(
    model: HfModel, lowest: LowestChange | None, batch: Mapping[str, torch.Tensor]
) -> Callable[[], torch.Tensor]:
    """The logits of a batch, to be computed again and again; a text model that cannot be run in part is run whole."""
    if lowest is not None:
        try:
            return UpperLayers(model, lowest.layer, batch, part=lowest.part).logits
        except (CapabilityError, ModelError):
            pass
    return partial(_whole_logits, model, batch)


def _whole_logits(model: HfModel, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    with model.passing(prompt_tokens(batch)), recomputing(model, batch["attention_mask"].numel()):
        return completion_columns(model.module, batch)
