"""What undo puts back: weights as they were before an edit, the large ones out of memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO

import torch

from reground.edits.cache import cache_folder
from reground.methods.weight_edit import num_bytes

__all__ = ["Originals", "copy_bytes"]

#: A weight that takes less is kept in memory, beside the weight itself.
_FEWEST_BYTES = 8 << 20
#: What is on its way between a device and the file.
_PIECE_BYTES = 4 << 20


def copy_bytes(weight_bytes: int) -> int:
    """What the copy of a weight of so many bytes takes of memory."""
    return weight_bytes if weight_bytes < _FEWEST_BYTES else 0


@dataclass(frozen=True)
class _Place:
    """Where in the file a tensor is.

    Attributes:
        start: In bytes.
        shape: Its shape.
        dtype: Its number format.
    """

    start: int
    shape: torch.Size
    dtype: torch.dtype


class Originals(Mapping[str, torch.Tensor]):
    """Copies of tensors, bit for bit, from construction on.

    Large ones are written to a file in the cache folder that has no name there: it is gone with this object, or with
    the process, however that ends. They are read anew whenever they are asked for, to the CPU. Where the file cannot be
    written, as on a full disk, they are kept in memory.

    Args:
        tensors: What is copied, by name.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._held: dict[str, torch.Tensor] = {}
        self._places: dict[str, _Place] = {}
        self._file: FileIO | None = None
        for name, tensor in tensors.items():
            self._copy(name, tensor.detach())

    def __getitem__(self, name: str) -> torch.Tensor:
        place = self._places.get(name)
        return self._held[name] if place is None else self._read(place)

    def __contains__(self, name: object) -> bool:
        return name in self._held or name in self._places

    def __iter__(self) -> Iterator[str]:
        yield from self._held
        yield from self._places

    def __len__(self) -> int:
        return len(self._held) + len(self._places)

    @property
    def num_bytes_in_memory(self) -> int:
        """What the copies that are not in the file take."""
        return num_bytes(self._held)

    def _copy(self, name: str, tensor: torch.Tensor) -> None:
        if copy_bytes(tensor.numel() * tensor.element_size()) == 0 < tensor.numel():
            try:
                self._places[name] = self._write(tensor)
                return
            except (OSError, RuntimeError):  # no room, or no home to look for a folder in
                pass
        self._held[name] = tensor.clone()

    def _write(self, tensor: torch.Tensor) -> _Place:
        if self._file is None:
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        file = self._file
        assert file is not None
        start = file.seek(0, 2)
        try:
            for piece in torch.split(tensor.reshape(-1), _PIECE_BYTES // tensor.element_size()):
                rest = _bytes_of(piece.cpu())
                while rest:
                    rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(start)
            raise
        return _Place(start, tensor.shape, tensor.dtype)

    def _read(self, place: _Place) -> torch.Tensor:
        assert self._file is not None
        tensor = torch.empty(place.shape, dtype=place.dtype)
        rest, start = _bytes_of(tensor.view(-1)), place.start
        while rest:
            count = os.preadv(self._file.fileno(), [rest], start)
            if not count:
                raise OSError("the file of original weights has been cut short")
            rest, start = rest[count:], start + count
        return tensor


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    return tensor.view(torch.uint8).numpy().data
