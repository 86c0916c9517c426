"""Scores as they are stored and published: ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from reground.edits.files import write_atomically
from reground.edits.misfits import misfit_words
from reground.edits.records import Record
from reground.errors import RunDirectoryError

__all__ = [
    "METRICS",
    "SUMMARY_SCHEMA_VERSION",
    "Comparison",
    "Example",
    "Score",
    "Summary",
    "read_summary",
    "write_summary",
]

#: Version of the fields of ``summary.json``. A reader of another version refuses the file.
SUMMARY_SCHEMA_VERSION = 1

#: Every metric a summary may hold, with what its value is. ``docs/protocol.md`` defines each.
METRICS: Mapping[str, str] = {
    "tf": "share of target tokens that are the arg max under the gold prefix",
    "answer": "share of probes whose generated answer matches",
    "token_f1": "mean token overlap of the generated answer with the gold answer",
    "grounded": "share of probes whose answer matches and whose chain carries it",
    "illusion_gap": "tf minus grounded, over probes that have both",
    "collapse": "share of probes answered before the edit and not after it",
    "collapse_no_answer": "share of probes that collapsed to an empty answer",
    "collapse_broken_format": "share of probes that collapsed to a broken format",
    "collapse_degenerate": "share of probes that collapsed to a loop",
    "collapse_truncated": "share of probes that collapsed into the token budget",
    "dissonance_explicit": "share of probes whose chain rejects the new fact",
    "dissonance_implicit": "share of probes whose chain supports one entity and whose answer names another",
    "ignored": "share of probes where chain and answer are as if there were no edit",
    "wrong": "share of probes that fail in no other way",
    "shallow": "share of edits grounded on the exact probe and not on every generality and portability probe",
    "intermediate_usage": "share of answered probes whose chain names every intermediate entity",
    "hop_accuracy": "share of probes whose chain names every intermediate entity and whose answer matches",
    "chain_length_ratio": "mean length of the chain after the edit over its length before",
    "independence_text": "share of text locality probes left as they were",
    "independence_image": "share of image locality probes left as they were",
    "kept_correct_text": "share of text locality probes still right, of those right before",
    "kept_correct_image": "share of image locality probes still right, of those right before",
    "apply_s_p50": "median seconds to apply a step's edits",
    "apply_s_p95": "95th percentile of the seconds to apply a step's edits",
    "peak_bytes": "mean memory above the loaded model while applying",
    "stored_bytes": "mean bytes that have to be kept",
    "query_overhead_s": "mean seconds added to one query",
    "fit_s": "seconds that training the method took, once",
    "fit_s_per_edit": "fit_s divided by the edits applied",
    "edits_to_pay_off": "edits after which training and applying have taken less time than ft",
    "tf_order_sd": "standard deviation of tf over orders of edits",
    "answer_order_sd": "standard deviation of answer over orders of edits",
    "grounded_order_sd": "standard deviation of grounded over orders of edits",
    "independence_text_order_sd": "standard deviation of independence_text over orders of edits",
    "independence_image_order_sd": "standard deviation of independence_image over orders of edits",
    "tf_half_at": "first checkpoint at which tf is below half of its value at checkpoint 1",
    "answer_half_at": "first checkpoint at which answer is below half of its value at checkpoint 1",
    "grounded_half_at": "first checkpoint at which grounded is below half of its value at checkpoint 1",
    "side_effect_growth_text": "independence_text at checkpoint 1 minus that at this one",
    "side_effect_growth_image": "independence_image at checkpoint 1 minus that at this one",
}


class _Limited(Record):
    """What may be about chains with a budget; says nothing of it where there is none."""

    chain_tokens: int | None = None

    @model_serializer(mode="wrap")
    def _leave_out_what_is_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return _without(dumped, "chain_tokens")


class Score(_Limited):
    """One number with everything needed to read it.

    Attributes:
        method, model, benchmark, schedule, checkpoint: What was measured; ``checkpoint`` counts edits applied, on the
            ``sequential`` schedule those of the whole chain.
        metric: A name from ``METRICS``.
        level: A probe level, or a group of levels: ``generality``, ``portability``, ``multi_hop``, ``near``,
            ``far``, ``all``.
        stratum: ``all``, one of the four strata, ``conflict``, or a tag of the benchmark's, e.g. ``tier:reasoning``;
            in a chain also the age of the edits, e.g. ``age:10-49``, or one of the orders, e.g. ``order:0``.
        value: The number; None if nothing could be scored, for the ``reason`` given.
        low, high: Interval clustered by edit, 95 % unless the settings say otherwise; None with fewer than two edits.
        n: Probes scored; edits for ``shallow``, steps for costs.
        num_unscored: Probes (edits, steps) that belong here and could not be scored.
        reason: Why ``value`` is None.
        unscored_reasons: ``num_unscored`` by reason.
        chain_tokens: Token budget of the chains; None: the model's own.
        num_seeds: Where ``value`` is a mean over runs with several seeds, in how many of them it was scored.
        seed_sd: Its standard deviation over them; None with fewer than two.
    """

    method: str
    model: str
    benchmark: str
    schedule: str
    checkpoint: int
    metric: str
    level: str
    stratum: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    num_unscored: int
    reason: str | None = None
    unscored_reasons: dict[str, int] = Field(default_factory=dict)
    num_seeds: int | None = None
    seed_sd: float | None = None

    @model_serializer(mode="wrap")
    def _leave_out_what_is_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        for field in ("reason", "unscored_reasons"):
            if not dumped.get(field):
                dumped.pop(field, None)
        return _without(dumped, "chain_tokens", "num_seeds", "seed_sd")


class Comparison(_Limited):
    """Method ``a`` minus method ``b`` on the edits both were scored on, with its interval.

    Attributes:
        num_edits: Edits scored for both methods.
    """

    a: str
    b: str
    model: str
    benchmark: str
    schedule: str
    checkpoint: int
    metric: str
    level: str
    value: float | None
    low: float | None
    high: float | None
    num_edits: int


class Example(_Limited):
    """One real output that carries a label, quoted as the model wrote it."""

    method: str
    model: str
    benchmark: str
    schedule: str
    checkpoint: int
    label: str
    count: int
    edit_id: str
    probe_id: str
    level: str
    question: str
    expected: str
    raw: str


class Summary(Record):
    """Everything computed from one run's rows, or from those of a grid of runs.

    Attributes:
        schema_version: Version of these fields.
        protocol_version: Version of the definitions behind the numbers.
        package_version: Version of Reground that computed them.
        reader: Name and version of the stance reader.
        run: Id of the run.
        methods: Methods in the order they ran.
        num_failed_steps: Steps that did not finish; their probes are unscored.
        num_edits: Edits asked about.
        num_probes: Probes that the run held.
        strata: Edits per stratum, per model; empty where no beliefs were sampled.
        notes: What a reader of the numbers should know, in sentences.
        scores: The numbers.
        comparisons: Paired differences between methods, for the headline figures.
        examples: For each method and label, its count and one output.
    """

    schema_version: int = SUMMARY_SCHEMA_VERSION
    protocol_version: str
    package_version: str
    reader: str
    run: str
    methods: tuple[str, ...]
    num_failed_steps: int
    num_edits: int
    num_probes: int
    strata: dict[str, dict[str, int]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...] = ()
    examples: tuple[Example, ...] = ()

    def find(self, metric: str, level: str, *, method: str, stratum: str = "all", **where: str | int) -> Score | None:
        """The first score with these labels, or None if the summary holds none.

        Args:
            where: Further fields a score must have, e.g. ``model="phantom-med"``.
        """
        for score in self.scores:
            if (score.metric, score.level, score.method, score.stratum) == (
                metric,
                level,
                method,
                stratum,
            ) and all(getattr(score, field) == value for field, value in where.items()):
                return score
        return None


def write_summary(summary: Summary, path: Path) -> None:
    """Put ``summary`` at ``path`` in one piece: a reader sees the old file or the new one, never a part.

    One record per line, so that two summaries can be compared with an ordinary diff.
    """
    fields = summary.model_dump(mode="json")
    parts = [f"{json.dumps(name)}: {_lines(value)}" for name, value in fields.items()]
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def read_summary(path: Path) -> Summary:
    """The summary stored at ``path``.

    Raises:
        RunDirectoryError: There is no such file, it is damaged, or another schema version wrote it.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunDirectoryError(
            f"summary {path} was to be read, and does not exist.",
            "a summary.json, written when a run ends",
            "finish the run with `reground run resume DIR`, or give the directory of a finished run.",
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if version != SUMMARY_SCHEMA_VERSION:
        raise RunDirectoryError(
            f"summary {path} has schema_version {version!r}.",
            f"schema_version {SUMMARY_SCHEMA_VERSION}",
            "recompute it from the run's rows with this version of Reground, or read it with its own.",
        )
    try:
        return Summary.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(path, misfit_words(Summary, first)) from error


def _without(dumped: dict[str, Any], *fields: str) -> dict[str, Any]:
    """A dumped record without those of some fields that hold None."""
    return {name: value for name, value in dumped.items() if name not in fields or value is not None}


def _damaged(path: Path, why: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"summary {path} cannot be read: {why}.",
        "the summary.json of a finished run, as it was written",
        "recompute it from the run's rows, which it follows from.",
    )


_encoded = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _lines(value: Any) -> str:
    """JSON with each record of a list of records on a line of its own."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(map(_encoded, value)) + "\n]"
    return _encoded(value)
