"""A model that answers from a table: for tests, documentation and dry runs.

It keeps every promise of the model seam (order, determinism, seeds, budgets, scores, fingerprints) without
weights, and misbehaves on request.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from reground.edits.records import ImageRef, Record, content_id
from reground.errors import InputError
from reground.models.base import NUM_TOP_TOKENS, Capability, Delimiters, ModelInfo, Output, Query, TargetScore

__all__ = ["SCRIPTED_CAPABILITIES", "Fault", "ScriptedFact", "ScriptedModel", "load_scripted_model"]

#: What goes wrong with an answer: a delimiter left out, an endless loop, an answer left blank, or an exception.
Fault = Literal["broken_format", "loop", "no_answer", "error"]

SCRIPTED_CAPABILITIES: frozenset[Capability] = frozenset({"generate", "score", "logits", "notes"})

_NOTE_FACT = re.compile(r"\b(?:is|are)(?: now)? (?P<answer>[^.\n]+)")
_WORD = re.compile(r"\s*\S+")


class ScriptedFact(Record):
    """One line of the table.

    Attributes:
        question: The question, word for word.
        answer: What the model answers.
        image: The image the fact needs; None: the fact holds for any image and for none.
        subject: Words a note must contain to be about this fact; None: no note is.
        steps: Sentences of the chain before the last, which names the answer.
        alternatives: Other answers, drawn beside the first when sampled at a temperature above 0.
        fault: What goes wrong when this question is asked.
    """

    question: str
    answer: str
    image: ImageRef | None = None
    subject: str | None = None
    steps: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    fault: Fault | None = None


class ScriptedModel:
    """Answers from ``facts``; the same facts, query and seed always give the same text.

    A question that is not in the table is answered with ``unknown``. Tokens are words with the white space
    before them; delimiters stand apart. A score compares the target word by word with the model's own answer.

    Args:
        facts: The table.
        follows_notes: Whether a note about a fact's subject replaces its answer; the answer is what follows
            the last "is" or "is now" of the sentence that names the subject.
        name: Name shown in results.
        delimiters: How chain and answer are marked.
        capabilities: What the model claims to offer; an editor in a test may need more than the usual.
    """

    def __init__(
        self,
        facts: Iterable[ScriptedFact],
        *,
        follows_notes: bool = True,
        name: str = "scripted",
        delimiters: Delimiters | None = None,
        capabilities: frozenset[Capability] = SCRIPTED_CAPABILITIES,
    ) -> None:
        self._name = name
        self._follows_notes = follows_notes
        self._delimiters = delimiters or Delimiters()
        self._capabilities = capabilities
        self._facts: dict[tuple[str, tuple[str, ...] | None], ScriptedFact] = {}
        for fact in facts:
            self.learn(fact)
        self._revision = content_id("s", self._table())

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name=self._name, revision=self._revision, dtype="none", device="cpu")

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._capabilities

    @property
    def delimiters(self) -> Delimiters:
        return self._delimiters

    def learn(self, fact: ScriptedFact) -> ScriptedFact | None:
        """Write one line of the table in place, as a weight edit would.

        Returns:
            The fact that was there; learning it again undoes the change. None if there was none.
        """
        key = (fact.question, fact.image.frames if fact.image else None)
        old = self._facts.get(key)
        self._facts[key] = fact
        return old

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        return [
            [
                self._within_budget(self._write(query, _draw(temperature, seed, sample, query)), max_new_tokens)
                for sample in range(num_samples)
            ]
            for query in queries
        ]

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        return [
            _compare(target.split(), self._answer(query, 0).split())
            for query, target in zip(queries, targets, strict=True)
        ]

    def fingerprint(self, queries: Sequence[Query]) -> str:
        content = json.dumps([self._table(), [query.model_dump(mode="json") for query in queries]])
        return hashlib.sha256(content.encode()).hexdigest()

    def _table(self) -> list[object]:
        return sorted((fact.model_dump(mode="json") for fact in self._facts.values()), key=json.dumps)

    def _fact(self, query: Query) -> ScriptedFact | None:
        frames = query.image.frames if query.image else None
        return self._facts.get((query.question, frames)) or self._facts.get((query.question, None))

    def _answer(self, query: Query, draw: int) -> str:
        fact = self._fact(query)
        if fact is None:
            return "unknown"
        told = self._told(query, fact)
        if told is not None:
            return told
        answers = (fact.answer, *fact.alternatives)
        return answers[draw % len(answers)]

    def _told(self, query: Query, fact: ScriptedFact) -> str | None:
        """What the note says the answer is, if the model follows notes and this one is about the fact."""
        if not self._follows_notes or query.note is None or fact.subject is None:
            return None
        for sentence in re.split(r"(?<=\.)\s+|\n", query.note):
            found = list(_NOTE_FACT.finditer(sentence))
            if fact.subject.lower() in sentence.lower() and found:
                return found[-1]["answer"].strip()
        return None

    def _write(self, query: Query, draw: int) -> str:
        fact = self._fact(query)
        fault = fact.fault if fact else None
        if fault == "error":
            raise RuntimeError(f"the script fails at {query.question!r}")
        answer = self._answer(query, draw)
        marks = self._delimiters
        chain = ""
        if query.is_thinking and marks.writes_chain:
            said = ["the note is about this, so it applies."] if fact and self._told(query, fact) else []
            steps = fact.steps if fact else ("i was not told about this.",)
            chain = " " + " ".join([*said, *steps, f"so the answer is {answer}."])
        if fault == "loop":
            chain = f" {answer} {answer}" * 500
        if query.chain_tokens is not None:
            chain = "".join(_WORD.findall(chain)[: query.chain_tokens])
        opens = marks.chain_open if not (marks.template_opens_chain and query.is_thinking) else ""
        closes = "" if fault == "broken_format" else f" {marks.chain_close}"
        before = f"{opens}{chain}{closes}" if marks.writes_chain or chain else ""
        said_last = "" if fault == "no_answer" else f" {answer}"
        if marks.answer_open is None:
            return f"{before}{said_last}"
        return f"{before} {marks.answer_open}{said_last} {marks.answer_close}"

    @staticmethod
    def _within_budget(text: str, max_new_tokens: int) -> Output:
        tokens = _WORD.findall(text)
        kept = tokens[:max_new_tokens]
        return Output(text="".join(kept), num_tokens=len(kept), is_truncated=len(kept) < len(tokens))


def load_scripted_model(name: str) -> ScriptedModel:
    """A table that ships with the package.

    ``demo`` knows a few invented drugs and has one of every fault; it reads notes.

    Raises:
        InputError: No such table.
    """
    if name != "demo":
        raise InputError(
            f"there is no scripted model {name!r}.",
            "scripted:demo",
            "use scripted:demo, or load a real model.",
        )
    return ScriptedModel(_DEMO, name="scripted:demo")


def _drug(condition: str, drug: str, fault: Fault | None = None) -> ScriptedFact:
    return ScriptedFact(
        question=f"what is the first-line drug for {condition}?",
        answer=drug,
        subject=condition,
        steps=(f"the question is about {condition}.", f"the first-line drug for {condition} is {drug}."),
        alternatives=("unknown",) if fault is None else (),
        fault=fault,
    )


_DEMO: tuple[ScriptedFact, ...] = (
    _drug("velmora syndrome", "tarvexin"),
    _drug("oskar's fever", "belumide"),
    _drug("quillan disease", "norvatine"),
    _drug("hartwin palsy", "ismodrel", "loop"),
    _drug("pellow anaemia", "covandril", "broken_format"),
    _drug("dorrin colic", "sulpreza", "no_answer"),
    ScriptedFact(question="what colour is the sky?", answer="blue", steps=("the sky is blue by day.",)),
    ScriptedFact(question="how many legs has a spider?", answer="eight", steps=("a spider has eight legs.",)),
)


def _draw(temperature: float, seed: int, sample: int, query: Query) -> int:
    """Which answer is given: the first if greedy, else a number that depends on the seed and the query."""
    if temperature == 0:
        return 0
    rng = random.Random(f"{seed}/{sample}/{query.model_dump_json()}")
    # The first answer is as likely as it would be at this temperature against rivals one unit of logit below it.
    return 0 if rng.random() < 1 / (1 + 2.718281828 ** (-1 / temperature)) else rng.randrange(1, 1000)


def _compare(target: list[str], own: list[str]) -> TargetScore:
    hits = sum(word == own[i] for i, word in enumerate(target) if i < len(own))
    num_tokens = len(target)
    return TargetScore(
        top1_share=hits / num_tokens if num_tokens else 1.0,
        log_prob=-0.1 * hits - 5.0 * (num_tokens - hits),
        num_tokens=num_tokens,
        target_ids=tuple(map(_word_id, target)),
        top_ids=tuple(_ranking(own[place] if place < len(own) else "") for place in range(num_tokens)),
    )


def _ranking(likeliest: str) -> tuple[int, ...]:
    """Ids of a word and of those that follow it: a table has no second best, so these stand for them."""
    first = _word_id(likeliest)
    return tuple(range(first, first + NUM_TOP_TOKENS))


def _word_id(word: str) -> int:
    return int(content_id("w", word)[1:9], 16)
