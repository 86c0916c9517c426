"""From texts to unit vectors whose inner product says how alike the texts are.

Axes: N texts, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reground.errors import InputError, MissingExtraError
from reground.library.ngrams import HashedEncoder

__all__ = ["Encoder", "open_encoder"]


class Encoder(Protocol):
    """A text encoder."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (ND) of length 1; a text without content is all zeros."""
        ...


class _SentenceEncoder:
    """A sentence-transformers model read from a folder."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors_ND: NDArray[np.float32] = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return vectors_ND


def open_encoder(name: str, corpus: Sequence[str]) -> Encoder:
    """The encoder a setting names.

    Args:
        name: ``hashed``, or the folder of a sentence-transformers model; nothing is ever downloaded.
        corpus: Texts that ``hashed`` takes its weights from.

    Raises:
        InputError: There is no such folder, or no such model in it.
        MissingExtraError: A folder is named and sentence-transformers is not installed.
    """
    if name == "hashed":
        return HashedEncoder(corpus)
    if not Path(name).is_dir():
        raise _unreadable(name, "there is no such folder")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "embed", f"the text encoder {name!r}") from error
    try:
        return _SentenceEncoder(SentenceTransformer(name, local_files_only=True))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unreadable(name, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _unreadable(name: str, why: str) -> InputError:
    return InputError(
        f"the text encoder {name!r} cannot be opened: {why}.",
        "'hashed', or the folder of a sentence-transformers model",
        "correct the method's `encoder`; models are read from disk, never from a hub.",
    )
