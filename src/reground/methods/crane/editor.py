"""Edits as cards: put into a library, given to the questions that concern them, read by a policy or by any model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from reground.edits.records import Edit
from reground.errors import InputError
from reground.library.card import EditCard, card_of
from reground.methods.base import EditCost, MethodConfig, require
from reground.methods.cost import measured_on
from reground.methods.crane.cards import open_cards
from reground.methods.crane.config import CraneConfig, CranePromptConfig
from reground.methods.crane.model import CraneModel
from reground.methods.crane.percept import Seen, ask_percepts
from reground.methods.edited import SavedEdit
from reground.models.base import Capability, Model
from reground.training.policy_card import PolicyCard

if TYPE_CHECKING:
    from reground.methods.crane.policy import Policy

__all__ = ["CraneEditor", "CranePromptEditor"]

#: Key in the details of a saved edit: the cards, percepts included, in the order they were made.
_CARDS = "cards"


class CranePromptEditor:
    """Keeps edits in a library and states those that concern a question before it.

    Source:
        The idea of retrieval without a parameter change for each edit is that of CRANE (Huang et al., 2026, arXiv
        2606.09033), known here from its abstract. Everything else is ours; see ``docs/methods/crane.md``.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "notes"})
    config_class: ClassVar[type[MethodConfig]] = CranePromptConfig

    def __init__(self, name: str, config: CranePromptConfig) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> CraneModel:
        """The model with cards of ``edits`` in a library beside it.

        On a model that this method has edited with the same settings, cards are added to those in force. Nothing is
        drawn, so ``seed`` has nothing to act on.

        Raises:
            CapabilityError: The model takes no notes, or gives no access to weights where a policy needs it.
            InputError: No edits, or the library or its calibration cannot be used.
            ArtifactError: There is no policy for this model.
        """
        below = model if isinstance(model, CraneModel) and model.goes_on(self.name, self._config) else None
        base = model if below is None else below.base
        require(base, self.needs, self.name)
        if not edits:
            raise InputError(
                f"method {self.name!r} was given no edits.", "at least one edit", "leave the model as it is instead."
            )
        policy = self._policy(base, self._config) if below is None else below.policy
        kept = open_cards(self._config) if below is None else below.cards
        with measured_on(base) as meter:
            seen = ask_percepts(base, edits, self._config) if self._config.keeps_percept else [Seen()] * len(edits)
            asked = time.perf_counter()
            cards = [
                card_of(edit, percept=own.percept, belief=own.belief) for edit, own in zip(edits, seen, strict=True)
            ]
            put = kept.put(cards)
            insert_s = time.perf_counter() - asked
        cost = EditCost(
            apply_s=meter.seconds,
            peak_bytes=meter.peak_bytes,
            apply_j=meter.joules,
            stored_bytes=sum(len(card.model_dump_json().encode()) for card in cards),
            num_changed_parameters=0,
        )
        saved = SavedEdit(
            method=self.name,
            config=self._config.model_dump(mode="json"),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
            details={
                _CARDS: [card.model_dump(mode="json") for card in cards],
                "insert_s": insert_s,
                "percept_s": meter.seconds - insert_s,
            },
        )
        return CraneModel(base, saved, self._config, kept, put, policy)

    def load(self, model: Model, folder: Path) -> CraneModel:
        """The model with the cards that were saved to ``folder``; the settings that were saved hold.

        Raises:
            CapabilityError: The model takes no notes, or gives no access to weights where a policy needs it.
            InputError: ``folder`` holds no edit of this method, or its library cannot be used.
            ArtifactError: There is no policy for this model.
        """
        require(model, self.needs, self.name)
        saved = SavedEdit.read(folder, self.name)
        config = self.config_class.model_validate(saved.config)
        assert isinstance(config, CranePromptConfig)
        policy = self._policy(model, config)
        kept = open_cards(config)
        cards = [
            EditCard.model_validate(card).model_copy(update={"image": edit.image})
            for card, edit in zip(saved.details[_CARDS], saved.edits, strict=True)
        ]
        return CraneModel(model, saved, config, kept, kept.put(cards), policy)

    def _policy(self, model: Model, config: CranePromptConfig) -> Policy | None:
        return None


class CraneEditor(CranePromptEditor):
    """The same with a policy: its adapter is in force while a question is answered that received a card."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate", "notes", "weights"})
    config_class: ClassVar[type[MethodConfig]] = CraneConfig

    def __init__(self, name: str, config: CraneConfig) -> None:
        super().__init__(name, config)
        self._latest: Policy | None = None

    def _policy(self, model: Model, config: CranePromptConfig) -> Policy | None:
        """The adapter; that of the edit before if neither its files nor the model's weights have changed since."""
        assert isinstance(config, CraneConfig)
        if config.policy == "none":
            return None
        from reground.methods.crane.policy import load_policy  # torch is loaded once there is an adapter
        from reground.methods.crane.policy_files import policy_folder
        from reground.methods.weight_edit import weights_of

        weights = weights_of(model, self.needs, self.name)
        folder = policy_folder(self.name, config, model.info.name)
        if self._latest is None or not self._latest.is_of(weights, folder):
            self._latest = load_policy(weights, folder, PolicyCard.read(folder))
        return self._latest
