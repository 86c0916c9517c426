"""Edits that live in a local model's weights: applied in place, undone in reverse order, saved as tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from reground.edits.records import Edit
from reground.errors import CapabilityError, InputError, ModelError
from reground.methods.base import require
from reground.methods.edited import SavedEdit, WrappedModel
from reground.models.base import Capability, Model
from reground.models.hf.adapter import HfModel

__all__ = [
    "BASE_CHECKSUM",
    "WeightEdit",
    "check_base",
    "checksum",
    "copy_into",
    "num_bytes",
    "read_tensors",
    "require_edits",
    "weights_of",
]

_TENSOR_FILE = "weights.safetensors"

#: Key in the details of a saved edit: checksum of the base tensors the edit stands on.
BASE_CHECKSUM = "base_checksum"


def weights_of(model: Model, needs: frozenset[Capability], method_name: str) -> HfModel:
    """The local model whose weights a method may change.

    Args:
        model: A local model, or one edited by a method that works on weights.
        needs: What the method needs.
        method_name: Its name, for the message.

    Raises:
        CapabilityError: The model does not offer what is needed.
    """
    require(model, needs, method_name)
    inner: Model = model
    while isinstance(inner, WrappedModel):
        inner = inner.base
    if not isinstance(inner, HfModel):
        raise CapabilityError(
            f"method {method_name!r} changes weights; those of {model.info.name!r} are out of its reach.",
            "a model loaded by load_hf_model, edited or not",
            "load the checkpoint, e.g. --model hf:<org>/<name>.",
        )
    return inner


def require_edits(edits: Sequence[Edit], method_name: str) -> None:
    """Nothing, if there is something to train on.

    Raises:
        InputError: There are no edits.
    """
    if not edits:
        raise InputError(
            f"method {method_name!r} was given no edits.",
            "at least one edit",
            "leave the model as it is instead.",
        )


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names and bytes of tensors, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous().cpu()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def num_bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    """Bytes that the tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors that ``WeightEdit.save`` wrote.

    Raises:
        ModelError: They are not there, or cannot be read.
    """
    try:
        tensors: dict[str, torch.Tensor] = load_file(folder / _TENSOR_FILE)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"the tensors of the edit saved at {str(folder)!r} cannot be read.",
            f"a {_TENSOR_FILE} written by EditedModel.save",
            "apply the edits again and save them.",
        ) from error
    return tensors


def check_base(saved: SavedEdit, base_tensors: Mapping[str, torch.Tensor], model: HfModel) -> None:
    """Nothing, if a saved edit was made on these very weights.

    Raises:
        ModelError: It was made on others.
    """
    if saved.details.get(BASE_CHECKSUM) != checksum(base_tensors):
        raise ModelError(
            f"an edit of {saved.model!r} was to be put on {model.info.name!r}, whose weights differ.",
            "the model it was saved from, with the same edits in force as then",
            "load that model, or apply the edits anew.",
        )


def copy_into(tensors: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Set ``tensors`` in place to the values of the same names."""
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(values[name])


class WeightEdit(WrappedModel):
    """A local model with changed weights.

    While it is in force nothing under it may be restored: edits come off in reverse order.

    Args:
        base: The model as it was handed to the editor.
        local: Where the weights are.
        saved: What is kept of the edits, without tensors.
        base_tensors: The tensors the edit stands on, as they were before it.
        edit_tensors: Called on saving: what has to be kept.
        undo: Called once on restoring; afterwards the module is bit for bit what it was.
    """

    def __init__(
        self,
        base: Model,
        local: HfModel,
        saved: SavedEdit,
        *,
        base_tensors: Mapping[str, torch.Tensor],
        edit_tensors: Callable[[], dict[str, torch.Tensor]],
        undo: Callable[[], None],
    ) -> None:
        super().__init__(base, saved)
        self._local = local
        self._base_tensors = base_tensors
        self._edit_tensors = edit_tensors
        self._undo = undo
        local.edits_in_force.append(self)

    def restore(self) -> None:
        """Undo all edits. Calling it twice is harmless.

        Raises:
            InputError: A later edit on the same model is still in force.
        """
        if self.is_restored:
            return
        self._require_top("undone")
        self._undo()
        self._local.edits_in_force.pop()
        super().restore()

    def absorb(self, later: WeightEdit) -> None:
        """Make one edit of this one and the one made on top of it, so that both come off and are saved as one.

        For edits in place: what this one's undo puts back must be all that the later one changed. The later one's
        costs become those of both; it ends without being undone.

        Raises:
            InputError: The two are not the topmost edits in force.
        """
        later._require_right_above(self)
        self._local.edits_in_force.pop()
        self._edit_tensors = later._edit_tensors
        self.saved = _joined(self.saved, later.saved)
        later.is_restored = True

    def supersede(self, earlier: WeightEdit) -> None:
        """Take the place of the edit this one was made on top of, and whose effect its own state holds.

        The earlier one is undone; from now on this one stands on what that one stood on.

        Raises:
            InputError: The two are not the topmost edits in force.
        """
        self._require_right_above(earlier)
        earlier._undo()
        self._local.edits_in_force.remove(earlier)
        self.base, self._base_tensors = earlier.base, earlier._base_tensors
        self.saved = _joined(earlier.saved, self.saved)
        earlier.is_restored = True

    def save(self, folder: Path) -> None:
        """Write settings, edits and tensors, without the base weights.

        Raises:
            InputError: The edits have been undone, or a later edit is in force on top of them.
        """
        if not self.is_restored:
            self._require_top("saved")
        details = {**self.saved.details, BASE_CHECKSUM: checksum(self._base_tensors)}
        self.saved = self.saved.model_copy(update={"details": details})
        super().save(folder)
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in self._edit_tensors().items()}
        save_file(tensors, folder / _TENSOR_FILE)

    def _require_right_above(self, earlier: WeightEdit) -> None:
        self._require_top("joined with the one before it")
        if self._local.edits_in_force[-2:-1] != [earlier]:
            raise InputError(
                f"an edit by {self.saved.method!r} was to be joined with one that it was not made on top of.",
                "the edit right beneath it",
                "join edits in the order they were applied.",
            )

    def _require_top(self, what: str) -> None:
        if self._local.edits_in_force[-1] is not self:
            raise InputError(
                f"an edit by {self.saved.method!r} was to be {what} under a later edit of the same model.",
                "the latest edit in force",
                "restore the later edits first; nested `with` blocks do it in the right order.",
            )


def _joined(earlier: SavedEdit, later: SavedEdit) -> SavedEdit:
    """What is kept of two edits together: settings and state of the later one, edits and targets of both."""
    details = dict(later.details)
    if "targets" in details:
        details["targets"] = [*earlier.details.get("targets", ()), *details["targets"]]
    return later.model_copy(update={"edits": (*earlier.edits, *later.edits), "details": details})
