"""The image cache holds what was used last, within its bytes."""

from __future__ import annotations

import torch

from reground.models.hf.family import EncodedFrame
from reground.models.hf.image_cache import ImageCache


def image(num_tokens: int) -> tuple[EncodedFrame, ...]:
    """Features of ``num_tokens`` times 4 bytes."""
    return (EncodedFrame(torch.zeros(num_tokens, 1), "<image>" * num_tokens),)


def test_the_longest_unused_image_goes_first() -> None:
    cache = ImageCache(max_bytes=3 * 4)
    for key in "abc":
        cache.put(key, image(1))
    assert cache.get("a") is not None
    cache.put("d", image(1))
    assert cache.get("b") is None
    assert all(cache.get(key) is not None for key in "acd")
    assert cache.held_bytes == 12


def test_a_large_image_pushes_out_several() -> None:
    cache = ImageCache(max_bytes=3 * 4)
    for key in "abc":
        cache.put(key, image(1))
    cache.put("d", image(2))
    assert [key for key in "abcd" if cache.get(key)] == ["c", "d"]


def test_an_image_larger_than_the_cache_is_not_held_and_pushes_nothing_out() -> None:
    cache = ImageCache(max_bytes=4)
    cache.put("a", image(1))
    cache.put("b", image(2))
    assert cache.get("b") is None
    assert cache.get("a") is not None


def test_putting_a_key_again_counts_its_bytes_once() -> None:
    cache = ImageCache(max_bytes=100)
    cache.put("a", image(3))
    cache.put("a", image(2))
    assert cache.held_bytes == 8
    cache.clear()
    assert (cache.held_bytes, cache.get("a")) == (0, None)
    assert (cache.num_hits, cache.num_misses) == (0, 1)
