"""Every defect of a benchmark, found before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reground.benchmarks.base import Benchmark, HasCompanions
from reground.benchmarks.files import EDITS_FILE, PROBES_FILE, scan_folder
from reground.benchmarks.registry import is_folder_name, open_benchmark
from reground.benchmarks.rules import edit_misfits, probe_misfits
from reground.edits.images import is_file_address, open_image
from reground.edits.records import Edit, ImageRef, Probe
from reground.errors import ImageError, RecordError, RegroundError

__all__ = ["Validation", "find_image_defects", "validate_benchmark"]


@dataclass(frozen=True)
class Validation:
    """What a check of a benchmark found.

    Attributes:
        name: The benchmark.
        num_edits: Sound edits.
        num_probes: Sound probes.
        defects: One error for every defect; empty if the benchmark is sound.
    """

    name: str
    num_edits: int
    num_probes: int
    defects: tuple[RegroundError, ...]


def validate_benchmark(name: str) -> Validation:
    """Every defective record and image of a benchmark, registered or in a folder.

    Raises:
        UnknownNameError: No such benchmark.
        InputError: A file of the folder cannot be opened.
    """
    if is_folder_name(name):
        folder = Path(name)
        edits, probes, errors = scan_folder(folder)
        defects: list[RegroundError] = list(errors)
        edit_lines = zip(edits.records, edits.lines, strict=True)
        probe_lines = zip(probes.records, probes.lines, strict=True)
        defects += _located(folder / EDITS_FILE, edit_lines)
        defects += _located(folder / PROBES_FILE, probe_lines)
        return Validation(name, len(edits.records), len(probes.records), tuple(defects))
    return _validate_records(name, open_benchmark(name))


def find_image_defects(refs: Iterable[ImageRef | None], *, only_files: bool = False) -> Iterator[ImageError]:
    """One error for every image that cannot be opened; each image is opened once a call.

    Args:
        refs: Images, None among them for records without one.
        only_files: Leave out images that are rendered on demand.
    """
    opened: set[tuple[str | None, tuple[str, ...]]] = set()
    for ref in refs:
        if ref is None or (ref.folder, ref.frames) in opened:
            continue
        opened.add((ref.folder, ref.frames))
        error = _image_defect(ref, only_files=only_files)
        if error is not None:
            yield error


def _image_defect(ref: ImageRef, *, only_files: bool = False) -> ImageError | None:
    try:
        if only_files and not any(is_file_address(a) or a.startswith("data:") for a in ref.frames):
            return None
        open_image(ref)
    except ImageError as error:
        return error
    return None


def _located(path: Path, records: Iterable[tuple[Edit | Probe, int]]) -> Iterator[RecordError]:
    """The image defects of a file's records, each with its line."""
    found: dict[tuple[str | None, tuple[str, ...]], ImageError | None] = {}
    for record, line in records:
        if record.image is None:
            continue
        key = (record.image.folder, record.image.frames)
        if key not in found:
            found[key] = _image_defect(record.image)
        error = found[key]
        if error is not None:
            yield RecordError(
                f"{path}, line {line}, field 'image': {error.tried}",
                error.accepted,
                error.next_step,
                file=str(path),
                line=line,
                field="image",
            )


def _validate_records(name: str, benchmark: Benchmark) -> Validation:
    defects: list[RegroundError] = []
    edits: dict[str, Edit] = {}
    probes: dict[str, Probe] = {}
    refs: list[ImageRef | None] = []
    for split in benchmark.card().splits:
        for edit in benchmark.edits(split):
            if edit.id in edits:
                defects.append(_defect(name, f"edit {edit.id} occurs twice", "each edit once"))
            edits[edit.id] = edit
            companions = benchmark.companions(edit) if isinstance(benchmark, HasCompanions) else ()
            refs += [one.image for one in (edit, *companions)]
            for one in (edit, *companions):
                for misfit in edit_misfits(one):
                    defects.append(_defect(name, f"edit {one.id}: {misfit.problem}", misfit.accepted))
            asked = benchmark.probes(edit)
            if not asked:
                defects.append(_defect(name, f"edit {edit.id} has no probe", "at least one probe an edit"))
            for probe in asked:
                if probe.edit_id != edit.id:
                    defects.append(
                        _defect(
                            name,
                            f"probe {probe.id} of edit {edit.id} names edit {probe.edit_id}",
                            "the id of the edit it was asked for",
                        )
                    )
                if probe.id in probes:
                    defects.append(_defect(name, f"probe {probe.id} occurs twice", "each probe once"))
                probes[probe.id] = probe
                for misfit in probe_misfits(probe):
                    defects.append(_defect(name, f"probe {probe.id}: {misfit.problem}", misfit.accepted))
    defects += find_image_defects(refs)
    defects += find_image_defects([probe.image for probe in probes.values()])
    return Validation(name, len(edits), len(probes), tuple(defects))


def _defect(name: str, problem: str, accepted: str) -> RecordError:
    return RecordError(f"benchmark {name!r}: {problem}.", accepted, "report it to whoever keeps the benchmark.")
