"""Edits that live in the prompt: a note before the question, decided query by query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from reground.edits.records import Edit
from reground.methods.base import EditCost, MethodConfig, require
from reground.methods.cost import measured_on
from reground.methods.edited import SavedEdit, WrappedModel
from reground.models.base import Capability, Model, Output, Query, TargetScore

__all__ = ["NOTES", "ContextEditor", "NotedModel"]

#: Key in the details of a saved edit: the notes that may be put before a question.
NOTES = "notes"

_WEIGHT_ACCESS: frozenset[Capability] = frozenset({"weights", "float_weights", "hidden_states", "image_tokens"})
_Config = TypeVar("_Config", bound=MethodConfig)


class ContextEditor(ABC, Generic[_Config]):
    """What editors share that state edits in the prompt and never touch the model.

    A method says what its notes are (``_details``, once, while applying) and which of them a query gets
    (``_note_of``, again after loading).
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "notes"})
    config_class: ClassVar[type[MethodConfig]]

    def __init__(self, name: str, config: _Config) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> WrappedModel:
        """The model with notes on ``edits`` before its questions; ``seed`` has nothing to act on.

        Raises:
            CapabilityError: The model takes no notes.
            InputError: What the settings name cannot be read.
        """
        require(model, self.needs, self.name)
        with measured_on(model) as meter:
            details = self._details(self._config, edits)
            note_of = self._note_of(self._config, edits, details)
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=sum(len(note.encode()) for note in details[NOTES]),
            num_changed_parameters=0,
        )
        saved = SavedEdit(
            method=self.name,
            config=self._config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details=dict(details),
        )
        return NotedModel(model, saved, note_of)

    def load(self, model: Model, folder: Path) -> WrappedModel:
        """The model with the notes that were saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: The model takes no notes.
            InputError: ``folder`` holds no edit of this method, or what its settings name cannot be read.
            ModelError: What the notes were retrieved from has changed since.
        """
        require(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        config: _Config = self.config_class.model_validate(saved.config)  # type: ignore[assignment]
        return NotedModel(model, saved, self._note_of(config, saved.edits, saved.details))

    @abstractmethod
    def _details(self, config: _Config, edits: Sequence[Edit]) -> Mapping[str, Any]:
        """What is kept of the edits: under ``NOTES`` the texts, and whatever else the method has to say."""

    @abstractmethod
    def _note_of(self, config: _Config, edits: Sequence[Edit], details: Mapping[str, Any]) -> Callable[[Query], str]:
        """From a query to the note it gets; an empty one leaves the query as it is."""


class NotedModel(WrappedModel):
    """A model whose queries are given notes, before any note they carry themselves.

    Args:
        base: The model the edits are applied to.
        saved: What is kept of the edits.
        note_of: From a query to its note; empty for none.
    """

    def __init__(self, base: Model, saved: SavedEdit, note_of: Callable[[Query], str]) -> None:
        super().__init__(base, saved)
        self._note_of = note_of

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the wrapped model, without its weights: what is done to those would not carry the note."""
        return self.base.capabilities - _WEIGHT_ACCESS

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        return self.base.generate(
            self.asked(queries),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            num_samples=num_samples,
            seed=seed,
        )

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        return self.base.score(self.asked(queries), targets)

    def fingerprint(self, queries: Sequence[Query]) -> str:
        return self.base.fingerprint(self.asked(queries))

    def asked(self, queries: Sequence[Query]) -> list[Query]:
        """The queries with their notes; as they are once the edits are undone."""
        return list(queries) if self.is_restored else [self._with_note(query) for query in queries]

    def _with_note(self, query: Query) -> Query:
        note = self._note_of(query)
        if not note:
            return query
        return query.model_copy(update={"note": f"{note}\n{query.note}" if query.note else note})
