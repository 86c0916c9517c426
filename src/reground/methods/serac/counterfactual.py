"""The model that answers in the scope of an edit: the edited model's own weights and a low-rank difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

__all__ = ["LowRankDifference", "lent"]


class LowRankDifference(torch.nn.Module):
    """What has to be added to chosen weights to have the counterfactual model; nothing at first.

    Args:
        layers: The linear layers, by path.
        rank: Of each difference.

    Source:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3, with a scale of 1.
    """

    def __init__(self, layers: Mapping[str, torch.nn.Linear], rank: int) -> None:
        super().__init__()
        self._layers = dict(layers)
        self.down = torch.nn.ParameterList(
            torch.randn(rank, layer.in_features) / layer.in_features**0.5 for layer in layers.values()
        )
        self.up = torch.nn.ParameterList(torch.zeros(layer.out_features, rank) for layer in layers.values())

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the layers."""
        return tuple(self._layers)

    def weights(self) -> dict[str, torch.Tensor]:
        """The counterfactual model's weights by the names of their parameters; gradients reach the difference."""
        return {
            f"{path}.weight": (layer.weight.float() + up @ down).to(layer.weight.dtype)
            for (path, layer), down, up in zip(self._layers.items(), self.down, self.up, strict=True)
        }


@contextmanager
def lent(parameters: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Other values for some parameters inside the block; after it the very memory they had before.

    Args:
        parameters: What is exchanged, by name.
        values: What for, of the same shapes, dtypes and devices.
    """
    own = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = values[name]
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
