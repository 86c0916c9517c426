"""What a trained method learned: where it lies, what it says of itself, and what it was learned from.

An artifact is a folder with ``artifact.json`` and ``tensors.safetensors``. It belongs to one method and to one model,
and names the subjects it was learned from. Nothing here needs torch, so that a plan can tell whether there is one.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, ValidationError

from reground.edits.records import Edit, Probe, Record, content_id
from reground.errors import ArtifactError
from reground.methods.base import MethodConfig

__all__ = [
    "TENSOR_FILE",
    "Artifact",
    "DataSplit",
    "FitConfig",
    "FitData",
    "FitPoint",
    "FitReport",
    "FitSample",
    "Learned",
    "ModelIdentity",
    "TrainedConfig",
    "artifact_folder",
    "file_checksum",
    "shipped_folder",
]

_FILE_NAME = "artifact.json"
TENSOR_FILE = "tensors.safetensors"
_SHIPPED = Path(__file__).parent / "artifacts"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Learned(Protocol):
    """What is known of something a method learned before it edits."""

    @property
    def id(self) -> str:
        """Short hash of what was asked for and what came out of it, as rows carry it."""
        ...

    @property
    def fit_s(self) -> float:
        """Seconds that the training took."""
        ...


class TrainedConfig(MethodConfig):
    """Settings that every trained method has.

    Attributes:
        artifact: Folder that ``reground methods fit`` wrote; None: the one that ships with the package for the model.
    """

    artifact: str | None = None

    def learned(self, method: str, model_name: str) -> Learned | None:
        """What is known of what the method learned for a model, tensors unread; None if these settings need nothing.

        Raises:
            ArtifactError: The method has not been trained for the model.
        """
        return Artifact.read(artifact_folder(method, model_name, self.artifact), method)


class FitConfig(MethodConfig):
    """Settings of the training that every trained method has.

    Attributes:
        num_steps: Optimiser steps.
        batch_size: Edits whose losses are added up in one step.
        learning_rate: Adam's step size at the start; it falls to zero along a half cosine.
        gradient_limit: Norm to which the gradient of a step is cut.
        validate_every: Steps between two measurements on the validation edits, and between two checkpoints. The
            artifact holds the values that did best there.
        num_validation: Validation edits at most.
    """

    num_steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    gradient_limit: float = Field(default=1.0, gt=0)
    validate_every: int = Field(default=100, ge=1)
    num_validation: int = Field(default=32, ge=1)


class FitSample(Record):
    """One edit to learn from, and what may be asked about it."""

    edit: Edit
    probes: tuple[Probe, ...]


class FitData(Record):
    """What a method is trained on, and what it is measured on while it is trained.

    Attributes:
        benchmark, version, checksum: Which data; see ``benchmarks.Card``.
        split, validation_split: Names of the two splits.
        scored_splits: Splits that edits are scored on; no subject of these occurs in ``training`` or ``validation``.
        training, validation: Edits with their probes.
        num_dropped_probes: Probes left out because they show or name a subject of a scored split, or are put there too.
    """

    benchmark: str
    version: str
    checksum: str
    split: str
    validation_split: str
    scored_splits: tuple[str, ...]
    training: tuple[FitSample, ...]
    validation: tuple[FitSample, ...]
    num_dropped_probes: int = 0

    @property
    def digest(self) -> str:
        """Short hash of every edit and probe, in order."""
        return content_id("d", self.model_dump(mode="json"))

    def summary(self) -> DataSplit:
        """What an artifact says of the data."""
        return DataSplit(
            benchmark=self.benchmark,
            version=self.version,
            checksum=self.checksum,
            split=self.split,
            validation_split=self.validation_split,
            scored_splits=self.scored_splits,
            subjects=_subjects(self.training),
            validation_subjects=_subjects(self.validation),
            num_edits=len(self.training),
            num_probes=sum(len(sample.probes) for sample in self.training),
            num_dropped_probes=self.num_dropped_probes,
            digest=self.digest,
        )


class DataSplit(Record):
    """Which data an artifact was learned from.

    Attributes:
        benchmark, version, checksum: Which data.
        split, validation_split, scored_splits: Names of splits.
        subjects, validation_subjects: Every subject that was edited, sorted.
        num_edits, num_probes: Edits and probes of the training part.
        num_dropped_probes: See ``FitData``.
        digest: Short hash of every edit and probe.
    """

    benchmark: str
    version: str
    checksum: str
    split: str
    validation_split: str
    scored_splits: tuple[str, ...]
    subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    num_edits: int
    num_probes: int
    num_dropped_probes: int
    digest: str


class ModelIdentity(Record):
    """Which weights.

    Attributes:
        name, revision: As the model states them; for a reader, not compared.
        dtype: Number format.
        weights: SHA-256 over names, shapes and values of all parameters; of large ones both ends.
        embeddings: The same of the token embeddings, which no method changes: how a model is known with edits in force.
    """

    name: str
    revision: str
    dtype: str
    weights: str
    embeddings: str


class FitPoint(Record):
    """One point of the training curve.

    Attributes:
        step: Steps taken.
        training: Parts of the loss, mean over the steps since the last point; empty before the first step.
        validation: Parts of the loss on the validation edits.
    """

    step: int
    training: dict[str, float]
    validation: dict[str, float]

    @property
    def validation_loss(self) -> float:
        """Sum of the parts."""
        return sum(self.validation.values())


class FitReport(Record):
    """How a training went.

    Attributes:
        num_steps: Steps taken.
        best_step: After how many of them the validation loss was lowest; the artifact holds the values of then.
        wall_s: Seconds, interruptions left out.
        num_parameters: Numbers trained.
        curve: Losses on the way, the first point before any step.
    """

    num_steps: int
    best_step: int
    wall_s: float
    num_parameters: int
    curve: tuple[FitPoint, ...]


class Artifact(Record):
    """Everything but tensors that is kept of a training.

    Attributes:
        format: Version of this file.
        method: Registered name of the method.
        config: Settings of the training.
        seed: From which first values and the order of the data follow.
        model: The model it was learned for.
        data: What it was learned from.
        report: How it went.
        tensors: SHA-256 of the file of tensors.
        request: Short hash of method, settings, seed, model and data.
    """

    format: Literal[1] = 1
    method: str
    config: dict[str, Any]
    seed: int
    model: ModelIdentity
    data: DataSplit
    report: FitReport
    tensors: str
    request: str

    @property
    def id(self) -> str:
        """Short hash of what was asked for and what came out of it, as rows carry it."""
        return content_id("a", [self.request, self.tensors])

    @property
    def fit_s(self) -> float:
        """Seconds that the training took, interruptions left out."""
        return self.report.wall_s

    def write(self, folder: Path) -> None:
        """Write the file into ``folder``, whole or not at all."""
        temporary = folder / f"{_FILE_NAME}.tmp"
        temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        temporary.replace(folder / _FILE_NAME)

    @classmethod
    def read(cls, folder: Path, method: str) -> Artifact:
        """The file in ``folder``.

        Args:
            folder: Where the training wrote.
            method: Registered name of the method that is to use it.

        Raises:
            ArtifactError: No such file, not readable, or of another method.
        """
        try:
            artifact = cls.model_validate_json((folder / _FILE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            unfinished = (folder / "checkpoint.pt").is_file()
            raise ArtifactError(
                f"no artifact of method {method!r} can be read from {str(folder)!r}"
                + (": its training is not finished." if unfinished else "."),
                f"a folder with an {_FILE_NAME} that `reground methods fit` wrote",
                f"run `reground methods fit {method} --model MODEL --out {folder}`"
                + (" again; it goes on where it stopped." if unfinished else "."),
            ) from error
        if artifact.method != method:
            raise ArtifactError(
                f"the artifact at {str(folder)!r} is of method {artifact.method!r} and was to be used by {method!r}.",
                f"an artifact of {method!r}",
                f"name another folder as `artifact`, or use the method {artifact.method!r}.",
            )
        return artifact


def shipped_folder(method: str, model_name: str) -> Path:
    """Where the package keeps the artifact of a method for a built-in model, whether there is one or not."""
    return _SHIPPED / method / model_name


def artifact_folder(method: str, model_name: str, given: str | None) -> Path:
    """The folder of the artifact a method is to use.

    Args:
        method: Registered name of the method.
        model_name: Name of the model it is to edit.
        given: The setting ``artifact``.

    Raises:
        ArtifactError: None is named and none ships for this model, or the one named is not there.
    """
    if given is not None:
        Artifact.read(Path(given), method)
        return Path(given)
    if _PLAIN_NAME.fullmatch(model_name) and (shipped_folder(method, model_name) / _FILE_NAME).is_file():
        return shipped_folder(method, model_name)
    models = sorted(path.parent.name for path in (_SHIPPED / method).glob(f"*/{_FILE_NAME}"))
    ships = f"artifacts of {method!r} ship for {', '.join(models)}" if models else f"no artifact of {method!r} ships"
    raise ArtifactError(
        f"method {method!r} has to be trained before it can edit, and there is no artifact of it for {model_name!r}.",
        f"the setting artifact=DIR with a folder that `reground methods fit` wrote; {ships}",
        f"run `reground methods fit {method} --model {model_name} --out DIR`, then set artifact=DIR.",
    )


def file_checksum(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _subjects(samples: tuple[FitSample, ...]) -> tuple[str, ...]:
    return tuple(sorted({sample.edit.subject for sample in samples}))
