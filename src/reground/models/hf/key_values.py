"""Keys and values of a generation, with room for tokens to come.

The stock cache joins what it holds and each new token into a new tensor, at every layer and step. Here tokens are
written into room that was left behind the prompt, so that a step copies no more than its own token. What attention is
given is the same, bit for bit.

Axes: B rows of a batch, G heads of keys and values, T tokens, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

__all__ = ["RoomyLayer", "roomy_cache"]

#: Tokens that room is made for at a time, at most.
_ROOM = 128


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer's keys and values (BGTD), the beginning of a larger tensor.

    Args:
        room: Tokens that room is made for at a time.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, room: int = _ROOM) -> None:
        super().__init__()
        self._room = room
        self._roomy: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write those of new tokens behind what is held; all that is held then."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        length = held + key_states.shape[-2]
        # What is held may have been replaced, by a choice among rows for example.
        if not held or self.keys.data_ptr() != self._roomy[0].data_ptr() or length > self._roomy[0].shape[-2]:
            self._roomy = [_with_room(states, length + self._room) for states in (key_states, value_states)]
            for roomy, states in zip(self._roomy, (self.keys, self.values), strict=True):
                if held:
                    roomy[..., :held, :] = states
        for roomy, states in zip(self._roomy, (key_states, value_states), strict=True):
            roomy[..., held:length, :] = states
        self.keys, self.values = (roomy[..., :length, :] for roomy in self._roomy)
        return self.keys, self.values


def _with_room(states: torch.Tensor, length: int) -> torch.Tensor:
    return states.new_empty((*states.shape[:-2], length, states.shape[-1]))


def roomy_cache(config: Any, num_tokens: int) -> DynamicCache:
    """What a generation would make for itself, with room wherever a layer keeps all of its tokens.

    Args:
        config: The text model's.
        num_tokens: How many will be written at most.
    """
    cache = DynamicCache(config=config)
    room = min(_ROOM, num_tokens)
    cache.layers = [RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
