"""Training chosen parameters: the loop that weight editors share, and its losses.

Axes: B rows of a batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from reground.edits.records import Record
from reground.errors import ModelError
from reground.models.hf.checkpoint import is_finite

__all__ = [
    "TrainingReport",
    "completion_columns",
    "descend",
    "label_loss",
    "num_completion_columns",
    "prompt_last_loss",
    "seeded",
    "trainable",
]

_NO_LABEL = -100


class TrainingReport(Record):
    """How a training went.

    Attributes:
        num_steps: Optimiser steps taken.
        first_loss: Mean loss over the batches of the first pass, before its steps.
        last_loss: The same of the last pass.
        has_converged: Every batch was below the loss floor before the steps were used up.
    """

    num_steps: int
    first_loss: float
    last_loss: float
    has_converged: bool


@contextmanager
def trainable(parameters: Iterable[torch.nn.Parameter]) -> Iterator[None]:
    """Gradients for these parameters inside the block; their flags as before, and no gradients, after it."""
    chosen = list(parameters)
    flags = [parameter.requires_grad for parameter in chosen]
    for parameter in chosen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, flag in zip(chosen, flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's random state seeded inside the block, and as it was after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def completion_columns(module: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Logits (BTV) of the columns that predict a completion token, and of the last one.

    Args:
        module: The model.
        batch: What ``HfModel.training_batch`` returned.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    num_kept = num_completion_columns(batch) + 1
    logits_BTV: torch.Tensor = module(**inputs, use_cache=False, logits_to_keep=num_kept, return_dict=True).logits
    return logits_BTV


def num_completion_columns(batch: Mapping[str, torch.Tensor]) -> int:
    """Columns of a training batch, counted from its end, that hold completion tokens."""
    labels_BT = batch["labels"]
    return labels_BT.shape[1] - int((labels_BT != _NO_LABEL).any(dim=0).nonzero()[0])


def label_loss(logits_BTV: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy over the completion tokens of a batch, natural logarithm.

    Args:
        logits_BTV: Logits of the batch's last ``num_completion_columns(batch) + 1`` columns.
        batch: What ``HfModel.training_batch`` returned.
    """
    labels_BT = batch["labels"][:, 1 - logits_BTV.shape[1] :]
    return functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), labels_BT.flatten().to(logits_BTV.device), ignore_index=_NO_LABEL
    )


def prompt_last_loss(logits_BTV: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Mean of -log p(y | prompt) over the completion tokens y of a batch, each predicted at the prompt's last token.

    Its minimum over distributions is not 0 for a completion of several tokens: for n different ones it is ln(n).

    Args:
        logits_BTV: Logits of the batch's last ``num_completion_columns(batch) + 1`` columns.
        batch: What ``HfModel.training_batch`` returned.
    """
    labels_BT = batch["labels"]
    is_target_BT = labels_BT != _NO_LABEL
    first_B = is_target_BT.int().argmax(dim=1)
    earliest = int(first_B.min())
    logits_BV = logits_BTV[torch.arange(len(first_B), device=first_B.device), first_B - earliest]
    row, column = is_target_BT.nonzero(as_tuple=True)
    return functional.cross_entropy(logits_BV[row].float(), labels_BT[row, column])


def descend(
    parameters: Mapping[str, torch.nn.Parameter],
    losses: Sequence[Callable[[], torch.Tensor]],
    *,
    learning_rate: float,
    num_steps: int,
    loss_floor: float,
    weight_decay: float = 0.0,
    is_lean: bool = False,
) -> TrainingReport:
    """Train ``parameters`` in place with Adam until every loss is below the floor.

    A pass takes one step on each loss that is not yet below the floor; training stops when a pass takes none.

    Args:
        parameters: What is trained, by name; nothing else receives gradients.
        losses: Called once in each pass, one for each batch; each returns a scalar.
        learning_rate: Adam's step size.
        num_steps: Passes at most.
        loss_floor: Loss below which a batch is left alone.
        weight_decay: Adam's L2 penalty.
        is_lean: Whether each parameter takes its step as soon as its gradient is complete, which is then let go of.
            The steps are the same.

    Raises:
        ModelError: A loss or a trained parameter is no longer finite.
    """
    num_taken = 0
    pass_losses: list[float] = []
    has_converged = False
    optimiser_of = partial(torch.optim.Adam, lr=learning_rate, weight_decay=weight_decay, fused=True)
    if is_lean:
        stepping = _stepping_within([_Leaf(parameter, optimiser_of) for parameter in parameters.values()])
    else:
        stepping = _stepping(optimiser_of(parameters.values()))
    with trainable(parameters.values()), stepping as step:
        for _ in range(num_steps):
            values = []
            for loss_of_batch in losses:
                loss = loss_of_batch()
                values.append(float(loss.detach()))
                if values[-1] < loss_floor:
                    continue
                if not math.isfinite(values[-1]):
                    raise _diverged(f"the loss is {values[-1]} after {num_taken} steps", learning_rate)
                step(loss)
                del loss  # and with it what it hangs on, before the next is there
                num_taken += 1
            pass_losses.append(sum(values) / len(values))
            has_converged = all(value < loss_floor for value in values)
            if has_converged:
                break
    for name, parameter in parameters.items():
        if not is_finite(parameter):
            raise _diverged(f"{name} is not finite after {num_taken} steps", learning_rate)
    return TrainingReport(
        num_steps=num_taken, first_loss=pass_losses[0], last_loss=pass_losses[-1], has_converged=has_converged
    )


@contextmanager
def _stepping(optimiser: torch.optim.Adam) -> Iterator[Callable[[torch.Tensor], None]]:
    """What takes one step down a loss."""

    def step(loss: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    yield step


@contextmanager
def _stepping_within(leaves: Sequence[_Leaf]) -> Iterator[Callable[[torch.Tensor], None]]:
    """The same, each leaf by itself in the middle of the backward pass."""
    with ExitStack() as hooked:
        for leaf in leaves:
            handle = leaf.parameter.register_post_accumulate_grad_hook(leaf.step)  # type: ignore[no-untyped-call]
            hooked.callback(handle.remove)
        yield torch.Tensor.backward


class _Leaf:
    """A parameter that takes steps of its own.

    One that does not lie in memory in one piece, such as columns of a matrix, is copied for its step and back.
    """

    def __init__(
        self, parameter: torch.nn.Parameter, optimiser_of: Callable[[list[torch.Tensor]], torch.optim.Adam]
    ) -> None:
        self.parameter = parameter
        self._stepped = parameter if parameter.is_contiguous() else torch.nn.Parameter(parameter.new_empty(0))
        self._optimiser = optimiser_of([self._stepped])

    @torch.no_grad()
    def step(self, _: torch.Tensor) -> None:
        """Step with the gradient that is there, and let go of it."""
        is_apart = self._stepped is not self.parameter
        if is_apart:
            self._stepped.data = self.parameter.detach().contiguous()
            self._stepped.grad = self.parameter.grad
        self._optimiser.step()
        self._stepped.grad = self.parameter.grad = None
        if is_apart:
            self.parameter.copy_(self._stepped)
            self._stepped.data = self._stepped.new_empty(0)


def _diverged(what: str, learning_rate: float) -> ModelError:
    return ModelError(
        f"training the edit diverged at learning_rate={learning_rate}: {what}.",
        "a step size at which the loss stays finite",
        "lower learning_rate, or load the model in float32.",
    )
