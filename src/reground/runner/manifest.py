"""``manifest.json``: what a run directory holds the results of, and on what they were had."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

import reground
from reground.benchmarks.base import Card
from reground.edits.files import write_atomically
from reground.edits.misfits import misfit_words
from reground.edits.records import Record, content_id
from reground.errors import RunDirectoryError
from reground.models.base import ModelInfo
from reground.runner.cores import num_usable_cores
from reground.runner.recipe import Recipe
from reground.runner.versions import collect_versions
from reground.runner.zero_shot import ZeroShotRecord

__all__ = [
    "MANIFEST_FILE",
    "RUN_SCHEMA_VERSION",
    "Host",
    "Manifest",
    "make_manifest",
    "read_manifest",
    "write_manifest",
]

MANIFEST_FILE = "manifest.json"

#: Version of the layout of a run directory. Another one is neither resumed nor read.
RUN_SCHEMA_VERSION = 1


class Host(Record):
    """The machine: operating system, processor architecture and cores this process may use."""

    system: str
    machine: str
    num_cores: int


class Manifest(Record):
    """What a run directory is about.

    Attributes:
        schema_version: Layout of the directory.
        run: Id of the run. It follows from recipe, model revision, data and package version, so that the same
            run has the same id wherever it is done.
        recipe: The recipe with its overrides.
        recipe_digest: Hash of the recipe.
        versions: Package, protocol, Python and libraries; commit and dirty flag where the package runs from a
            git checkout, else ``unknown``.
        model: What the model said of itself.
        card: The benchmark's card; with a zero-shot filter its counts say how many edits were asked and kept.
        zero_shot: What the zero-shot filter let through, and which model it asked; None without one.
        benchmark_folder: Where a benchmark that is a folder or a published data set was read from.
        num_edits: Edits in the run.
        num_probes: Probes in the run.
        host: The machine.
        started_at: UTC, ISO 8601.
    """

    schema_version: int = RUN_SCHEMA_VERSION
    run: str
    recipe: Recipe
    recipe_digest: str
    versions: dict[str, str]
    model: ModelInfo
    card: Card
    zero_shot: ZeroShotRecord | None = None
    benchmark_folder: str | None = None
    num_edits: int = Field(ge=1)
    num_probes: int = Field(ge=0)
    host: Host
    started_at: str


def make_manifest(
    recipe: Recipe,
    info: ModelInfo,
    card: Card,
    *,
    num_edits: int,
    num_probes: int,
    benchmark_folder: str | None,
    started_at: str,
    zero_shot: ZeroShotRecord | None = None,
) -> Manifest:
    """The manifest of a run that is about to start on this machine."""
    if zero_shot is not None:
        filtered = {"zero_shot.asked": zero_shot.num_asked, "zero_shot.kept": len(zero_shot.edit_ids)}
        card = card.model_copy(update={"counts": card.counts | filtered})
    return Manifest(
        run=_run_id(recipe, info, card),
        recipe=recipe,
        recipe_digest=recipe.digest,
        versions=collect_versions(),
        model=info,
        card=card,
        zero_shot=zero_shot,
        benchmark_folder=benchmark_folder,
        num_edits=num_edits,
        num_probes=num_probes,
        host=Host(system=platform.system(), machine=platform.machine(), num_cores=num_usable_cores()),
        started_at=started_at,
    )


def _run_id(recipe: Recipe, info: ModelInfo, card: Card) -> str:
    identity = [recipe.digest, info.revision, card.checksum, reground.__version__, reground.PROTOCOL_VERSION]
    return content_id("r", identity)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; it is whole or not there."""
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run directory that this version can go on with.

    Raises:
        RunDirectoryError: There is none, it is damaged, or another version wrote it.
    """
    path = folder / MANIFEST_FILE
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunDirectoryError(
            f"{str(folder)!r} is not a run directory: it has no {MANIFEST_FILE}.",
            "a directory that `reground run start` made",
            "check the path, or start the run.",
        ) from error
    except OSError as error:
        raise RunDirectoryError(
            f"cannot read {str(path)!r}: {error.strerror or error}.",
            "a run directory whose files can be read",
            "correct its permissions, or check the path.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict) or "schema_version" not in value:
        raise _damaged(path, "it names no schema version")
    stated = value.get("versions")
    versions: dict[str, Any] = stated if isinstance(stated, dict) else {}
    found = versions.get("reground")
    if repr(value["schema_version"]) != repr(RUN_SCHEMA_VERSION):  # in Python, true and 1.0 equal 1
        raise RunDirectoryError(
            f"{path} was written with schema version {value['schema_version']!r} (reground {found}).",
            f"schema version {RUN_SCHEMA_VERSION}",
            _other_version(found),
        )
    if found is None:
        raise _damaged(path, "it names no version of reground")
    if found != reground.__version__:
        raise RunDirectoryError(
            f"{path} was written by reground {found}; this is reground {reground.__version__}.",
            f"reground {reground.__version__}: one run, one version",
            _other_version(found),
        )
    protocol = versions.get("protocol")
    if protocol != reground.PROTOCOL_VERSION:
        raise RunDirectoryError(
            f"{path} is about protocol version {protocol!r}; this is version {reground.PROTOCOL_VERSION!r}.",
            f"protocol version {reground.PROTOCOL_VERSION!r}: one run, one protocol",
            "install the version of reground that has it, or start the run again in another directory.",
        )
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _damaged(path, misfit_words(Manifest, first)) from error
    if manifest.recipe.digest != manifest.recipe_digest:
        raise _damaged(path, "its recipe is not the one the run was started with")
    if manifest.run != _run_id(manifest.recipe, manifest.model, manifest.card):
        raise _damaged(path, "recipe, model and data are not those of the run it names")
    return manifest


def _damaged(path: Path, why: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{path} is damaged: {why}.",
        "the manifest as the run wrote it",
        "restore it from a copy, or start the run again in another directory.",
    )


def _other_version(found: str | None) -> str:
    again = "or start the run again in another directory."
    return f"install reground {found} to go on with it, {again}" if found else f"restore the file, {again}"
