"""From texts to unit vectors whose inner product says how alike the texts are.

Axes: N texts, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reground.errors import InputError
from reground.library.ngrams import HashedEncoder
from reground.library.sentence import SentenceEncoder

__all__ = ["Encoder", "open_encoder"]


class Encoder(Protocol):
    """A text encoder."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (ND) of length 1; a text without content is all zeros."""
        ...


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
        raise InputError(
            f"the text encoder {name!r} cannot be opened: there is no such folder.",
            "'hashed', or the folder of a sentence-transformers model",
            "correct the method's `encoder`; models are read from disk, never from a hub.",
        )
    encoder = SentenceEncoder(name, name)
    encoder.load()  # what is wrong with the folder shows now, and not at the first question
    return encoder
