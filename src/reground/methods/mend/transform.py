"""Everything MEND learns: a network for each shape of weight, and a step size for each weight.

Axes: T tokens, I inputs of a layer, O its outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from reground.methods.identity import fill_module
from reground.methods.mend.layers import Factors, MendNetwork, Moments

__all__ = ["MendTransform"]


class MendTransform(torch.nn.Module):
    """Turns gradients into updates.

    Args:
        layers: The layers that are edited, by path; those of one shape share a network.
        rank: See ``MendNetwork``.
        step_size: First value of the step sizes.
    """

    def __init__(self, layers: Mapping[str, torch.nn.Linear], *, rank: int, step_size: float) -> None:
        super().__init__()
        self._paths = list(layers)
        self._shape_of = {path: (layer.in_features, layer.out_features) for path, layer in layers.items()}
        self._sharing: dict[tuple[int, int], list[str]] = {}
        for path, shape in self._shape_of.items():
            self._sharing.setdefault(shape, []).append(path)
        self.networks = torch.nn.ModuleDict(
            {
                _name(shape): MendNetwork(*shape, num_layers=len(paths), rank=rank)
                for shape, paths in self._sharing.items()
            }
        )
        self.step_sizes = torch.nn.Parameter(torch.full((len(layers),), step_size))
        device = next(iter(layers.values())).weight.device
        self.to(device)

    def measure(self, gradients: Iterable[Mapping[str, Factors]]) -> None:
        """Set the networks' means and deviations to those of the gradients of some edits, gone through once."""
        moments = {shape: Moments() for shape in self._sharing}
        for edit in gradients:
            for path, factors in edit.items():
                moments[self._shape_of[path]].add(factors)
        for shape, found in moments.items():
            self._network(shape).normalise_by(found)

    def updates(self, gradients: Sequence[Mapping[str, Factors]]) -> dict[str, torch.Tensor]:
        """What is to be taken from each weight (OI), single precision: the edits' updates, added up.

        Args:
            gradients: Factors by path, for each edit; all of the unedited model, so that their order does not matter.
        """
        return {path: self.update(path, gradients) for path in self._paths}

    def update(self, path: str, gradients: Sequence[Mapping[str, Factors]]) -> torch.Tensor:
        """The same for the one weight at ``path``."""
        shape = self._shape_of[path]
        network, layer = self._network(shape), self._sharing[shape].index(path)
        step_size = self.step_sizes[self._paths.index(path)]
        total_OI: torch.Tensor = step_size * network(gradients[0][path], layer).dense()
        for edit in gradients[1:]:
            total_OI = total_OI + step_size * network(edit[path], layer).dense()
        return total_OI

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that is kept, the very tensors."""
        return dict(self.state_dict())

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set everything to kept values.

        Raises:
            ArtifactError: They are of other layers.
        """
        fill_module(self, tensors, "MEND", named="layers")

    def _network(self, shape: tuple[int, int]) -> MendNetwork:
        network = self.networks[_name(shape)]
        assert isinstance(network, MendNetwork)
        return network


def _name(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"
