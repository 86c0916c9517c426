"""A question in other words: from a model behind an OpenAI-compatible endpoint, or by rules."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from reground.benchmarks.builders.items import Item
from reground.chat.client import KEY_VARIABLE, ChatClient
from reground.edits.records import Record, Text, is_blank
from reground.errors import InputError

__all__ = [
    "EndpointParaphraser",
    "Paraphrase",
    "Paraphraser",
    "RuleParaphraser",
    "create_paraphraser",
    "fits",
]

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


class Paraphrase(Record):
    """A question in other words, and who put it so."""

    text: Text
    by: Text


class Paraphraser(Protocol):
    """Puts the question of an item into other words."""

    @property
    def name(self) -> str: ...

    def paraphrase(self, item: Item) -> Paraphrase: ...


def create_paraphraser(spec: str, model: str | None) -> Paraphraser:
    """The paraphraser that ``spec`` names.

    Args:
        spec: ``rules``, or the base URL of an endpoint, e.g. ``http://localhost:8000/v1``.
        model: Name of the endpoint's model.

    Raises:
        InputError: Neither; an endpoint without a model; rules with one.
    """
    if spec == "rules" and model is None:
        return RuleParaphraser()
    if spec.startswith(("http://", "https://")) and model and not is_blank(model):
        return EndpointParaphraser(ChatClient(spec, num_tries=_NUM_TRIES), model)
    raise InputError(
        f"--paraphraser {spec!r} was given with --paraphraser-model {model!r}.",
        "rules alone, or the base URL of an OpenAI-compatible endpoint (http://...) with the name of its model",
        f"correct the two options; a key, if one is needed, is read from {KEY_VARIABLE}.",
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


class EndpointParaphraser:
    """Asks a model behind an OpenAI-compatible endpoint; falls back to the rules where its wording does not fit.

    Args:
        client: Talks to the endpoint.
        model: Name of the model there.
    """

    def __init__(self, client: ChatClient, model: str) -> None:
        self.name = f"the model {model}"
        self._client = client
        self._model = model
        self._rules = RuleParaphraser()

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

    def _ask(self, question: str, temperature: float) -> str:
        messages = [{"role": "system", "content": _INSTRUCTION}, {"role": "user", "content": question}]
        reply = self._client.complete({"model": self._model, "temperature": temperature, "messages": messages})
        return reply.text.strip()


def _folded(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))


def _names(text: str, words: str) -> bool:
    return f" {words} " in f" {text} "
