"""Experts at work on a model: a hook on one layer.

Axes: B rows of a batch, T tokens, N edits, H hidden width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reground.errors import ModelError
from reground.methods.layer_output import hidden_of, with_hidden
from reground.methods.liveedit.parts import Experts, Prompts, Router
from reground.models.hf.adapter import HfModel, Pass

__all__ = ["AttachedExperts", "at_work", "prompts_of"]


def prompts_of(hidden_BTH: torch.Tensor, current: Pass) -> Prompts:
    """Hidden states at the first call of a pass, words and images told apart.

    Raises:
        ModelError: The pass does not say where images are.
    """
    if current.image_BT is None:
        raise ModelError(
            "a batch was passed through a model whose edits tell images from words; it does not say where they are.",
            "generate, score and fingerprint of the edited model",
            "restore the edit first.",
        )
    prompt_BT, image_BT = (mask_BT.to(hidden_BTH.device) for mask_BT in (current.prompt_BT, current.image_BT))
    return Prompts(hidden_BTH.float(), prompt_BT & ~image_BT, prompt_BT & image_BT)


class AttachedExperts:
    """Experts on the output of a layer, from construction until ``detach``.

    What each prompt gets of which expert is decided once, when it goes through; what is generated after it with a
    cache follows the decision.

    Args:
        model: The model.
        layer: Index of the layer.
        router: Decides.
        experts: One at least.
        is_kept_BN: Experts left in for each row, in place of what the image says; for training.
    """

    def __init__(
        self, model: HfModel, layer: int, router: Router, experts: Experts, *, is_kept_BN: torch.Tensor | None = None
    ) -> None:
        self._model, self._router, self._experts, self._is_kept_BN = model, router, experts, is_kept_BN
        self._pass: Pass | None = None
        self._handle = model.text_layers[layer].register_forward_hook(self._after)

    def detach(self) -> None:
        """Take the hook off the layer."""
        self._handle.remove()

    def shares(self, prompts: Prompts) -> torch.Tensor:
        """How much of each expert each prompt gets (BN)."""
        is_kept_BN = self._router.kept(prompts, self._experts) if self._is_kept_BN is None else self._is_kept_BN
        return self._router.shares(prompts, self._experts, is_kept_BN)

    def _after(self, _: torch.nn.Module, __: Any, output: Any) -> Any:
        hidden_BTH = hidden_of(output)
        current = self._model.require_pass()
        if current is not self._pass:
            shares_BN = self.shares(prompts_of(hidden_BTH, current))
            is_used_N = (shares_BN > 0).any(dim=0)
            self._used, self._shares_BN = self._experts.chosen(is_used_N), shares_BN[:, is_used_N]
            self._pass = current
        added_BTH = self._used.added(self._router.norm(hidden_BTH.float()), self._shares_BN)
        return with_hidden(output, hidden_BTH + added_BTH.to(hidden_BTH.dtype))


@contextmanager
def at_work(attached: AttachedExperts) -> Iterator[None]:
    """Experts that are taken off again at the end of the block."""
    try:
        yield
    finally:
        attached.detach()
