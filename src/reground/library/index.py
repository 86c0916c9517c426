"""The index seam: entries found by inner product on two sides, written in batches that are whole or not at all.

An index knows nothing of cards. It keeps entries with a text for each, and vectors for those that can be found. What
the vectors mean is for whoever writes them; see ``library.store``.

Axes: B queries, D dimensions of a side, N entries.
"""

from __future__ import annotations

import importlib
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from reground.errors import InputError

__all__ = [
    "INDEXES",
    "SIDES",
    "Entry",
    "Index",
    "Match",
    "MemoryIndex",
    "Side",
    "Vector",
    "best_matches",
    "check_vectors",
    "open_index",
    "open_memory_index",
]

#: The two sides of a library.
Side = Literal["text", "image"]
SIDES: tuple[Side, ...] = ("text", "image")

Vector = NDArray[np.float32]

#: Prefix of an address -> where its index is described; the empty prefix is for every other address.
INDEXES: dict[str, str] = {
    "memory:": "reground.library.index:open_memory_index",
    "": "reground.library.lance:open_lance_index",
}


@dataclass(frozen=True)
class Entry:
    """One entry of an index.

    Attributes:
        id: Its name; unique.
        record: Text that comes with a match.
        state: Short text that ``states`` gives for all entries without reading the rest.
        vectors: What it is found by, on the sides it is found on; none at all if it cannot be found.
        kept: Vectors that are kept for later and not searched.
        blobs: Bytes that belong to it, by name.
        name: What it is called; searches can be kept to the entries of some names.
    """

    id: str
    record: str = ""
    state: str = ""
    vectors: Mapping[Side, Vector] = field(default_factory=dict)
    kept: Mapping[Side, Vector] = field(default_factory=dict)
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Match:
    """An entry that a search found.

    Attributes:
        id, record: Of the entry.
        score: Inner product of its vector and the query's.
    """

    id: str
    record: str
    score: float


class Index(Protocol):
    """Where entries are kept and found.

    A reader sees the entries as they were at its last ``refresh``, on all sides at once, whatever others write
    meanwhile; its own writes it sees at once.
    """

    @property
    def num_dimensions(self) -> Mapping[Side, int]:
        """D of each side; a side with 0 dimensions holds nothing."""
        ...

    def add(self, entries: Sequence[Entry], *, replacing: Sequence[Entry] = (), removing: Sequence[str] = ()) -> None:
        """Write a batch: all of it, or nothing if it is interrupted.

        Args:
            entries: Entries with ids the index does not hold.
            replacing: Entries in the place of those with the same ids.
            removing: Ids to delete for good; those it does not hold are passed over.
        """
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Delete entries for good, all or none of them; ids it does not hold are passed over."""
        ...

    def search(
        self, side: Side, queries_BD: Vector, limit: int, *, names: Sequence[Collection[str]] | None = None
    ) -> list[list[Match]]:
        """For each query the entries with the largest inner products, the largest first, at most ``limit``.

        Args:
            side: Where to search.
            queries_BD: What is asked.
            limit: Entries for a query at most.
            names: For each query the names of the entries in question; None: all entries are.
        """
        ...

    def get(self, ids: Sequence[str]) -> list[Entry]:
        """The entries with these ids, whole, in the order of ``ids``; those it does not hold are left out."""
        ...

    def states(self) -> Iterator[tuple[str, str]]:
        """Id and state of every entry."""
        ...

    def refresh(self) -> str:
        """See what has been written since; what is seen from now on has the returned name."""
        ...

    @property
    def seen(self) -> str:
        """The name of what is seen now: as of the last ``refresh``, with one's own writes since."""
        ...

    def writing(self) -> AbstractContextManager[str]:
        """Keep other writers out of this block; gives what ``refresh`` does, after what they have written."""
        ...

    def maintain(self) -> None:
        """Do what keeps searches quick; a batch that is interrupted here loses nothing."""
        ...

    def purge(self) -> None:
        """Overwrite what deleted entries have left behind, so that it cannot be read any more."""
        ...


def open_index(uri: str, num_dimensions: Mapping[Side, int] | None = None) -> Index | None:
    """The index at an address.

    Args:
        uri: ``memory:``, a folder, or any address LanceDB takes, e.g. ``s3://bucket/library``.
        num_dimensions: D of each side; an index that is not there is made with it. None: an index that is not there
            is not made.

    Returns:
        The index; None if it is not there and is not to be made.

    Raises:
        InputError: No such folder can be made or read, or it holds something else.
        MissingExtraError: LanceDB is not installed.
    """
    if not uri.strip():
        raise InputError("a library was asked for at an empty address.", "a folder, or a URI", "give its address.")
    path = next(path for prefix, path in INDEXES.items() if uri.startswith(prefix))
    module, _, name = path.partition(":")
    opened: Index | None = getattr(importlib.import_module(module), name)(uri, num_dimensions)
    return opened


def best_matches(scores_N: Vector, ids: Sequence[str], limit: int) -> list[int]:
    """Positions of the largest scores, the largest first; of equals, those with the smaller ids.

    Example:
        >>> best_matches(np.array([0.5, 0.9, 0.5], dtype=np.float32), ["b", "c", "a"], 2)
        [1, 2]
    """
    positions = np.arange(len(scores_N))
    if 0 < limit < len(scores_N):
        # Everything that ties with the last place is kept until ids decide.
        last = np.partition(scores_N, len(scores_N) - limit)[len(scores_N) - limit]
        positions = np.flatnonzero(scores_N >= last)
    order = sorted(positions.tolist(), key=lambda position: (-float(scores_N[position]), ids[position]))
    return order[:limit]


