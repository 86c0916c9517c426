"""What goes into and comes out of modules at chosen tokens, and outputs shifted there, without leaving hooks behind.

Axes: B rows of a batch, T tokens, H width of what is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from reground.models.hf.adapter import HfModel, prompt_tokens

__all__ = ["at_tokens", "every_input", "shares_of", "shifted_output"]


class _Seen(Exception):
    """Raised in a hook once the last module of interest has been reached."""


def _positions_in(batch: Mapping[str, torch.Tensor], indices: Sequence[int]) -> torch.Tensor:
    """Columns (B) of a left-padded batch at which tokens ``indices``, counted from each row's own start, lie."""
    mask_BT = batch["attention_mask"]
    num_padding_B = mask_BT.shape[1] - mask_BT.sum(dim=1)
    return num_padding_B + torch.tensor(indices, device=mask_BT.device)


@torch.no_grad()
def at_tokens(
    model: HfModel,
    batch: Mapping[str, torch.Tensor],
    indices: Sequence[int],
    *,
    inputs_of: Sequence[str] = (),
    outputs_of: Sequence[str] = (),
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Inputs and outputs (BH) of modules, at one token of each row.

    Args:
        model: The model.
        batch: What ``HfModel.prompt_batch`` returned.
        indices: For each row the token, counted from the row's own start.
        inputs_of: Paths of modules whose input is wanted.
        outputs_of: Paths of modules whose output is wanted.

    Returns:
        Inputs by path, and outputs by path.
    """
    rows = torch.arange(len(indices), device=batch["attention_mask"].device)
    columns_B = _positions_in(batch, indices)
    inputs: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}

    def keep_input(path: str) -> Callable[..., None]:
        def hook(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
            inputs[path] = arguments[0][rows, columns_B]

        return hook

    def keep_output(path: str) -> Callable[..., None]:
        def hook(_: Any, __: Any, output: Any) -> None:
            outputs[path] = _tensor_of(output)[rows, columns_B]

        return hook

    parts = {path: model.module.get_submodule(path) for path in (*inputs_of, *outputs_of)}
    handles = [parts[path].register_forward_pre_hook(keep_input(path)) for path in inputs_of]
    handles += [parts[path].register_forward_hook(keep_output(path)) for path in outputs_of]
    with _removed_after(handles), model.passing(prompt_tokens(batch)):
        model.module(**batch, use_cache=False, logits_to_keep=1, return_dict=True)
    return inputs, outputs


@torch.no_grad()
def every_input(model: HfModel, batch: Mapping[str, torch.Tensor], paths: Sequence[str]) -> dict[str, torch.Tensor]:
    """Inputs of modules at every token that is not padding, one row each, by path.

    Layers above the last of ``paths`` are not run.

    Args:
        model: The model.
        batch: What ``HfModel.prompt_batch`` or ``training_batch`` returned.
        paths: Paths of modules, in the order in which a pass reaches them.
    """
    is_token_BT = batch["attention_mask"].bool()
    seen: dict[str, torch.Tensor] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
            seen[path] = arguments[0][is_token_BT]
            if path == paths[-1]:
                raise _Seen

        return hook

    handles = [model.module.get_submodule(path).register_forward_pre_hook(keep(path)) for path in paths]
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with _removed_after(handles), model.passing(prompt_tokens(batch)), suppress(_Seen):
        model.module(**inputs, use_cache=False, logits_to_keep=1, return_dict=True)
    return seen


@contextmanager
def shifted_output(model: HfModel, path: str, shares_BT: torch.Tensor, shift_H: torch.Tensor) -> Iterator[None]:
    """Inside the block a module's output is shifted at every token by a share of one vector.

    Args:
        model: The model.
        path: The module.
        shares_BT: For each token of the batches to come, how much of the shift it gets.
        shift_H: What is added; gradients reach it.
    """

    def shift(_: Any, __: Any, output: Any) -> Any:
        output_BTH = _tensor_of(output)
        changed_BTH = output_BTH + (shares_BT[..., None] * shift_H).to(output_BTH.dtype)
        return (changed_BTH, *output[1:]) if isinstance(output, tuple) else changed_BTH

    with _removed_after([model.module.get_submodule(path).register_forward_hook(shift)]):
        yield


@torch.no_grad()
def shares_of(model: HfModel, batch: Mapping[str, torch.Tensor], path: str, direction_I: torch.Tensor) -> torch.Tensor:
    """What a rank-one update adds at each token (BT), as a share of its vector: the product of key and direction.

    Args:
        model: The model.
        batch: What ``HfModel.training_batch`` returned.
        path: The linear module that is to be updated.
        direction_I: The update is the outer product of a vector and this.
    """
    keys_NI = every_input(model, batch, [path])[path]
    is_token_BT = batch["attention_mask"].bool()
    shares_BT = torch.zeros(is_token_BT.shape, device=keys_NI.device)
    shares_BT[is_token_BT] = keys_NI.float() @ direction_I.float()
    return shares_BT


def _tensor_of(output: Any) -> torch.Tensor:
    """Some layers return their output alone, some as the first of several things."""
    tensor: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


@contextmanager
def _removed_after(handles: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
