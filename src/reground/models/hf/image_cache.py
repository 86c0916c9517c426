"""Image features kept between calls, limited in bytes, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict

from reground.models.hf.family import EncodedFrame

__all__ = ["ImageCache"]


class ImageCache:
    """Encoded images by content key.

    Args:
        max_bytes: Features held at most; 0 holds none. An image larger than this is never held.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_hits = 0
        self.num_misses = 0
        self._images: OrderedDict[str, tuple[EncodedFrame, ...]] = OrderedDict()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of features held now."""
        return self._held_bytes

    def get(self, key: str) -> tuple[EncodedFrame, ...] | None:
        """The frames of an image, or None if they are not held."""
        frames = self._images.get(key)
        if frames is None:
            self.num_misses += 1
            return None
        self.num_hits += 1
        self._images.move_to_end(key)
        return frames

    def put(self, key: str, frames: tuple[EncodedFrame, ...]) -> None:
        """Hold the frames of an image, dropping the longest unused ones to make room."""
        size = _num_bytes(frames)
        if size > self.max_bytes:
            return
        if key in self._images:
            self._held_bytes -= _num_bytes(self._images.pop(key))
        self._images[key] = frames
        self._held_bytes += size
        while self._held_bytes > self.max_bytes:
            _, dropped = self._images.popitem(last=False)
            self._held_bytes -= _num_bytes(dropped)

    def clear(self) -> None:
        """Drop everything."""
        self._images.clear()
        self._held_bytes = 0


def _num_bytes(frames: tuple[EncodedFrame, ...]) -> int:
    return sum(frame.num_bytes for frame in frames)
