"""Building a benchmark by MultiMedBench's recipe: filter with a model, paraphrase, sample locality, write records.

Every item leaves a line in a journal as soon as it is filtered, and another as soon as it is paraphrased; a build that
was interrupted at any moment loses no more than the item it was at. Everything after the journal follows from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

import reground
from reground.benchmarks.builders.items import Item, SourceScan
from reground.benchmarks.builders.locality import read_natural_questions, read_vqav2, vqav2_files
from reground.benchmarks.builders.multimed import Chosen, make_records
from reground.benchmarks.builders.near import NearQuestions, read_slake, read_vqa_rad
from reground.benchmarks.builders.paraphrase import Paraphrase, Paraphraser
from reground.benchmarks.builders.sheet import SHEET_FILE, check_sheet, write_sheet
from reground.benchmarks.builders.sources import read_medframeqa, read_medxpertqa, read_omnimedvqa, read_pmc_vqa
from reground.edits.files import write_atomically, write_records
from reground.edits.records import Edit, ImageRef, Probe, Record, TraceOutcome
from reground.errors import InputError, RecordError, RunDirectoryError
from reground.evaluation.matching import chosen_option
from reground.models.base import Model, Query
from reground.runner.journal import lock_directory
from reground.runner.run import EDITS_FILE, PROBES_FILE

__all__ = ["BUILD_FILE", "BuildReport", "BuildSettings", "Sources", "build_multimed"]

BUILD_FILE = "build.json"
DEFECTS_FILE = "left_out.jsonl"
_FILTERED_FILE = "filtered.jsonl"
_PARAPHRASED_FILE = "paraphrased.jsonl"
_IMAGES = "images"

#: Called after every item with the number done, the number in all, and what is next.
BuildProgress = Callable[[int, int, str], None]


class Sources(Record):
    """Where the published sets are; those that may be left out are None by default.

    SLAKE and VQA-RAD are sources of near locality only: nothing in them is edited.
    """

    pmc_vqa: Path
    medframeqa: Path
    medxpertqa: Path | None = None
    omnimedvqa: Path | None = None
    nq: Path
    vqav2: Path
    slake: Path | None = None
    vqa_rad: Path | None = None


class BuildSettings(Record):
    """What, beside the files, decides which records come out.

    Attributes:
        model: Name of the model whose mistakes are kept.
        paraphraser: Name of the paraphraser.
        limit: At most so many items of each medical set, sampled; None: all.
        seed: Of every sample.
        sheet_share: How much is to be checked by people, in (0, 1].
        max_new_tokens: Token budget of an answer.
    """

    model: str
    paraphraser: str
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    sheet_share: float = Field(default=0.2, gt=0, le=1)
    max_new_tokens: int = Field(default=512, ge=1)


class _Filtered(Record):
    """What the filter's model, of one revision, made of an item: whether it was right, and which option it gave."""

    item: str
    revision: str
    outcome: TraceOutcome
    is_right: bool
    said: int | None


class _Paraphrased(Record):
    """An item's question in other words."""

    item: str
    paraphrase: Paraphrase


_R = TypeVar("_R", _Filtered, _Paraphrased)


class BuildReport(Record):
    """What a build did.

    Attributes:
        folder: The benchmark.
        num_items: Sound items that were put to the model, by set.
        num_kept: Items it did not answer rightly, by set.
        num_left_out: Entries that do not fit; ``left_out.jsonl`` names each.
        num_edits: Edits written.
        num_probes: Probes written.
        num_to_check: Rows of the sheet.
        paraphrased_by: Edits by who paraphrased them.
    """

    folder: str
    num_items: dict[str, int]
    num_kept: dict[str, int]
    num_left_out: int
    num_edits: int
    num_probes: int
    num_to_check: int
    paraphrased_by: dict[str, int]


