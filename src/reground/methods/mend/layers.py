"""The gradient of an edit as factors, and the network that turns them into the factors of an update.

The gradient of a linear layer's weight is a sum over tokens of outer products: of the gradient that reaches the layer's
output at a token, and of the layer's input there. The network sees these two vectors and not their product, which is
what makes it small.

Axes: T tokens, I inputs of a layer, O its outputs, D inputs and outputs together, L layers that share a network,
R rank of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from reground.errors import InputError
from reground.methods.fitting import completion_logits, target_loss
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, prompt_tokens

__all__ = ["Factors", "MendNetwork", "Moments", "edited_layers", "gradient_factors"]

#: Variances below this share of the squared mean are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Factors:
    """Factors of a gradient or of an update of one weight (OI): it is ``outputs_TO.T @ inputs_TI``.

    Attributes:
        inputs_TI: What the layer received at each token.
        outputs_TO: The gradient of the loss by the layer's output at each token.
    """

    inputs_TI: torch.Tensor
    outputs_TO: torch.Tensor

    def dense(self) -> torch.Tensor:
        """The gradient or update itself (OI)."""
        return self.outputs_TO.T @ self.inputs_TI


def edited_layers(local: HfModel, layers: Sequence[int], modules: Sequence[str]) -> dict[str, torch.nn.Linear]:
    """The linear layers a method edits, by their paths.

    Raises:
        InputError: There is no such layer or module, or it is not linear.
    """
    found: dict[str, torch.nn.Linear] = {}
    for layer in layers:
        for part in modules:
            path = local.layer_path(layer, part)
            module = local.module.get_submodule(path)
            if not isinstance(module, torch.nn.Linear):
                raise InputError(
                    f"the weight of {path!r} was to be edited, which is a {type(module).__name__}.",
                    "linear layers",
                    "correct the method's `modules`, e.g. mlp.down_proj.",
                )
            found[path] = module
    return found


def gradient_factors(
    local: HfModel, layers: Mapping[str, torch.nn.Linear], query: Query, target: str, *, ends: bool
) -> dict[str, Factors]:
    """The gradient of a target's mean negative log-likelihood by each layer's weight, as factors, single precision.

    Tokens that the gradient does not reach are left out. Nothing about the model changes, gradients included.

    Args:
        local: The model.
        layers: See ``edited_layers``.
        query: What is asked.
        target: What should be written after the prompt.
        ends: The end token belongs to the target.
    """
    batch = local.training_batch([query], [target], ends=ends)
    with torch.enable_grad(), _recorded(layers) as (inputs, zeros):
        with local.passing(prompt_tokens(batch)):
            loss = target_loss(*completion_logits(local.module, batch))
        gradients = torch.autograd.grad(loss, [zeros[path] for path in layers])
    factors = {}
    for path, gradient in zip(layers, gradients, strict=True):
        inputs_TI = inputs[path].detach().flatten(0, -2).float()
        outputs_TO = gradient.flatten(0, -2).float()
        is_reached_T = (outputs_TO != 0).any(-1)
        factors[path] = Factors(inputs_TI[is_reached_T], outputs_TO[is_reached_T])
    return factors


@contextmanager
def _recorded(
    layers: Mapping[str, torch.nn.Linear],
) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    """Each layer's input, and a zero that was added to its output, so that the gradient by the output can be asked for.

    No parameter has to ask for a gradient, and the gradient by the weight is never formed.
    """
    inputs: dict[str, torch.Tensor] = {}
    zeros: dict[str, torch.Tensor] = {}

    def recorder(path: str) -> Any:
        def record(_: torch.nn.Module, received: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            inputs[path] = received[0]
            zeros[path] = torch.zeros_like(output, requires_grad=True)
            return output + zeros[path]

        return record

    handles = [layer.register_forward_hook(recorder(path)) for path, layer in layers.items()]
    try:
        yield inputs, zeros
    finally:
        for handle in handles:
            handle.remove()


class Moments:
    """Mean and standard deviation of inputs and output gradients, side by side, over all tokens that are added."""

    def __init__(self) -> None:
        self._count = 0
        self._total_D = torch.zeros(())
        self._squares_D = torch.zeros(())

    def add(self, factors: Factors) -> None:
        """Count the tokens of one gradient in."""
        pairs_TD = _side_by_side(factors).double()
        self._count += len(pairs_TD)
        self._total_D = pairs_TD.sum(0) + self._total_D.to(pairs_TD.device)
        self._squares_D = pairs_TD.square().sum(0) + self._squares_D.to(pairs_TD.device)

    @property
    def mean_D(self) -> torch.Tensor:
        """The mean."""
        return self._total_D / self._count

    @property
    def deviation_D(self) -> torch.Tensor:
        """The standard deviation; 1 for what never varies."""
        variance_D = self._squares_D / self._count - self.mean_D.square()
        is_varying_D = variance_D > _ROUNDING * self.mean_D.square()
        return torch.where(is_varying_D, variance_D, 1.0).sqrt()


class MendNetwork(torch.nn.Module):
    """Turns the factors of a gradient into those of an update, for layers whose weights have one shape.

    Inputs and output gradients are brought to mean 0 and variance 1, put side by side, and passed through two residual
    blocks of low rank. At first both blocks add nothing: the update is then the normalised gradient.

    With z the normalised pair, s and o the scale and offset of the layer (learned, one pair for each block):
    ``h = z + relu(s1 * (U1 V1 z + b) + o1)`` and ``g = h + s2 * (U2 V2 h + c) + o2``.

    Args:
        num_inputs, num_outputs: Shape of the weights.
        num_layers: How many layers share the network.
        rank: R.

    Source:
        Mitchell et al., 2022, "Fast Model Editing at Scale", equations 2 and 3. Differs: the second block has no
        rectifier (it could only add otherwise), as in the released code, and a bias (c), which the paper's 3b lacks;
        means and variances are measured over training edits before the training, not on the way.
    """

    mean_D: torch.Tensor
    deviation_D: torch.Tensor

    def __init__(self, num_inputs: int, num_outputs: int, num_layers: int, rank: int) -> None:
        super().__init__()
        width = num_inputs + num_outputs
        self._num_inputs = num_inputs
        self.register_buffer("mean_D", torch.zeros(width))
        self.register_buffer("deviation_D", torch.ones(width))
        self.down_bRD = torch.nn.Parameter(torch.randn(2, rank, width) / width**0.5)
        self.up_bDR = torch.nn.Parameter(torch.zeros(2, width, rank))
        self.bias_bD = torch.nn.Parameter(torch.zeros(2, width))
        self.scale_bLD = torch.nn.Parameter(torch.ones(2, num_layers, width))
        self.offset_bLD = torch.nn.Parameter(torch.zeros(2, num_layers, width))

    def normalise_by(self, moments: Moments) -> None:
        """Set means and standard deviations to those of ``moments``."""
        with torch.no_grad():
            self.mean_D.copy_(moments.mean_D)
            self.deviation_D.copy_(moments.deviation_D)

    def forward(self, factors: Factors, layer: int) -> Factors:
        """The factors of the update, before the step size.

        Args:
            factors: Of the gradient.
            layer: Which of the layers that share the network.
        """
        z_TD = (_side_by_side(factors) - self.mean_D) / self.deviation_D
        # clamp and not relu: its slope at 0, where an untrained block stands, is 1
        h_TD = z_TD + self._block(z_TD, 0, layer).clamp(min=0)
        g_TD = h_TD + self._block(h_TD, 1, layer)
        return Factors(g_TD[:, : self._num_inputs], g_TD[:, self._num_inputs :])

    def _block(self, x_TD: torch.Tensor, block: int, layer: int) -> torch.Tensor:
        inner_TD = x_TD @ self.down_bRD[block].T @ self.up_bDR[block].T + self.bias_bD[block]
        return self.scale_bLD[block, layer] * inner_TD + self.offset_bLD[block, layer]


def _side_by_side(factors: Factors) -> torch.Tensor:
    return torch.cat([factors.inputs_TI, factors.outputs_TO], dim=-1)
