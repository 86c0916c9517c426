"""From texts to unit vectors whose inner product says how alike the texts are.

Axes: N texts, D dimensions.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reground.errors import InputError, MissingExtraError

__all__ = ["Encoder", "HashedEncoder", "open_encoder"]

_WORD = re.compile(r"\w+")


class Encoder(Protocol):
    """A text encoder."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (ND) of length 1; a text without content is all zeros."""
        ...


class HashedEncoder:
    """Weighted counts of words and of their character n-grams, folded into a fixed number of dimensions.

    A gram g of a text weighs (1 + ln count(g)) * idf(g) with idf(g) = ln((1 + N) / (1 + n(g))) + 1, where n(g) of
    the N texts in the corpus hold it; grams that the corpus has never seen weigh most, so that a new name counts.
    Each gram is added, with a sign, to the dimension its CRC-32 names. No weights, no hub, the same on every machine.

    Args:
        corpus: Texts the weights are taken from.
        num_dimensions: D; more means fewer collisions.

    Source:
        Salton and Buckley, 1988 (tf-idf, with smoothed idf and sublinear counts); Weinberger et al., 2009 (signed
        feature hashing). Differs: character n-grams of 3 to 5 beside the words.
    """

    def __init__(self, corpus: Sequence[str], num_dimensions: int = 4096) -> None:
        self._num_dimensions = num_dimensions
        self._num_texts = len(corpus)
        self._num_with: Counter[str] = Counter(gram for text in corpus for gram in set(_grams(text)))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (ND) of length 1; a text without a word is all zeros."""
        vectors_ND = np.zeros((len(texts), self._num_dimensions))
        for vector_D, text in zip(vectors_ND, texts, strict=True):
            for gram, count in sorted(Counter(_grams(text)).items()):
                code = zlib.crc32(gram.encode())
                sign = 1 if code >> 31 else -1
                vector_D[code % self._num_dimensions] += sign * (1 + np.log(count)) * self._idf(gram)
        lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        return (vectors_ND / np.where(lengths_N1 == 0, 1, lengths_N1)).astype(np.float32)

    def _idf(self, gram: str) -> float:
        return float(np.log((1 + self._num_texts) / (1 + self._num_with[gram])) + 1)


def _grams(text: str) -> Iterator[str]:
    """Words, marked at both ends, and the runs of 3 to 5 characters within them."""
    for word in _WORD.findall(text.casefold()):
        marked = f"<{word}>"
        yield marked
        for size in range(3, min(6, len(marked))):
            yield from (marked[start : start + size] for start in range(len(marked) - size + 1))


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
