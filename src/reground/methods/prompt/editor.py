"""Every edit stated in every prompt: an upper bound for obedience, and a lower one for locality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from reground.edits.records import Edit
from reground.methods.base import EditCost, require
from reground.methods.cost import measured
from reground.methods.edited import SavedEdit, WrappedModel
from reground.methods.prompt.config import PromptConfig
from reground.models.base import Capability, Model, Output, Query, TargetScore

__all__ = ["PromptEditor"]

_WEIGHT_ACCESS: frozenset[Capability] = frozenset({"weights", "hidden_states"})


class PromptEditor:
    """States edits, one line each in the order given, before any note a query already carries."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "notes"})

    def __init__(self, name: str, config: PromptConfig) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> WrappedModel:
        """The model with ``edits`` stated in every prompt; ``seed`` has nothing to act on.

        Raises:
            CapabilityError: The model takes no notes.
        """
        require(model, self.needs, self.name)
        with measured(model.info.device) as meter:
            note = self._note(edits)
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            stored_bytes=len(note.encode()),
            num_changed_parameters=0,
        )
        saved = SavedEdit(
            method=self.name,
            config=self._config.model_dump(),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details={"note": note},
        )
        return _PromptEdit(model, saved)

    def load(self, model: Model, folder: Path) -> WrappedModel:
        """The model with the notes that were saved to ``folder``; the wording that was saved holds.

        Raises:
            CapabilityError: The model takes no notes.
            InputError: ``folder`` holds no edit of this method.
        """
        require(model, self.needs, self.name)
        return _PromptEdit(model, SavedEdit.read(folder, self.name))

    def _note(self, edits: Sequence[Edit]) -> str:
        return "\n".join(
            self._config.template.format(
                statement=edit.statement,
                subject=edit.subject,
                relation=edit.relation,
                question=edit.question,
                new_answer=edit.new_answer.text,
                prior_answer=edit.prior_answer.text if edit.prior_answer else "unknown",
            )
            for edit in edits
        )


class _PromptEdit(WrappedModel):
    """Adds the note to every query."""

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
            self._noted(queries),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            num_samples=num_samples,
            seed=seed,
        )

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        return self.base.score(self._noted(queries), targets)

    def fingerprint(self, queries: Sequence[Query]) -> str:
        return self.base.fingerprint(self._noted(queries))

    def _noted(self, queries: Sequence[Query]) -> list[Query]:
        note: str = "" if self.is_restored else self.saved.details["note"]
        if not note:
            return list(queries)
        return [query.model_copy(update={"note": f"{note}\n{query.note}" if query.note else note}) for query in queries]
