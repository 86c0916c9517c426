"""What a policy is trained on in the built-in world: questions beside edit cards, with the right chain and answer.

A card may apply and conflict with what the model knows, or agree with it; it may be about a look-alike, about
something else that is true of the same image or name, or about the other side of the clinic; or there is none. Chains
are in the grammar the built-in models were trained on (``phantom.language.chain_for_path``), but for one thing: a card
on a fact that the chain does not come to is passed over in silence. To say at the start that it is not asked would
take knowing the whole path before the first step. Most new values are invented for the sample, so that they can only
be read and not remembered.

No sample names or shows a subject outside its own split and ``train``, beside cards or elsewhere. What everybody knows
(``phantom.wordings.TRIVIA``) is left out, since locality is scored on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from reground.edits.card_note import CardNote, card_note
from reground.edits.names import as_name, calls, names_in, sentences_of
from reground.edits.records import Answer, ImageRef
from reground.models.base import Query
from reground.phantom.language import (
    PATHS,
    Claim,
    ask_fact,
    chain_for_path,
    claim_text,
    finding_percept,
    statement_text,
)
from reground.phantom.names import NameKind, invent_name
from reground.phantom.wordings import Wording
from reground.phantom.world import RELATIONS, phantom_world
from reground.training.phantom.samples import FreshImages, Images, Sample, Setting, draw, styled
from reground.training.rewards import RoutingCase
from reground.training.train_samples import names_other_than

__all__ = [
    "POLICY_KINDS",
    "PolicyKind",
    "PolicySample",
    "PolicySetting",
    "PooledImages",
    "called_note",
    "card_on",
    "changed_claim",
    "draw_policy_sample",
    "foreign_claim",
    "policy_sample",
]

PolicyKind = Literal[
    "conflict", "agree", "composed", "corrected", "look_alike", "other_question", "elsewhere", "no_card"
]

#: How often each kind comes. Obeying a card is learned first and leaving it last, so what is to be left has the weight.
POLICY_KINDS: dict[PolicyKind, float] = {
    "conflict": 30,
    "agree": 4,
    "composed": 6,
    "corrected": 6,
    "look_alike": 24,
    "other_question": 16,
    "elsewhere": 5,
    "no_card": 9,
}

#: Kinds of questions without a card, as they come in ``no_card``: none of them is scored in locality.
_REPLAYED = {
    "percept": 9, "device_modality": 3, "change": 5, "image_one_hop": 16, "image_multi_hop": 13, "text_path": 13,
    "shapes": 3, "easyvqa": 5,
}  # fmt: skip
_UNRELATED = {"percept": 2, "device_modality": 1, "change": 1, "shapes": 3, "easyvqa": 4}
_NAMED: frozenset[str] = frozenset(
    ("condition", "drug", "drug_class", "test", "device", "maker", "country", "capital", "river")
)
_CARD_ON_IMAGE = ("condition", "name")
_DEVICE_SIDE = ("name", "maker", "mri_status", "country", "capital", "river")


@dataclass(frozen=True)
class PolicySample:
    """One question, beside cards or not, with the right chain and answer.

    Attributes:
        kind: One of ``POLICY_KINDS``.
        sample: Question, images, note, chain and answer.
        case: What is right, for the reward.
        position: Where among the facts of the path the first card's is: ``first``, ``middle``, ``last``; None where
            none of them is.
    """

    kind: PolicyKind
    sample: Sample
    case: RoutingCase
    position: str | None = None

    @property
    def query(self) -> Query:
        """What the policy is asked."""
        s = self.sample
        image = ImageRef(frames=s.images) if s.images else None
        return Query(question=s.question, image=image, note=s.note, options=s.options, is_thinking=s.is_thinking)


class PooledImages:
    """A fixed number of images of each subject, so that a model that remembers images has to see each but once.

    Args:
        images_per_subject: How many.
    """

    def __init__(self, images_per_subject: int) -> None:
        self._count = images_per_subject
        self._fresh = FreshImages()

    def finding(self, finding: str, rng: random.Random) -> str:
        return self._fresh.finding(finding, self._one(finding, rng))

    def device(self, name: str, rng: random.Random) -> str:
        return self._fresh.device(name, self._one(name, rng))

    def shapes(self, rng: random.Random) -> str:
        return self._fresh.shapes(random.Random(f"pool/shapes/{rng.randrange(20 * self._count)}"))

    def easyvqa(self, image_id: int, rng: random.Random) -> str:
        return self._fresh.easyvqa(image_id, rng)

    def _one(self, subject: str, rng: random.Random) -> random.Random:
        return random.Random(f"pool/{subject}/{rng.randrange(self._count)}")


@dataclass(frozen=True)
class PolicySetting:
    """Where policy samples are drawn from.

    Attributes:
        split: Whose subjects questions start from and cards are about; where a kind has too few, ``train`` helps out.
        images: Source of images.
        wording: Set of question wordings.
        styles: Whether questions come hurried, padded, as multiple choice or without thinking.
        invented_share: Share of new values that are invented for the sample, where the path may end in one.
        percept_share: Share of cards made for an image that say what it shows.
        strange_share: Share of device cards whose statement calls the device by a name nobody knows, so that only the
            percept tells what it was made for.
        called_share: Share of samples whose cards say so if question or chain calls them by name. In use they do; the
            others keep the policy able to tell for itself.
        always_thinks: Whether no question comes without thinking.
        kinds: How often each kind comes.
    """

    split: Literal["train", "calibration"] = "train"
    images: Images = field(default_factory=FreshImages)
    wording: Wording = "seen"
    styles: bool = True
    invented_share: float = 0.8
    percept_share: float = 0.9
    strange_share: float = 0.15
    called_share: float = 0.6
    always_thinks: bool = False
    kinds: Mapping[PolicyKind, float] = field(default_factory=lambda: POLICY_KINDS)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits whose subjects may occur at all."""
        return ("train",) if self.split == "train" else ("train", self.split)


