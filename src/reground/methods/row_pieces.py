"""Training a large weight in pieces of whole rows, so that its gradient is never there in full.

A gradient is as large as the weight, and all that is done with it is one step of the optimiser, element by element. A
piece's gradient is stepped with and let go of as soon as it is complete, in the middle of the backward pass.

Axes: O outputs and I inputs of a linear layer, R rows or C columns of a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch.nn import functional

__all__ = [
    "column_pieces",
    "gradient_bytes",
    "is_large",
    "linear_of",
    "linears_of",
    "row_pieces",
    "rows_a_piece",
    "rows_of",
]

#: A weight that takes less is one piece. Below it the gradient matters to nobody.
_FEWEST_BYTES = 8 << 20
_PIECE_BYTES = 4 << 20


def gradient_bytes(weight_bytes: int) -> int:
    """What the gradient of a weight of so many bytes takes at a time."""
    return weight_bytes if weight_bytes < _FEWEST_BYTES else _PIECE_BYTES


def is_large(weight: torch.Tensor) -> bool:
    """Whether a weight is trained in pieces."""
    return weight.numel() * weight.element_size() >= _FEWEST_BYTES


def rows_a_piece(weight_OI: torch.Tensor) -> int:
    """How many rows of a weight make a piece."""
    return max(1, _PIECE_BYTES // (weight_OI.shape[1] * weight_OI.element_size()))


def rows_of(weight_OI: torch.Tensor, num_rows: int | None = None) -> tuple[torch.Tensor, ...]:
    """Views of a weight, some rows (RI) each, in order; of all its rows, if it is not large.

    Args:
        weight_OI: The weight.
        num_rows: R; None: ``rows_a_piece``.
    """
    most = num_rows or rows_a_piece(weight_OI)
    return torch.split(weight_OI, most if is_large(weight_OI) else len(weight_OI))


def row_pieces(weight_OI: torch.Tensor, num_rows: int | None = None) -> list[torch.nn.Parameter]:
    """Leaves over the memory of a weight, cut as by ``rows_of``, that a change of one of them changes it."""
    return _leaves(rows_of(weight_OI, num_rows))


def column_pieces(weight_OI: torch.Tensor, num_columns: int) -> list[torch.nn.Parameter]:
    """The same of some columns (OC) each."""
    return _leaves(torch.split(weight_OI, num_columns, dim=1) if is_large(weight_OI) else [weight_OI])


def _leaves(parts: Iterable[torch.Tensor]) -> list[torch.nn.Parameter]:
    # `data`, since views of one tensor would count their changes together, and one piece's step is none of another's.
    return [torch.nn.Parameter(part.detach().data, requires_grad=False) for part in parts]


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