class _Side:
    """The vectors of one side in one array that grows; a deleted row is filled by the last."""

    def __init__(self, num_dimensions: int) -> None:
        self.ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._vectors_ND = np.zeros((16, num_dimensions), dtype=np.float32)

    @property
    def vectors_ND(self) -> Vector:
        return self._vectors_ND[: len(self.ids)]

    def among(self, names: Iterable[str]) -> set[str]:
        """Those of some entries that are on this side."""
        return self._rows.keys() & set(names)

    def of(self, names: Sequence[str]) -> Vector:
        """The vectors of some of its entries."""
        return self._vectors_ND[[self._rows[name] for name in names]]

    def put(self, name: str, vector_D: Vector) -> None:
        if name not in self._rows:
            if len(self.ids) == len(self._vectors_ND):
                self._vectors_ND = np.concatenate([self._vectors_ND, np.zeros_like(self._vectors_ND)])
            self._rows[name] = len(self.ids)
            self.ids.append(name)
        self._vectors_ND[self._rows[name]] = vector_D

    def drop(self, name: str) -> None:
        row = self._rows.pop(name, None)
        if row is None:
            return
        last = self.ids.pop()
        if last != name:
            self.ids[row], self._rows[last] = last, row
            self._vectors_ND[row] = self._vectors_ND[len(self.ids)]


class MemoryIndex:
    """The exact index, in memory: every inner product is taken.

    Args:
        num_dimensions: D of each side.
    """

    def __init__(self, num_dimensions: Mapping[Side, int]) -> None:
        self._num_dimensions = dict(num_dimensions)
        self._entries: dict[str, Entry] = {}
        self._sides = {side: _Side(size) for side, size in num_dimensions.items()}
        self._by_name: defaultdict[str, set[str]] = defaultdict(set)
        self._num_writes = 0
        self._lock = threading.RLock()

    @property
    def num_dimensions(self) -> Mapping[Side, int]:
        return self._num_dimensions

    def add(self, entries: Sequence[Entry], *, replacing: Sequence[Entry] = (), removing: Sequence[str] = ()) -> None:
        check_vectors((*entries, *replacing), self._num_dimensions)
        with self._lock:
            for gone in removing:
                self._forget_name(gone)
                self._entries.pop(gone, None)
                for columns in self._sides.values():
                    columns.drop(gone)
            for entry in (*entries, *replacing):
                self._forget_name(entry.id)
                self._entries[entry.id] = entry
                if entry.name:
                    self._by_name[entry.name].add(entry.id)
                for side, columns in self._sides.items():
                    if side in entry.vectors:
                        columns.put(entry.id, entry.vectors[side])
                    else:
                        columns.drop(entry.id)
            self._num_writes += 1

    def remove(self, ids: Sequence[str]) -> None:
        self.add((), removing=ids)

    def search(
        self, side: Side, queries_BD: Vector, limit: int, *, names: Sequence[Collection[str]] | None = None
    ) -> list[list[Match]]:
        with self._lock:
            columns = self._sides[side]
            if names is None:
                scores_BN = queries_BD.astype(np.float32) @ columns.vectors_ND.T
                return [self._best(scores_N, columns.ids, limit) for scores_N in scores_BN]
            found = []
            for query_D, wanted in zip(queries_BD.astype(np.float32), names, strict=True):
                ids = sorted(columns.among(entry for name in wanted for entry in self._by_name.get(name, ())))
                found.append(self._best(columns.of(ids) @ query_D, ids, limit))
            return found

    def _best(self, scores_N: Vector, ids: Sequence[str], limit: int) -> list[Match]:
        return [
            Match(name := ids[position], self._entries[name].record, float(scores_N[position]))
            for position in best_matches(scores_N, ids, limit)
        ]

    def _forget_name(self, entry_id: str) -> None:
        known = self._entries.get(entry_id)
        if known is not None and known.name:
            of_name = self._by_name[known.name]
            of_name.discard(entry_id)
            if not of_name:
                del self._by_name[known.name]

    def get(self, ids: Sequence[str]) -> list[Entry]:
        return [self._entries[name] for name in ids if name in self._entries]

    def states(self) -> Iterator[tuple[str, str]]:
        with self._lock:
            yield from [(entry.id, entry.state) for entry in self._entries.values()]

    def refresh(self) -> str:
        return self.seen

    @property
    def seen(self) -> str:
        return str(self._num_writes)

    @contextmanager
    def writing(self) -> Iterator[str]:
        with self._lock:
            yield self.seen

    def maintain(self) -> None:
        """Nothing: there is nothing to keep up."""

    def purge(self) -> None:
        """Nothing: what is deleted here is gone."""


def check_vectors(entries: Sequence[Entry], num_dimensions: Mapping[Side, int]) -> None:
    """Nothing, if every vector has its side's dimensions and holds finite numbers.

    Raises:
        InputError: One does not.
    """
    for entry in entries:
        for side, vector_D in (*entry.vectors.items(), *entry.kept.items()):
            if vector_D.shape != (num_dimensions[side],) or not np.isfinite(vector_D).all():
                raise InputError(
                    f"entry {entry.id!r} was given a vector of shape {vector_D.shape} on the {side} side.",
                    f"{num_dimensions[side]} finite numbers",
                    "encode it with the encoders the library was made with.",
                )


def open_memory_index(uri: str, num_dimensions: Mapping[Side, int] | None) -> MemoryIndex | None:
    """A new index in memory; there is none to be found again."""
    return None if num_dimensions is None else MemoryIndex(num_dimensions)
