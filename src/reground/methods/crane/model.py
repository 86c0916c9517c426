"""A model with a library of cards beside it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from reground.edits.card_note import CardNote, card_note
from reground.edits.names import Sentence, as_name, calls, names_in, sentences_of
from reground.library.card import name_of
from reground.methods.crane.cards import Cards, Given, Put, newest_first
from reground.methods.crane.config import CranePromptConfig
from reground.methods.crane.thinking import asserts, chain_in, naming_sentences, restated, says, states
from reground.methods.edited import SavedEdit, WrappedModel
from reground.models.base import Capability, Model, Output, Query, TargetScore

if TYPE_CHECKING:
    from reground.methods.crane.policy import Policy

__all__ = ["CraneModel", "Usage"]

_WEIGHT_ACCESS: frozenset[Capability] = frozenset({"weights", "hidden_states"})
_Reply = TypeVar("_Reply")


@dataclass
class Usage:
    """What answering has cost beside the answers themselves, since the cards were put in force.

    Attributes:
        num_queries: Queries answered.
        num_given: Of these, the ones that received a card before they were answered.
        num_lookups: Sentences of chains that were looked up.
        num_inserted: Cards inserted into chains.
        num_called: Times a chain was gone on with because it calls a card by name and had passed it over.
        num_released: Times the unedited model went on with a chain that had said what a card does.
        num_handed_back: Outputs that said what none of their cards does, so that the unedited model answered.
        num_corrected: Sentences in which what holds now took the place of what a card had taken back.
        routing_s: Seconds of routing queries and looking up sentences.
        rewriting_s: Seconds of going on with chains, and of asking the unedited model.
    """

    num_queries: int = 0
    num_given: int = 0
    num_lookups: int = 0
    num_inserted: int = 0
    num_called: int = 0
    num_released: int = 0
    num_handed_back: int = 0
    num_corrected: int = 0
    routing_s: float = 0.0
    rewriting_s: float = 0.0


@dataclass(eq=False)
class _Draft:
    """One chain that is being read.

    Attributes:
        query: What was asked.
        given: The cards it has.
        output: What was written so far.
        seed: Of its sample.
        plain: What the unedited model wrote; None as long as it was not asked.
        refused: Ids of cards that the chain was given and left.
        called: Ids of the given cards of which it was told that question or chain calls them by name.
        stated: Ids of cards after which the policy has let go of the chain.
        followed: Cards that it has stated and that made room for others.
        inserted: Ids of the cards that it was given while it was written, and where in the chain.
        seen: All cards that it was ever given, by id.
        again: A sentence to look up once more if something follows it.
        read_to: How much of the chain has been looked up.
        num_lookups: So far in this chain.
    """

    query: Query
    given: tuple[Given, ...]
    output: Output
    seed: int
    plain: Output | None = None
    refused: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()
    stated: frozenset[str] = frozenset()
    followed: tuple[Given, ...] = ()
    inserted: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Given] = field(default_factory=dict)
    again: Sentence | None = None
    read_to: int = 0
    num_lookups: int = 0


@dataclass(frozen=True)
class _Correction:
    """A card that a chain contradicts.

    Attributes:
        given: It.
        stood: The chain up to the end of the sentence that contradicts it.
        begun: The same with what the card says in the place of what it took back.
    """

    given: Given
    stood: str
    begun: str


class CraneModel(WrappedModel):
    """A model whose queries receive the cards that concern them.

    A query that receives none goes to the model as it is. One that does has its cards stated before it, before any
    note it carries itself, and the policy's adapter is in force while it is answered.

    Args:
        base: The unedited model.
        saved: What is kept of the edits.
        config: Settings.
        cards: Library and router; shared with edits made on top.
        put: What has to be undone.
        policy: The adapter; None for a model that reads cards as it is.
    """

    def __init__(
        self, base: Model, saved: SavedEdit, config: CranePromptConfig, cards: Cards, put: Put, policy: Policy | None
    ) -> None:
        super().__init__(base, saved)
        self.cards = cards
        self.policy = policy
        self.usage = Usage()
        self._config = config
        self._puts = [put]

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of the wrapped model, without its weights: what is done to those would not reach the cards."""
        return self.base.capabilities - _WEIGHT_ACCESS

    @property
    def details(self) -> Mapping[str, Any]:
        """The cards, what making them took, and under ``usage`` what answering has cost so far."""
        return {**self.saved.details, "usage": vars(self.usage)}

    def goes_on(self, method: str, config: CranePromptConfig) -> bool:
        """Whether an edit by a method with these settings adds to the cards here."""
        return not self.is_restored and self.saved.method == method and self._config == config

    def absorb(self, later: CraneModel) -> None:
        """Make one edit of this one and the one made on top of it, so that both come off and are saved as one."""
        assert later.cards is self.cards, "the later edit was made on top of this one"
        self._puts += later._puts
        self.saved = _joined(self.saved, later.saved)
        later.is_restored = True

    def restore(self) -> None:
        """Take the cards back, the last first. Calling it twice is harmless."""
        if self.is_restored:
            return
        self.cards.take_back(self._puts)
        super().restore()

    # Answers.

    def given(self, queries: Sequence[Query]) -> list[tuple[Given, ...]]:
        """The cards that each query receives before it is answered, the newest first."""
        if self.is_restored or not queries:
            return [()] * len(queries)
        if self._config.retrieval == "gold":
            return [self.cards.all()] * len(queries)
        return self._timed(lambda: self.cards.of_queries(queries))

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        """Answers, cards given before and while thinking."""
        given = self.given(queries)
        self.usage.num_queries += len(queries)
        self.usage.num_given += sum(bool(cards) for cards in given)

        def ask(_: Sequence[int], asked: Sequence[Query]) -> list[list[Output]]:
            return self.base.generate(
                asked, max_new_tokens=max_new_tokens, temperature=temperature, num_samples=num_samples, seed=seed
            )

        outputs = self._asked(queries, given, ask)
        if self.is_restored:
            return outputs
        drafts = [
            [
                _Draft(
                    query,
                    cards,
                    output,
                    seed + sample,
                    plain=None if cards else output,
                    called=self._called(query, cards),
                    seen={one.id: one for one in cards},
                )
                for sample, output in enumerate(written)
            ]
            for query, cards, written in zip(queries, given, outputs, strict=True)
        ]
        reading = [one for of_query in drafts for one in of_query if _can_be_read(one.query)]
        is_settled = False
        while not is_settled:
            while reading:
                reading = self._read_on(reading, max_new_tokens, temperature)
            reading = self._handed_back(drafts, ask) if self._config.hands_back else []
            if not reading:
                reading = self._corrected([one for of_query in drafts for one in of_query], max_new_tokens, temperature)
            is_settled = not reading
        return [[one.output for one in of_query] for of_query in drafts]

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        """Scores with the cards that are given before thinking."""
        if len(queries) != len(targets):
            return self.base.score(queries, targets)  # says what is wrong

        def ask(positions: Sequence[int], asked: Sequence[Query]) -> list[TargetScore]:
            return self.base.score(asked, [targets[position] for position in positions])

        return self._asked(queries, self.given(queries), ask)

    def fingerprint(self, queries: Sequence[Query]) -> str:
        """Fingerprint with the cards that are given before thinking; the wrapped model's where there are none."""
        given = self.given(queries)
        if not any(given):
            return self.base.fingerprint(queries)
        prints = self._asked(queries, given, lambda _, asked: [self.base.fingerprint(asked)] * len(asked))
        return hashlib.sha256(repr((list(map(bool, given)), prints)).encode()).hexdigest()

    def _asked(
        self,
        queries: Sequence[Query],
        given: Sequence[tuple[Given, ...]],
        ask: Callable[[Sequence[int], Sequence[Query]], list[_Reply]],
    ) -> list[_Reply]:
        """Replies in the order of ``queries``: those without cards of the model as it is, the others of the policy."""
        replies: dict[int, _Reply] = {}
        for has_cards in (False, True):
            positions = [position for position, cards in enumerate(given) if bool(cards) == has_cards]
            if not positions:
                continue
            asked = [
                self._with_cards(query, cards, self._called(query, cards))
                for query, cards in ((queries[position], given[position]) for position in positions)
            ]
            with self._in_force(is_on=has_cards):
                replies |= dict(zip(positions, ask(positions, asked), strict=True))
        return [replies[position] for position in range(len(queries))]

    def _in_force(self, *, is_on: bool) -> Any:
        return self.policy.in_force() if is_on and self.policy is not None else nullcontext()

    def _called(self, query: Query, given: Sequence[Given], chain: str = "") -> frozenset[str]:
        """Ids of the cards that the question, or the chain so far, calls by name and that are to say so."""
        if self.policy is None or not self._config.tells_called:
            return frozenset()
        in_question = names_in(query.question)
        sentences = [sentence.text for sentence in sentences_of(chain)]
        told = [one.card.new_answer for one in given]
        return frozenset(
            one.id
            for one in given
            if name_of(one.card) in in_question or any(calls(text, name_of(one.card), told) for text in sentences)
        )

    def _with_cards(self, query: Query, given: Sequence[Given], called: Collection[str]) -> Query:
        """A query with cards before it; of those with the ids in ``called`` it says that they are called by name."""
        if not given:
            return query
        note = card_note([_note_of(one, is_called=one.id in called) for one in given], self._config.instruction)
        return query.model_copy(update={"note": f"{note}\n{query.note}" if query.note else note})

    # Retrieval while thinking.

    def _read_on(self, drafts: Sequence[_Draft], max_new_tokens: int, temperature: float) -> list[_Draft]:
        """Look up what the drafts name since they were last read, and see what they say of their cards.

        Returns:
            Those that were gone on with: beside a further card or one that now says that it is called by name, or
            without any after one was stated.
        """
        stated = {draft: self._statement(draft) for draft in drafts}
        passed_over = {draft: self._passed_over(draft, end) for draft, end in stated.items()}
        named = [
            (draft, sentence)
            for draft, end in stated.items()
            for sentence in self._to_look_up(draft, end, passed_over[draft])
        ]
        found = self._timed(
            lambda: self.cards.of_sentences(
                [sentence.text for _, sentence in named], [draft.query for draft, _ in named]
            )
        )
        self.usage.num_lookups += len(named)
        inserted: dict[_Draft, tuple[Sentence, list[Given]]] = {}
        for (draft, sentence), hits in zip(named, found, strict=True):
            held = draft.refused.union(one.id for one in draft.given)
            fresh = [hit for hit in hits if hit.id not in held and self._may_matter(hit, draft, sentence)]
            if fresh and draft not in inserted:
                inserted[draft] = (sentence, fresh)
            if draft not in inserted or inserted[draft][0] is sentence:
                draft.num_lookups += 1
        for draft, call in passed_over.items():
            if call is not None and (draft not in inserted or call.end < inserted[draft][0].end):
                inserted[draft] = (call, [])
                self.usage.num_called += 1
        released = {draft: end for draft, end in stated.items() if end is not None and draft not in inserted}
        beside = [self._with_further(draft, *further) for draft, further in inserted.items()]
        by_policy = {draft: draft.output for draft in released}
        alone = [self._let_go(draft, end) for draft, end in released.items()]
        with self._in_force(is_on=True):
            self._write_on(list(zip(inserted, beside, strict=True)), max_new_tokens, temperature)
        self._write_on(list(zip(released, alone, strict=True)), max_new_tokens, temperature)
        for draft, output in by_policy.items():
            if self._ends_here(draft, draft.output) and not self._ends_here(draft, output) and not output.is_truncated:
                draft.output = output
                self.usage.num_released -= 1
        return [*inserted, *released]

    def _may_matter(self, hit: Given, draft: _Draft, sentence: Sentence) -> bool:
        """Whether a card that a sentence brought may change what the chain comes to.

        It adds nothing to a chain that says the same without having it: of a textual card a sentence that calls it by
        name, of a visual one the sentence that brought it or the next. And where the last sentence brought it because
        that is the answer, nobody asked what the card says of the answer.
        """
        card, name = hit.card, name_of(hit.card)
        if name and self._is_end(draft, sentence) and name == as_name(draft.output.trace(self.delimiters).answer):
            return False
        said = sentences_of(chain_in(draft.output.text, self.delimiters) or "")
        if card.image is None:
            agreeing = [one for one in said if calls(one.text, name)]
        else:  # what an image shows is not named again where it is said what it means
            agreeing = [sentence, *(one for one in said if one.end > sentence.end)][:2]
        return not any(asserts(one.text, card.new_answer, card.prior_answer) for one in agreeing)

    def _is_end(self, draft: _Draft, sentence: Sentence) -> bool:
        """Whether a chain ends with a sentence, and not because it was cut off."""
        chain = chain_in(draft.output.text, self.delimiters) or ""
        return self.delimiters.chain_close in draft.output.text and not chain[sentence.end :].strip()

    def _ends_here(self, draft: _Draft, output: Output) -> bool:
        """Whether the chain of an output has no whole sentence beyond what of the draft has been read."""
        chain = chain_in(output.text, self.delimiters) or ""
        return not any(sentence.end > draft.read_to for sentence in sentences_of(chain))

    def _statement(self, draft: _Draft) -> Sentence | None:
        """The sentence after which the policy lets go: the first that says what a card does; None if it holds on.

        It holds on as long as the sentence calls another of its cards by name. Cards that every query receives are
        never looked up, so there it holds on until all have been stated.
        """
        if self.policy is None or not self._config.releases or "begun_chains" not in self.base.capabilities:
            return None
        held = [one for one in draft.given if one.id not in draft.stated]
        num_held = len(held)
        for sentence in sentences_of(chain_in(draft.output.text, self.delimiters) or ""):
            if sentence.end > draft.read_to:
                held = [one for one in held if not states(sentence.text, one.card.new_answer)]
                is_called = any(name_of(one.card) in names_in(sentence.text) for one in held)
                waits = is_called if self._config.retrieval == "routed" else bool(held)
                if len(held) < num_held and not waits:
                    return sentence
        return None

    def _passed_over(self, draft: _Draft, statement: Sentence | None) -> Sentence | None:
        """The first sentence that calls a card which was not told so and which the chain goes on to leave.

        Args:
            draft: The chain.
            statement: Where the policy lets go, if it does; what comes after does not count.
        """
        if self.policy is None or not self._config.tells_called:
            return None
        chain = chain_in(draft.output.text, self.delimiters) or ""
        sentences = [one for one in sentences_of(chain) if statement is None or one.end <= statement.end]
        told = [one.card.new_answer for one in draft.given]
        left = [
            one
            for one in draft.given
            if one.id not in draft.called | draft.stated
            and not any(states(sentence.text, one.card.new_answer) for sentence in sentences)
        ]
        fresh = [sentence for sentence in sentences if sentence.end > draft.read_to and sentence != statement]
        return next((one for one in fresh if any(calls(one.text, name_of(card.card), told) for card in left)), None)

    def _to_look_up(self, draft: _Draft, statement: Sentence | None, call: Sentence | None) -> list[Sentence]:
        """Sentences that name something for the first time, as far as the chain is kept.

        The sentence after which the policy lets go is among them: what a card says was named by the card, and another
        card may be about it.
        """
        is_looking = self._config.looks_up and self._config.retrieval == "routed"
        chain = chain_in(draft.output.text, self.delimiters)
        if chain is None or not is_looking:
            return []
        known = [draft.query.question, draft.query.note or "", *draft.query.options]
        known += [card_note([_note_of(one)]) for one in draft.given]
        fresh = [one for one in naming_sentences(sentences_of(chain), known) if one.end > draft.read_to]
        if draft.again is not None and not self._is_end(draft, draft.again):
            fresh.insert(0, draft.again)
        draft.again = None
        if statement is not None:
            fresh = [*(one for one in fresh if one.end < statement.end), statement]
        if call is not None:
            fresh = [one for one in fresh if one.end <= call.end]
        return fresh[: self._config.max_lookups - draft.num_lookups]

    def _with_further(self, draft: _Draft, sentence: Sentence, cards: Sequence[Given]) -> Query:
        """What the policy is asked next: to go on from the end of a sentence, with what further cards it brought.

        They take the place of others if there would be more than ``max_cards``, so that what is read at once does not
        grow with the library. A model that cannot go on with a chain is asked again from the beginning, beside all of
        them.
        """
        kept = (chain_in(draft.output.text, self.delimiters) or "")[: sentence.end]
        goes_on = "begun_chains" in self.base.capabilities
        if cards:
            if goes_on:
                self._make_room(draft, kept, len(cards))
            draft.given = newest_first((*draft.given, *cards))
            draft.inserted |= {one.id: sentence.end for one in cards}
            draft.seen |= {one.id: one for one in cards}
            self.usage.num_inserted += len(cards)
        called = self._called(draft.query, draft.given, kept)
        draft.called |= called
        query = self._with_cards(draft.query, draft.given, called)
        return self._from(draft, sentence, query) if goes_on else query

    def _make_room(self, draft: _Draft, kept: str, num_coming: int) -> None:
        """Leave out cards of a chain, as far as there would be more than ``max_cards`` with those that are coming.

        First go those that the kept chain has stated since it was given them, then those inserted before, the oldest
        first. What the question received and nothing has stated yet stays.
        """
        at = draft.inserted
        stated = [one for one in draft.given if states(kept[at.get(one.id, 0) :], one.card.new_answer)]
        waiting = sorted((one for one in draft.given if one not in stated and one.id in at), key=lambda one: at[one.id])
        num_over = len(draft.given) + num_coming - self._config.max_cards
        left = [*stated, *waiting][: max(0, num_over)]
        followed = [one for one in left if one in stated]
        draft.followed += tuple(followed)
        draft.refused |= {one.id for one in followed}
        draft.given = tuple(one for one in draft.given if one not in left)

    def _let_go(self, draft: _Draft, sentence: Sentence) -> Query:
        """What the unedited model is asked next: to go on from the end of a sentence, without cards.

        A sentence that was the chain's last is looked up again if the unedited model has more to say.
        """
        is_end = self._is_end(draft, sentence)
        query = self._from(draft, sentence, draft.query)
        draft.again = sentence if is_end else None
        draft.given = tuple(one for one in draft.given if states(query.chain_start or "", one.card.new_answer))
        draft.stated |= {one.id for one in draft.given}
        self.usage.num_released += 1
        return query

    def _from(self, draft: _Draft, sentence: Sentence, query: Query) -> Query:
        chain = chain_in(draft.output.text, self.delimiters) or ""
        draft.read_to = sentence.end
        return query.model_copy(update={"chain_start": chain[: sentence.end].rstrip()})

    def _write_on(self, rows: Sequence[tuple[_Draft, Query]], max_new_tokens: int, temperature: float) -> None:
        """Put what the model writes to these queries in the place of what was written so far."""
        start = time.perf_counter()
        by_seed: dict[int, list[tuple[_Draft, Query]]] = {}
        for draft, query in rows:
            by_seed.setdefault(draft.seed, []).append((draft, query))
        for seed, asked in by_seed.items():
            queries = [query for _, query in asked]
            written = self.base.generate(queries, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
            for (draft, _), (output,) in zip(asked, written, strict=True):
                draft.output = _within(output, max_new_tokens)
        self.usage.rewriting_s += time.perf_counter() - start

    def _handed_back(
        self, drafts: Sequence[Sequence[_Draft]], ask: Callable[[Sequence[int], Sequence[Query]], list[list[Output]]]
    ) -> list[_Draft]:
        """Let the unedited model answer where an output says what none of its cards does.

        What it wrote before a card was inserted is taken up again, and not read a second time.

        Args:
            drafts: The samples of each query.
            ask: Asks the model as it is.

        Returns:
            Those whose chain is yet to be read.
        """
        left = [[one for one in of_query if one.given and not self._uses_a_card(one)] for of_query in drafts]
        unasked = [place for place, of_query in enumerate(left) if any(one.plain is None for one in of_query)]
        start = time.perf_counter()
        written = ask(unasked, [drafts[place][0].query for place in unasked]) if unasked else []
        self.usage.rewriting_s += time.perf_counter() - start
        plain = dict(zip(unasked, written, strict=True))
        fresh = []
        for place, of_query in enumerate(drafts):
            for sample, one in enumerate(of_query):
                if one not in left[place]:
                    continue
                if one.plain is None:
                    one.plain = plain[place][sample]
                    fresh.append(one)
                one.refused |= {card.id for card in one.given} | one.inserted.keys()
                one.output, one.given, one.read_to, one.num_lookups = one.plain, (), 0, 0
                one.followed, one.inserted, one.again = (), {}, None
                self.usage.num_handed_back += 1
        return [one for one in fresh if _can_be_read(one.query)]

    def _uses_a_card(self, draft: _Draft) -> bool:
        """Whether an output says what one of its cards does, within another word too: in doubt it does."""
        cards = (*draft.given, *draft.followed)
        return any(says(draft.output, one.card.new_answer, draft.query.options, self.delimiters) for one in cards)

    def _corrected(self, drafts: Sequence[_Draft], max_new_tokens: int, temperature: float) -> list[_Draft]:
        """Go on with chains that say what a card took back, from that sentence, with what holds now in its place.

        The unedited model goes on, without cards, as after it was let go. Each card corrects a chain once. Where the
        same follows as before, nobody asked for what the card says, and what was written stays; so it does where the
        budget would end before the chain.

        Returns:
            The chains that were gone on with.
        """
        if not self._config.corrects or "begun_chains" not in self.base.capabilities:
            return []
        changed = []
        pending = [one for one in drafts if one.seen and _can_be_read(one.query)]
        while pending:
            found = [(one, self._correction(one)) for one in pending]
            corrections = {draft: correction for draft, correction in found if correction is not None}
            before = {draft: draft.output for draft in corrections}
            rows = [
                (one, one.query.model_copy(update={"chain_start": made.begun})) for one, made in corrections.items()
            ]
            self._write_on(rows, max_new_tokens, temperature)
            pending = []
            for draft, made in corrections.items():
                del draft.seen[made.given.id]
                stood = before[draft]
                is_same = draft.output.text.partition(made.begun)[2] == stood.text.partition(made.stood)[2]
                if is_same or (draft.output.is_truncated and not stood.is_truncated):
                    draft.output = stood
                    pending.append(draft)
                    continue
                draft.given, draft.stated = (made.given,), frozenset((made.given.id,))
                draft.inserted, draft.again, draft.read_to = {}, None, len(made.begun)
                changed.append(draft)
        self.usage.num_corrected += len(changed)
        return changed

    def _correction(self, draft: _Draft) -> _Correction | None:
        """Where a chain first contradicts a card that it was given; None if nowhere.

        It contradicts a textual card in a sentence that calls it by name and plainly says what it took back, whether
        another follows the card or not; a visual one in the sentence that repeats its percept or in the next, unless
        the chain says anywhere what the card does: one that follows it says first what it sees.
        """
        chain = chain_in(draft.output.text, self.delimiters) or ""
        sentences = sentences_of(chain)
        told = [one.card.new_answer for one in draft.seen.values()]
        held = [one for one in draft.seen.values() if one.card.image is None or not states(chain, one.card.new_answer)]
        for place, sentence in enumerate(sentences):
            for one in held:
                name, is_textual = name_of(one.card), one.card.image is None
                near = [sentence] if is_textual else sentences[max(0, place - 1) : place + 1]
                if not any(calls(text.text, name, told) for text in near):
                    continue
                spared = name if is_textual else ""  # a percept may hold what it is taken for
                for prior in one.priors:
                    if (said := restated(sentence.text, prior, one.card.new_answer, spared)) is not None:
                        stood = chain[: sentence.end].rstrip()
                        return _Correction(one, stood, stood.removesuffix(sentence.text) + said)
        return None

    def _timed(self, work: Callable[[], _Reply]) -> _Reply:
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.usage.routing_s += time.perf_counter() - start


def _note_of(given: Given, *, is_called: bool = False) -> CardNote:
    return CardNote(given.card.statement, given.card.new_answer.text, given.card.percept, is_called)


def _can_be_read(query: Query) -> bool:
    """Whether a query's chain may be gone on with: one without thinking or with a budget is left as it is."""
    return query.is_thinking and query.chain_tokens is None and query.chain_start is None


def _within(output: Output, max_new_tokens: int) -> Output:
    """What was written, cut short as far as anybody can tell if all of it together is over the budget."""
    return output.model_copy(update={"is_truncated": True}) if output.num_tokens > max_new_tokens else output


def _joined(earlier: SavedEdit, later: SavedEdit) -> SavedEdit:
    """What is kept of two edits together: the cost and settings of the later one, edits and cards of both."""
    details = {**later.details, "cards": [*earlier.details["cards"], *later.details["cards"]]}
    stored = earlier.cost.stored_bytes + later.cost.stored_bytes
    cost = later.cost.model_copy(update={"stored_bytes": stored})
    return later.model_copy(update={"edits": (*earlier.edits, *later.edits), "details": details, "cost": cost})
