"""The MultiMed suite on the built-in clinic: two tiers, two formats, and an order of edits made for a long life.

*Understanding* edits change how what is seen is reported (modality, organ, sign, place, condition), *reasoning* edits
what follows from it (drug, drug class, referral) or what a second frame shows (change). All are visual. About half are
multiple choice and ask for a letter, as MultiMedBench does; the others are free text.

All edits can be in force at once. What changes about a finding is taken from one other finding, its *donor*, so that
its new condition, drug, class and referral agree; and what locality probes ask about is edited nowhere in the suite.

Source:
    MultiMedEdit (arXiv 2508.07022), section on MultiMedBench. Differs: invented facts; free text beside letters; images
    of the same subject; near locality; options in another order.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from reground.benchmarks.base import Card
from reground.benchmarks.clinic import FIRST_SEED, clinic_answer, far_probes, local_probe, sentence
from reground.benchmarks.counted import Counted, counted
from reground.benchmarks.frequency import KNOWN_SHARES, finding_frequencies, frequency_bins
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe, ProbeKind
from reground.errors import InputError
from reground.phantom.language import (
    PATHS,
    Claim,
    Wording,
    article,
    ask_fact,
    ask_percept,
    chain_for_path,
    compare_chain,
    statement_text,
)
from reground.phantom.render import finding_uri, uri_keys
from reground.phantom.world import MODALITIES, ORGANS, PLACES, SIGNS, SIZES, finding_text, phantom_world

__all__ = ["CHECKPOINTS", "MultiMedBenchmark"]

#: Numbers of edits at which the lifelong schedule looks back, as in the paper.
CHECKPOINTS = (50, 250, 500, 750, 1000)

_TIERS = {
    "modality": "understanding", "organ": "understanding", "sign": "understanding", "place": "understanding",
    "condition": "understanding", "drug": "reasoning", "drug_class": "reasoning", "referral": "reasoning",
    "change": "reasoning",
}  # fmt: skip
_FACTS = ("condition", "drug", "drug_class", "referral")
_CHANGES = ("grown", "shrunk", "unchanged")
_MAX_OPTIONS = 4

#: What an edit is about besides a finding: its scanner, its place in the organ, or its two sizes.
_State = tuple[str, ...]


class MultiMedBenchmark:
    """The MultiMed suite; see the module's docstring."""

    def card(self) -> Card:
        """Counts of the one split; the checksum covers every edit and probe."""
        return Card(
            name="multimed",
            version="1",
            summary="MultiMed suite on the built-in clinic: understanding and reasoning, letters and free text.",
            source="Reground, after MultiMedBench (arXiv 2508.07022); far images: easy-VQA (Zhou, 2019, MIT licence)",
            licence="Apache-2.0",
            splits=("test",),
            known_defects=(
                "Names are invented and images are drawn: a method's rank here need not be its rank on clinical "
                "images.",
                "New answers are changes, not corrections: the built-in models know the world they were trained on, "
                "and of its true facts a zero-shot filter would leave little.",
                "The built-in models met all the findings they were taught equally often. There is no long tail in "
                "them but its far end: findings they never met.",
                "phantom-med names the right option in its chain and then gives a letter by chance; figures are in "
                "docs/multimed.md. Asked in letters, only an editor that trains on the answer can score, so methods "
                "are to be compared on free text.",
                "Places and changes have few values (5 and 3), so a guess is sometimes right.",
                "No training showed the built-in models a note about a modality, an organ, a sign, a place or a "
                "change; methods that state such an edit in the prompt ask for something new of them.",
            ),
            **counted("multimed").model_dump(),
        )

    def edits(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Edit]:
        """The first ``limit`` edits in the order that ``seed`` gives.

        A smaller limit gives a beginning of what a larger one gives, and every beginning has each relation in its share
        of the whole, so that a lifelong run can look back after any number of edits.

        Raises:
            InputError: No such split.
        """
        if split != "test":
            raise InputError(
                f"benchmark 'multimed' was asked for the split {split!r}.",
                "test",
                "name it; trained methods are trained on splits of 'phantom'.",
            )
        by_relation: dict[str, list[Edit]] = {relation: [] for relation in _TIERS}
        for edit in self._edits:
            by_relation[edit.relation].append(edit)
        placed: list[tuple[float, int, Edit]] = []
        for number, (relation, group) in enumerate(by_relation.items()):
            random.Random(f"multimed order/{seed}/{relation}").shuffle(group)
            placed += [((rank + 0.5) / len(group), number, edit) for rank, edit in enumerate(group)]
        placed.sort(key=lambda place: place[:2])
        return tuple(edit for _, _, edit in placed[:limit])

    def probes(self, edit: Edit) -> Sequence[Probe]:
        """Every probe of an edit, in-scope probes first."""
        return tuple(_Prober(edit).all())

    def keeps_apart(self) -> bool:
        """They are: a finding takes what is new about it from one other, and locality asks about what no edit is of."""
        return True

    def tags(self, edit: Edit, model: str) -> tuple[str, ...]:
        """Tier, format, number of frames and, for a built-in model, how often it met the finding in training."""
        assert edit.image is not None
        found = [
            f"tier:{_TIERS[edit.relation]}",
            f"format:{'multiple_choice' if edit.options else 'free_text'}",
            f"frames:{len(edit.image.frames)}",
        ]
        bins = _frequency_bins(model)
        return tuple(found) if bins is None else (*found, f"frequency:{bins[_finding_of(edit)]}")

    def count(self) -> Counted:
        """What is there, edit by edit and probe by probe."""
        edits = self.edits("test")
        probes = [probe for edit in edits for probe in self.probes(edit)]
        counts = Counter({"edits": len(edits), "edits.test": len(edits), "probes.test": len(probes)})
        for edit in edits:
            for axis, value in (tag.split(":") for tag in self.tags(edit, "")):
                counts[f"edits.test.{axis}.{value}"] += 1
            counts[f"edits.test.{_TIERS[edit.relation]}.{edit.relation}"] += 1
        for checkpoint in CHECKPOINTS:
            tiers = Counter(_TIERS[edit.relation] for edit in edits[:checkpoint])
            counts |= Counter({f"edits.first_{checkpoint}.{tier}": number for tier, number in tiers.items()})
        for model in KNOWN_SHARES:
            bins = Counter(self.tags(edit, model)[-1].partition(":")[2] for edit in edits)
            counts |= Counter({f"edits.test.frequency.{model}.{name}": number for name, number in bins.items()})
        for probe in probes:
            counts[".".join(filter(None, ("probes.test", probe.kind, probe.distance, probe.level)))] += 1
        ids = "\n".join([*(edit.id for edit in edits), *(probe.id for probe in probes)])
        return Counted(
            checksum=hashlib.sha256(ids.encode()).hexdigest(),
            counts=dict(counts),
            levels=tuple(dict.fromkeys(probe.level for probe in probes)),
        )

    @cached_property
    def _edits(self) -> tuple[Edit, ...]:
        return tuple(edit for finding in _findings() for edit in _edits_of(finding))


