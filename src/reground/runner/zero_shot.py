"""The zero-shot filter: only edits whose question the unedited model does not answer with the new answer.

Source:
    MultiMedEdit (arXiv 2508.07022): the reliability set is made of items a medical model answers wrongly. Differs: the
    model asked is the one under test, and it generates its answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from pydantic import Field

from reground.edits.records import Edit, Record
from reground.errors import InputError
from reground.evaluation.matching import matches
from reground.models.base import Model, Output, Query
from reground.runner.output_cache import OutputCache, Written
from reground.runner.versions import collect_versions

__all__ = ["ZeroShotRecord", "ask_zero_shot"]

_BATCH_SIZE = 16


class ZeroShotRecord(Record):
    """What a zero-shot filter let through.

    Attributes:
        model: Name of the model that was asked.
        revision: Digest of its weights.
        num_asked: Edits whose question was put to it, in the order of the run.
        edit_ids: Those it got wrong, in that order: the edits of the run.
    """

    model: str
    revision: str
    num_asked: int = Field(ge=1)
    edit_ids: tuple[str, ...] = Field(min_length=1)

    @property
    def sentence(self) -> str:
        """What a reader of the scores should know."""
        return (
            f"Zero-shot filter: of the {self.num_asked} edits whose question {self.model} ({self.revision}) was asked, "
            f"it got {len(self.edit_ids)} wrong; these are the edits of the run."
        )


def ask_zero_shot(
    edits: Sequence[Edit],
    model: Model,
    *,
    limit: int | None = None,
    max_new_tokens: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> ZeroShotRecord:
    """The first ``limit`` edits that the unedited model gets wrong, asked greedily and in order.

    What it said is kept in the cache of outputs and is not asked again of the same weights. An output that cannot be
    read as an answer is wrong, and so is a question the model refuses.

    Args:
        edits: Candidates.
        model: The model under test, unedited.
        limit: How many to look for; None: all.
        max_new_tokens: Token budget of one output.
        on_progress: Told how many of how many candidates were asked.

    Raises:
        InputError: It gets none of them wrong.
    """
    memory = _Memory(model, max_new_tokens)
    kept: list[str] = []
    num_asked = 0
    remaining = iter(edits)
    while (limit is None or len(kept) < limit) and (batch := list(islice(remaining, _BATCH_SIZE))):
        for edit, output in zip(batch, memory.outputs(batch), strict=True):
            if limit is not None and len(kept) == limit:
                break
            num_asked += 1
            if output is None or not _gives_new_answer(edit, output, model):
                kept.append(edit.id)
        if on_progress is not None:
            on_progress(num_asked, len(edits))
    if not kept:
        raise InputError(
            f"the zero-shot filter leaves no edit: {model.info.name!r} gave the new answer to each of {num_asked}.",
            "a model that gets at least one of them wrong",
            "switch it off with --set benchmark.zero_shot_filter=false, or choose another split or model.",
        )
    return ZeroShotRecord(
        model=model.info.name, revision=model.info.revision, num_asked=num_asked, edit_ids=tuple(kept)
    )


def _gives_new_answer(edit: Edit, output: Output, model: Model) -> bool:
    trace = output.trace(model.delimiters)
    return trace.answer is not None and matches(trace.answer, edit.new_answer, edit.options)


class _Memory:
    """What one model said, on disk."""

    def __init__(self, model: Model, max_new_tokens: int) -> None:
        self._model = model
        self._settings = {"max_new_tokens": max_new_tokens, "temperature": 0.0}
        self._cache = OutputCache(model.info, collect_versions())

    def outputs(self, edits: Sequence[Edit]) -> list[Output | None]:
        """What the model says to each edit's question; None where it refuses."""
        queries = [Query(question=edit.question, image=edit.image, options=edit.options) for edit in edits]
        said = [None if found is None else found.outputs[0] for found in self._cache.find(queries, **self._settings)]
        new = [position for position, output in enumerate(said) if output is None]
        start = time.perf_counter()
        for position, output in zip(new, self._ask([queries[position] for position in new]), strict=True):
            said[position] = output
        seconds = (time.perf_counter() - start) / max(1, len(new))
        answered = [(queries[at], Written(outputs=(output,), seconds=seconds)) for at in new if (output := said[at])]
        self._cache.keep(answered, **self._settings)
        return said

    def _ask(self, queries: Sequence[Query]) -> list[Output | None]:
        if not queries:
            return []
        try:
            found = self._model.generate(queries, max_new_tokens=int(self._settings["max_new_tokens"]))
        except Exception:
            # One refused question must not take its batch with it; the step of its edit will say why it failed.
            return [None] if len(queries) == 1 else [self._ask([query])[0] for query in queries]
        return [outputs[0] for outputs in found]
