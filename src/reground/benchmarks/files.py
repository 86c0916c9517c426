"""A benchmark that is a folder: ``edits.jsonl`` and ``probes.jsonl``, for data of one's own."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from reground.benchmarks.base import Card
from reground.benchmarks.rules import Misfit, edit_misfits, probe_misfits
from reground.edits.files import RecordScan, scan_edits, scan_probes
from reground.edits.images import image_key
from reground.edits.records import Edit, ImageRef, Probe
from reground.errors import ImageError, InputError, RecordError, nearest

__all__ = ["EDITS_FILE", "PROBES_FILE", "FilesBenchmark", "choose_edits", "scan_folder"]

EDITS_FILE = "edits.jsonl"
PROBES_FILE = "probes.jsonl"

_R = TypeVar("_R", Edit, Probe)


class FilesBenchmark:
    """The edits and probes of a folder; its card is computed from them.

    Args:
        folder: Where the two files are. Relative image paths in them start there.

    Raises:
        RecordError: The first defect of the two files.
        InputError: A file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        edits, probes, errors = scan_folder(folder)
        if errors:
            raise errors[0]
        self._edits = edits.records
        self._probes: dict[str, list[Probe]] = defaultdict(list)
        for probe in probes.records:
            self._probes[probe.edit_id].append(probe)

    def card(self) -> Card:
        splits = Counter(edit.split for edit in self._edits)
        probes = [probe for of_edit in self._probes.values() for probe in of_edit]
        identities = [*(edit.id for edit in self._edits), *(probe.id for probe in probes)]
        # An id covers the address of an image; what is at that address is content too.
        refs = {edit.image for edit in self._edits} | {probe.image for probe in probes}
        images = [f"{ref.frames} {_content_of(ref)}" for ref in refs if ref is not None]
        checksum = hashlib.sha256("\n".join([*sorted(identities), *sorted(images)]).encode()).hexdigest()
        return Card(
            name=self._folder.absolute().name or "folder",
            version=checksum[:12],
            summary="Edits and probes read from a folder.",
            source="; ".join(sorted({edit.source for edit in self._edits})[:5]),
            licence="not stated",
            checksum=checksum,
            splits=tuple(sorted(splits, key=lambda name: (name != "test", name))),
            counts={
                "edits": len(self._edits),
                "probes": len(probes),
                **{f"edits.{name}": splits[name] for name in sorted(splits)},
            },
            levels=tuple(dict.fromkeys(probe.level for probe in probes)),
        )

    def edits(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Edit]:
        return choose_edits(self._edits, split, limit, seed, str(self._folder))

    def probes(self, edit: Edit) -> Sequence[Probe]:
        return tuple(self._probes[edit.id])


def choose_edits(edits: Sequence[Edit], split: str, limit: int | None, seed: int, name: str) -> tuple[Edit, ...]:
    """The edits of a split, or a sample of ``limit`` of them that depends on ``seed`` alone.

    Args:
        edits: Of every split.
        split, limit, seed: See ``Benchmark.edits``.
        name: The benchmark, for the message.

    Raises:
        InputError: No such split.
    """
    found = [edit for edit in edits if edit.split == split]
    if not found:
        known = sorted({edit.split for edit in edits})
        near = nearest(split, known)
        raise InputError(
            f"benchmark {name!r} has no split {split!r}.",
            ", ".join(known),
            f"did you mean {near!r}?" if near else "choose one with --set benchmark.split=NAME.",
        )
    if limit is None or limit >= len(found):
        return tuple(found)
    return tuple(found[i] for i in sorted(random.Random(seed).sample(range(len(found)), limit)))


def _content_of(ref: ImageRef) -> str:
    try:
        return image_key(ref)
    except ImageError:  # the check of the benchmark and the start of a run say what is wrong with it
        return "unreadable"


def scan_folder(folder: Path) -> tuple[RecordScan[Edit], RecordScan[Probe], tuple[RecordError, ...]]:
    """What the two files of a folder hold, and every defect of either or between them.

    Raises:
        InputError: A file cannot be opened.
    """
    if not folder.is_dir():
        raise InputError(
            f"there is no benchmark folder {str(folder)!r}.",
            f"a folder with {EDITS_FILE} and {PROBES_FILE}",
            "check the path.",
        )
    edits = scan_edits(folder / EDITS_FILE)
    probes = scan_probes(folder / PROBES_FILE)
    errors = [
        *edits.errors,
        *_broken_rules(folder / EDITS_FILE, edits, edit_misfits),
        *probes.errors,
        *_broken_rules(folder / PROBES_FILE, probes, probe_misfits),
    ]
    # An edit that was itself refused takes its probes with it; naming each of them would bury the cause.
    if not edits.errors:
        errors += _unmatched_probes(folder / PROBES_FILE, probes, edits)
    if not errors:
        errors += _unprobed_edits(folder / EDITS_FILE, edits, {probe.edit_id for probe in probes.records})
    return edits, probes, tuple(errors)


def _broken_rules(
    path: Path, scan: RecordScan[_R], misfits_of: Callable[[_R], Iterable[Misfit]]
) -> Iterator[RecordError]:
    for record, line in zip(scan.records, scan.lines, strict=True):
        for misfit in misfits_of(record):
            yield RecordError(
                f"{path}, line {line}, field {misfit.field!r}: {misfit.problem}.",
                misfit.accepted,
                misfit.next_step,
                file=str(path),
                line=line,
                field=misfit.field,
            )


def _unmatched_probes(path: Path, probes: RecordScan[Probe], edits: RecordScan[Edit]) -> list[RecordError]:
    lines = {edit.id: line for edit, line in zip(edits.records, edits.lines, strict=True)}
    some = ", ".join(f"{identity} (line {line})" for identity, line in list(lines.items())[:5])
    return [
        RecordError(
            f"{path}, line {line}, field 'edit_id': no edit has the id {probe.edit_id!r}.",
            f"the id of an edit in {EDITS_FILE}: {some}{', ...' if len(lines) > 5 else ''}",
            "correct the id; an edit's id follows from its content and changes with it.",
            file=str(path),
            line=line,
            field="edit_id",
        )
        for probe, line in zip(probes.records, probes.lines, strict=True)
        if probe.edit_id not in lines
    ]


def _unprobed_edits(path: Path, edits: RecordScan[Edit], probed: set[str]) -> list[RecordError]:
    return [
        RecordError(
            f"{path}, line {line}: no probe asks about the edit {edit.id}.",
            f"at least one probe with edit_id {edit.id!r} in {PROBES_FILE}",
            "add a probe, or remove the edit.",
            file=str(path),
            line=line,
        )
        for edit, line in zip(edits.records, edits.lines, strict=True)
        if edit.id not in probed
    ]
