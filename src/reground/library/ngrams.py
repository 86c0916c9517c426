"""Texts as weighted words and character n-grams, folded into a few numbers: no weights, nothing to download.

Axes: N texts, D dimensions.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["HashedEncoder"]

_WORD = re.compile(r"\w+")


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
