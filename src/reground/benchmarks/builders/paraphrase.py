"""A question in other words: from a model behind an OpenAI-compatible endpoint, or by rules."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import Any, Protocol

from reground.benchmarks.builders.items import Item
from reground.edits.records import Record, Text, is_blank
from reground.errors import EndpointError, InputError

__all__ = [
    "EndpointParaphraser",
    "Paraphrase",
    "Paraphraser",
    "RuleParaphraser",
    "create_paraphraser",
    "fits",
]

#: Environment variable that holds the endpoint's key.
_KEY_VARIABLE = "OPENAI_API_KEY"

_FRAMES = (
    "Going by the {images}, {question}",
    "Judging from the {images}, {question}",
    "Look at the {images} and answer this: {question}",
    "With the {images} in view, {question}",
)
_SWAPS = (
    (re.compile(r"\bmost likely\b"), "most probably"),
    (re.compile(r"\bshown\b"), "depicted"),
    (re.compile(r"\bimages\b"), "pictures"),
    (re.compile(r"\bimage\b"), "picture"),
)
_OPENING = re.compile(r"^(?:What|Which|Where|Who|How|Why|When|Is|Are|Does|Do|Can|In|Based|Considering)\b")
_WORDS = re.compile(r"\w+")
_INSTRUCTION = (
    "Say the following question in other words. Ask for exactly the same thing, so that the same answer is right. "
    "Keep every finding, name and number. Do not answer it. Reply with the question alone, on one line."
)
_NUM_TRIES = 4
#: A wording that does not fit is asked for once more, less greedily.
_TEMPERATURES = (0.0, 0.7)
_TIMEOUT_S = 120.0


class Paraphrase(Record):
    """A question in other words, and who put it so."""

    text: Text
    by: Text


class Paraphraser(Protocol):
    """Puts the question of an item into other words."""

    @property
    def name(self) -> str: ...

    def paraphrase(self, item: Item) -> Paraphrase: ...

    def close(self) -> None: ...


def create_paraphraser(spec: str, model: str | None, *, wait_s: float = 2.0) -> Paraphraser:
    """The paraphraser that ``spec`` names.

    Args:
        spec: ``rules``, or the base URL of an endpoint, e.g. ``http://localhost:8000/v1``.
        model: Name of the endpoint's model.
        wait_s: Seconds before an endpoint is tried again; doubled each time.

    Raises:
        InputError: Neither; an endpoint without a model; rules with one.
    """
    if spec == "rules" and model is None:
        return RuleParaphraser()
    if spec.startswith(("http://", "https://")) and model and not is_blank(model):
        return EndpointParaphraser(spec, model, key=os.environ.get(_KEY_VARIABLE), wait_s=wait_s)
    raise InputError(
        f"--paraphraser {spec!r} was given with --paraphraser-model {model!r}.",
        "rules alone, or the base URL of an OpenAI-compatible endpoint (http://...) with the name of its model",
        f"correct the two options; a key, if one is needed, is read from {_KEY_VARIABLE}.",
    )


def fits(text: str, item: Item) -> bool:
    """Whether a text can stand for the question: one line, other words, and no option named that was not before."""
    said, asked = _folded(text), _folded(item.question)
    if not said or said == asked or "\n" in text.strip():
        return False
    right = _folded(item.options[item.answer])
    return not _names(said, right) or _names(asked, right)


class RuleParaphraser:
    """Puts a frame around the question and swaps a few words; the same item always gets the same wording.

    A fallback: it varies the wording less than a model or a person would, and says so in every record.
    """

    name = "rules"

    def paraphrase(self, item: Item) -> Paraphrase:
        question = item.question
        for pattern, word in _SWAPS:
            question = pattern.sub(word, question)
        if _OPENING.match(question):
            question = question[0].lower() + question[1:]
        frame = _FRAMES[hashlib.sha256(item.question.encode()).digest()[0] % len(_FRAMES)]
        images = "pictures" if len(item.images) > 1 else "picture"
        return Paraphrase(text=frame.format(images=images, question=question), by=self.name)

    def close(self) -> None:
        """Nothing: rules hold no connection."""


class EndpointParaphraser:
    """Asks a model behind an OpenAI-compatible endpoint; falls back to the rules where its wording does not fit.

    Args:
        url: Base URL, up to and with ``/v1``.
        model: Name of the model there.
        key: Sent as a bearer token; None: no key is sent.
        wait_s: Seconds before a failed request is sent again; doubled each time.
    """

    def __init__(self, url: str, model: str, *, key: str | None = None, wait_s: float = 2.0) -> None:
        import httpx2

        self.name = f"the model {model}"
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model
        self._wait_s = wait_s
        self._rules = RuleParaphraser()
        self._client = httpx2.Client(
            timeout=_TIMEOUT_S, headers={} if key is None else {"Authorization": f"Bearer {key}"}
        )

    def paraphrase(self, item: Item) -> Paraphrase:
        """The model's wording, or after two that do not fit, that of the rules.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses, or sends no usable reply.
        """
        for temperature in _TEMPERATURES:
            text = self._ask(item.question, temperature)
            if fits(text, item):
                return Paraphrase(text=text, by=self.name)
        return self._rules.paraphrase(item)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _ask(self, question: str, temperature: float) -> str:
        import httpx2

        body = {
            "model": self._model,
            "temperature": temperature,
            "messages": [
                {"role": "system", "content": _INSTRUCTION},
                {"role": "user", "content": question},
            ],
        }
        problem = ""
        for attempt in range(_NUM_TRIES):
            if attempt:
                time.sleep(self._wait_s * 2 ** (attempt - 1))
            try:
                response = self._client.post(self._url, json=body)
            except httpx2.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == 200:
                return self._content(response)
            problem = f"status {response.status_code}: {response.text[:200]}"
            if response.status_code != 429 and response.status_code < 500:
                break
        raise EndpointError(
            f"the endpoint {self._url!r} gave no paraphrase: {problem}.",
            "a reply with status 200 to an OpenAI-compatible chat completion",
            f"check the URL, the model's name and the key in {_KEY_VARIABLE}; the same command goes on from here.",
        )

    def _content(self, response: Any) -> str:
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(
                f"the endpoint {self._url!r} replied without a message: {response.text[:200]!r}.",
                "choices[0].message.content, as OpenAI-compatible endpoints send it",
                "check that the URL is that of a chat endpoint, up to and with /v1.",
            ) from error
        return content.strip() if isinstance(content, str) else ""


def _folded(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))


def _names(text: str, words: str) -> bool:
    return f" {words} " in f" {text} "