# ---------------------------------------------------------------------------------------------------------------------
# Edits


@cache
def _findings() -> tuple[str, ...]:
    """Findings no editor was trained on: those kept for tests, and those no model has met."""
    return phantom_world().subjects("finding", "test", "unseen")


@cache
def _frequency_bins(model: str) -> dict[str, str] | None:
    """The bin of each finding of the suite; None for a model whose training is not ours."""
    frequencies = finding_frequencies(model)
    if frequencies is None:
        return None
    return frequency_bins({finding: frequencies[finding] for finding in _findings()})


def _finding_of(edit: Edit) -> str:
    assert edit.image is not None
    keys = uri_keys(edit.image.frames[0])
    return finding_text(keys["organ"], keys["sign"])


@dataclass(frozen=True)
class _Spares:
    """What of a finding is edited nowhere in the suite, so that locality probes can ask for it.

    Attributes:
        modality, place: One scanner and one place.
        changes: For each change, a pair of sizes that shows it.
    """

    modality: str
    place: str
    changes: dict[str, _State]


@cache
def _spares(finding: str) -> _Spares:
    rng = random.Random(f"multimed spares/{finding}/1")
    pairs = [(first, second) for first in SIZES for second in SIZES]
    shown = {pair: compare_chain(finding, pair)[1] for pair in pairs}
    changes = {change: rng.choice([pair for pair in pairs if shown[pair] == change]) for change in _CHANGES}
    return _Spares(rng.choice(MODALITIES), rng.choice(PLACES), dict(changes))


@cache
def _donor(finding: str) -> str:
    """The finding whose condition, drug, class and referral this one gets; none of them is what it had."""
    world = phantom_world()
    own = [_truth(finding, relation) for relation in _FACTS]
    others = [
        other
        for other in world.subjects("finding", "test")
        if other != finding and all(_truth(other, relation) != old for relation, old in zip(_FACTS, own, strict=True))
    ]
    return random.Random(f"multimed donor/{finding}/1").choice(others)


@cache
def _truth(finding: str, relation: str, state: _State = ()) -> str:
    """What holds without any edit."""
    if relation in _FACTS:
        return chain_for_path(finding, PATHS[relation])[1]
    if relation == "change":
        first, second = state
        return compare_chain(finding, (first, second))[1]
    organ, sign = phantom_world().findings[finding]
    return state[0] if state else {"organ": organ, "sign": sign}[relation]


