"""Text encoders: the hashed one from its equation, the other by its refusals."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import pytest

from reground.errors import InputError, MissingExtraError
from reground.library.ngrams import HashedEncoder
from reground.methods.ike.encoder import open_encoder


@pytest.mark.reference
def test_a_text_is_its_weighted_grams_folded_with_signs() -> None:
    """ "ab" is two grams: the marked word and, of it, both runs of three characters."""
    corpus = ["ab cd", "ab"]
    weights = {gram: (1 + math.log(count)) * idf for gram, count, idf in [
        ("<ab>", 2, 1.0), ("<ab", 2, 1.0), ("ab>", 2, 1.0),  # in both texts: ln(3 / 3) + 1
        ("<ef>", 1, math.log(3) + 1), ("<ef", 1, math.log(3) + 1), ("ef>", 1, math.log(3) + 1),  # in none
    ]}  # fmt: skip
    expected = np.zeros(64)
    for gram, weight in weights.items():
        code = zlib.crc32(gram.encode())
        expected[code % 64] += weight if code >= 1 << 31 else -weight
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(HashedEncoder(corpus, 64).encode(["ab ef AB"])[0], expected, atol=1e-6)


def test_likeness_follows_shared_words_more_than_shared_syllables_more_than_nothing() -> None:
    encoder = HashedEncoder(["which drug treats velmora?"])
    query, same, alike, other = encoder.encode(
        ["drug for velmora", "velmora needs a drug", "velmorin needs a pill", "two blue squares"]
    )
    assert query @ same > query @ alike > query @ other


def test_vectors_have_length_one_and_a_text_without_words_is_zero() -> None:
    vectors = HashedEncoder([]).encode(["a ring", "?!"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0], atol=1e-6)


def test_a_name_of_a_hub_is_refused() -> None:
    with pytest.raises(InputError, match="'sentence-transformers/all-MiniLM-L6-v2' cannot be opened: there is no such"):
        open_encoder("sentence-transformers/all-MiniLM-L6-v2", [])


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """Without sentence-transformers the message says how to get it."""
    with pytest.raises((InputError, MissingExtraError), match=r"cannot be opened|pip install 'reground\[embed\]'"):
        open_encoder(str(tmp_path), [])


def test_texts_count_grams_not_order() -> None:
    one, other = HashedEncoder(["a b"]).encode(["ring in kidney", "kidney in ring"])
    np.testing.assert_array_equal(one, other)
