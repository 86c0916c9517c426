"""The codebook at work: a hook that looks up each prompt's last token and replaces the module's output.

Axes: B rows of a batch, T tokens, F width of keys, H width of values.
"""

from __future__ import annotations

from typing import Any

import torch

from reground.methods.grace.codebook import Codebook
from reground.methods.grace.config import Replacement
from reground.models.hf.adapter import HfModel, Pass

__all__ = ["AttachedCodebook", "replaced", "replaced_columns"]


def replaced(
    output_BTH: torch.Tensor, values_BH: torch.Tensor, chosen_B: torch.Tensor, current: Pass, replacement: Replacement
) -> torch.Tensor:
    """The module's output at the first call of a pass, values in the place of the tokens they replace.

    Args:
        output_BTH: What the module puts out.
        values_BH: A value for each row.
        chosen_B: Rows whose output is replaced.
        current: The pass; tells prompt from padding and completion.
        replacement: Which tokens.
    """
    where_BT = replaced_columns(current, replacement).to(output_BTH.device)
    where_BT1 = (where_BT & chosen_B[:, None])[:, :, None]
    return torch.where(where_BT1, values_BH[:, None].to(output_BTH.dtype), output_BTH)


def replaced_columns(current: Pass, replacement: Replacement) -> torch.Tensor:
    """True where a value replaces the module's output (BT), at the first call of a pass.

    Args:
        current: The pass; tells prompt from padding and completion.
        replacement: Which tokens.
    """
    prompt_BT = current.prompt_BT
    if replacement == "prompt":
        return prompt_BT
    columns_T = torch.arange(prompt_BT.shape[1], device=prompt_BT.device)
    ends_B1 = current.prompt_ends_B[:, None]
    return columns_T == ends_B1 if replacement == "last" else prompt_BT | (columns_T > ends_B1)


class AttachedCodebook:
    """A codebook on a module, from construction until ``detach``.

    Whether a row falls within a radius is decided once, when its prompt goes through, on the prompt's own last token,
    wherever padding or a completion puts it. What is generated with a cache after that follows the decision and is
    never compared with the keys of prompts.

    Args:
        model: The model.
        path: Full path of the module.
        codebook: The entries; there must be one.
        replacement: Which tokens' outputs are replaced.

    Attributes:
        codebook: The entries.
        is_active: Whether it has any effect; off while a later codebook on the same module stands in for it.
    """

    def __init__(self, model: HfModel, path: str, codebook: Codebook, replacement: Replacement) -> None:
        self.path = path
        self.codebook = codebook
        self.is_active = True
        self._model = model
        self._replacement = replacement
        self._pass: Pass | None = None
        self._handle = model.module.get_submodule(path).register_forward_hook(self._after)

    def detach(self) -> None:
        """Take the hook off the module."""
        self._handle.remove()

    def _after(self, _: torch.nn.Module, inputs: tuple[Any, ...], output_BTH: torch.Tensor) -> torch.Tensor | None:
        if not self.is_active:
            return None
        current = self._model.require_pass()
        if current is self._pass:
            return self._continued(output_BTH)
        rows_B = torch.arange(len(output_BTH), device=output_BTH.device)
        queries_BF = inputs[0][rows_B, current.prompt_ends_B.to(output_BTH.device)]
        self._chosen_B, self._values_BH = self.codebook.lookup(queries_BF)
        self._pass = current
        return replaced(output_BTH, self._values_BH, self._chosen_B, current, self._replacement)

    def _continued(self, output_BTH: torch.Tensor) -> torch.Tensor | None:
        if self._replacement != "all":
            return None
        return torch.where(self._chosen_B[:, None, None], self._values_BH[:, None].to(output_BTH.dtype), output_BTH)
