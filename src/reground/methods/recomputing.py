"""Computing what a layer keeps for the backward pass a second time, where all layers together would keep much of it.

A layer keeps some dozen numbers a token for each of its width. With long prompts, and a picture is hundreds of tokens,
that is more than everything else an edit needs. Kept are then the hidden states between layers alone, for a third more
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.checkpoint import checkpoint

from reground.models.hf.adapter import HfModel
from reground.models.hf.forward import computed_by

__all__ = ["recomputes", "recomputing", "recomputing_tower"]

#: What layers may keep before it is computed again instead.
_MOST_BYTES = 64 << 20

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
    with ExitStack() as patched:
        for layer in model.text_layers:
            patched.enter_context(computed_by(layer, partial(partial, _recomputed, model)))
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
                return _recomputed(model, forward, *args, **kwargs)
            return forward(*args, **kwargs)

        return run

    with ExitStack() as patched:
        for layer in layers:
            patched.enter_context(computed_by(layer, wrapped))
        yield


def recomputes(model: HfModel, num_tokens: int) -> bool:
    """Whether so many tokens are so much that ``recomputing`` does anything."""
    return num_tokens * _bytes_per_token(model) > _MOST_BYTES


def _recomputed(model: HfModel, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    current = model.current_pass

    def run(*args: Any, **kwargs: Any) -> Any:
        # A pass of its own each time: what is in force on a layer takes a second call in one pass for its going on.
        with model.resuming(copy(current)):
            return forward(*args, **kwargs)

    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def _bytes_per_token(model: HfModel) -> int:
    """What goes into the linear parts of all text layers and comes out of them, for one token."""
    if model not in _bytes_by_model:
        _bytes_by_model[model] = _linear_bytes(model, model.text_layers)
    return _bytes_by_model[model]


def _linear_bytes(model: HfModel, layers: Iterable[torch.nn.Module]) -> int:
    linear = (part for layer in layers for part in layer.modules() if isinstance(part, torch.nn.Linear))
    itemsize: int = model.module.dtype.itemsize
    return itemsize * sum(part.in_features + part.out_features for part in linear)
