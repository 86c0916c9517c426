"""Image features on disk, so that a tower sees an image once on a machine and not once in every process.

An image is known by its key: a file by its bytes, a rendered image by its address. Its folder is known by everything
else that features follow from: the weights, how they were loaded, what prepares pictures, the device, the versions of
what computes, and our own code that draws, opens and encodes. Features of a tower that was edited are never here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

import reground
from reground.edits.cache import cache_folder, max_bytes
from reground.edits.files import PARTIAL, write_bytes_atomically
from reground.models.hf.family import EncodedFrame

__all__ = ["FOLDER_NAME", "LIMIT_VARIABLE", "ImageStore", "code_digest", "device_words"]

_log = logging.getLogger(__name__)
FOLDER_NAME = "images"
#: Says how many bytes of features are kept at most.
LIMIT_VARIABLE = "REGROUND_IMAGE_CACHE_BYTES"
#: Part of every folder's name: another layout gets another number.
_FORMAT = 1
_FEATURES = "features"
_FURTHER = "further."
#: Share of the limit that a process adds before it counts again: other processes add too.
_UNCOUNTED = 0.05
#: Age at which a file that was not written to its end is one that nobody writes any more.
_ABANDONED_S = 3600.0
#: Where in the package pictures are drawn, opened and encoded.
_CODE = ("phantom", "edits/images.py", "edits/pixels.py", "edits/dicom.py", "models/hf")


class ImageStore:
    """Frames of images by content key, limited in bytes over all models, the least recently used out first.

    A file that is damaged counts as absent; a disk that cannot be used costs time and no result.

    Args:
        follows_from: All that features follow from besides the image, as JSON.
        folder: Of all models; in the cache folder by default.

    Raises:
        InputError: The variable that limits the store holds no number.
    """

    def __init__(self, follows_from: Sequence[Any], folder: Path | None = None) -> None:
        identity = json.dumps([_FORMAT, *follows_from])
        self._root = folder or cache_folder() / FOLDER_NAME
        self._folder = self._root / hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._max_bytes = max_bytes(LIMIT_VARIABLE)
        #: Bytes that this process may still add before it counts again what is on disk; None: it has not counted yet.
        self._until_counted: int | None = None

    def find(self, key: str) -> tuple[EncodedFrame, ...] | None:
        """The frames of an image, in the computer's memory; None if they are not on disk."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                frames = _frames_of(file.metadata(), {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s cannot be read (%s): the image is encoded again.", path, error)
            return None
        with suppress(OSError):  # a folder that may only be read serves all the same
            os.utime(path)
        return frames

    def keep(self, key: str, frames: Sequence[EncodedFrame]) -> None:
        """Put the frames of an image on disk, whole or not at all."""
        content = _content_of(frames)
        if len(content) > self._max_bytes:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomically(path, content, is_synced=False)
            if self._until_counted is not None:
                self._until_counted -= len(content)
            if self._until_counted is None or self._until_counted < 0:  # counting looks at every file
                room = self._max_bytes - _shrink(self._root, self._max_bytes)
                self._until_counted = min(room, int(_UNCOUNTED * self._max_bytes))
        except OSError as error:
            _log.warning("%s cannot be written (%s): images are encoded again in every process.", path, error)

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / f"{name[2:34]}.safetensors"


@cache
def code_digest() -> str:
    """SHA-256 over the source of all that draws, opens and encodes pictures here: another one after any change."""
    package = Path(reground.__file__).parent
    return _digest_of(package, [package / name for name in _CODE])


def _digest_of(root: Path, paths: Iterable[Path]) -> str:
    """Of some files, and of the Python files in some folders; their names count."""
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def device_words(device: str) -> str:
    """What a device is, as far as it decides how numbers are rounded: the card's name, or what the processor can do."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(torch.device(device))
    return torch.backends.cpu.get_cpu_capability() if device == "cpu" else device


def _content_of(frames: Sequence[EncodedFrame]) -> bytes:
    tensors: dict[str, torch.Tensor] = {}
    for place, frame in enumerate(frames):
        tensors[f"{place}.{_FEATURES}"] = frame.features_TH
        tensors |= {f"{place}.{_FURTHER}{name}": tensor for name, tensor in frame.further.items()}
    told = [{"placeholder": frame.placeholder, "grid": frame.grid} for frame in frames]
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content: bytes = save(here, {"frames": json.dumps(told)})
    return content


def _frames_of(metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> tuple[EncodedFrame, ...]:
    frames = []
    for place, told in enumerate(json.loads(metadata["frames"])):
        further = f"{place}.{_FURTHER}"
        frames.append(
            EncodedFrame(
                tensors[f"{place}.{_FEATURES}"],
                told["placeholder"],
                None if told["grid"] is None else tuple(told["grid"]),
                {name.removeprefix(further): tensor for name, tensor in tensors.items() if name.startswith(further)},
            )
        )
    return tuple(frames)


def _shrink(root: Path, limit: int) -> int:
    """Drop the least recently used files until a tenth of the room is free, if there is none left; what is held.

    What killed processes left half-written goes in any case.
    """
    files, held, now = [], 0, time.time()
    for path in root.rglob("*"):
        if path.suffix not in (".safetensors", PARTIAL):
            continue
        with suppress(FileNotFoundError):  # another process dropped it
            stat = path.stat()
            if path.suffix == PARTIAL and now - stat.st_mtime > _ABANDONED_S:
                path.unlink()
                continue
            held += stat.st_size
            if path.suffix != PARTIAL:
                files.append((stat.st_mtime_ns, stat.st_size, path))
    if held <= limit:
        return held
    for _, size, path in sorted(files):
        if held <= 0.9 * limit:
            break
        path.unlink(missing_ok=True)
        held -= size
    return held
