"""Which large weights are trained in pieces, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import torch

from reground.methods.mlp_pieces import MlpPieces
from reground.methods.row_pieces import linear_of, row_pieces
from reground.models.hf.forward import computed_by

__all__ = ["in_pieces"]


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
        for mlp, found in _mlps(module, parameters).items():
            patched.enter_context(found.in_force())
            for part, pieces in found.pieces.items():
                name = f"{mlp}.{part}.weight"
                trained |= {f"{name}[{number}]": piece for number, piece in enumerate(pieces)}
        in_mlps = {name.rpartition("[")[0] for name in trained}
        for name, parameter in parameters.items():
            path, _, leaf = name.rpartition(".")
            layer = module.get_submodule(path)
            if name in in_mlps:
                continue
            if type(layer) is not torch.nn.Linear or leaf != "weight" or len(rows := row_pieces(parameter)) == 1:
                trained[name] = parameter
                continue
            trained |= {f"{name}[{number}]": piece for number, piece in enumerate(rows)}
            bias_O: torch.Tensor | None = layer.bias
            by_pieces = partial(linear_of, pieces=rows, bias_O=bias_O)
            patched.enter_context(computed_by(layer, lambda _, by_pieces=by_pieces: by_pieces))  # type: ignore[misc]
        yield trained


def _mlps(module: torch.nn.Module, parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, MlpPieces]:
    """By path, what holds linear parts that are all to be trained, and is cut across them."""
    paths = dict.fromkeys(name.rpartition(".")[0].rpartition(".")[0] for name in parameters)
    found: dict[str, MlpPieces] = {}
    for path in paths:
        inner = {name.removeprefix(f"{path}."): parameter for name, parameter in parameters.items() if path}
        pieces = MlpPieces.of(module.get_submodule(path), inner)
        if pieces is not None:
            found[path] = pieces
    return found
