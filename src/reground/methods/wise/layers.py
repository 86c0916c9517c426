"""Side memories at work: a hook that routes each prompt to the main memory or to one beside it.

Axes: B rows of a batch, T tokens, M memories, F and H width of the module's input and output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from reground.methods.wise.config import Statistic
from reground.methods.wise.memory import activations
from reground.models.hf.adapter import HfModel, Pass

__all__ = ["AttachedMemories"]

#: Stands for the main memory where a row's memory is named by its number.
_MAIN = -1


class AttachedMemories:
    """Side memories on a linear module, from construction until ``detach``.

    A row goes through the memory that its prompt activates most, among those whose threshold it exceeds; through the
    main memory if there is none. That is decided once, when the prompt goes through, and holds for all its tokens and
    for what is generated after it.

    Args:
        model: The model.
        path: Full path of the module.
        weights: A weight (HF) for each memory, in the number format of the main one.
        thresholds_M: Activation above which a memory may be used; float32.
        statistic: Prompt tokens that the activation is read from.
    """

    def __init__(
        self,
        model: HfModel,
        path: str,
        weights: Sequence[torch.Tensor],
        thresholds_M: torch.Tensor,
        statistic: Statistic,
    ) -> None:
        self._model = model
        self._weights = list(weights)
        self._thresholds_M = thresholds_M
        self._statistic = statistic
        self._pass: Pass | None = None
        self._handle = model.module.get_submodule(path).register_forward_hook(self._after)

    def detach(self) -> None:
        """Take the hook off the module."""
        self._handle.remove()

    def tensors(self) -> dict[str, torch.Tensor]:
        """What has to be kept: the side memories' values and their thresholds."""
        memories = {f"memory.{number}": weight for number, weight in enumerate(self._weights)}
        return {**memories, "thresholds": self._thresholds_M}

    def route(self, activations_MB: torch.Tensor) -> torch.Tensor:
        """The memory (B) that each row goes through; -1 is the main one.

        Args:
            activations_MB: What each prompt activates in each memory.
        """
        exceeds_MB = activations_MB > self._thresholds_M.to(activations_MB.device)[:, None]
        best = activations_MB.masked_fill(~exceeds_MB, -torch.inf).max(dim=0)
        return torch.where(best.values > -torch.inf, best.indices, _MAIN)

    def _after(self, module: torch.nn.Module, inputs: tuple[Any, ...], main_BTH: torch.Tensor) -> torch.Tensor:
        current = self._model.require_pass()
        input_BTF = inputs[0]
        if current is not self._pass:
            self._memory_B = self._decide(module, input_BTF, main_BTH, current)
            self._pass = current
        output_BTH = main_BTH
        for number in sorted(set(self._memory_B.tolist()) - {_MAIN}):
            is_here_B = self._memory_B == number
            side_BTH = functional.linear(input_BTF[is_here_B], self._weights[number], module.bias)  # type: ignore[arg-type]
            output_BTH = output_BTH.index_put((is_here_B.nonzero()[:, 0],), side_BTH)
        return output_BTH

    def _decide(
        self, module: torch.nn.Module, input_BTF: torch.Tensor, main_BTH: torch.Tensor, current: Pass
    ) -> torch.Tensor:
        sides = (functional.linear(input_BTF, weight, module.bias) for weight in self._weights)  # type: ignore[arg-type]
        return self.route(
            torch.stack([activations(side_BTH, main_BTH, current.prompt_BT, self._statistic) for side_BTH in sides])
        )
