"""In-context knowledge editing: demonstrations, then the new fact, then the question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from reground.edits.records import Edit
from reground.errors import ModelError
from reground.methods.base import MethodConfig
from reground.methods.context_edit import NOTES, ContextEditor
from reground.methods.ike.config import IkeConfig
from reground.methods.ike.demonstrations import DemonstrationIndex, note_text
from reground.methods.ike.encoder import open_encoder
from reground.methods.ike.pool import PoolFact, pool_checksum, read_pool
from reground.methods.template import edit_fields
from reground.models.base import Query

__all__ = ["IkeEditor"]

_POOL_CHECKSUM = "pool_checksum"


class IkeEditor(ContextEditor[IkeConfig]):
    """Puts demonstrations and a new fact before the question.

    Source:
        Zheng et al., 2023, "Can We Edit Factual Knowledge by In-Context Learning?": y = argmax P(y | x, f, C) with
        the new fact f and demonstrations C = {c_1 .. c_k} of the k facts nearest to f, most similar last. Differs:
        which f a query gets is retrieved too (``retrieved``), where the paper gives the right one (``gold``).
    """

    config_class: ClassVar[type[MethodConfig]] = IkeConfig

    def _details(self, config: IkeConfig, edits: Sequence[Edit]) -> Mapping[str, Any]:
        pool = read_pool(config.pool)
        index = _index(pool, config.template, config.encoder)
        stated = [config.template.format(**edit_fields(edit)) for edit in edits]
        groups = [[text] for text in stated] if config.facts == "retrieved" else [stated]
        notes = []
        num_shown = []
        for group in groups:
            shown = index.demonstrations("\n".join(group), edits, config) if group else []
            note, num_kept = note_text(shown, group, config.max_words)
            notes.append(note)
            num_shown.append(num_kept)
        return {NOTES: notes, "num_demonstrations": num_shown, _POOL_CHECKSUM: pool_checksum(pool)}

    def _note_of(self, config: IkeConfig, edits: Sequence[Edit], details: Mapping[str, Any]) -> Callable[[Query], str]:
        notes: Sequence[str] = details[NOTES]
        if config.facts == "gold":
            return lambda _: notes[0]
        if not edits:
            return lambda _: ""
        pool = read_pool(config.pool)
        if pool_checksum(pool) != details[_POOL_CHECKSUM]:
            raise ModelError(
                f"an edit by {self.name!r} was made with another content of the demonstration pool {config.pool!r}.",
                "the pool as it was then: similarities are weighed by it",
                "put that file back, or apply the edits anew.",
            )
        encoder = _index(pool, config.template, config.encoder).encoder
        keys_ND = encoder.encode([edit.question for edit in edits])

        def nearest_note(query: Query) -> str:
            similarities_N = keys_ND @ encoder.encode([query.question])[0]
            best = int(similarities_N.argmax())
            return notes[best] if similarities_N[best] >= config.min_similarity else ""

        return nearest_note


@lru_cache(maxsize=4)
def _index(pool: tuple[PoolFact, ...], template: str, encoder: str) -> DemonstrationIndex:
    """The same pool serves one edit after another; encoding it takes longer than everything else."""
    corpus = [f"{fact.question} {fact.statement}" for fact in pool]
    return DemonstrationIndex(pool, template, open_encoder(encoder, corpus))
