"""Computing what a layer keeps for the backward pass a second time, where all layers together would keep much of it.

A layer keeps some dozen numbers a token for each of its width. With long prompts, and a picture is hundreds of tokens,
that is more than everything else an edit needs. Kept are then the hidden states between layers alone, for a third more
time; and where many layers make these much too, those between groups of layers, for another quarter at most.

Axes: B rows of a batch, T tokens, H hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.checkpoint import checkpoint

from reground.methods.layer_output import hidden_of
from reground.models.hf.adapter import HfModel
from reground.models.hf.forward import computed_by

__all__ = ["recomputes", "recomputing", "recomputing_tower"]

#: What layers may keep before it is computed again instead.
_MOST_BYTES = 64 << 20
#: What goes into layers may take that in all, before it is itself made again from what went into one further below.
_MOST_HIDDEN_BYTES = 16 << 20

_bytes_by_model: WeakKeyDictionary[HfModel, int] = WeakKeyDictionary()


@contextmanager
def recomputing(model: HfModel, num_tokens: int) -> Iterator[None]:
    """For forward calls inside the block that are to be followed by a backward pass; the results are the same.

    Args:
        model: The model.
        num_tokens: Tokens of a call, padding included.
    """
    if not torch.is_grad_enabled() or not recomputes(model, num_tokens):
        yield
        return
    inputs = _Inputs(model, num_tokens)
    with ExitStack() as patched:
        for layer in model.text_layers:
            patched.enter_context(computed_by(layer, partial(partial, _recomputed, model, inputs)))
        yield


@contextmanager
def recomputing_tower(model: HfModel) -> Iterator[None]:
    """The same of the vision tower's layers, each of which tells from its own call how much they would keep."""
    layers = model.tower_layers
    size = _linear_bytes(model, layers)

    def wrapped(forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]
            if torch.is_grad_enabled() and hidden.numel() // hidden.shape[-1] * size > _MOST_BYTES:
                return _recomputed(model, None, forward, *args, **kwargs)
            return forward(*args, **kwargs)

        return run

    with ExitStack() as patched:
        for layer in layers:
            patched.enter_context(computed_by(layer, wrapped))
        yield


def recomputes(model: HfModel, num_tokens: int) -> bool:
    """Whether so many tokens are so much that ``recomputing`` does anything."""
    return num_tokens * _bytes_per_token(model) > _MOST_BYTES


def _recomputed(model: HfModel, inputs: _Inputs | None, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    current = model.current_pass

    def run(*args: Any, **kwargs: Any) -> Any:
        # A pass of its own each time: what is in force on a layer takes a second call in one pass for its going on.
        with model.resuming(copy(current)):
            return forward(*args, **kwargs)

    run_again = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
    if inputs is None or not args:
        return run_again(*args, **kwargs)
    with inputs.saved(args[0]) as own:
        output = run_again(*args, **kwargs)
    inputs.follow(own, partial(_with_input, run, args[1:], kwargs), hidden_of(output))
    return output


def _with_input(
    run: Callable[..., Any], further: Sequence[Any], kwargs: Mapping[str, Any], hidden_BTH: torch.Tensor
) -> torch.Tensor:
    return hidden_of(run(hidden_BTH, *further, **kwargs))


class _Inputs:
    """What goes into the layers of one pass: kept for the lowest of a group of layers, made again for those above it.

    Args:
        model: The model.
        num_tokens: Tokens of the pass, padding included.
    """

    def __init__(self, model: HfModel, num_tokens: int) -> None:
        width = model.module.get_input_embeddings().weight.shape[1]
        self._group = _group_size(len(model.text_layers), num_tokens * width * model.module.dtype.itemsize)
        self._next: _Input | None = None
        self._output_BTH: torch.Tensor | None = None
        self._version = 0

    @contextmanager
    def saved(self, hidden_BTH: torch.Tensor) -> Iterator[_Input]:
        """Inside the block nothing but this record is saved of what goes into a layer."""
        is_next = hidden_BTH is self._output_BTH and hidden_BTH._version == self._version and hidden_BTH.requires_grad
        if self._next is None or not is_next or self._next.height >= self._group:
            own = _Input(kept_BTH=hidden_BTH.detach(), version=hidden_BTH._version)
        else:
            own = self._next
        place = (hidden_BTH.data_ptr(), hidden_BTH.shape)

        def pack(tensor: torch.Tensor) -> Any:
            return own if (tensor.data_ptr(), tensor.shape) == place else tensor

        def unpack(saved: Any) -> torch.Tensor:
            tensor: torch.Tensor = saved.taken() if isinstance(saved, _Input) else saved
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            yield own

    def follow(self, own: _Input, run: Callable[[torch.Tensor], torch.Tensor], output_BTH: torch.Tensor) -> None:
        """What the next layer is given, if it is given a layer's output as it is."""
        self._next = _Input(below=own, run=run, height=own.height + 1)
        self._output_BTH, self._version = output_BTH, output_BTH._version


@dataclass
class _Input:
    """What goes into a layer.

    Attributes:
        kept_BTH: Hidden states; None where they are to be made first.
        below: What goes into the layer below, from which they are made.
        run: That layer.
        height: How many layers up from one whose input is kept.
        version: Of hidden states that are kept, how often they had been changed in place.
    """

    kept_BTH: torch.Tensor | None = None
    below: _Input | None = None
    run: Callable[[torch.Tensor], torch.Tensor] | None = None
    height: int = 0
    version: int = 0

    def taken(self) -> torch.Tensor:
        """The hidden states, for the layer's own way back; those made on the way to them wait for theirs."""
        hidden_BTH = self._made()
        if self.below is not None:
            self.kept_BTH = None
        return hidden_BTH

    @torch.no_grad()
    def _made(self) -> torch.Tensor:
        if self.kept_BTH is None:
            assert self.below is not None and self.run is not None
            self.kept_BTH = self.run(self.below._made())
            self.version = self.kept_BTH._version
        if self.kept_BTH._version != self.version:
            raise RuntimeError("hidden states that the way back needs have been changed in place")
        return self.kept_BTH


def _group_size(num_layers: int, hidden_bytes: int) -> int:
    """The smallest number of layers to a group that keeps what is kept small, or else as small as it gets.

    Args:
        num_layers: Layers in all.
        hidden_bytes: What goes into one of them.
    """
    held = {size: (math.ceil(num_layers / size) + size - 1) * hidden_bytes for size in range(1, num_layers + 1)}
    small = [size for size, count in held.items() if count <= _MOST_HIDDEN_BYTES]
    return small[0] if small else min(held, key=held.__getitem__)


def _bytes_per_token(model: HfModel) -> int:
    """What goes into the linear parts of all text layers and comes out of them, for one token."""
    if model not in _bytes_by_model:
        _bytes_by_model[model] = _linear_bytes(model, model.text_layers)
    return _bytes_by_model[model]


def _linear_bytes(model: HfModel, layers: Iterable[torch.nn.Module]) -> int:
    linear = (part for layer in layers for part in layer.modules() if isinstance(part, torch.nn.Linear))
    itemsize: int = model.module.dtype.itemsize
    return itemsize * sum(part.in_features + part.out_features for part in linear)
