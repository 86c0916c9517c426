"""Edits put in force one after the other on one model, whatever the method, and taken off together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from reground.edits.records import Edit
from reground.methods.base import ChainStyle, EditCost, EditedModel, Editor
from reground.models.base import Model

__all__ = ["AbsorbsLater", "EditChain"]


@runtime_checkable
class AbsorbsLater(Protocol):
    """An edited model that can become one with an edit made on top of it."""

    def absorb(self, later: Any) -> None:
        """Take in ``later``, so that both come off and are saved as one; it ends without being undone."""
        ...


class EditChain:
    """A model with more and more edits in force. However many there are, one edited model stands on the original.

    Args:
        editor: The method with its settings.
        model: The unedited model; in use until the chain is restored.
        style: How the method adds an edit to those in force.
    """

    def __init__(self, editor: Editor, model: Model, style: ChainStyle) -> None:
        self._editor = editor
        self._model = model
        self._style = style
        self._edited: EditedModel | None = None
        self._edits: tuple[Edit, ...] = ()

    @property
    def model(self) -> Model:
        """What to ask: the edited model, or the unedited one before the first edit."""
        return self._model if self._edited is None else self._edited

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits in force, in the order they were added."""
        return self._edits

    @property
    def is_anew(self) -> bool:
        """Whether all edits are put in force together whenever some are added."""
        return self._style == "anew"

    @property
    def keeps_state(self) -> bool:
        """Whether there is a state worth saving; a method that makes its chain anew needs the edits alone."""
        return self._edited is not None and not self.is_anew

    def add(self, edits: Sequence[Edit], *, seed: int) -> EditCost:
        """Put ``edits`` in force after those that are.

        A failure leaves the chain as it was; one that is made anew is then without edits, and tries all of them again
        with the next that are added.

        Args:
            edits: At least one.
            seed: Of what is drawn at random; for a method that makes its chain anew, the same at every call.

        Returns:
            What it cost; bytes and parameters are those of all edits in force, and where they are put in force anew,
            so are the seconds.

        Raises:
            Exception: Whatever the editor raises.
        """
        if self.is_anew:
            return self._made_anew((*self._edits, *edits), seed)
        added = self._editor.apply(self.model, edits, seed=seed)
        if self._edited is not None:
            added = _joined(self._edited, added, self._style)
        self._edited = added
        self._edits = (*self._edits, *edits)
        return added.cost

    def expect(self, edits: Sequence[Edit]) -> None:
        """Take edits as added without putting them in force: a chain made anew does that with the next."""
        assert self.is_anew and self._edited is None, "only a chain that is made anew can put this off"
        self._edits = tuple(edits)

    def save(self, folder: Path) -> None:
        """Write the state into ``folder``, from which ``load`` goes on."""
        assert self.keeps_state and self._edited is not None, "a chain made anew has no state"
        self._edited.save(folder)

    def load(self, folder: Path, edits: Sequence[Edit]) -> None:
        """Put a saved state in force on the unedited model.

        Args:
            folder: Where ``save`` wrote.
            edits: What was in force then.

        Raises:
            InputError, ModelError: It was saved by another method, on another model, or is damaged.
        """
        assert self._edited is None, "a state is loaded before the first edit"
        self._edited = self._editor.load(self._model, folder)
        self._edits = tuple(edits)

    def restore(self) -> None:
        """Take all edits off. Calling it twice is harmless."""
        if self._edited is not None:
            self._edited.restore()
        self._edited = None
        self._edits = ()

    def _made_anew(self, edits: tuple[Edit, ...], seed: int) -> EditCost:
        if self._edited is not None:
            self._edited.restore()
        self._edited, self._edits = None, edits
        self._edited = self._editor.apply(self._model, edits, seed=seed)
        return self._edited.cost


def _joined(earlier: EditedModel, later: EditedModel, style: ChainStyle) -> EditedModel:
    if style == "in_place":
        assert isinstance(earlier, AbsorbsLater), "what changes in place takes in what is made on top of it"
        earlier.absorb(later)
        return earlier
    from reground.methods.weight_edit import WeightEdit  # torch is loaded once there is an edit to join

    assert isinstance(earlier, WeightEdit) and isinstance(later, WeightEdit), "what is carried is weights"
    later.supersede(earlier)
    return later
