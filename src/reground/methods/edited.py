"""What edited models have in common, and the file that describes a saved edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

from pydantic import Field, ValidationError

from reground.edits.records import Edit, Record
from reground.errors import InputError
from reground.methods.base import EditCost
from reground.models.base import Capability, Delimiters, Model, ModelInfo, Output, Query, TargetScore

__all__ = ["AsksTheOriginal", "SavedEdit", "WrappedModel"]

_FILE_NAME = "edit.json"


class SavedEdit(Record):
    """Everything but tensors that is kept of edits in force.

    Attributes:
        format: Version of this file.
        method: Registered name of the method.
        config: Its settings.
        model: Name of the model that was edited.
        edits: The edits, in the order they were applied.
        cost: What applying them cost.
        details: What else the method has to say of itself, e.g. steps taken.
    """

    format: Literal[1] = 1
    method: str
    config: dict[str, Any]
    model: str
    edits: tuple[Edit, ...]
    cost: EditCost
    details: dict[str, Any] = Field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the file into ``folder``, which is made if absent."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE_NAME).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, method: str) -> SavedEdit:
        """The file in ``folder``.

        Args:
            folder: Where ``EditedModel.save`` wrote.
            method: Registered name of the method that is to load it.

        Raises:
            InputError: No such file, not readable, or written by another method.
        """
        path = folder / _FILE_NAME
        try:
            saved = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise InputError(
                f"no saved edit can be read from {str(folder)!r}.",
                f"a folder with an {_FILE_NAME} that EditedModel.save wrote",
                "check the path, or apply the edits again and save them.",
            ) from error
        if saved.method != method:
            raise InputError(
                f"{str(folder)!r} was saved by method {saved.method!r} and is to be loaded by {method!r}.",
                f"method {saved.method!r}",
                f"create the editor {saved.method!r} and load the folder with it.",
            )
        return saved


@runtime_checkable
class AsksTheOriginal(Protocol):
    """An edited model that generates what the unedited one does when it is asked otherwise."""

    def asked(self, queries: Sequence[Query]) -> list[Query]:
        """What the unedited model is asked in the place of ``queries``, one for each."""
        ...


class WrappedModel:
    """An edited model that passes every question on to the model it wraps; methods override what they change.

    Restoring ends the edit; from then on it answers as the model it wraps.

    Args:
        base: The model the edits are applied to.
        saved: What is kept of the edits.
    """

    def __init__(self, base: Model, saved: SavedEdit) -> None:
        self.base = base
        self.saved = saved
        self.is_restored = False

    @property
    def info(self) -> ModelInfo:
        """That of the wrapped model."""
        return self.base.info

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the wrapped model."""
        return self.base.capabilities

    @property
    def delimiters(self) -> Delimiters:
        """Those of the wrapped model."""
        return self.base.delimiters

    @property
    def cost(self) -> EditCost:
        """What applying the edits cost."""
        return self.saved.cost

    @property
    def details(self) -> Mapping[str, Any]:
        """What the method has to say of itself: steps taken, targets trained on, and the like."""
        return self.saved.details

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        """Answers of the edited model."""
        return self.base.generate(
            queries,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            num_samples=num_samples,
            seed=seed,
        )

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        """Scores of the edited model."""
        return self.base.score(queries, targets)

    def fingerprint(self, queries: Sequence[Query]) -> str:
        """Fingerprint of the edited model."""
        return self.base.fingerprint(queries)

    def restore(self) -> None:
        """Undo all edits. Calling it twice is harmless."""
        self.is_restored = True

    def save(self, folder: Path) -> None:
        """Write what has to be kept to have the edits, without the base weights.

        Raises:
            InputError: The edits have been undone already.
        """
        if self.is_restored:
            raise InputError(
                f"edits of method {self.saved.method!r} were to be saved after they had been undone.",
                "edits in force",
                "call save() inside the `with` block.",
            )
        self.saved.write(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
