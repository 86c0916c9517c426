"""The index in LanceDB: a folder, or any address LanceDB takes, with a table that is both sides at once.

One table holds everything, so that one commit of the table is one batch of the library: both sides and what is said
about the batch become visible together or not at all. LanceDB writes data files first and names them in a manifest
last; a writer that is killed leaves files nobody names.

Up to ``EXACT_BELOW`` entries a reader keeps the vectors in memory and searches them exactly, which is quicker than
LanceDB's scan of its files (20,000 entries of 640 dimensions: 124 ms on a busy core). Above, an IVF_FLAT index is
built for each side, and one over names; entries they do not hold yet are scanned.

Axes: B queries, D dimensions of a side.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from reground.errors import InputError, MissingExtraError, RegroundError
from reground.library.index import SIDES, Entry, Match, MemoryIndex, Side, Vector, check_vectors

__all__ = ["EXACT_BELOW", "LanceIndex", "open_lance_index"]

#: Entries from which on a side is searched through IVF_FLAT.
EXACT_BELOW = 50_000

_TABLE = "cards"
#: How long a writer waits for another one.
_LOCK_TIMEOUT_S = 60.0
#: Entries that may wait outside the IVF_FLAT index before it takes them in, as a share of those inside.
_UNINDEXED_SHARE = 0.1
#: Files of few entries, as single additions leave them, above which they are put together.
_MAX_SMALL_FILES = 100
#: Partitions of IVF_FLAT that a query looks into: a share of them, and at least so many.
_PROBED_SHARE, _MIN_PROBED = 0.05, 20
_ALL_ROWS = 1 << 30
#: LanceDB warns of an age of 0.
_AT_ONCE = timedelta(milliseconds=1)
#: How long it is tried to let go of what was erased.
_PURGE_S = 10


class LanceIndex:
    """Entries in a LanceDB table.

    Args:
        table: The table, which exists.
        folder: Where it is, if it is a folder of this machine: writers there wait for each other. At an object store
            they do not: one writer at a time is the user's to see to.
        exact_below: Entries from which on it searches through IVF_FLAT.
    """

    def __init__(self, table: Any, folder: Path | None, *, exact_below: int = EXACT_BELOW) -> None:
        self._table = table
        self._folder = folder
        self._exact_below = exact_below
        self._exact: MemoryIndex | None = None
        self._has_exact = False
        self._seen: int = table.version
        self._num_dimensions: dict[Side, int] = {side: table.schema.field(side).type.list_size for side in SIDES}

    @property
    def num_dimensions(self) -> Mapping[Side, int]:
        return self._num_dimensions

    def add(self, entries: Sequence[Entry], *, replacing: Sequence[Entry] = (), removing: Sequence[str] = ()) -> None:
        check_vectors((*entries, *replacing), self._num_dimensions)
        rows = self._rows((*entries, *replacing))
        if not replacing and not removing:
            self._table.add(rows)  # one append, one commit
        else:
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            if removing:
                merge = merge.when_not_matched_by_source_delete(_among(removing))
            # A side nobody in the batch is on would otherwise be taken for a column of misshapen vectors.
            merge.execute(rows, on_bad_vectors="null")
        self._has_written()
        if self._exact is not None:
            self._exact.add(
                [_searched(entry) for entry in entries],
                replacing=[_searched(entry) for entry in replacing],
                removing=removing,
            )

    def remove(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        self._table.delete(_among(ids))
        self._has_written()
        if self._exact is not None:
            self._exact.remove(ids)

    def search(
        self, side: Side, queries_BD: Vector, limit: int, *, names: Sequence[Collection[str]] | None = None
    ) -> list[list[Match]]:
        exact = self._in_memory()
        if exact is not None:
            return exact.search(side, queries_BD, limit, names=names)
        if not len(queries_BD):
            return []
        if names is not None:
            return [
                self._of_names(side, query_D, limit, wanted) for query_D, wanted in zip(queries_BD, names, strict=True)
            ]
        query = self._table.search(queries_BD.astype(np.float32), vector_column_name=side).nprobes(self._num_probed())
        return self._found(query, limit, len(queries_BD))

    def _of_names(self, side: Side, query_D: Vector, limit: int, names: Collection[str]) -> list[Match]:
        if not names:
            return []
        query = self._table.search(query_D.astype(np.float32), vector_column_name=side).bypass_vector_index()
        (matches,) = self._found(query.where(_among(sorted(names), "name"), prefilter=True), limit, 1)
        return matches

    @staticmethod
    def _found(query: Any, limit: int, num_queries: int) -> list[list[Match]]:
        found: list[list[Match]] = [[] for _ in range(num_queries)]
        rows = query.distance_type("dot").limit(limit).select(["id", "record", "_distance"]).to_arrow().to_pylist()
        for row in rows:
            # LanceDB's distance for inner products is 1 minus the product.
            match = Match(row["id"], row["record"], 1.0 - row["_distance"])
            found[row.get("query_index", 0)].append(match)
        return [sorted(matches, key=lambda match: (-match.score, match.id)) for matches in found]

    def get(self, ids: Sequence[str]) -> list[Entry]:
        if not ids:
            return []
        rows = self._table.search().where(_among(ids)).limit(len(ids)).to_arrow().to_pylist()
        by_id = {row["id"]: self._entry(row) for row in rows}
        return [by_id[name] for name in ids if name in by_id]

    def states(self) -> Iterator[tuple[str, str]]:
        columns = self._table.search().select(["id", "state"]).limit(_ALL_ROWS).to_arrow()
        yield from zip(columns["id"].to_pylist(), columns["state"].to_pylist(), strict=True)

    def refresh(self) -> str:
        self._table.checkout_latest()
        version = self._table.version
        if version != self._seen:
            self._forget()
            self._seen = version
        return str(version)

    @property
    def seen(self) -> str:
        return str(self._seen)

    @contextmanager
    def writing(self) -> Iterator[str]:
        with _lock(self._folder):
            yield self.refresh()

    def maintain(self) -> None:
        indexed = self._num_indexed()
        for side in SIDES:
            num_found = self._table.count_rows(f"{side} IS NOT NULL") if self._num_dimensions[side] else 0
            if num_found < self._exact_below:
                continue
            if "name" not in indexed:
                self._build_names()
                indexed = self._num_indexed()
            if side not in indexed:
                self._build(side, num_found)
            elif num_found - indexed[side] > _UNINDEXED_SHARE * indexed[side]:
                self._table.optimize()
        if self._table.stats()["fragment_stats"]["num_small_fragments"] > _MAX_SMALL_FILES:
            self._table.optimize()
        self._seen = self._table.version

    def purge(self) -> None:
        until, num_rounds = time.monotonic() + _PURGE_S, 0
        while True:
            time.sleep(2 * _AT_ONCE.total_seconds())  # what was written within that age would be left
            self._table.optimize(cleanup_older_than=_AT_ONCE, delete_unverified=self._folder is not None)
            self._seen = self._table.version
            num_rounds += 1
            num_earlier = len(self._table.list_versions()) - 1
            if not num_earlier:
                return
            # The first round may write a version of its own, of indices made anew.
            if num_rounds > 2 and time.monotonic() > until:  # a clock that was put back makes what is old seem young
                raise RegroundError(
                    f"what was erased is out of force, but {num_earlier} earlier versions of the table still hold it.",
                    f"none, within {_PURGE_S} seconds: versions are let go of by their age",
                    "see that the clocks of all that write to it agree; the next card that is erased takes it along.",
                )

    def _in_memory(self) -> MemoryIndex | None:
        if not self._has_exact:
            self._has_exact = True
            self._exact = self._copied() if self._table.count_rows() < self._exact_below else None
        return self._exact

    def _copied(self) -> MemoryIndex:
        copied = MemoryIndex(self._num_dimensions)
        found = " OR ".join(f"{side} IS NOT NULL" for side in SIDES)
        columns = self._table.search().where(found).select(["id", "record", "name", *SIDES]).limit(_ALL_ROWS).to_arrow()
        copied.add([self._entry(row) for row in columns.to_pylist()])
        return copied

    def _has_written(self) -> None:
        """Know one's own version; if somebody else's came before it, what is in memory is not all there is."""
        version = self._table.version
        if version != self._seen + 1:
            self._forget()
        self._seen = version

    def _forget(self) -> None:
        self._exact, self._has_exact = None, False

    def _num_indexed(self) -> dict[str, int]:
        found = {}
        for index in self._table.list_indices():
            stats = self._table.index_stats(index.name)
            if stats is not None:
                found[index.columns[0]] = stats.num_indexed_rows
        return found

    def _build(self, side: Side, num_found: int) -> None:
        from lancedb.index import IvfFlat

        config = IvfFlat(distance_type="dot", num_partitions=math.isqrt(num_found))
        self._table.create_index(side, config=config)

    def _build_names(self) -> None:
        from lancedb.index import BTree

        self._table.create_index("name", config=BTree())

    def _num_probed(self) -> int:
        return max(_MIN_PROBED, round(_PROBED_SHARE * math.isqrt(self._table.count_rows())))

    def _rows(self, entries: Sequence[Entry]) -> Any:
        import pyarrow as pa

        columns: dict[str, list[Any]] = {name: [] for name in self._table.schema.names}
        for entry in entries:
            columns["id"].append(entry.id)
            columns["record"].append(entry.record)
            columns["state"].append(entry.state)
            columns["name"].append(entry.name)
            columns["blob_names"].append(list(entry.blobs))
            columns["blobs"].append(list(entry.blobs.values()))
            for side in SIDES:
                columns[side].append(entry.vectors.get(side))
                kept = entry.kept.get(side)
                columns[f"kept_{side}"].append(None if kept is None else kept.astype(np.float32).tobytes())
        schema = self._table.schema
        return pa.table([pa.array(columns[name], type=schema.field(name).type) for name in schema.names], schema=schema)

    @staticmethod
    def _entry(row: Mapping[str, Any]) -> Entry:
        vectors: dict[Side, Vector] = {
            side: np.asarray(row[side], dtype=np.float32) for side in SIDES if row.get(side) is not None
        }
        kept: dict[Side, Vector] = {
            side: np.frombuffer(row[f"kept_{side}"], dtype=np.float32)
            for side in SIDES
            if row.get(f"kept_{side}") is not None
        }
        blobs = dict(zip(row.get("blob_names") or (), row.get("blobs") or (), strict=True))
        return Entry(row["id"], row["record"], row.get("state", ""), vectors, kept, blobs, row["name"])


def open_lance_index(uri: str, num_dimensions: Mapping[Side, int] | None) -> LanceIndex | None:
    """The index at a LanceDB address; see ``library.index.open_index``."""
    lancedb = _lancedb()
    folder = None if "://" in uri else Path(uri)
    if folder is not None and num_dimensions is None and not folder.is_dir():
        return None
    try:
        if folder is not None and num_dimensions is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder) if num_dimensions is not None else nullcontext():
            database = lancedb.connect(uri)
            is_there = _TABLE in _table_names(database)
            if not is_there and num_dimensions is None:
                return None
            table = (
                database.open_table(_TABLE)
                if is_there
                else database.create_table(_TABLE, schema=_schema(num_dimensions or {}))
            )
            return LanceIndex(table, folder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"the library {uri!r} cannot be opened: {said}",
            "a folder, new or made by reground, or an address LanceDB takes, e.g. s3://bucket/library",
            "check the address and the rights to read and write there.",
        ) from error


def _lancedb() -> Any:
    # LanceDB warns on stderr of what does not concern a user, e.g. that a table is small.
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtraError("lancedb", "library", "a library that is kept on disk") from error
    return lancedb


def _table_names(database: Any) -> list[str]:
    return list(database.list_tables().tables)


def _schema(num_dimensions: Mapping[Side, int]) -> Any:
    import pyarrow as pa

    fields = [pa.field(column, pa.string()) for column in ("id", "record", "state", "name")]
    fields += [pa.field(side, pa.list_(pa.float32(), num_dimensions[side])) for side in SIDES]
    fields += [pa.field(f"kept_{side}", pa.binary()) for side in SIDES]
    fields += [pa.field("blob_names", pa.list_(pa.string())), pa.field("blobs", pa.list_(pa.large_binary()))]
    return pa.schema(fields)


@contextmanager
def _lock(folder: Path | None) -> Iterator[None]:
    """Wait for other writers of a folder; the system lets go of the lock of one that was killed."""
    if folder is None:
        yield
        return
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".writing", timeout=_LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"the library {str(folder)!r} is being written by another process, for more than {_LOCK_TIMEOUT_S:.0f} s.",
            "one writer at a time; readers need not wait",
            "let the other process finish, then try again.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _searched(entry: Entry) -> Entry:
    """What the copy in memory needs of an entry."""
    return Entry(entry.id, entry.record, name=entry.name, vectors=entry.vectors)


def _among(texts: Sequence[str], column: str = "id") -> str:
    """The SQL condition that an id, or what another column holds, is one of these."""
    return f"{column} IN ({', '.join(_quoted(text) for text in texts)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
