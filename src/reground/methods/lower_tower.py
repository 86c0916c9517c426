"""A vision tower below what is trained in it: computed once for a picture, however many steps a training takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from reground.methods.weight_edit import checksum, num_bytes
from reground.models.hf.adapter import HfModel
from reground.models.hf.forward import computed_by

__all__ = ["LowerTower"]

#: What is kept of all pictures takes at most this, or as much as what is trained, if that is more.
_MOST_BYTES = 16 << 20

_Batch = dict[str, torch.Tensor]
_Forward = Callable[..., Any]


class LowerTower:
    """What the tower puts out for each picture below its lowest trained part.

    That is the output of the layer below the lowest trained one, of those further down that the model reads too, and
    of the parts of the lowest trained one that come before what is trained of it. A picture is known by what goes into
    the tower's first layer, bit for bit. Whether what is made of kept outputs is what the model itself makes is found
    out when they are kept; if it is not, the tower is computed as a whole from then on.

    Args:
        model: The model.
        parameters: What is trained, by full name: of the tower's layers, or of the projector.
    """

    def __init__(self, model: HfModel, parameters: Mapping[str, torch.nn.Parameter]) -> None:
        self._layers = model.tower_layers
        self._trained = {id(parameter) for parameter in parameters.values()}
        self._most_bytes = max(_MOST_BYTES, num_bytes(parameters))
        trained = [number for number, layer in enumerate(self._layers) if self._trains(layer)]
        self._lowest = trained[0] if trained else model.num_tower_layers_read
        self._read = {self._lowest - 1, *(number for number in model.tapped_tower_layers if number < self._lowest)}
        self._kept: dict[str, _Kept] = {}
        self._picture = ""
        self._is_past = False
        is_above = all(name.startswith(f"{model.family.projector}.") for name in parameters)
        self._is_used = bool(self._layers) and (bool(trained) or is_above)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Inside the block the tower does little twice; to be opened before what computes its layers a second time."""
        with ExitStack() as patched:
            for number, layer in enumerate(self._layers[: self._lowest]):
                patched.enter_context(computed_by(layer, partial(partial, self._below, number)))
            for layer in filter(self._trains, self._layers[self._lowest : self._lowest + 1]):
                patched.enter_context(computed_by(layer, partial(partial, self._begun)))
                for name, part in layer.named_children():
                    if self._trains(part):
                        patched.enter_context(computed_by(part, partial(partial, self._passed)))
                    elif any(isinstance(inner, torch.nn.Linear) for inner in part.modules()):
                        patched.enter_context(computed_by(part, partial(partial, self._before, name)))
            yield

    def batch(self, make: Callable[[], _Batch]) -> _Batch:
        """A training batch; where outputs have been kept on the way, it is made of these for once, and compared.

        Args:
            make: Makes it, and encodes its images.
        """
        before = len(self._kept)
        made = make()
        if len(self._kept) > before:
            with torch.no_grad():
                again = make()
                self._is_used = self._is_used and all(_is_near(made[name], again[name]) for name in made)
            if not self._is_used:
                self._kept.clear()
        return made

    def _trains(self, module: torch.nn.Module) -> bool:
        return any(id(parameter) in self._trained for parameter in module.parameters())

    def _below(self, number: int, forward: _Forward, *args: Any, **kwargs: Any) -> Any:
        """A layer below the lowest trained one. If all that is read of them is kept, the others pass on what comes."""
        given = _tensors_in((*args, *kwargs.values()))
        if not self._is_used or not given:
            return forward(*args, **kwargs)
        if number == 0:
            self._picture = _known_as(args, kwargs)
        keys = {read: f"{read}:{self._picture}" for read in self._read}
        is_known = all(key in self._kept and self._kept[key].is_whole() for key in keys.values())
        if number in keys:
            output = self._once(keys[number], forward, args, kwargs)
            self._is_used = isinstance(output, torch.Tensor)  # what the others pass on is a tensor
            return output
        return given[0] if is_known else forward(*args, **kwargs)

    def _begun(self, forward: _Forward, *args: Any, **kwargs: Any) -> Any:
        self._is_past = False
        return forward(*args, **kwargs)

    def _passed(self, forward: _Forward, *args: Any, **kwargs: Any) -> Any:
        self._is_past = True
        return forward(*args, **kwargs)

    def _before(self, name: str, forward: _Forward, *args: Any, **kwargs: Any) -> Any:
        if self._is_past or not self._is_used:
            return forward(*args, **kwargs)
        return self._once(f"{name}:{_known_as(args, kwargs)}", forward, args, kwargs)

    def _once(self, key: str, forward: _Forward, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        kept = self._kept.get(key)
        if kept is not None and kept.is_whole():
            return kept.output
        output = forward(*args, **kwargs)
        tensors = _tensors_in(output)
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if tensors and size + sum(other.num_bytes for other in self._kept.values()) <= self._most_bytes:
            self._kept[key] = _Kept(output, size, [(tensor, tensor._version) for tensor in tensors])
        return output


@dataclass(frozen=True)
class _Kept:
    """What a module put out.

    Attributes:
        output: It.
        num_bytes: Of its tensors.
        versions: These, and how often each had been changed in place.
    """

    output: Any
    num_bytes: int
    versions: Sequence[tuple[torch.Tensor, int]]

    def is_whole(self) -> bool:
        """Whether nothing has been changed in place since."""
        return all(tensor._version == version for tensor, version in self.versions)


def _known_as(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What tells apart what goes into a module."""
    return checksum({str(number): tensor for number, tensor in enumerate(_tensors_in((*args, *kwargs.values())))})


def _tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for inner in value for tensor in _tensors_in(inner)] if isinstance(value, tuple | list) else []


def _is_near(one: torch.Tensor, other: torch.Tensor) -> bool:
    if not one.is_floating_point() or one.shape != other.shape:
        return torch.equal(one, other)
    allowed = torch.finfo(one.dtype).eps ** 0.5 * float(one.detach().abs().max())
    return bool((one - other).abs().max() <= allowed)
