"""The unedited model behind the interface of an edited one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from reground.edits.records import Edit
from reground.methods.base import EditCost, require
from reground.methods.edited import SavedEdit, WrappedModel
from reground.methods.none.config import NoneConfig
from reground.models.base import Capability, Model, Query

__all__ = ["NoneEditor", "UneditedModel"]


class UneditedModel(WrappedModel):
    """The model as it is."""

    def asked(self, queries: Sequence[Query]) -> list[Query]:
        """The queries."""
        return list(queries)


class NoneEditor:
    """Changes nothing and costs nothing."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"generate"})

    def __init__(self, name: str, config: NoneConfig) -> None:
        self._name = name
        self._config = config

    @property
    def name(self) -> str:
        """The registered name."""
        return self._name

    def apply(self, model: Model, edits: Sequence[Edit], *, seed: int = 0) -> WrappedModel:
        """The model as it is; ``edits`` are noted for the record, ``seed`` has nothing to act on.

        Raises:
            CapabilityError: The model does not generate.
        """
        require(model, self.needs, self.name)
        cost = EditCost(apply_s=0.0, peak_bytes=0, stored_bytes=0, num_changed_parameters=0)
        saved = SavedEdit(
            method=self.name,
            config=self._config.model_dump(),
            model=model.info.name,
            edits=tuple(edits),
            cost=cost,
        )
        return UneditedModel(model, saved)

    def load(self, model: Model, folder: Path) -> WrappedModel:
        """The model as it is, once ``folder`` proves to be what this method saved.

        Raises:
            InputError: ``folder`` holds no edit of this method.
        """
        require(model, self.needs, self.name)
        return UneditedModel(model, SavedEdit.read(folder, self.name))
