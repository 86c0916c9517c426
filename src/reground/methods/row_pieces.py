"""Training a large weight in pieces of whole rows, so that its gradient is never there in full.

A gradient is as large as the weight, and all that is done with it is one step of the optimiser, element by element. A
piece's gradient is stepped with and let go of as soon as it is complete, in the middle of the backward pass.

Axes: O outputs and I inputs of a linear layer, R rows of a piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch.nn import functional

from reground.models.hf.forward import computed_by

__all__ = ["gradient_bytes", "in_pieces", "linear_of", "linears_of", "row_pieces"]

#: A weight that takes less is one piece. Below it the gradient matters to nobody.
_FEWEST_BYTES = 8 << 20
_PIECE_BYTES = 4 << 20


def gradient_bytes(weight_bytes: int) -> int:
    """What the gradient of a weight of so many bytes takes at a time."""
    return weight_bytes if weight_bytes < _FEWEST_BYTES else _PIECE_BYTES


def row_pieces(weight_OI: torch.Tensor) -> list[torch.nn.Parameter]:
    """Leaves over the memory of a weight, some rows (RI) each, that a change of one of them changes it; in order."""
    weight_OI = weight_OI.detach()
    if weight_OI.numel() * weight_OI.element_size() < _FEWEST_BYTES:
        return [torch.nn.Parameter(weight_OI, requires_grad=False)]
    step = max(1, _PIECE_BYTES // (weight_OI.shape[1] * weight_OI.element_size()))
    # `data`, since views of one tensor would count their changes together, and one piece's step is none of another's.
    return [torch.nn.Parameter(rows_RI.data, requires_grad=False) for rows_RI in torch.split(weight_OI, step)]


def linear_of(inputs: torch.Tensor, pieces: Sequence[torch.Tensor], bias_O: torch.Tensor | None = None) -> torch.Tensor:
    """A linear layer (outputs on the last axis) whose weight is these pieces one below the other."""
    return linears_of([inputs], pieces, bias_O)[0]


def linears_of(
    inputs: Sequence[torch.Tensor], pieces: Sequence[torch.Tensor], bias_O: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """The same of several inputs, piece by piece, so that on the way back a piece has its gradient of all of them
    before the next one has any.
    """
    if len(pieces) == 1:
        return [functional.linear(each, pieces[0], bias_O) for each in inputs]
    parts = [[functional.linear(each, rows_RI) for each in inputs] for rows_RI in pieces]
    outputs = [torch.cat(parts_of_one, dim=-1) for parts_of_one in zip(*parts, strict=True)]
    return outputs if bias_O is None else [output + bias_O for output in outputs]


@contextmanager
def in_pieces(
    module: torch.nn.Module, parameters: Mapping[str, torch.nn.Parameter]
) -> Iterator[dict[str, torch.nn.Parameter]]:
    """Inside the block, large weights of linear layers are computed with in pieces; what to train, by name.

    The pieces lie in the memory of the weights, so that what is done to them is done to those.

    Args:
        module: What holds the parameters.
        parameters: By full name.
    """
    trained: dict[str, torch.nn.Parameter] = {}
    with ExitStack() as patched:
        for name, parameter in parameters.items():
            path, _, leaf = name.rpartition(".")
            layer = module.get_submodule(path)
            if type(layer) is not torch.nn.Linear or leaf != "weight" or len(pieces := row_pieces(parameter)) == 1:
                trained[name] = parameter
                continue
            trained |= {f"{name}[{number}]": piece for number, piece in enumerate(pieces)}
            bias_O: torch.Tensor | None = layer.bias
            by_pieces = partial(linear_of, pieces=pieces, bias_O=bias_O)
            patched.enter_context(computed_by(layer, lambda _, by_pieces=by_pieces: by_pieces))  # type: ignore[misc]
        yield trained
