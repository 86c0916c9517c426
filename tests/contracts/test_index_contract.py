"""What every registered index keeps: whole batches, exact searches of a small library, undisturbed readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reground.errors import InputError
from reground.library.index import INDEXES, SIDES, Entry, Index, Side, open_index

SIZES: dict[Side, int] = {"text": 6, "image": 9}
random = np.random.default_rng(0)

#: A fresh address of each registered kind.
ADDRESSES: dict[str, Callable[[Path], str]] = {
    "memory:": lambda folder: "memory:",
    "": lambda folder: str(folder / "index"),
}


def vector(side: Side) -> np.ndarray:
    return random.normal(size=SIZES[side]).astype(np.float32)


def entry(name: str, *sides: Side, state: str = "") -> Entry:
    return Entry(name, f"record of {name}", state, {side: vector(side) for side in sides or SIDES})


@pytest.fixture(params=sorted(INDEXES))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ADDRESSES[request.param](tmp_path)


@pytest.fixture
def index(address: str) -> Index:
    made = open_index(address, SIZES)
    assert made is not None
    return made


def found(index: Index, side: Side, query: np.ndarray, limit: int = 100) -> list[str]:
    return [match.id for match in index.search(side, query[None], limit)[0]]


def test_every_registered_index_has_a_row_here() -> None:
    assert set(ADDRESSES) == set(INDEXES)


def test_what_is_not_there_is_not_made_unasked(address: str) -> None:
    assert open_index(address) is None


def test_a_search_is_every_inner_product_in_order(index: Index) -> None:
    entries = [entry(f"e{number}") for number in range(40)]
    index.add(entries)
    for side in SIDES:
        queries_BD = np.stack([vector(side) for _ in range(5)])
        products_BN = queries_BD @ np.stack([one.vectors[side] for one in entries]).T
        for matches, products_N in zip(index.search(side, queries_BD, 7), products_BN, strict=True):
            order = np.argsort(-products_N)[:7]
            assert [match.id for match in matches] == [entries[position].id for position in order]
            np.testing.assert_allclose([match.score for match in matches], products_N[order], atol=1e-5)
            assert matches[0].record == f"record of {matches[0].id}"


def test_an_entry_is_found_on_its_own_sides_only(index: Index) -> None:
    index.add([entry("both"), entry("text", "text"), entry("image", "image"), Entry("neither", "r", "s")])
    assert set(found(index, "text", vector("text"))) == {"both", "text"}
    assert set(found(index, "image", vector("image"))) == {"both", "image"}
    assert dict(index.states())["neither"] == "s"


def test_a_search_can_be_kept_to_entries_of_some_names(index: Index) -> None:
    named = [replace(entry(f"e{number}"), name=name) for number, name in enumerate(["ring", "it's", "ring", ""])]
    index.add(named)
    asked_BD = np.stack([vector("text")] * 4)
    names = [{"ring", "absent"}, {"it's"}, {""}, set[str]()]
    rings, quoted, *none = index.search("text", asked_BD, 3, names=names)
    products = {one.id: float(one.vectors["text"] @ asked_BD[0]) for one in named}
    assert [match.id for match in rings] == sorted(["e0", "e2"], key=lambda name: -products[name])
    assert [match.score for match in rings] == pytest.approx([products[match.id] for match in rings], abs=1e-5)
    assert [match.id for match in quoted] == ["e1"]
    assert [match.id for match in none[1]] == []
    assert len(index.search("text", asked_BD[:1], 1, names=names[:1])[0]) == 1
    index.add([], replacing=[replace(named[0], name="star")], removing=["e2"])
    assert index.search("text", asked_BD[:1], 3, names=[{"ring"}]) == [[]]
    assert [match.id for match in index.search("text", asked_BD[:1], 3, names=[{"star"}])[0]] == ["e0"]
    assert index.get(["e0"])[0].name == "star"


def test_searching_nothing_finds_nothing(index: Index) -> None:
    assert found(index, "text", vector("text")) == []
    assert index.search("text", np.zeros((0, 6), dtype=np.float32), 3) == []


def test_a_batch_adds_replaces_and_removes_at_once(index: Index) -> None:
    index.add([entry("stays"), entry("changes"), entry("goes")])
    turned = Entry("changes", "new record", "new state", {"text": vector("text")}, {"image": vector("image")})
    index.add([entry("comes")], replacing=[turned], removing=["goes", "was never there"])
    assert set(found(index, "text", vector("text"))) == {"stays", "changes", "comes"}
    assert set(found(index, "image", vector("image"))) == {"stays", "comes"}
    (back,) = index.get(["changes"])
    assert (back.record, back.state, list(back.vectors)) == ("new record", "new state", ["text"])
    np.testing.assert_array_equal(back.kept["image"], turned.kept["image"])


def test_get_gives_entries_whole_in_the_order_asked(index: Index) -> None:
    first = Entry("it's", "r", "s", {"text": vector("text")}, {}, {"images/a.png": b"\x00\xff", "b": b""})
    index.add([first, entry("other")])
    back = index.get(["other", "absent", "it's"])
    assert [one.id for one in back] == ["other", "it's"]
    assert back[1].blobs == first.blobs
    np.testing.assert_array_equal(back[1].vectors["text"], first.vectors["text"])


def test_removing_is_for_good(index: Index) -> None:
    index.add([entry("a"), entry("b")])
    index.remove(["a", "absent"])
    index.remove([])
    index.purge()
    index.maintain()
    assert found(index, "text", vector("text")) == ["b"]
    assert index.get(["a"]) == []


@pytest.mark.parametrize("bad", [np.zeros(5, dtype=np.float32), np.full(6, np.nan, dtype=np.float32)])
def test_a_vector_that_does_not_fit_is_refused_and_nothing_is_written(index: Index, bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="vector of shape"):
        index.add([entry("good"), Entry("bad", vectors={"text": bad})])
    assert list(index.states()) == []


def test_the_name_of_what_is_seen_changes_with_every_write(index: Index) -> None:
    before = index.refresh()
    with index.writing():
        index.add([entry("a")])
    assert index.refresh() != before == before
    assert index.refresh() == index.refresh()
