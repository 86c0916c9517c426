"""Mass-editing memory: all edits of a call in one update for each of a few MLP layers of the text model."""

from __future__ import annotations

from typing import ClassVar

from reground.methods.closed_form.batch import BatchEditor
from reground.methods.closed_form.solve import Inverse
from reground.methods.closed_form.statistics import KeyStatistics
from reground.methods.memit.config import MemitConfig
from reground.models.hf.adapter import HfModel

__all__ = ["MemitEditor"]


class MemitEditor(BatchEditor[MemitConfig]):
    """Spares the keys of the corpus, and no others: an earlier edit is not shielded, as in the released code.

    Source:
        Meng et al., 2023, "Mass-Editing Memory in a Transformer". Differs: see docs/methods/memit.md.
    """

    config_class: ClassVar[type[MemitConfig]] = MemitConfig

    def spared(self, model: HfModel, path: str, statistics: KeyStatistics) -> Inverse:
        """The second moment of the corpus's keys, weighted."""
        inverse, weight = statistics.inverse(path), self._config.corpus_weight
        return lambda keys_IN: inverse(keys_IN) / weight
