"""A published file or folder as a benchmark."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reground.benchmarks.base import Card
from reground.benchmarks.files import choose_edits
from reground.benchmarks.published.base import Item, Loader
from reground.benchmarks.published.formats import create_loader, require_format
from reground.benchmarks.published.reading import Reading
from reground.edits.images import find_file, is_file_address
from reground.edits.records import Edit, ImageRef, Probe
from reground.errors import ImageError, RecordError

__all__ = ["PublishedBenchmark", "PublishedScan", "scan_published"]

_NUM_NAMED = 5


@dataclass(frozen=True)
class PublishedScan:
    """What a published file holds, sound and unsound.

    Attributes:
        loader: What it was read with.
        items: The sound edits, in file order.
        reading: Counts, checksums and one error for every record that does not fit.
    """

    loader: Loader
    items: tuple[Item, ...]
    reading: Reading


def scan_published(format_name: str, path: Path, image_root: Path | None = None) -> PublishedScan:
    """Read a file or folder in a published format; no image is opened.

    Args:
        format_name: One of ``FORMATS``.
        path: The file, or the folder with the set's files.
        image_root: Folder that image paths start in, and that paths of another machine are looked up in; None: the
            folder of the records.

    Raises:
        UnknownNameError: No such format.
        InputError: A file cannot be opened.
    """
    loader = create_loader(format_name)
    folder = image_root or (path if path.is_dir() else path.parent)
    reading = Reading(folder.absolute())
    items = tuple(loader.read(path, reading))
    if not items and not reading.errors:
        expected = ", ".join(require_format(format_name).counts) or "see docs/published.md"
        reading.errors.append(
            RecordError(
                f"{path}: no record in the format {format_name!r} was found.",
                f"a file of the set, or a folder with its files under their published names: {expected}",
                "check the path and the format.",
                file=str(path),
            )
        )
    return PublishedScan(loader, items, reading)


class PublishedBenchmark:
    """The edits of a published file; its probes are made when they are asked for.

    Args:
        format_name, path, image_root: See ``scan_published``.

    Raises:
        RecordError: The first record that does not fit, and how many more there are.
        UnknownNameError, InputError: See ``scan_published``.
    """

    def __init__(self, format_name: str, path: Path, image_root: Path | None = None) -> None:
        scan = scan_published(format_name, path, image_root)
        if scan.reading.errors:
            raise _first_of(scan.reading.errors)
        self._name = f"{format_name}:{path}"
        self._format = require_format(format_name)
        self._short_name = format_name
        self._loader = scan.loader
        self._reading = scan.reading
        self._items = scan.items

    @cached_property
    def _by_id(self) -> dict[str, Item]:
        return {item.edit.id: item for item in self._items}

    def card(self) -> Card:
        return self._card

    @cached_property
    def _card(self) -> Card:
        splits = Counter(item.edit.split for item in self._items)
        checksum = _checksum(self._reading)
        pinned = self._loader.checksums
        is_pinned = all(pinned.get(path.name) == digest for path, digest in self._reading.digests.items())
        return Card(
            name=self._short_name,
            version=f"published-{checksum[:12]}" if is_pinned else f"unpinned-{checksum[:12]}",
            summary=self._format.title,
            source=self._format.home,
            licence=self._format.licence,
            checksum=checksum,
            splits=tuple(sorted(splits, key=lambda name: (name != "test", name))),
            counts={
                "records": self._reading.num_records,
                **self._published_counts(),
                "edits": len(self._items),
                **{f"edits.{name}": splits[name] for name in sorted(splits)},
            },
            levels=tuple(dict.fromkeys(p.level for item in self._items for p in self._loader.probes(item))),
            known_defects=(
                *self._loader.known_defects,
                f"revision: {self._format.revision}.",
                *(f"the file {path.name} of the set is not there." for path in self._reading.absent),
            ),
        )

    def edits(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Edit]:
        """The edits of a split, or a sample.

        Raises:
            InputError: No such split.
        """
        return choose_edits([item.edit for item in self._items], split, limit, seed, self._name)

    def probes(self, edit: Edit) -> Sequence[Probe]:
        return tuple(self._loader.probes(self._by_id[edit.id]))

    def companions(self, edit: Edit) -> Sequence[Edit]:
        return self._by_id[edit.id].companions

    def require_images(self, refs: Iterable[ImageRef | None]) -> None:
        """Refuse to run while image files are missing.

        Raises:
            ImageError: Says how many, names some, and where the set is hosted.
        """
        wanted = dict.fromkeys(
            (address, ref.folder) for ref in refs if ref is not None for address in ref.frames if _is_path(address)
        )
        missing = [address for address, folder in wanted if not find_file(address, folder).is_file()]
        if missing:
            raise ImageError(
                f"{len(missing)} of {len(wanted)} image files of {self._name!r} are missing below "
                f"{str(self._reading.image_root)!r}: {_some(missing)}.",
                "the images the records name, below one folder",
                f"get them from {self._format.home} and name their folder with --image-root (in a recipe: "
                "benchmark.image_root).",
            )

    def _published_counts(self) -> dict[str, int]:
        counts = self._format.counts
        names = [path.name for path in self._reading.digests if path.name in counts]
        return {f"published.{name}": counts[name] for name in names}


def _first_of(errors: Sequence[RecordError]) -> RecordError:
    first = errors[0]
    more = f" ({len(errors) - 1} more records do not fit)" if len(errors) > 1 else ""
    return RecordError(
        f"{first.tried.rstrip('.')}{more}.",
        first.accepted,
        first.next_step,
        file=first.file,
        line=first.line,
        field=first.field,
        kind=first.kind,
    )


def _checksum(reading: Reading) -> str:
    """Over the files' content, whatever they are called; that of a set of one file is the file's own SHA-256."""
    digests = sorted(reading.digests.values())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _is_path(address: str) -> bool:
    try:
        return is_file_address(address)
    except ImageError:  # an address nobody can open; opening it says so
        return False


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:_NUM_NAMED]) + (", ..." if len(names) > _NUM_NAMED else "")
