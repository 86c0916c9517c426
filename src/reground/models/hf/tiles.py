"""Computing MLPs for some tokens at a time, so that what is in the middle of one is never there for all of them.

An MLP is several times as wide inside as the stream it reads and adds to, and treats each token by itself. With long
prompts, and a picture is hundreds of tokens, its inside is most of what a pass takes.

Axes: B rows of a batch, T tokens, H width of an MLP's input and output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from reground.models.hf.forward import computed_by, is_computed_otherwise

__all__ = ["in_tiles", "is_hooked"]

#: What goes into the linear parts of an MLP and comes out of them, for a tile; or a sixteenth of the MLP's weights, if
#: that is more, as these are read for each tile.
_TILE_BYTES = 12 << 20
_TILE_SHARE = 1 / 16


@contextmanager
def in_tiles(mlps: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Inside the block these MLPs are computed in tiles where that saves much.

    On the way back a tile is computed a second time: the block, and hooks that were there, have to outlast it. A tile
    may round otherwise than all tokens at once would. Where parts of an MLP are hooked, it is cut if that is the last
    of its parts alone, which is still called once, with all tokens. MLPs in 8-bit integers, whose scales are those of
    all tokens of a call, are not cut.
    """
    with ExitStack() as patched:
        for mlp in mlps:
            patched.enter_context(computed_by(mlp, partial(partial, _tiled, mlp, *_size(mlp))))
        yield


def _size(mlp: torch.nn.Module) -> tuple[int, int]:
    """How many numbers go into its linear parts and come out of them for a token, and how many their weights hold."""
    linear = [part for part in mlp.modules() if isinstance(part, torch.nn.Linear)]
    if any(part.weight.dtype == torch.int8 for part in linear):
        return 0, 0
    shapes = [(part.in_features, part.out_features) for part in linear]
    return sum(map(sum, shapes)), sum(map(math.prod, shapes))


def _tiled(
    mlp: torch.nn.Module, width: int, num_weights: int, forward: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    num_tokens = None if kwargs or len(args) != 1 else _tile_tokens(mlp, width, num_weights, args[0])
    output = None
    if num_tokens is not None:
        hooked = [name for name, part in mlp.named_modules() if name and is_hooked(part)]
        if not hooked:
            output = _by_tiles(mlp, forward, args[0], num_tokens)
        elif hooked == [_last_linear(mlp)]:
            inner = _by_tiles(mlp, partial(_before, mlp, hooked[0], forward), args[0], num_tokens)
            output = None if inner is None else mlp.get_submodule(hooked[0])(inner)
    return forward(*args, **kwargs) if output is None else output


def _last_linear(mlp: torch.nn.Module) -> str | None:
    """The child that stands where what comes out last is wont to: the last of those that are linear."""
    names = [name for name, part in mlp.named_children() if isinstance(part, torch.nn.Linear)]
    return names[-1] if names else None


def _tile_tokens(mlp: torch.nn.Module, width: int, num_weights: int, hidden: Any) -> int | None:
    """How many tokens make a tile; None: all, and nothing is to be computed a second time. So it is with a tile's own.

    Where parts are trained in pieces, the gradients of all pieces add up over tiles before the first is complete. All
    tokens are one tile as long as that is more than what tiles save.
    """
    if not isinstance(hidden, torch.Tensor) or hidden.dim() not in (2, 3) or not width:
        return None
    size, num_all = hidden.element_size(), hidden.numel() // hidden.shape[-1]
    if torch.is_grad_enabled() and num_all * width < num_weights and _in_pieces(mlp):
        return num_all
    most = max(1, int(max(_TILE_BYTES, _TILE_SHARE * num_weights * size) / (width * size)))
    return None if num_all <= most else most


def _by_tiles(
    mlp: torch.nn.Module, forward: Callable[[torch.Tensor], Any], hidden: torch.Tensor, num_tokens: int
) -> torch.Tensor | None:
    """What is made of hidden states (BTH or TH), tile by tile; None if that is no tensor with a row for each token."""
    rows = hidden.reshape(*([1] * (hidden.dim() - 2)), -1, hidden.shape[-1])
    is_trained = _in_pieces(mlp) or any(tensor.requires_grad for tensor in (hidden, *mlp.parameters()))
    is_kept = is_trained and torch.is_grad_enabled()
    run = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False) if is_kept else forward
    done: list[torch.Tensor] = []
    filled = 0
    for tile in torch.split(rows, num_tokens, dim=-2):
        output = run(tile)
        if not isinstance(output, torch.Tensor) or output.shape[:-1] != tile.shape[:-1]:
            return None
        if is_kept:
            done.append(output)
            continue
        if not done:  # filled in place: the tiles and all of them joined would be twice as much
            done.append(output.new_empty(*rows.shape[:-1], output.shape[-1]))
        done[0].narrow(-2, filled, tile.shape[-2]).copy_(output)
        filled += tile.shape[-2]
    joined = torch.cat(done, dim=-2) if is_kept else done[0]
    return joined.reshape(*hidden.shape[:-1], -1)


def _in_pieces(mlp: torch.nn.Module) -> bool:
    """Whether a part of it is trained in pieces, which are other leaves than the module's own."""
    return any(is_computed_otherwise(part) for part in mlp.modules() if part is not mlp)


def _before(
    mlp: torch.nn.Module, name: str, forward: Callable[[torch.Tensor], Any], tile: torch.Tensor
) -> torch.Tensor | None:
    """What goes into a part of an MLP, where the MLP puts out what that part does; None where it does not."""
    part = mlp.get_submodule(name)
    stand_in = _Through()
    setattr(mlp, name, stand_in)
    try:
        output = forward(tile)
    finally:
        setattr(mlp, name, part)
    return stand_in.seen if output is stand_in.seen else None


class _Through(torch.nn.Module):
    """Puts out what comes in."""

    seen: torch.Tensor | None = None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """It."""
        self.seen = hidden
        return hidden


def is_hooked(part: torch.nn.Module) -> bool:
    """Whether something watches or changes what goes into a module or comes out of it."""
    return bool(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks)
