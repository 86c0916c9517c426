"""The model seam: what every model declares and answers.

Axes used in this package: B queries in a batch, T tokens, V vocabulary, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, Self, get_args, runtime_checkable

from pydantic import Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from reground.edits.records import ImageRef, Probe, Record, Trace
from reground.edits.traces import Delimiters, parse_trace
from reground.errors import CapabilityError, InputError

__all__ = [
    "ALL_CAPABILITIES",
    "NUM_TOP_TOKENS",
    "Capability",
    "Delimiters",
    "Model",
    "ModelInfo",
    "Output",
    "Query",
    "StoresImages",
    "TargetScore",
    "TriesScores",
    "by_query",
    "check_decoding",
    "check_paired",
    "not_offered",
    "probe_query",
]

#: How many of the most likely tokens a score names at each target token.
NUM_TOP_TOKENS = 10

#: What a model can offer and a method can need: free generation; teacher-forced scores; logits whose bits can be
#: compared (``fingerprint``); access to hidden states; access to weights (and so gradients); weights that are
#: floating-point numbers, which can be changed in place; image features among the tokens of a prompt; a note in the
#: prompt; going on with a chain that has been begun.
Capability = Literal[
    "generate", "score", "logits", "hidden_states", "weights", "float_weights", "image_tokens", "notes", "begun_chains"
]

#: What a model offers whose weights are at hand and whose family lacks nothing.
ALL_CAPABILITIES: frozenset[Capability] = frozenset(get_args(Capability))


class Query(Record):
    """One question to a model.

    Attributes:
        question: The text of the question.
        image: What it is about, if anything.
        note: Text put before the question in the same turn: where context editors state their facts.
        options: Choices; printed after the question as lettered lines.
        is_thinking: False asks for the answer with an empty chain.
        chain_tokens: Budget of the chain: it is closed, and the answer opened where the model marks it, at the end of
            the sentence that uses up so many tokens. None: the chain is the model's own.
        chain_start: How the chain begins; the model goes on from there, and what it is said to have written holds it.
            None: the model begins it. For models that offer ``begun_chains``.
    """

    question: str
    image: ImageRef | None = None
    note: str | None = None
    options: tuple[str, ...] = ()
    is_thinking: bool = True
    chain_tokens: Annotated[int, Field(ge=1)] | None = None
    chain_start: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _a_budget_is_for_a_chain(self) -> Self:
        if self.chain_tokens is not None and not self.is_thinking:
            raise ValueError("chain_tokens is the budget of a chain; without thinking there is none")
        if self.chain_start is not None and (self.chain_tokens is not None or not self.is_thinking):
            raise ValueError("chain_start is for a chain of the model's own, without a budget")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_asked_for(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        for name in ("chain_tokens", "chain_start"):
            if dumped.get(name, 0) is None:
                del dumped[name]
        return dumped


def probe_query(probe: Probe, chain_tokens: int | None = None) -> Query:
    """What a model is asked for a probe.

    Args:
        probe: The probe.
        chain_tokens: Budget of its chain: 0 for an empty one, None for the model's own.
    """
    return Query(
        question=probe.question,
        image=probe.image,
        options=probe.options,
        is_thinking=chain_tokens != 0,
        chain_tokens=chain_tokens or None,
    )


def check_decoding(max_new_tokens: int, num_samples: int, temperature: float) -> None:
    """Nothing, if a model can generate under these settings.

    Raises:
        InputError: A setting is out of range.
    """
    if max_new_tokens < 1 or num_samples < 1 or temperature < 0:
        raise InputError(
            f"{max_new_tokens=}, {num_samples=}, {temperature=} were given.",
            "at least one token, at least one sample, a temperature of 0 or more",
            "correct the decoding settings.",
        )


def check_paired(queries: Sequence[Query], texts: Sequence[str]) -> None:
    """Nothing, if there is one text to put after each query.

    Raises:
        InputError: There are more or fewer.
    """
    if len(queries) != len(texts):
        raise InputError(
            f"{len(texts)} texts were given to be put after {len(queries)} queries.",
            "one for each query",
            "pair them up.",
        )


def by_query(outputs: Sequence[Output], num_drawn: int, num_samples: int) -> list[list[Output]]:
    """Outputs in the order of queries and samples, ``num_samples`` for each query.

    Args:
        outputs: ``num_drawn`` of each query, one query after the other.
        num_drawn: 1 where all samples are equal, else ``num_samples``.
        num_samples: How many are wanted.
    """
    return [
        [outputs[start + sample % num_drawn] for sample in range(num_samples)]
        for start in range(0, len(outputs), num_drawn)
    ]


class Output(Record):
    """What a model wrote.

    Attributes:
        text: The generated text; delimiters kept, end and padding tokens removed.
        num_tokens: Generated tokens, the end token excluded.
        is_truncated: The token budget ended the text.
    """

    text: str
    num_tokens: int
    is_truncated: bool

    def trace(self, delimiters: Delimiters, *, is_thinking: bool = True) -> Trace:
        """The text as the one parser reads it.

        Args:
            delimiters: Those of the model that wrote it.
            is_thinking: Whether it was asked to think first.
        """
        return parse_trace(
            self.text,
            delimiters,
            num_tokens=self.num_tokens,
            is_truncated=self.is_truncated,
            is_thinking=is_thinking,
        )


class TargetScore(Record):
    """Teacher-forced score of one target text.

    Attributes:
        top1_share: Share in [0, 1] of target tokens that are the most likely token when all tokens before them are
            the target's own.
        log_prob: Sum of log-probabilities of the target tokens, natural logarithm.
        num_tokens: Target tokens counted.
        target_ids: Ids of the target tokens; empty where the model does not tell.
        top_ids: For each target token, ids of the ``NUM_TOP_TOKENS`` most likely tokens in its place, the most likely
            first; fewer if the vocabulary holds fewer; empty where the model does not tell.
    """

    top1_share: float
    log_prob: float
    num_tokens: int
    target_ids: tuple[int, ...] = ()
    top_ids: tuple[tuple[int, ...], ...] = ()


class ModelInfo(Record):
    """What produced an output: name, revision, number format, device."""

    name: str
    revision: str
    dtype: str
    device: str
    num_parameters: int | None = None


@runtime_checkable
class StoresImages(Protocol):
    """A model that encodes images here and can keep their features on disk."""

    def store_images(self) -> None: ...


@runtime_checkable
class TriesScores(Protocol):
    """A model that may be able to score behind some prompts only, and finds out by trying."""

    def require_scores(self, *, is_thinking: bool) -> None: ...


@runtime_checkable
class Model(Protocol):
    """Anything that answers queries: a local model, an endpoint, a script, or an edited model."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def delimiters(self) -> Delimiters: ...

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        """Answers in the order of ``queries``, ``num_samples`` each; greedy if ``temperature`` is 0."""
        ...

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        """Teacher-forced score of ``targets[i]`` put straight after the prompt of ``queries[i]``."""
        ...

    def fingerprint(self, queries: Sequence[Query]) -> str:
        """SHA-256 over the bytes of the next-token logits of ``queries``; equal if and only if they are bit-equal."""
        ...


def not_offered(what: str, model: Model, next_step: str) -> CapabilityError:
    """The refusal of what a model does not declare among its capabilities.

    Args:
        what: What was asked for, in the plural.
        model: Of which.
        next_step: What to do instead.
    """
    return CapabilityError(
        f"{what} were asked of the model {model.info.name!r}, which gives none.",
        ", ".join(sorted(model.capabilities)),
        next_step,
    )
