"""Computing a module in another way for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

__all__ = ["computed_by", "is_computed_otherwise", "own_forward"]

#: What modules were computed by before, the first of them their own.
_own: WeakKeyDictionary[torch.nn.Module, list[Callable[..., Any]]] = WeakKeyDictionary()


@contextmanager
def computed_by(module: torch.nn.Module, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Inside the block a module's ``forward`` is what ``wrap`` makes of it; after it, all is as it was found.

    Where accelerate has put its own in the place of ``forward``, to bring what comes in to the module's device, what
    that calls is wrapped.
    """
    name = _name(module)
    is_own, found = name in vars(module), getattr(module, name)
    setattr(module, name, wrap(found))
    _own.setdefault(module, []).append(found)
    try:
        yield
    finally:
        _own[module].pop()
        if is_own:
            setattr(module, name, found)
        else:
            delattr(module, name)


def is_computed_otherwise(module: torch.nn.Module) -> bool:
    """Whether a module is being computed in another way than its own."""
    return bool(_own.get(module))


def own_forward(module: torch.nn.Module) -> Callable[..., Any]:
    """What a module is computed by where nothing else is in force, hooks aside."""
    if is_computed_otherwise(module):
        return _own[module][0]
    return getattr(module, _name(module))  # type: ignore[no-any-return]


def _name(module: torch.nn.Module) -> str:
    return "_old_forward" if hasattr(module, "_hf_hook") else "forward"
