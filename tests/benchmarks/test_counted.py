"""What cards say of the built-in suites is what is in them."""

from __future__ import annotations

import pytest

from reground.benchmarks.counted import Counts, counted
from reground.benchmarks.registry import BENCHMARKS, open_benchmark


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_card_says_what_a_count_finds(name: str) -> None:
    suite = open_benchmark(name)
    assert isinstance(suite, Counts)
    found, card = suite.count(), suite.card()
    assert found == counted(name), "run `python ci/count_benchmarks.py`; other data are a new version"
    assert (card.checksum, card.counts, card.levels) == (found.checksum, found.counts, found.levels)
