"""The records that flow through Reground: what is edited, what is asked, what was answered.

All records are frozen, refuse unknown fields, and survive a JSON round trip. ``Edit`` and ``Probe`` are identified
by the content they hold, so the same edit has the same id in every file and on every machine.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    computed_field,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import SerializerFunctionWrapHandler

__all__ = [
    "Answer",
    "Edit",
    "Energy",
    "Expectation",
    "Failure",
    "ForcedTarget",
    "ImageRef",
    "Modality",
    "Phase",
    "Probe",
    "ProbeKind",
    "Record",
    "Row",
    "Text",
    "Timings",
    "Trace",
    "TraceOutcome",
    "content_id",
    "is_blank",
]


#: Control, zero-width and surrogate characters, and white space. What is newer than these tables may be a letter.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zs", "Zl", "Zp"))


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: it is empty, or all white space, control or zero-width characters."""
    return all(unicodedata.category(character) in _UNSEEN for character in text)


def _refuse_blank(text: str) -> str:
    if not text[:1].isalnum() and is_blank(text):
        raise PydanticCustomError("blank_text", "text that is not empty")
    return text


#: Text that can be seen, without the white space around it.
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_refuse_blank)]
Modality = Literal["visual", "textual"]
ProbeKind = Literal["reliability", "generality", "portability", "text_locality", "image_locality"]
Phase = Literal["before", "after"]
TraceOutcome = Literal["answered", "no_answer", "broken_format", "degenerate", "truncated"]


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def content_id(prefix: str, content: Any) -> str:
    """A short id that depends on nothing but ``content``.

    Args:
        prefix: One letter that tells a reader what kind of record it is.
        content: Anything JSON can hold; key order does not matter.

    Returns:
        ``prefix`` and the first 12 hexadecimal digits of a SHA-256.
    """
    return f"{prefix}{hashlib.sha256(_canonical(content).encode()).hexdigest()[:12]}"


class Record(BaseModel):
    """Base of all records: frozen, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(Record):
    """An answer and the other spellings that count as the same answer."""

    text: Text
    aliases: tuple[Text, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """The answer and its aliases, the answer first."""
        return (self.text, *self.aliases)


class ImageRef(Record):
    """One image, or several frames of one study, by address.

    An address is a file path, a ``data:`` URI or a ``phantom:`` URI (a built-in image, rendered on demand). In JSON a
    single string is accepted for a single frame.
    """

    frames: Annotated[tuple[Text, ...], Field(min_length=1)]
    _folder: str | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _accept_single_string(cls, value: Any) -> Any:
        return {"frames": (value,)} if isinstance(value, str) else value

    @property
    def folder(self) -> str | None:
        """Where relative paths start; None: the working directory. No part of the content, so ids do not move."""
        return self._folder

    def inside(self, folder: str) -> ImageRef:
        """The same reference, its relative paths read from ``folder``."""
        placed = self.model_copy()
        placed._folder = folder
        return placed


class _KnownById(Record):
    """A record that keeps the id it has worked out."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy; one with other content works out an id of its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)
        return copied


class Edit(_KnownById):
    """One fact that changes.

    Attributes:
        subject: What the fact is about, e.g. ``"ring in the kidney"``.
        relation: Which fact about it, e.g. ``"condition"``.
        modality: ``visual`` if the subject is given by an image, else ``textual``.
        question: The question whose answer changes.
        image: The image the question is about; required for a visual edit, absent from a textual one.
        new_answer: What holds from now on.
        prior_answer: What held before, where it is known.
        statement: The change in one sentence.
        options: Choices of a multiple-choice question; empty for free text.
        source: Who says so.
        split: Which part of the benchmark's subjects this one belongs to.
    """

    subject: Text
    relation: Text
    modality: Modality
    question: Text
    image: ImageRef | None = None
    new_answer: Answer
    prior_answer: Answer | None = None
    statement: Text
    options: tuple[Text, ...] = ()
    source: Text = "unspecified"
    split: Text = "test"

    @model_validator(mode="before")
    @classmethod
    def _drop_stored_id(cls, value: Any) -> Any:
        return _without_id(value)

    @model_validator(mode="after")
    def _image_fits_modality(self) -> Self:
        if (self.modality == "visual") != (self.image is not None):
            raise ValueError("a visual edit carries an image; a textual edit carries none")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def id(self) -> str:
        return _record_id("e", self)