def build_multimed(
    sources: Sources,
    settings: BuildSettings,
    folder: Path,
    *,
    load: Callable[[], Model],
    paraphraser: Paraphraser,
    on_progress: BuildProgress | None = None,
) -> BuildReport:
    """Build into ``folder``, or go on with a build of the same files and settings that was interrupted there.

    Args:
        sources: The published sets.
        settings: What decides which records come out.
        folder: The benchmark's folder; new, empty, or that of the same build.
        load: Loads the filter's model; called only if an item is left to filter.
        paraphraser: Puts questions into other words; its name must be that of the settings.
        on_progress: See ``BuildProgress``.

    Raises:
        InputError: A set cannot be read, or the model answers every item rightly.
        RunDirectoryError: The folder holds something else, or is being written to.
        EndpointError: The paraphraser's endpoint does not answer.
        ModelError: The model's weights cannot be loaded.
    """
    tell = on_progress or (lambda done, total, label: None)
    _require_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with lock_directory(folder):
        scans = _scans(sources, folder / _IMAGES)
        texts, images = read_natural_questions(sources.nq), read_vqav2(sources.vqav2)
        near = _near(sources)
        items = _sampled(scans, settings)
        _begin(folder, settings, scans, sources, near)
        filtered = _filter(folder, items, settings, load, tell)
        kept = [item for item in items if not filtered[item.id].is_right]
        if not kept:
            raise InputError(
                f"the model {settings.model!r} answers all of the {len(items)} items rightly: nothing is left to edit.",
                "items the model gets wrong",
                "raise --limit, or take another model.",
            )
        reworded = _paraphrase(folder, kept, paraphraser, tell)
        chosen = [
            Chosen(
                item=item,
                filtered_by=settings.model,
                said=filtered[item.id].said,
                paraphrase=reworded[item.id].paraphrase,
            )
            for item in kept
        ]
        pools = {name: read.questions for name, read in near.items()}
        edits, probes = make_records(chosen, texts, images, folder, seed=settings.seed, near=pools)
        errors = [error for scan in scans.values() for error in scan.errors]
        errors += [error for read in near.values() for error in read.errors]
        write_atomically(folder / DEFECTS_FILE, "".join(_defect_line(error) for error in errors))
        write_records(folder / PROBES_FILE, probes)
        write_records(folder / EDITS_FILE, edits)
        num_to_check = _keep_or_write_sheet(folder, edits, probes, settings)
    return BuildReport(
        folder=str(folder),
        num_items=dict(Counter(_set_of(item) for item in items)),
        num_kept=dict(Counter(_set_of(item) for item in kept)),
        num_left_out=len(errors),
        num_edits=len(edits),
        num_probes=len(probes),
        num_to_check=num_to_check,
        paraphrased_by=dict(Counter(choice.paraphrase.by for choice in chosen)),
    )


def _scans(sources: Sources, image_folder: Path) -> dict[str, SourceScan]:
    scans = {
        "pmc-vqa": read_pmc_vqa(sources.pmc_vqa),
        "medframeqa": read_medframeqa(sources.medframeqa, image_folder),
    }
    if sources.medxpertqa is not None:
        scans["medxpertqa"] = read_medxpertqa(sources.medxpertqa)
    if sources.omnimedvqa is not None:
        scans["omnimedvqa"] = read_omnimedvqa(sources.omnimedvqa)
    for name, scan in scans.items():
        if not scan.items:
            first = f"; the first of {len(scan.errors)} defects: {scan.errors[0].tried}" if scan.errors else ""
            raise InputError(
                f"no entry of {name} can be used{first}",
                "entries in the layout its authors publish, with their images",
                "unpack the images beside the question file, or check the path.",
            )
    return scans


def _near(sources: Sources) -> dict[str, NearQuestions]:
    near = {}
    if sources.slake is not None:
        near["slake"] = read_slake(sources.slake)
    if sources.vqa_rad is not None:
        near["vqa_rad"] = read_vqa_rad(sources.vqa_rad)
    return near


def _sampled(scans: Mapping[str, SourceScan], settings: BuildSettings) -> list[Item]:
    """The items in the paper's order, understanding before reasoning."""
    chosen: list[Item] = []
    for name, scan in scans.items():
        items = list(scan.items)
        if settings.limit is not None and settings.limit < len(items):
            positions = random.Random(f"items/{name}/{settings.seed}").sample(range(len(items)), settings.limit)
            items = [items[position] for position in sorted(positions)]
        chosen += items
    return sorted(chosen, key=lambda item: item.tier != "understanding")


def _set_of(item: Item) -> str:
    return item.id.split("/")[0]


def _filter(
    folder: Path, items: Sequence[Item], settings: BuildSettings, load: Callable[[], Model], tell: BuildProgress
) -> dict[str, _Filtered]:
    """What the model makes of each item, asked where the journal does not say."""
    done = _read(folder / _FILTERED_FILE, _Filtered)
    left = [item for item in items if item.id not in done]
    if not left:
        return done
    model = load()
    others = {line.revision for line in done.values()} - {model.info.revision}
    if others:
        raise RunDirectoryError(
            f"cannot go on with the build in {str(folder)!r}: the model {settings.model!r} was of revision "
            f"{others.pop()}, now {model.info.revision}.",
            "one revision of the model for all items",
            "restore it, or build into another directory with --out.",
        )
    for item in left:
        tell(len(done), len(items), "filtering")
        done[item.id] = _asked(model, item, settings.max_new_tokens)
        _append(folder / _FILTERED_FILE, done[item.id])
    return done


