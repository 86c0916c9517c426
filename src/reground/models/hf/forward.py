"""Computing a module in another way for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

__all__ = ["computed_by", "is_computed_otherwise"]

_otherwise: WeakKeyDictionary[torch.nn.Module, int] = WeakKeyDictionary()


@contextmanager
def computed_by(module: torch.nn.Module, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Inside the block a module's ``forward`` is what ``wrap`` makes of it; after it, all is as it was found.

    Where accelerate has put its own in the place of ``forward``, to bring what comes in to the module's device, what
    that calls is wrapped.
    """
    name = "_old_forward" if hasattr(module, "_hf_hook") else "forward"
    is_own, found = name in vars(module), getattr(module, name)
    setattr(module, name, wrap(found))
    _otherwise[module] = _otherwise.get(module, 0) + 1
    try:
        yield
    finally:
        _otherwise[module] -= 1
        if is_own:
            setattr(module, name, found)
        else:
            delattr(module, name)


def is_computed_otherwise(module: torch.nn.Module) -> bool:
    """Whether a module is being computed in another way than its own."""
    return _otherwise.get(module, 0) > 0