def policy_sample(seed: int, index: int, setting: PolicySetting | None = None) -> PolicySample:
    """Sample ``index`` of the endless sequence of a seed; each can be drawn without those before it.

    Args:
        seed: Of the sequence.
        index: From 0.
        setting: Where it is drawn from; the training split by default.
    """
    setting = setting or PolicySetting()
    rng = random.Random(f"policy/{setting.split}/{seed}/{index}")
    (kind,) = rng.choices(tuple(setting.kinds), tuple(setting.kinds.values()))
    return draw_policy_sample(kind, setting, rng)


def draw_policy_sample(kind: PolicyKind, setting: PolicySetting, rng: random.Random) -> PolicySample:
    """One sample of a kind, drawn again until it names no subject of another split."""
    is_foreign = names_other_than(setting.splits)
    while True:
        drawn = _KINDS[kind](setting, rng)
        if drawn is None:
            continue
        sample = styled(drawn.sample, rng) if setting.styles else drawn.sample
        if setting.always_thinks and not sample.is_thinking:
            continue
        told = (drawn.case.prior_answer.text,) if drawn.case.prior_answer else ()
        texts = (sample.question, sample.note or "", *sample.options, drawn.sample.chain, drawn.sample.answer, *told)
        if not is_foreign(texts):
            case = drawn.case.model_copy(update={"options": sample.options})
            return replace(drawn, kind=kind, sample=sample, case=case)


# ---------------------------------------------------------------------------------------------------------------------
# Paths


