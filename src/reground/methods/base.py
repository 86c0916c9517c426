"""The method seam: an editor turns a model and edits into an edited model, which undoes itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

from pydantic import ConfigDict

from reground.edits.records import Edit, Record
from reground.errors import CapabilityError
from reground.models.base import Capability, Model

__all__ = ["ChainStyle", "EditCost", "EditedModel", "Editor", "MethodConfig", "NeedsMemory", "require"]

#: How a method adds an edit to those in force. ``in_place``: it changes further what the first one changed, so that
#: the first one's undo undoes all. ``carried``: its own state holds that of the edits before, which come off once it is
#: in force. ``anew``: all edits are applied together, anew, to the unedited model.
ChainStyle = Literal["in_place", "carried", "anew"]

_CAPABILITY_WORDS: dict[Capability, str] = {
    "generate": "free generation",
    "score": "teacher-forced scores",
    "logits": "logits",
    "hidden_states": "hidden states",
    "weights": "weights",
    "float_weights": "unquantized weights",
    "image_tokens": "image features among the tokens of a prompt",
    "notes": "notes in the prompt",
    "begun_chains": "going on with a chain",
}


class MethodConfig(Record):
    """Base of every method's settings; unknown keys are errors, and so are NaN and infinity."""

    model_config = ConfigDict(allow_inf_nan=False)


class EditCost(Record):
    """What applying the edits cost.

    Attributes:
        apply_s: Seconds, device synchronised, evaluation excluded.
        peak_bytes: Highest memory above the loaded model while applying; None where it cannot be measured.
        stored_bytes: Bytes that must be kept to have the edits (weights delta, adapter, or text).
        num_changed_parameters: Parameters that differ from the unedited model or were added to it.
        apply_j: Joules used on the devices of the model while applying; None where they are not reported.
    """

    apply_s: float
    peak_bytes: int | None
    stored_bytes: int
    num_changed_parameters: int
    apply_j: float | None = None


@runtime_checkable
class EditedModel(Model, Protocol):
    """A model with edits in force; a context manager whose exit restores the original, bit for bit."""

    @property
    def cost(self) -> EditCost: ...

    def restore(self) -> None:
        """Undo all edits. Calling it twice is harmless."""
        ...

    def save(self, folder: Path) -> None:
        """Write what has to be kept to have the edits, without the base weights."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Editor(Protocol):
    """One editing method with its settings. Stateless between calls of ``apply``."""

    needs: ClassVar[frozenset[Capability]]

    @property
    def name(self) -> str:
        """The registered name this editor was created under, e.g. ``ft-chain``."""
        ...

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> EditedModel:
        """Put ``edits`` in force, in order. ``model`` stays in use by the result until it is restored.

        Raises:
            CapabilityError: The model does not offer what the method needs; raised before anything changes.
        """
        ...

    def load(self, model: Model, folder: Path) -> EditedModel:
        """The edited model that ``EditedModel.save`` wrote to ``folder``.

        ``model`` must be equal to the one it was saved from.
        """
        ...


@runtime_checkable
class NeedsMemory(Protocol):
    """An editor that can say beforehand how much memory it takes."""

    def working_bytes(self, model: Model) -> int:
        """Bytes beyond the loaded model that one edit takes, those of activations aside; the model is left as it was.

        Raises:
            RegroundError: The model lacks what the method needs, or a part that its settings name.
        """
        ...


def require(model: Model, needs: frozenset[Capability], method_name: str) -> None:
    """Nothing, if ``model`` offers all that a method needs.

    Args:
        model: What the method is to be applied to.
        needs: What the method declares.
        method_name: Its registered name, for the message.

    Raises:
        CapabilityError: Something is not offered; the message lists the methods that would work.
    """
    absent = needs - model.capabilities
    if not absent:
        return
    from reground.methods.registry import METHODS  # the registry imports this module

    usable = sorted(name for name, entry in METHODS.items() if entry.needs <= model.capabilities)
    offered = [words for capability, words in _CAPABILITY_WORDS.items() if capability in model.capabilities]
    missing = ", ".join(words for capability, words in _CAPABILITY_WORDS.items() if capability in absent)
    raise CapabilityError(
        f"method {method_name!r} needs {missing}; model {model.info.name!r} offers {', '.join(offered) or 'nothing'}.",
        f"methods that work with it: {', '.join(usable) or '(none)'}",
        f"choose one of them, or for {method_name!r} load weights, e.g. --model hf:<org>/<name>.",
    )
