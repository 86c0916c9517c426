"""Training an MLP in pieces of its inside, so that neither its gradient nor what is inside is ever there in full.

What an MLP is inside is a sum over its inner units: each takes a row of what leads in, and a column of what leads out.
Some units at a time are computed, and on the way back computed again, stepped with and let go of.

Axes: T tokens, H width of the stream, F inner units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from reground.methods.row_pieces import column_pieces, is_large, row_pieces, rows_a_piece
from reground.models.hf.forward import computed_by, is_computed_otherwise, own_forward
from reground.models.hf.tiles import is_hooked

__all__ = ["MlpPieces"]

_NUM_TOKENS_TRIED = 4


@dataclass(frozen=True)
class MlpPieces:
    """An MLP whose linear parts are all trained, and large, cut into pieces of the same inner units.

    Attributes:
        mlp: It.
        ways_in: By their names in it, the linear parts from the stream to the inner units.
        way_out: The name of the one from these to the stream.
        pieces: For each of these parts, leaves in the memory of its weight: rows of a way in, columns of the way out.
    """

    mlp: torch.nn.Module
    ways_in: tuple[str, ...]
    way_out: str
    pieces: Mapping[str, Sequence[torch.nn.Parameter]]

    @classmethod
    def of(cls, mlp: torch.nn.Module, trained: Mapping[str, torch.nn.Parameter]) -> Self | None:
        """The pieces; None where parts are not trained, or small, or hooked, or where the inside is no such sum.

        Args:
            mlp: What may be an MLP.
            trained: By their names in it, what is trained.
        """
        linear = {name: part for name, part in mlp.named_children() if type(part) is torch.nn.Linear}
        weights = [f"{name}.weight" in trained and is_large(part.weight) for name, part in linear.items()]
        if len(linear) < 2 or not all(weights) or any(map(is_hooked, mlp.modules())):
            return None
        if any(map(is_computed_otherwise, linear.values())):
            return None
        *ways_in, way_out = linear
        shapes = {linear[name].weight.shape for name in ways_in}
        if shapes != {linear[way_out].weight.shape[::-1]}:
            return None
        size = rows_a_piece(linear[way_out].weight.T)
        pieces = {name: row_pieces(linear[name].weight, size) for name in ways_in}
        found = cls(mlp, tuple(ways_in), way_out, {**pieces, way_out: column_pieces(linear[way_out].weight, size)})
        return found if found._is_the_same() else None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Inside the block the MLP is computed piece by piece."""
        with computed_by(self.mlp, lambda _: self._output):
            yield

    def _output(self, hidden_TH: torch.Tensor) -> torch.Tensor:
        """Added up in single precision at least, on the way back too, as a product of whole matrices is."""
        is_kept = torch.is_grad_enabled()
        run: Callable[..., torch.Tensor] = self._of_piece
        if is_kept:
            run = partial(checkpoint, self._of_piece, use_reentrant=False, preserve_rng_state=False)
        wide_TH = hidden_TH.to(torch.promote_types(hidden_TH.dtype, torch.float32))
        total_TH = run(0, wide_TH, hidden_TH.dtype)
        for number in range(1, len(self.pieces[self.way_out])):
            total_TH = total_TH + run(number, wide_TH, hidden_TH.dtype)
        bias_H = _linear(self.mlp, self.way_out).bias
        return (total_TH if bias_H is None else total_TH + bias_H).to(hidden_TH.dtype)

    def _of_piece(self, number: int, wide_TH: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """What some of the inner units add, the bias of the way out aside; they are computed in this format."""
        start = sum(len(rows) for rows in self.pieces[self.ways_in[0]][:number])
        with ExitStack() as patched:
            for name in (*self.ways_in, self.way_out):
                part, weight = _linear(self.mlp, name), self.pieces[name][number]
                is_in = name != self.way_out and part.bias is not None
                bias = part.bias[start : start + len(weight)] if is_in else None
                by_piece = partial(functional.linear, weight=weight, bias=bias)
                patched.enter_context(computed_by(part, partial(_instead, by_piece)))
            output: torch.Tensor = own_forward(self.mlp)(wide_TH.to(dtype))
        return output.to(wide_TH.dtype)

    @torch.no_grad()
    def _is_the_same(self) -> bool:
        """Whether the sum over pieces is what the MLP puts out, of a few random tokens."""
        weight = self.pieces[self.way_out][0]
        drawn = torch.randn(_NUM_TOKENS_TRIED, len(weight), generator=torch.Generator().manual_seed(0))
        tried_TH = drawn.to(weight.device, weight.dtype)
        try:
            expected_TH = own_forward(self.mlp)(tried_TH)
            found_TH = self._output(tried_TH)
        except Exception:  # whatever it is, it is called in another way, or of another shape
            return False
        if not isinstance(expected_TH, torch.Tensor) or expected_TH.shape != found_TH.shape:
            return False
        allowed = torch.finfo(weight.dtype).eps ** 0.5 * float(expected_TH.abs().max())
        return bool((found_TH - expected_TH).abs().max() <= allowed)


def _linear(mlp: torch.nn.Module, name: str) -> torch.nn.Linear:
    part = mlp.get_submodule(name)
    assert isinstance(part, torch.nn.Linear)
    return part


def _instead(forward: Callable[..., Any], _: Callable[..., Any]) -> Callable[..., Any]:
    return forward