@dataclass(frozen=True)
class _Path:
    """A question over facts that follow each other.

    Attributes:
        start: Finding or device that is seen, or a name.
        pointer: How the question points at it.
        facts: The relations the question asks over.
        steps: The same with the naming of a seen device before them.
        passed: What each step comes to if no card applies.
    """

    start: str
    pointer: str
    facts: tuple[str, ...]
    steps: tuple[str, ...]
    passed: tuple[str, ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the fact of each step is about."""
        return (self.start, *self.passed[:-1])

    def chain(self, claims: Sequence[Claim]) -> tuple[str, str, tuple[str, ...]] | None:
        """Chain, answer and entities passed, given what cards say; None if the clinic does not know how it goes on."""
        try:
            return chain_for_path(
                self.start,
                self.facts,
                is_device_image=self.pointer == "@device",
                is_finding_image=self.pointer == "@finding",
                claims=claims,
                tells_unasked=False,
            )
        except KeyError:
            return None


def _path(s: PolicySetting, rng: random.Random, *, is_visual: bool | None = None) -> _Path:
    """A path that passes no entity of another split; every length as often as the clinic has relations for it."""
    target = rng.choice(tuple(PATHS))
    full = PATHS[target]
    if (target == "name") or ((rng.random() < 0.65) if is_visual is None else is_visual):
        pointer, facts = "@finding" if full[:1] == ("condition",) else "@device", full
        first = "condition" if pointer == "@finding" else "name"
    else:
        pointer, facts = "", full[rng.randrange(len(full)) :]
        first = facts[0]
    starts = _starts(first, facts, s.split)
    if not starts:
        return _path(s, rng, is_visual=is_visual)
    start = rng.choice(starts)
    steps = ("name", *facts) if pointer == "@device" else facts
    _, _, passed = chain_for_path(start, facts, is_device_image=pointer == "@device")
    return _Path(start, pointer or start, facts, steps, passed)


@cache
def _starts(first: str, facts: tuple[str, ...], split: Literal["train", "calibration"]) -> tuple[str, ...]:
    """Subjects from which a path passes only entities of the split and of ``train``."""
    setting = PolicySetting(split=split)
    is_foreign = names_other_than(setting.splits)
    return tuple(
        subject
        for subject in _subjects(first, setting)
        if not is_foreign(chain_for_path(subject, facts, is_device_image=first == "name")[2])
    )


def _subjects(relation: str, s: PolicySetting) -> tuple[str, ...]:
    """Subjects of a relation in the split; those of ``train`` where it holds fewer than two."""
    world = phantom_world()
    pool = tuple(world.devices) if relation == "name" else world.members(relation)
    own = tuple(subject for subject in pool if world.splits.get(subject) == s.split)
    if len(own) > 1:
        return own
    return tuple(subject for subject in pool if world.splits.get(subject, "train") == "train")


def _kind_of_value(relation: str) -> str:
    return "device" if relation == "name" else RELATIONS[relation][1]


def _new_value(relation: str, truth: str, s: PolicySetting, rng: random.Random, *, goes_on: bool) -> str:
    """What a card may change a fact to: invented, or known where the path goes on from it."""
    kind = _kind_of_value(relation)
    if kind in _NAMED and not goes_on and rng.random() < s.invented_share:
        return invent_name(kind, rng)  # type: ignore[arg-type]
    world = phantom_world()
    pool = tuple(world.devices) if relation == "name" else world.objects(relation)
    if goes_on or kind == "device":
        pool = tuple(value for value in pool if world.splits.get(value, "train") == "train")
    return rng.choice([value for value in pool if value != truth])


def _truth(relation: str, subject: str) -> str | None:
    return subject if relation == "name" else phantom_world().facts.get((relation, subject))


def _place(path: _Path, rng: random.Random) -> int:
    """A place on the path: the first, the last, or one between, as often as each other where there are all three."""
    last = len(path.steps) - 1
    places = [[0], [last], list(range(1, last))] if last > 1 else [[0], [last]] if last else [[0]]
    return rng.choice(rng.choice(places))


def _position(place: int, path: _Path) -> str:
    return "first" if place == 0 else "last" if place == len(path.steps) - 1 else "middle"


# ---------------------------------------------------------------------------------------------------------------------
# Cards


def _percept(claim: Claim) -> str:
    return finding_percept(claim.subject) if claim.relation == "condition" else f"the image shows {claim.subject}."


def card_on(claim: Claim, s: PolicySetting, rng: random.Random, *, is_withdrawal: bool = False) -> CardNote:
    """A card that makes a claim."""
    stated, percept = claim, None
    if claim.relation in _CARD_ON_IMAGE and rng.random() < s.percept_share:
        percept = _percept(claim)
        if claim.relation == "name" and rng.random() < s.strange_share:
            stated = replace(claim, subject=invent_name("device", rng))
    said = statement_text(stated) if rng.random() < 0.75 else f"{_capital(claim_text(stated, rng))}."
    if is_withdrawal:
        said = f"The earlier change is withdrawn. {said}"
    return CardNote(said, claim.value, percept)


def called_note(
    cards: Sequence[CardNote], claims: Sequence[Claim], question: str, chain: str, s: PolicySetting, rng: random.Random
) -> str:
    """The note with these cards, which in a share of samples say so if question or chain calls them by name.

    Args:
        cards, claims: Each card and what it claims.
        question, chain: What is asked, and what is right to think.
        s, rng: How often.
    """
    if rng.random() >= s.called_share:
        return card_note(cards)
    told = [Answer(text=claim.value) for claim in claims]
    in_question = names_in(question)
    said = []
    for card, claim in zip(cards, claims, strict=True):
        name = as_name(card.percept if claim.relation in _CARD_ON_IMAGE else claim.subject)
        is_called = name in in_question or any(calls(sentence.text, name, told) for sentence in sentences_of(chain))
        said.append(replace(card, is_called=is_called))
    return card_note(said)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _other_subject(relation: str, subject: str, s: PolicySetting, rng: random.Random) -> str:
    """Another subject of the same kind: one that is easily taken for it seven times in ten, if there is one."""
    world = phantom_world()
    pool = [other for other in _subjects(relation, s) if other != subject]
    near: list[str] = []
    if subject in world.findings:
        organ, sign = world.findings[subject]
        near = [other for other in pool if organ == world.findings[other][0] or sign == world.findings[other][1]]
    elif subject in world.devices:
        near = [other for other in pool if world.devices[other][0] == world.devices[subject][0]]
    elif _is_name(relation) and rng.random() < 0.3:
        near = [_misspelled(subject, RELATIONS[relation][0], rng)]  # type: ignore[arg-type]
    return rng.choice(near if near and rng.random() < 0.7 else pool)


def _is_name(relation: str) -> bool:
    return relation != "name" and RELATIONS[relation][0] in _NAMED


def _misspelled(name: str, kind: NameKind, rng: random.Random) -> str:
    """An invented name with one half of ``name``."""
    half = len(name) // 2
    while True:
        other = invent_name(kind, rng)
        made = rng.choice((name[:half] + other[half:], other[:half] + name[half:]))
        if made != name:
            return made


# ---------------------------------------------------------------------------------------------------------------------
# Kinds


def _drawn(
    path: _Path,
    claims: Sequence[Claim],
    cards: Sequence[CardNote],
    s: PolicySetting,
    rng: random.Random,
    *,
    applying: Claim | None,
    place: int | None,
) -> PolicySample | None:
    """A sample on a path; None where the clinic does not know how the path goes on.

    Args:
        path, claims, cards: What is asked, what cards say, and the cards; the newest first.
        s, rng: Where the question and its image come from.
        applying: The claim that is about what is asked, if one is.
        place: Where on the path the card's fact is, if it is there.
    """
    followed = path.chain(claims)
    if followed is None:
        return None
    chain, answer, passed = followed
    images: tuple[str, ...] = ()
    if path.pointer in ("@finding", "@device"):
        image = s.images.finding if path.pointer == "@finding" else s.images.device
        images = (image(path.start, rng),)
    question = ask_fact(path.facts[-1] if path.facts else "name", path.facts, path.pointer, rng, s.wording)
    sample = Sample(
        "policy",
        question,
        chain,
        answer,
        images,
        called_note(cards, claims, question, chain, s, rng),
        num_hops=len(path.steps),
    )
    told = applying or claims[0]
    truth = _truth(told.relation, told.subject)
    case = RoutingCase(
        expected=Answer(text=answer),
        applies=applying is not None,
        new_answer=Answer(text=told.value),
        prior_answer=None if truth in (None, told.value) else Answer(text=truth),
        card=sample.note,
        intermediates=tuple(Answer(text=entity) for entity in passed[:-1]),
    )
    return PolicySample("no_card", sample, case, None if place is None else _position(place, path))


def _conflict(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """A card changes a fact of the path; in one of three, one or two beside it do not concern the question."""
    path = _path(s, rng)
    place = _place(path, rng)
    relation, subject = path.steps[place], path.subjects[place]
    if not _may_be_edited(subject, s):
        return None
    value = _new_value(relation, path.passed[place], s, rng, goes_on=place < len(path.steps) - 1)
    claim = Claim(relation, subject, value)
    claims = [claim]
    for share in (0.35, 0.3):
        if rng.random() >= share:
            break
        claims.insert(rng.randrange(len(claims) + 1), _beside(path, place, s, rng))
    drawn = _drawn(path, claims, [card_on(c, s, rng) for c in claims], s, rng, applying=claim, place=place)
    return None if drawn is None or drawn.sample.answer == path.passed[-1] else drawn


def _beside(path: _Path, place: int, s: PolicySetting, rng: random.Random) -> Claim:
    """What a further card may say that does not concern the path: of another subject, or another fact."""
    drawn = rng.random()
    if drawn < 0.4 and (siblings := _told_elsewhere(path, path.subjects[place])):
        return changed_claim(rng.choice(siblings), path.subjects[place], s, rng)
    if drawn < 0.75:
        relation = path.steps[place]
        return changed_claim(relation, _other_subject(relation, path.subjects[place], s, rng), s, rng)
    return _any_claim([relation for relation in (*RELATIONS, "name") if relation not in path.steps], s, rng)


def _told_elsewhere(path: _Path, subject: str) -> list[str]:
    """Facts of a subject that the path does not go over."""
    return [relation for relation, about in phantom_world().facts if about == subject and relation not in path.steps]


def foreign_claim(facts: Sequence[str], subject: str, s: PolicySetting, rng: random.Random) -> Claim:
    """What a card may say that does not concern a question over ``facts``, of which the last is about ``subject``."""
    if rng.random() < 0.6:
        return changed_claim(facts[-1], _other_subject(facts[-1], subject, s, rng), s, rng)
    return _any_claim([relation for relation in (*RELATIONS, "name") if relation not in facts], s, rng)


def changed_claim(relation: str, subject: str, s: PolicySetting, rng: random.Random) -> Claim:
    """A claim that a fact of a subject is not what it was."""
    return Claim(relation, subject, _new_value(relation, _truth(relation, subject) or "", s, rng, goes_on=False))


def _may_be_edited(subject: str, s: PolicySetting) -> bool:
    return phantom_world().splits.get(subject, "train") in s.splits


def _agree(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """A card says what is so; often because it takes an earlier one back."""
    path = _path(s, rng)
    place = _place(path, rng)
    claim = Claim(path.steps[place], path.subjects[place], path.passed[place])
    card = card_on(claim, s, rng, is_withdrawal=rng.random() < 0.4)
    return _drawn(path, [claim], [card], s, rng, applying=claim, place=place)


def _composed(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """Two cards whose facts follow each other; the value between them may be a name that nobody knows."""
    path = _path(s, rng)
    if len(path.steps) < 2:
        return None
    place = rng.randrange(len(path.steps) - 1)
    first, second = path.steps[place : place + 2]
    between = _new_value(first, path.passed[place], s, rng, goes_on=False)
    end = _new_value(second, _truth(second, between) or "", s, rng, goes_on=place + 2 < len(path.steps))
    claims = [Claim(first, path.subjects[place], between), Claim(second, between, end)]
    applying = claims[1]
    rng.shuffle(claims)
    drawn = _drawn(path, claims, [card_on(c, s, rng) for c in claims], s, rng, applying=applying, place=place)
    return None if drawn is None or drawn.sample.answer == path.passed[-1] else drawn


def _corrected(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """Two cards on one fact, the newer first; in three of ten it takes the older one back."""
    path = _path(s, rng)
    place = _place(path, rng)
    relation, subject, truth = path.steps[place], path.subjects[place], path.passed[place]
    is_withdrawal = rng.random() < 0.3
    new = truth if is_withdrawal else _new_value(relation, truth, s, rng, goes_on=place < len(path.steps) - 1)
    old = _new_value(relation, truth, s, rng, goes_on=False)
    if old == new:
        return None
    newer, older = Claim(relation, subject, new), Claim(relation, subject, old)
    cards = [card_on(newer, s, rng, is_withdrawal=is_withdrawal), card_on(older, s, rng)]
    return _drawn(path, [newer, older], cards, s, rng, applying=newer, place=place)


def _look_alike(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """A card on the same fact of another subject; in one of five a second one like it."""
    path = _path(s, rng, is_visual=rng.random() < 0.75)
    place = 0 if rng.random() < 0.75 else rng.randrange(len(path.steps))
    relation = path.steps[place]
    subjects = {_other_subject(relation, path.subjects[place], s, rng) for _ in range(1 + (rng.random() < 0.2))}
    if subjects & {path.start, *path.passed}:
        return None
    claims = [changed_claim(relation, subject, s, rng) for subject in sorted(subjects)]
    return _drawn(path, claims, [card_on(c, s, rng) for c in claims], s, rng, applying=None, place=None)


def _other_question(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """Cards on other facts of the subject that is asked about: of the same image, or of the same name."""
    if rng.random() < 0.4:
        return _seen_question(s, rng)
    path = _path(s, rng)
    about = rng.choice((path.start, *path.passed[:-1]))
    told = _told_elsewhere(path, about)
    if not told:
        return None
    claims = [
        changed_claim(relation, about, s, rng)
        for relation in rng.sample(told, min(len(told), 1 + (rng.random() < 0.3)))
    ]
    return _drawn(path, claims, [card_on(c, s, rng) for c in claims], s, rng, applying=None, place=None)


def _seen_question(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """A card made for what the image shows, and a question about what can be seen in it."""
    is_device = rng.random() < 0.35
    plain = draw("device_modality" if is_device else rng.choice(("percept", "percept", "change")), _plain(s), rng)
    shown = plain.chain.partition(" shows ")[2].partition(". ")[0].rstrip(".")
    if plain.kind == "change":
        shown = shown.removeprefix("a ").split(" ", 1)[1]
    subject = shown if is_device else shown.removeprefix("an ").removeprefix("a ")
    relation = "name" if is_device else "condition"
    return _left_aside(plain, changed_claim(relation, subject, s, rng), s, rng)


def _elsewhere(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    """A card that has nothing to do with the question: one from the other side of the clinic, or a plain picture."""
    if rng.random() < 0.5:
        (kind,) = rng.choices(tuple(_UNRELATED), tuple(_UNRELATED.values()))
        return _left_aside(draw(kind, _plain(s), rng), _any_claim((*RELATIONS, "name"), s, rng), s, rng)
    path = _path(s, rng)
    is_device_side = path.steps[-1] in _DEVICE_SIDE
    claim = _any_claim([r for r in (*RELATIONS, "name") if (r in _DEVICE_SIDE) != is_device_side], s, rng)
    return _drawn(path, [claim], [card_on(claim, s, rng)], s, rng, applying=None, place=None)


def _any_claim(relations: Sequence[str], s: PolicySetting, rng: random.Random) -> Claim:
    relation = rng.choice(relations)
    return changed_claim(relation, rng.choice(_subjects(relation, s)), s, rng)


def _left_aside(plain: Sample, claim: Claim, s: PolicySetting, rng: random.Random) -> PolicySample:
    note = called_note([card_on(claim, s, rng)], [claim], plain.question, plain.chain, s, rng)
    sample = replace(plain, note=note)
    case = RoutingCase(expected=_plain_answer(plain), applies=False, new_answer=Answer(text=claim.value), card=note)
    return PolicySample("no_card", sample, case)


def _no_card(s: PolicySetting, rng: random.Random) -> PolicySample | None:
    (kind,) = rng.choices(tuple(_REPLAYED), tuple(_REPLAYED.values()))
    plain = draw(kind, _plain(s), rng)
    return PolicySample("no_card", plain, RoutingCase(expected=_plain_answer(plain), applies=False))


def _plain_answer(plain: Sample) -> Answer:
    """The answer; that of a question about shapes also in the plural in which a chain counts them."""
    ending = "es" if plain.answer.endswith("s") else "s"
    return Answer(text=plain.answer, aliases=(plain.answer + ending,) if plain.kind == "shapes" else ())


def _plain(s: PolicySetting) -> Setting:
    """Questions without cards, in the words the built-in models were trained on."""
    return Setting(s.images, wording=s.wording, known=(s.split,), noted=("train",), styles=False)


_KINDS: Mapping[PolicyKind, Callable[[PolicySetting, random.Random], PolicySample | None]] = {
    "conflict": _conflict,
    "agree": _agree,
    "composed": _composed,
    "corrected": _corrected,
    "look_alike": _look_alike,
    "other_question": _other_question,
    "elsewhere": _elsewhere,
    "no_card": _no_card,
}