def _asked(model: Model, item: Item, max_new_tokens: int) -> _Filtered:
    query = Query(question=item.question, image=ImageRef(frames=item.images), options=item.options)
    ((output,),) = model.generate([query], max_new_tokens=max_new_tokens)
    trace = output.trace(model.delimiters)
    said = None if trace.answer is None else chosen_option(trace.answer, item.options)
    return _Filtered(
        item=item.id,
        revision=model.info.revision,
        outcome=trace.outcome,
        is_right=said == item.answer,
        said=None if said == item.answer else said,
    )


def _paraphrase(
    folder: Path, items: Sequence[Item], paraphraser: Paraphraser, tell: BuildProgress
) -> dict[str, _Paraphrased]:
    done = _read(folder / _PARAPHRASED_FILE, _Paraphrased)
    for item in items:
        if item.id not in done:
            tell(len(done), len(items), "paraphrasing")
            done[item.id] = _Paraphrased(item=item.id, paraphrase=paraphraser.paraphrase(item))
            _append(folder / _PARAPHRASED_FILE, done[item.id])
    return done


def _keep_or_write_sheet(folder: Path, edits: Sequence[Edit], probes: Sequence[Probe], settings: BuildSettings) -> int:
    """Rows of the sheet; one that is there may have been filled in, and is left as it is."""
    path = folder / SHEET_FILE
    if path.is_file():
        return check_sheet(path).num_rows
    return write_sheet(path, edits, probes, share=settings.sheet_share, seed=settings.seed)


def _require_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunDirectoryError(
            f"cannot build into {str(folder)!r}: it is a file.", "a new or empty directory", "give one with --out."
        )
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    # Frames are unpacked before it is written what they are for.
    if found not in ([], [_IMAGES]) and BUILD_FILE not in found:
        raise RunDirectoryError(
            f"cannot build into {str(folder)!r}: it holds {found[0]!r}.",
            "a new or empty directory, or that of a build to go on with",
            "give another directory with --out.",
        )


def _begin(
    folder: Path,
    settings: BuildSettings,
    scans: Mapping[str, SourceScan],
    sources: Sources,
    near: Mapping[str, NearQuestions],
) -> None:
    """Write what the build is about, or check that it is what was begun."""
    files = {f"{name}/{path.parent.name}/{path.name}": path for name, scan in scans.items() for path in scan.files}
    files |= {f"locality/{path.name}": path for path in (sources.nq, *vqav2_files(sources.vqav2))}
    files |= {f"locality/{name}/{path.name}": path for name, read in near.items() for path in read.files}
    about = {
        "recipe": "multimed",
        "reground": reground.__version__,
        "settings": settings.model_dump(mode="json"),
        "sources": {name: {"items": len(scan.items), "left_out": len(scan.errors)} for name, scan in scans.items()},
        "files": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
    }
    path = folder / BUILD_FILE
    if not path.is_file():
        write_atomically(path, json.dumps(about, indent=2) + "\n")
        return
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    changed = [key for key in about if not isinstance(begun, dict) or begun.get(key) != about[key]]
    if changed:
        raise RunDirectoryError(
            f"cannot go on with the build in {str(folder)!r}: its {changed[0]} changed since it was begun.",
            "the same files, settings and version, so that all records are of one build",
            "restore them, or build into another directory with --out.",
        )


def _defect_line(error: RecordError) -> str:
    fields = {"file": error.file, "line": error.line, "field": error.field, "problem": error.tried}
    return json.dumps(fields) + "\n"


def _append(path: Path, record: Record) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(record.model_dump_json().encode() + b"\n")
        os.fsync(file.fileno())


def _read(path: Path, kind: type[_R]) -> dict[str, _R]:
    """The journal's records by item; a half-written last line is cut off."""
    if not path.is_file():
        return {}
    *lines, torn = path.read_bytes().split(b"\n")
    if torn:
        os.truncate(path, path.stat().st_size - len(torn))
    found: dict[str, _R] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = kind.model_validate_json(line)
        except ValidationError as error:
            raise _damaged(path, f"line {number} is not what the build wrote") from error
        found[record.item] = record
    return found


def _damaged(path: Path, why: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path} is damaged: {why}.",
        "the file as the build wrote it",
        "restore it from a copy, or build into another directory.",
    )