@cache
def _values(relation: str) -> tuple[str, ...]:
    seen = {"modality": MODALITIES, "organ": ORGANS, "sign": SIGNS, "place": PLACES, "change": _CHANGES}
    return seen[relation] if relation in seen else phantom_world().objects(relation)


def _edits_of(finding: str) -> Iterator[Edit]:
    spares = _spares(finding)
    for relation in _TIERS:
        states: list[_State] = [()]
        if relation == "modality":
            states = [(value,) for value in MODALITIES if value != spares.modality]
        elif relation == "place":
            states = [(value,) for value in PLACES if value != spares.place]
        elif relation == "change":
            pairs = [(first, second) for first in SIZES for second in SIZES]
            states = [pair for pair in pairs if pair not in spares.changes.values()]
        for state in states:
            yield _edit(finding, relation, state, spares)


def _edit(finding: str, relation: str, state: _State, spares: _Spares) -> Edit:
    rng = random.Random(f"multimed edit/{finding}/{relation}/{state}/1")
    old = _truth(finding, relation, state)
    if relation in _FACTS:
        new = _truth(_donor(finding), relation)
    else:
        kept = {"modality": spares.modality, "place": spares.place}.get(relation)
        new = rng.choice([value for value in _values(relation) if value not in (old, kept)])
    options = _options(relation, (new, old), rng) if rng.random() < 0.5 else ()
    return Edit(
        subject=_subject(finding, relation, state),
        relation=relation,
        modality="visual",
        question=sentence(_question(relation, rng)),
        image=ImageRef(frames=_study(finding, relation, state, rng)),
        new_answer=_choice(new, options),
        prior_answer=_choice(old, options),
        statement=_statement(finding, relation, state, new),
        options=options,
        source="phantom clinic",
    )


def _subject(finding: str, relation: str, state: _State) -> str:
    if relation == "modality":
        return f"{finding} taken by {state[0]}"
    if relation == "place":
        organ, sign = phantom_world().findings[finding]
        return f"{sign} in the {state[0]} part of the {organ}"
    return f"{finding}, first {state[0]} and then {state[1]}" if relation == "change" else finding


def _statement(finding: str, relation: str, state: _State, new: str) -> str:
    subject = sentence(article(_subject(finding, relation, state)))
    if relation == "modality":
        return f"{subject} must now be labelled {new}."
    if relation == "organ":
        return f"{subject} must now be reported for the {new}."
    if relation == "sign":
        return f"{subject} must now be described as {article(new)}."
    if relation == "place":
        return f"{subject} must now be reported as {new}."
    if relation == "change":
        return f"{subject}, must now be reported as {new}."
    if relation == "drug_class":
        return f"Patients with {article(finding)} must now receive a drug of the class {new} first."
    return statement_text(Claim(relation, finding if relation == "condition" else article(finding), new))


def _question(relation: str, rng: random.Random, wording: Wording = "seen") -> str:
    if relation in _FACTS:
        return ask_fact(relation, PATHS[relation], "@finding", rng, wording)
    return ask_percept(relation, rng, wording)


def _study(finding: str, relation: str, state: _State, rng: random.Random) -> tuple[str, ...]:
    """Fresh images of a finding, one or two, in the given state and otherwise by chance."""
    organ, sign = phantom_world().findings[finding]

    def image(size: str | None) -> str:
        modality = state[0] if relation == "modality" and state else rng.choice(MODALITIES)
        place = state[0] if relation == "place" and state else rng.choice(PLACES)
        return finding_uri(organ, sign, place, size or rng.choice(SIZES), modality, FIRST_SEED + rng.randrange(1 << 30))

    return tuple(image(size) for size in state) if relation == "change" else (image(None),)


