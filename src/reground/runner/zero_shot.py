"""The zero-shot filter: only edits whose question the unedited model does not answer with the new answer.

Source:
    MultiMedEdit (arXiv 2508.07022): the reliability set is made of items a medical model answers wrongly. Differs: the
    model asked is the one under test, and it generates its answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from itertools import islice

from pydantic import Field, ValidationError

from reground.edits.cache import cache_folder
from reground.edits.files import write_atomically
from reground.edits.images import image_key
from reground.edits.records import Edit, Record, content_id
from reground.errors import InputError
from reground.evaluation.matching import matches
from reground.models.base import Model, Output, Query

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

    What it said is kept in the cache folder by the content of question, image and options, and is not asked again of
    the same weights. An output that cannot be read as an answer is wrong, and so is a question the model refuses.

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
    try:
        while (limit is None or len(kept) < limit) and (batch := list(islice(remaining, _BATCH_SIZE))):
            for edit, output in zip(batch, memory.outputs(batch), strict=True):
                if limit is not None and len(kept) == limit:
                    break
                num_asked += 1
                if output is None or not _gives_new_answer(edit, output, model):
                    kept.append(edit.id)
            if on_progress is not None:
                on_progress(num_asked, len(edits))
    finally:
        memory.save()
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


class _Said(Record):
    """One line of the cache: a question by its content, and what the model wrote."""

    key: str
    output: Output


class _Memory:
    """What one model said, on disk."""

    def __init__(self, model: Model, max_new_tokens: int) -> None:
        self._model = model
        self._max_new_tokens = max_new_tokens
        identity = content_id("z", [model.info.model_dump(mode="json"), max_new_tokens])
        self._path = cache_folder() / "zero-shot" / f"{identity}.jsonl"
        self._said = self._read()
        self._num_read = len(self._said)

    def outputs(self, edits: Sequence[Edit]) -> list[Output | None]:
        """What the model says to each edit's question; None where it refuses."""
        queries = {_key(edit): Query(question=edit.question, image=edit.image, options=edit.options) for edit in edits}
        new = {key: query for key, query in queries.items() if key not in self._said}
        for key, output in zip(new, self._ask(list(new.values())), strict=True):
            if output is not None:
                self._said[key] = output
        return [self._said.get(_key(edit)) for edit in edits]

    def save(self) -> None:
        """Keep what was said. A cache that cannot be written costs time, not a result."""
        if len(self._said) == self._num_read:
            return
        lines = [_Said(key=key, output=output).model_dump_json() + "\n" for key, output in self._said.items()]
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, "".join(lines))

    def _read(self) -> dict[str, Output]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            return {said.key: said.output for said in map(_Said.model_validate_json, lines)}
        except (OSError, UnicodeDecodeError, ValidationError):  # not there, or damaged: it is asked again
            return {}

    def _ask(self, queries: Sequence[Query]) -> list[Output | None]:
        if not queries:
            return []
        try:
            found = self._model.generate(queries, max_new_tokens=self._max_new_tokens)
        except Exception:
            # One refused question must not take its batch with it; the step of its edit will say why it failed.
            return [None] if len(queries) == 1 else [self._ask([query])[0] for query in queries]
        return [outputs[0] for outputs in found]


def _key(edit: Edit) -> str:
    image = image_key(edit.image) if edit.image is not None else None
    return content_id("q", [edit.question, image, edit.options])
