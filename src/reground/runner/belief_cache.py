"""What unedited models answered when they were asked what they believe, kept on disk and used by every run.

A file is known by everything the answers follow from: the model's weights, number format and device, the question and
the bytes of its image, the settings of the sampling, and the versions of what computes them. What the model wrote is
kept, not what was read in it, so that a better parser reads old answers too.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from reground.edits.cache import cache_folder
from reground.edits.files import write_atomically
from reground.edits.images import image_key
from reground.edits.records import Record
from reground.models.base import ModelInfo, Output, Query

__all__ = ["BeliefCache"]

_log = logging.getLogger(__name__)
_FORMAT = 1
#: A model that cannot say which weights it has could have any.
_UNKNOWN = "unknown"
#: What may move a sampled answer; the package's own version stands for its decoding.
_VERSIONS = ("reground", "protocol", "torch", "transformers")


class _Sampled(Record):
    """One file: what the model wrote, sample by sample."""

    outputs: tuple[Output, ...]


class BeliefCache:
    """The answers of one model that are on disk, and a place for those that are not.

    Args:
        model: What the model says of itself; one of unknown revision is not cached.
        versions: Of the packages that answer, by name.
        folder: Where the files are; ``beliefs`` in the cache folder by default.
    """

    def __init__(self, model: ModelInfo, versions: Mapping[str, str], folder: Path | None = None) -> None:
        self._model = [model.revision, model.dtype, model.device, *(versions.get(name) for name in _VERSIONS)]
        self._is_used = model.revision != _UNKNOWN
        self._folder = folder or cache_folder() / "beliefs"

    def find(self, query: Query, **settings: float) -> list[Output] | None:
        """What the model wrote under these settings, or None if it is not on disk or cannot be read."""
        path = self._path(query, settings)
        try:
            found = _Sampled.model_validate_json(path.read_bytes()) if self._is_used else None
        except (OSError, ValidationError):
            return None
        return list(found.outputs) if found is not None else None

    def keep(self, query: Query, outputs: list[Output], **settings: float) -> None:
        """Put what the model wrote on disk; where that cannot be done, the log says so and the run goes on."""
        if not self._is_used:
            return
        path = self._path(query, settings)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _Sampled(outputs=tuple(outputs)).model_dump_json() + "\n")
        except OSError as error:
            _log.warning("%s cannot be written (%s): beliefs will be sampled again.", path, error.strerror or error)

    def _path(self, query: Query, settings: Mapping[str, float]) -> Path:
        image = image_key(query.image) if query.image is not None else None
        asked = [query.question, image, query.options, sorted(settings.items())]
        identity = json.dumps([_FORMAT, self._model, asked])
        return self._folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