def _options(relation: str, wanted: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """Choices in the order they are lettered: those wanted, and others of their kind."""
    options = list(dict.fromkeys(wanted))
    others = [value for value in _values(relation) if value not in options]
    options += rng.sample(others, min(_MAX_OPTIONS - len(options), len(others)))
    rng.shuffle(options)
    return tuple(options)


def _choice(text: str, options: Sequence[str]) -> Answer:
    """An answer in free text; among options its letter, with its text as another spelling."""
    answer = clinic_answer(text)
    if not options:
        return answer
    return Answer(text=string.ascii_uppercase[options.index(text)], aliases=answer.spellings)


# ---------------------------------------------------------------------------------------------------------------------
# Probes


class _Prober:
    """Writes the probes of one edit; chance comes from the edit's id alone."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._rng = random.Random(f"probes/{edit.id}")
        self._relation = edit.relation
        self._finding = _finding_of(edit)
        self._state = _state_of(edit)
        self._new = _in_full(edit.new_answer)
        self._old = _truth(self._finding, self._relation, self._state)

    def all(self) -> Iterator[Probe]:
        yield from self._in_scope()
        yield from self._near()
        yield from far_probes(self._edit, self._rng)

    def _in_scope(self) -> Iterator[Probe]:
        edit, rng = self._edit, self._rng
        assert edit.image is not None
        here = edit.image.frames

        def reworded() -> str:
            return sentence(_question(self._relation, rng, "held_out"))

        def elsewhere() -> tuple[str, ...]:
            return _study(self._finding, self._relation, self._state, rng)

        yield self._probe("reliability", "exact", edit.question, here, edit.options)
        yield self._probe("generality", "text_rephrase", reworded(), here, edit.options)
        yield self._probe("generality", "image_rephrase", edit.question, elsewhere(), edit.options)
        yield self._probe("generality", "both", reworded(), elsewhere(), edit.options)
        if edit.options:
            yield self._probe("generality", "shuffled_options", edit.question, here, self._shuffled())
            yield self._probe("generality", "free_text", edit.question, here)
        else:
            options = _options(self._relation, (self._new, self._old), rng)
            yield self._probe("generality", "multiple_choice", edit.question, here, options)

    def _probe(
        self, kind: ProbeKind, level: str, question: str, frames: tuple[str, ...], options: Sequence[str] = ()
    ) -> Probe:
        return Probe(
            edit_id=self._edit.id,
            kind=kind,
            level=level,
            question=question,
            image=ImageRef(frames=frames),
            expectation=Expectation(kind="answer", answer=_choice(self._new, options)),
            options=tuple(options),
        )

    def _shuffled(self) -> tuple[str, ...]:
        """The edit's options in an order that gives the new answer another letter."""
        options = list(self._edit.options)
        while options.index(self._new) == self._edit.options.index(self._new):
            self._rng.shuffle(options)
        return tuple(options)

    def _near(self) -> Iterator[Probe]:
        edit, rng = self._edit, self._rng
        assert edit.image is not None
        frame = rng.choice(edit.image.frames)
        size = clinic_answer(uri_keys(frame)["size"])
        yield local_probe(edit, "image_locality", "other_question", "near", ask_percept("size", rng), (frame,), size)
        alike = self._look_alike()
        yield self._same_question("look_alike", alike, self._state)
        spare = self._spare_state()
        if spare is not None:
            yield self._same_question("other_state", self._finding, spare)
        fact = self._relation if self._relation in _FACTS else "condition"
        question = ask_fact(fact, PATHS[fact], alike, rng)
        truth = clinic_answer(_truth(alike, fact))
        yield local_probe(edit, "text_locality", "other_subject", "near", question, (), truth)

    def _same_question(self, level: str, finding: str, state: _State) -> Probe:
        """The edit's kind of question, in its format, about what it does not reach; its new answer is an option too."""
        rng, truth = self._rng, _truth(finding, self._relation, state)
        options = _options(self._relation, (truth, self._new), rng) if self._edit.options else ()
        return local_probe(
            self._edit,
            "image_locality",
            level,
            "near",
            _question(self._relation, rng),
            _study(finding, self._relation, state, rng),
            _choice(truth, options),
            options,
        )

    def _look_alike(self) -> str:
        """A finding of the same organ or with the same sign that no edit of the suite is about."""
        alike = [
            other
            for other in _alike(self._finding)
            if self._new not in (_truth(other, self._relation, self._state), _truth(other, "condition"))
        ]
        return self._rng.choice(alike)

    def _spare_state(self) -> _State | None:
        spares = _spares(self._finding)
        if self._relation == "change":
            return spares.changes[self._old]
        kept = {"modality": spares.modality, "place": spares.place}.get(self._relation)
        return (kept,) if kept is not None else None


@cache
def _alike(finding: str) -> tuple[str, ...]:
    """Findings that no edit of the suite is about, each of the same organ or with the same sign, and not both."""
    world = phantom_world()
    organ, sign = world.findings[finding]
    return tuple(
        other
        for other in world.subjects("finding", "train", "calibration")
        if (world.findings[other][0] == organ) != (world.findings[other][1] == sign)
    )


def _in_full(answer: Answer) -> str:
    """The text of an answer, be it given as a letter."""
    return answer.aliases[0] if len(answer.text) == 1 else answer.text


def _state_of(edit: Edit) -> _State:
    assert edit.image is not None
    keys = [uri_keys(frame) for frame in edit.image.frames]
    if edit.relation == "change":
        return tuple(key["size"] for key in keys)
    return (keys[0][edit.relation],) if edit.relation in ("modality", "place") else ()
