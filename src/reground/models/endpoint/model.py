"""A model behind an OpenAI-compatible endpoint: it answers, takes notes, and where the endpoint tells log-probabilities
of its prompts it scores; its weights are out of reach.

What is sent of an image are its pixels, written anew as PNG: nothing else that stood in the file leaves this machine.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from PIL import Image

from reground.chat.client import ChatClient
from reground.chat.reply import ChatReply, read_reply
from reground.edits.images import open_image, scaled_down
from reground.edits.records import ImageRef
from reground.errors import CapabilityError, EndpointError, InputError, nearest
from reground.models.base import (
    Capability,
    Delimiters,
    ModelInfo,
    Output,
    Query,
    TargetScore,
    by_query,
    check_decoding,
    check_paired,
    not_offered,
)
from reground.models.endpoint.cache import ReplyCache, max_cache_bytes, reply_cache_path
from reground.models.endpoint.scores import (
    ASKS_FOR_IDS,
    ASKS_FOR_SCORES,
    fed_score,
    ids_alone,
    read_fed_prompt,
    read_prompt_ids,
    told_behind,
)
from reground.models.endpoint.spec import EndpointSpec, parse_spec
from reground.models.prompts import prompt_text

__all__ = ["ENDPOINT_CAPABILITIES", "EndpointModel", "load_endpoint_model"]

ENDPOINT_CAPABILITIES: frozenset[Capability] = frozenset({"generate", "notes"})

_Read = TypeVar("_Read")

_log = logging.getLogger(__name__)

_CACHE_FORMAT = 1
#: What is asked once, to see that the endpoint is there and how its model marks a chain.
_FIRST_QUESTION = "Which is larger, 2 or 3? Answer with one word."
_FIRST_TOKENS = 256
#: What is scored once, to see that the endpoint can.
_FIRST_TARGET = "3 is larger"
_ANSWER_TAGS = ("<answer>", "</answer>")
_UNKNOWN = "unknown"
_ASK_FOR_SCORES = (
    "put scores=prompt_logprobs behind the ? of the model's name if its server tells them (vLLM), or load the weights, "
    "e.g. --model hf:ORG/NAME."
)
_LOAD_WEIGHTS = "load the weights instead, e.g. --model hf:ORG/NAME."


@dataclass(frozen=True)
class _Asked:
    """One request.

    Attributes:
        body: What is sent.
        key: What its reply is kept under.
    """

    body: Mapping[str, Any]
    key: str


def load_endpoint_model(spec: str) -> EndpointModel:
    """The model that ``spec`` names, after one short question that is always asked.

    The question shows that endpoint, key and model are there, and, unless the spec says so, how the model marks its
    chain: sent apart, between ``<think>`` and ``</think>``, closed but not opened (then the chat template opens it), or
    not at all. A model that is to score then scores a short answer to it: this shows that log-probabilities come, and
    that the chat template writes an answer straight behind its prompt, with a chain or without one.

    Raises:
        InputError: The spec cannot be parsed, or the key cannot be sent.
        EndpointError: The endpoint cannot be reached, refuses, knows no such model, or cannot score where it is to.
    """
    wanted = parse_spec(spec)
    cache = ReplyCache(reply_cache_path(), max_cache_bytes()) if wanted.cache else None
    first = _first_reply(wanted)
    model = EndpointModel(wanted, _client(wanted), _delimiters(wanted, first), cache)
    try:
        model.require_scores(is_thinking=True)
    except EndpointError as error:
        try:  # templates of hybrid models may let an answer be scored behind an empty chain alone
            model.require_scores(is_thinking=False)
        except EndpointError:
            raise error from None
        _log.warning("%s scores without a chain alone (protocol.chain_tokens: 0): %s", wanted.name, error.tried)
    return model


class EndpointModel:
    """Asks an endpoint. ``load_endpoint_model`` makes one.

    Args:
        spec: Which model, and how it is asked.
        client: Talks to its endpoint.
        delimiters: How chain and answer are marked in what ``generate`` returns.
        cache: Replies that were had before; None: everything is asked.
    """

    def __init__(
        self, spec: EndpointSpec, client: ChatClient, delimiters: Delimiters, cache: ReplyCache | None = None
    ) -> None:
        self._spec = spec
        self._client = client
        self._delimiters = delimiters
        self._cache = cache
        self._has_scored: set[bool] = set()

    @property
    def info(self) -> ModelInfo:
        """Name and, if it was given, revision; an endpoint does not tell what it runs on."""
        return ModelInfo(
            name=self._spec.name, revision=self._spec.revision or _UNKNOWN, dtype=_UNKNOWN, device="endpoint"
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Generation, notes and, if the spec says by which field they come, scores."""
        return ENDPOINT_CAPABILITIES if self._spec.scores is None else ENDPOINT_CAPABILITIES | {"score"}

    @property
    def delimiters(self) -> Delimiters:
        """How chain and answer are marked in its outputs."""
        return self._delimiters

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        """Answers in the order of ``queries``, ``num_samples`` each; greedy if ``temperature`` is 0.

        A chain that is sent apart is put between the chain's delimiters, so that all outputs read alike. Samples are
        asked for one by one, each with a seed of its own; whether a seed is kept to is up to the endpoint, and so are
        the cut-offs it puts on sampling.

        Raises:
            InputError: A setting is out of range, or an image cannot be read.
            CapabilityError: A query limits its chain.
            EndpointError: A request failed for good, or its answer was withheld.
        """
        check_decoding(max_new_tokens, num_samples, temperature)
        num_drawn = num_samples if temperature > 0 else 1
        pictures: dict[tuple[str | None, tuple[str, ...]], list[dict[str, Any]]] = {}
        asked = []
        for query in queries:
            message = self._message(query, pictures)
            for sample in range(num_drawn):
                body = self._body(query, message, max_new_tokens)
                body["temperature"] = temperature
                if temperature > 0:
                    body |= {"top_p": 1.0, "seed": _sample_seed(seed, sample)}
                asked.append(self._asked(body))
        replies = self._replies(asked, read_reply)
        outputs = [
            self._output(reply, queries[position // num_drawn], max_new_tokens)
            for position, reply in enumerate(replies)
        ]
        return by_query(outputs, num_drawn, num_samples)

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        """Teacher-forced score of ``targets[i]`` put straight after the prompt of ``queries[i]``.

        Where the target begins is found by asking for the tokens of each prompt alone too. What stands between, such as
        a space, is up to the endpoint's chat template.

        Raises:
            CapabilityError: The spec does not say how scores come, or a query limits or begins its chain.
            InputError: Not one target for each query, a blank target, or an image cannot be read.
            EndpointError: A request failed for good, or the endpoint does not put a target straight after its prompt.
        """
        if self._spec.scores is None:
            raise not_offered("teacher-forced scores", self, _ASK_FOR_SCORES)
        check_paired(queries, targets)
        _check_not_blank(targets)
        pictures: dict[tuple[str | None, tuple[str, ...]], list[dict[str, Any]]] = {}
        alone, completed = [], []
        for query, target in zip(queries, targets, strict=True):
            body = self._body(query, self._message(query, pictures), 1)
            begun = {"role": "assistant", "content": target}
            turn = {
                "messages": [*body["messages"], begun],
                "add_generation_prompt": False,
                "continue_final_message": True,
            }
            alone.append(self._asked({**body, **ASKS_FOR_IDS}))
            completed.append(self._asked({**body, **turn, **ASKS_FOR_SCORES}))
        prompts = self._replies(alone, read_prompt_ids, lambda _, value: ids_alone(value))
        starts = {one.key: len(ids) for one, ids in zip(completed, prompts, strict=True)}
        fed = self._replies(completed, read_fed_prompt, lambda key, value: told_behind(value, starts[key]))
        return [
            fed_score(ids, with_target, target, self._spec.url)
            for ids, with_target, target in zip(prompts, fed, targets, strict=True)
        ]

    def require_scores(self, *, is_thinking: bool) -> None:
        """Score one short answer, past the cache, if the spec says how scores come; what succeeded is not done again.

        Args:
            is_thinking: Whether it is to be scored where a chain may stand, or behind an empty one.

        Raises:
            EndpointError: It cannot be.
        """
        if self._spec.scores is None or is_thinking in self._has_scored:
            return
        asked = Query(question=_FIRST_QUESTION, is_thinking=is_thinking)
        EndpointModel(self._spec, self._client, self._delimiters).score([asked], [_FIRST_TARGET])
        self._has_scored.add(is_thinking)

    def fingerprint(self, queries: Sequence[Query]) -> str:
        """Nothing: a chat endpoint gives no logits.

        Raises:
            CapabilityError: Always.
        """
        raise not_offered("logits", self, _LOAD_WEIGHTS)

    def _message(
        self, query: Query, pictures: dict[tuple[str | None, tuple[str, ...]], list[dict[str, Any]]]
    ) -> dict[str, Any]:
        """The user's turn: images first, one part for each frame, then the text."""
        if query.image is None:
            return {"role": "user", "content": prompt_text(query)}
        known = (query.image.folder, query.image.frames)
        if known not in pictures:
            pictures[known] = self._pictures(query.image)
        return {"role": "user", "content": [*pictures[known], {"type": "text", "text": prompt_text(query)}]}

    def _pictures(self, image: ImageRef) -> list[dict[str, Any]]:
        frames = [scaled_down(frame, self._spec.max_pixels) for frame in open_image(image)]
        return [{"type": "image_url", "image_url": {"url": _png_uri(frame)}} for frame in frames]

    def _body(self, query: Query, message: Mapping[str, Any], max_new_tokens: int) -> dict[str, Any]:
        if query.chain_tokens is not None:
            raise CapabilityError(
                f"a chain of {query.chain_tokens} tokens was asked of {self._spec.name!r}; endpoints close no chains.",
                "the model's own chain, or none (chain_tokens 0)",
                "leave protocol.chain_tokens out, or load the weights, e.g. --model hf:ORG/NAME.",
            )
        if query.chain_start is not None:
            raise CapabilityError(
                f"a chain that begins with {query.chain_start[:80]!r} was asked of {self._spec.name!r}; endpoints "
                "begin their chains themselves.",
                "a query without chain_start",
                "leave chain_start out, or load the weights, e.g. --model hf:ORG/NAME.",
            )
        body: dict[str, Any] = {
            "model": self._spec.model,
            "messages": [message],
            self._spec.max_tokens_field: max_new_tokens,
        }
        if not query.is_thinking:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        return body

    def _asked(self, body: Mapping[str, Any]) -> _Asked:
        """A request with the user's further fields; where both sides give a mapping, they are put together."""
        extra = {
            key: {**value, **body[key]} if isinstance(value, dict) and isinstance(body.get(key), dict) else value
            for key, value in self._spec.extra.items()
        }
        whole = {**body, **extra}
        return _Asked(whole, self._key(whole))

    def _key(self, body: Mapping[str, Any]) -> str:
        """SHA-256 over all that an answer follows from; the key of the endpoint is no part of it."""
        content = [_CACHE_FORMAT, self._spec.url, self._spec.revision, body]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _replies(
        self,
        asked: Sequence[_Asked],
        read: Callable[[Any], _Read],
        shortened: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = lambda _, value: value,
    ) -> list[_Read]:
        """A reply to each request, in order; what is on disk, and what was asked before in the same call, is reused.

        Args:
            asked: The requests.
            read: What is made of the body of a reply; what it refuses is not kept.
            shortened: What is kept of the body of the reply under a key.
        """
        found: dict[str, Mapping[str, Any]] = {}
        missing: dict[str, Mapping[str, Any]] = {}
        for one in asked:
            kept = self._cache.find(one.key) if self._cache is not None else None
            if kept is not None:
                found[one.key] = json.loads(kept)
            else:
                missing[one.key] = one.body
        keys = list(missing)

        def keep(position: int, value: Mapping[str, Any]) -> None:
            if self._cache is not None:
                kept = json.dumps(shortened(keys[position], value), separators=(",", ":"))
                self._cache.keep(keys[position], self._client.redacted(kept))

        if missing:
            found |= zip(keys, self._client.post_all(list(missing.values()), keep, read=read), strict=True)
        return [read(found[one.key]) for one in asked]

    def _output(self, reply: ChatReply, query: Query, max_new_tokens: int) -> Output:
        if reply.finish == "content_filter":
            raise EndpointError(
                f"the endpoint {self._spec.url!r} withheld its answer to {query.question[:80]!r} (content_filter).",
                "an answer",
                "switch its filter off, or leave the question out: what was withheld is not the model's answer.",
            )
        marks = self._delimiters
        text = reply.text
        if reply.reasoning is not None:
            opening = "" if marks.template_opens_chain and query.is_thinking else marks.chain_open
            is_unfinished = reply.finish == "length" and not reply.text
            text = opening + reply.reasoning + ("" if is_unfinished else marks.chain_close) + text
        num_tokens = len(text.split()) if reply.num_tokens is None else reply.num_tokens
        is_truncated = reply.finish == "length" or (reply.finish is None and num_tokens >= max_new_tokens)
        return Output(text=text, num_tokens=num_tokens, is_truncated=is_truncated)


def _client(spec: EndpointSpec, *, num_connect_tries: int | None = None) -> ChatClient:
    return ChatClient(
        spec.url,
        key_variable=spec.key_variable,
        timeout_s=spec.timeout_s,
        num_tries=spec.num_tries,
        num_connect_tries=num_connect_tries,
        concurrency=spec.concurrency,
    )


def _first_reply(spec: EndpointSpec) -> ChatReply:
    client = _client(spec, num_connect_tries=2)  # a server that is starting is waited for, a wrong port is not
    body = {
        "model": spec.model,
        "messages": [{"role": "user", "content": _FIRST_QUESTION}],
        spec.max_tokens_field: _FIRST_TOKENS,
        "temperature": 0.0,
        **spec.extra,
    }
    try:
        return client.complete(body)
    except EndpointError as error:
        names = client.model_names()
        if not names or spec.model in names:
            raise
        near = nearest(spec.model, names)
        raise EndpointError(
            error.tried,
            f"a model that {spec.url!r} serves: {', '.join(names[:20])}",
            f"did you mean {near!r}?" if near else "put one of these behind the #.",
        ) from error


def _check_not_blank(targets: Sequence[str]) -> None:
    blank = [target for target in targets if not target.strip()]
    if blank:
        raise InputError(
            f"the target {blank[0]!r} holds no tokens.", "a text that is not blank", "give the answer's text."
        )


def _delimiters(spec: EndpointSpec, first: ChatReply) -> Delimiters:
    """How the model marks chain and answer: as the spec says, else as its first reply shows."""
    usual = Delimiters()
    chain_open, chain_close = spec.chain_open or usual.chain_open, spec.chain_close or usual.chain_close
    has_tags = all(tag in first.text for tag in _ANSWER_TAGS)
    is_closed_only = chain_close in first.text and chain_open not in first.text
    seen: dict[str, Any] = {
        "chain_open": chain_open,
        "chain_close": chain_close,
        "answer_open": _ANSWER_TAGS[0] if has_tags else None,
        "answer_close": _ANSWER_TAGS[1] if has_tags else None,
        "writes_chain": first.reasoning is not None or chain_open in first.text or chain_close in first.text,
        "template_opens_chain": is_closed_only and first.reasoning is None,
    }
    stated = {key: value for key in seen if (value := getattr(spec, key)) is not None}
    try:
        return Delimiters.model_validate(seen | stated)
    except ValueError as error:
        raise InputError(
            f"the delimiters of the model {spec.name!r} do not fit together: {seen | stated}.",
            "delimiters that are not blank, none within another, answer_open and answer_close both or neither",
            "correct the options behind the ? of the model's name.",
        ) from error


def _png_uri(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _sample_seed(seed: int, sample: int) -> int:
    """A seed of 31 bits, which every server takes."""
    return int(hashlib.sha256(f"{seed}/{sample}".encode()).hexdigest()[:8], 16) >> 1
