"""What is LanceDB's own: the index for many entries, entries outside it, files put together, purging."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reground.library import lance
from reground.library.index import Entry, MemoryIndex, Side
from reground.library.lance import LanceIndex, open_lance_index

SIZES: dict[Side, int] = {"text": 8, "image": 8}
random = np.random.default_rng(0)


def entries(prefix: str, count: int) -> list[Entry]:
    vectors_ND = random.normal(size=(count, 8)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return [Entry(f"{prefix}{row}", f"r{row}", vectors={"text": vector}) for row, vector in enumerate(vectors_ND)]


@pytest.fixture
def index(tmp_path: Path) -> LanceIndex:
    opened = open_lance_index(str(tmp_path / "index"), SIZES)
    assert opened is not None
    return LanceIndex(opened._table, tmp_path / "index", exact_below=300)


def test_many_entries_are_found_through_the_index_and_those_outside_it_too(index: LanceIndex) -> None:
    exact = MemoryIndex(SIZES)
    first = entries("a", 600)
    index.add(first)
    exact.add(first)
    index.maintain()
    assert index._num_indexed() == {"text": 600, "name": 600}
    late, turned = entries("b", 5), entries("a", 1)
    for one in (index, exact):
        one.add(late, replacing=turned, removing=["a7"])
    queries_BD = random.normal(size=(20, 8)).astype(np.float32)
    found, wanted = (one.search("text", queries_BD, 10) for one in (index, exact))
    hits = [
        len({match.id for match in some} & {match.id for match in all_})
        for some, all_ in zip(found, wanted, strict=True)
    ]
    assert np.mean(hits) / 10 >= 0.98
    (own,) = index.search("text", late[0].vectors["text"][None] * 9, 1)[0]
    assert (own.id, own.record) == ("b0", "r0")
    np.testing.assert_allclose(own.score, 9 * late[0].vectors["text"] @ late[0].vectors["text"], rtol=1e-4)
    assert index.search("image", queries_BD[:1], 3) == [[]]
    named = [replace(entry, name=f"name {row % 2}") for row, entry in enumerate(entries("c", 4))]
    for one in (index, exact):
        one.add(named)
    index.maintain()
    names = [{"name 0", "d'accord"}, set[str](), {"name 1", "name 0"}]
    assert [[match.id for match in of_query] for of_query in index.search("text", queries_BD[:3], 9, names=names)] == [
        [match.id for match in of_query] for of_query in exact.search("text", queries_BD[:3], 9, names=names)
    ]


def test_the_index_takes_in_what_waits_outside(index: LanceIndex) -> None:
    index.add(entries("a", 400))
    index.maintain()
    index.add(entries("b", 100))
    index.maintain()
    assert index._num_indexed() == {"text": 500, "name": 500}


def test_files_of_single_additions_are_put_together(index: LanceIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance, "_MAX_SMALL_FILES", 3)
    for number in range(5):
        index.add(entries(f"{number}-", 1))
    seen = index.seen
    index.maintain()
    assert index._table.stats()["fragment_stats"]["num_fragments"] == 1
    assert index.seen != seen and index.refresh() == index.seen
    assert len(list(index.states())) == 5


def test_a_write_of_somebody_else_is_not_missed_in_memory(index: LanceIndex, tmp_path: Path) -> None:
    """Where writers cannot be kept apart, an own write must not hide another's that came before it."""
    other = open_lance_index(str(tmp_path / "index"), SIZES)
    assert other is not None
    query = random.normal(size=(1, 8)).astype(np.float32)
    assert index.search("text", query, 5) == [[]]
    other.add(entries("theirs", 1))
    index.add(entries("ours", 1))
    assert {match.id for match in index.search("text", query, 5)[0]} == {"theirs0", "ours0"}


def test_a_purge_that_makes_indices_anew_takes_a_second_round(
    index: LanceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the first round took."""
    monkeypatch.setattr(lance, "_PURGE_S", 0)
    index.add(entries("a", 400))
    index.maintain()
    index.add([], removing=["a3"])
    index.purge()
    assert len(index._table.list_versions()) == 1
    assert index.seen == str(index._table.version)