class Expectation(Record):
    """What a probe expects after the edit.

    Attributes:
        kind: ``answer``: the given answer. ``unchanged``: whatever the unedited model said.
        answer: For ``answer``, the answer that must come. For ``unchanged``, what is true, where known; used for
            ``kept_correct`` only.
    """

    kind: Literal["answer", "unchanged"]
    answer: Answer | None = None

    @model_validator(mode="after")
    def _answer_is_given(self) -> Self:
        if self.kind == "answer" and self.answer is None:
            raise ValueError("an expectation of kind 'answer' needs the answer")
        return self


class Probe(_KnownById):
    """One question asked before and after an edit.

    Attributes:
        edit_id: The edit this probe belongs to.
        kind: What it tests.
        level: Which variant: ``exact``; ``text_rephrase``, ``image_rephrase``, ``both``; ``hop1`` to ``hopK``; for
            locality the pair that makes it local, e.g. ``other_subject``, ``other_relation``, ``look_alike``.
        distance: ``near`` or ``far``, for locality probes only.
        expectation: What should come back.
        intermediates: The entities a correct chain passes through after the edit, in order, without the final answer.
        options: Choices of a multiple-choice question; empty for free text.
    """

    edit_id: Text
    kind: ProbeKind
    level: Text
    distance: Literal["near", "far"] | None = None
    question: Text
    image: ImageRef | None = None
    expectation: Expectation
    intermediates: tuple[Answer, ...] = ()
    options: tuple[Text, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_stored_id(cls, value: Any) -> Any:
        return _without_id(value)

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        if self.is_local != (self.distance is not None):
            raise ValueError("locality probes declare a distance, near or far; other probes declare none")
        if self.is_local != (self.expectation.kind == "unchanged"):
            raise ValueError("locality probes expect 'unchanged'; other probes expect an answer")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the probe asks that nothing changes."""
        return self.kind in ("text_locality", "image_locality")

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def id(self) -> str:
        return _record_id("p", self)


class Trace(Record):
    """What a model wrote, read once by the one parser (``edits.traces``).

    Attributes:
        outcome: The typed outcome; ``answered`` is the only one that carries an answer.
        chain: The text of the chain of thought; empty in no-thinking mode; None where no chain could be read.
        answer: The answer; None unless ``outcome`` is ``answered``.
        num_tokens: Tokens generated, the end token excluded.
        reason: For every outcome but ``answered``, which rule decided it.
    """

    outcome: TraceOutcome
    chain: str | None = None
    answer: str | None = None
    num_tokens: int = Field(ge=0)
    reason: str | None = None

    @model_validator(mode="after")
    def _answer_fits_outcome(self) -> Self:
        if (self.outcome == "answered") != (self.answer is not None):
            raise ValueError("a trace carries an answer if and only if its outcome is 'answered'")
        return self


class Timings(Record):
    """Seconds, measured with the device synchronised; evaluation is not part of ``apply_s``."""

    apply_s: float | None = None
    generate_s: float | None = None
    restore_s: float | None = None


class Energy(Record):
    """Joules used on the devices the model is on, whatever else went on there; None where they do not report them.

    Attributes:
        apply_j: While edits were applied.
        generate_j: While the answers of the step's batch were generated.
    """

    apply_j: Annotated[float, Field(ge=0)] | None = None
    generate_j: Annotated[float, Field(ge=0)] | None = None


class Failure(Record):
    """A step that did not finish: the stage that failed and the message."""

    stage: Text
    message: Text


class ForcedTarget(Record):
    """What a model would have written in the place of each token of a text fed to it straight after the prompt.

    Attributes:
        text: The text.
        target_ids: Ids of its tokens.
        top_ids: For each of them, ids of the most likely tokens in its place, the most likely first.
    """

    text: Text
    target_ids: tuple[int, ...]
    top_ids: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _one_ranking_a_token(self) -> Self:
        if not self.target_ids or len(self.target_ids) != len(self.top_ids) or not all(self.top_ids):
            raise ValueError("each target token has a ranking of at least one token, and there is a target token")
        return self


class Row(Record):
    """One probe put to one model state; the only thing scores are computed from.

    Attributes:
        run: Id of the run.
        method: Name of the editing method, or of a variant of it; ``versions`` then has the method and its settings.
        model: Name of the model.
        benchmark: Name of the benchmark.
        schedule: ``single``, ``sequential`` or ``lifelong``.
        step: Index of the step within the method's schedule, from 0.
        checkpoint: Number of edits applied when the probe was put; 0 for ``before``, 1 on the single schedule. On a
            row without a probe, of the checkpoint that comes next.
        order: In a chain of edits, which of the run's orders they followed, from 0; None outside of one.
        age: Edits applied since the probed one was; None outside of a chain.
        num_applied: On rows of a chain: edits that ``timings.apply_s`` was spent on.
        edit_id: The edit the probe belongs to.
        probe_id: The probe; None on a row that records a failed step, or an edit of a chain that was applied and not
            yet probed.
        phase: ``before`` for the unedited model, ``after`` for the edited one.
        raw: What the model wrote, special tokens included, end and padding tokens removed.
        trace: ``raw`` as the parser read it.
        tf: Share in [0, 1] of target tokens that are the arg max when the gold prefix is fed straight after the
            prompt; None where no answer is expected.
        forced: What the lenses compare, if the protocol's ``keeps_forced_tokens`` asks for it.
        chain_tokens: Token budget of the chain: None: the model's own chain; 0: an empty one.
        is_restored_exactly: On ``after`` rows: whether the model's logits after undo equal those before the edit,
            bit for bit. None where the model gives no logits to compare, and in a chain before its last step.
        timings: Seconds; per step, repeated on each of its rows (``generate_s`` is the step's batch).
        energy: Joules, per step as the timings are; None, and then left out of what is written, where no device of the
            model reports them.
        peak_bytes: Memory above the loaded model while the edit was applied.
        stored_bytes: What has to be kept to have the edit.
        num_changed_parameters: Parameters the edit may have changed.
        seed: Seed of the step.
        dtype: Number format of the model's weights.
        device: Device the model ran on.
        versions: Versions of everything that can move a number, protocol included.
        failure: Set if the step failed; then there is no trace.
    """

    run: Text
    method: Text
    model: Text
    benchmark: Text
    schedule: Text
    step: int = Field(ge=0)
    checkpoint: int = Field(ge=0)
    order: Annotated[int, Field(ge=0)] | None = None
    age: Annotated[int, Field(ge=0)] | None = None
    num_applied: Annotated[int, Field(ge=1)] | None = None
    edit_id: Text
    probe_id: Text | None
    phase: Phase
    raw: str | None = None
    trace: Trace | None = None
    tf: Annotated[float, Field(ge=0, le=1)] | None = None
    forced: ForcedTarget | None = None
    chain_tokens: Annotated[int, Field(ge=0)] | None = None
    is_restored_exactly: bool | None = None
    timings: Timings = Timings()
    energy: Energy | None = None
    peak_bytes: int | None = None
    stored_bytes: int | None = None
    num_changed_parameters: int | None = None
    seed: int
    dtype: str
    device: str
    versions: dict[str, str]
    failure: Failure | None = None

    @model_serializer(mode="wrap")
    def _leave_out_energy_that_is_not_reported(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        if dumped.get("energy", 0) is None:
            del dumped["energy"]
        return dumped


def _record_id(prefix: str, record: Edit | Probe) -> str:
    return content_id(prefix, record.model_dump(mode="json", exclude={"id"}))


def _without_id(value: Any) -> Any:
    """Accept a record that was dumped with its id: the id follows from the content and is recomputed."""
    if isinstance(value, dict) and "id" in value:
        return {k: v for k, v in value.items() if k != "id"}
    return value
