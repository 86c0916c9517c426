"""What the language model of a built-in model is trained and checked on: questions with their right chain and answer.

``draw`` makes one sample of a kind; ``MIXTURES`` says how often each kind comes in each stage. Subjects of the ``test``
and ``calibration`` splits appear as facts to be known; no note is about one, and no question beside a note starts from
one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from reground.phantom import easyvqa
from reground.phantom.language import (
    PATHS,
    PERCEPTS,
    TRIVIA,
    Claim,
    Wording,
    article,
    ask_fact,
    ask_percept,
    chain_for_path,
    compare_chain,
    finding_percept,
    note_text,
    trivia_question,
    unasked_sentence,
)
from reground.phantom.names import invent_name
from reground.phantom.render import COLOURS, SHAPES, device_uri, finding_uri, shapes_uri, uri_keys
from reground.phantom.wordings import FILLERS
from reground.phantom.world import MODALITIES, PLACES, RELATIONS, SIZES, SubjectSplit, phantom_world
from reground.training.phantom.drills import comparison, drill
from reground.training.phantom.loose_notes import loose_note

__all__ = ["MIXTURES", "FreshImages", "Images", "Sample", "Setting", "draw", "easyvqa_sample", "styled"]

_NUMBERS = ("one", "two", "three", "four")
_PREFIXES = (
    "",
    "",
    "",
    "",
    "",
    "please tell me: ",
    "doctor, ",
    "quick question: ",
    "look at this. ",
    "one more thing: ",
    "hello. ",
)
_SUFFIXES = ("", "", "", "", "", " thanks.", " answer briefly.", " i need to know.")
_INVENTED = frozenset(("condition", "drug", "drug_class", "test", "maker", "country", "capital", "river"))


@dataclass(frozen=True)
class Sample:
    """One question with the right chain and answer.

    Attributes:
        kind: The kind ``draw`` was asked for.
        images: Addresses of the frames; empty for a text question.
        note, question, options, is_thinking: As in ``models.base.Query``.
        chain, answer: What the model should write.
        num_hops: Relations between what is seen or named and the answer, recognition included for images.
    """

    kind: str
    question: str
    chain: str
    answer: str
    images: tuple[str, ...] = ()
    note: str | None = None
    options: tuple[str, ...] = ()
    is_thinking: bool = True
    num_hops: int = 0


class Images(Protocol):
    """Where samples take their images from: a fixed pool in training, fresh ones in checks."""

    def finding(self, finding: str, rng: random.Random) -> str: ...
    def device(self, name: str, rng: random.Random) -> str: ...
    def shapes(self, rng: random.Random) -> str: ...
    def easyvqa(self, image_id: int, rng: random.Random) -> str: ...


class FreshImages:
    """Images drawn for the occasion; seeds at or above 2**40 are never used in training."""

    def finding(self, finding: str, rng: random.Random) -> str:
        organ, sign = phantom_world().findings[finding]
        return finding_uri(
            organ,
            sign,
            rng.choice(PLACES),
            rng.choice(SIZES),
            rng.choice(MODALITIES),
            (1 << 40) + rng.randrange(1 << 30),
        )

    def device(self, name: str, rng: random.Random) -> str:
        return device_uri(name, rng.choice(MODALITIES), (1 << 40) + rng.randrange(1 << 30))

    def shapes(self, rng: random.Random) -> str:
        return shapes_uri(
            rng.choice(SHAPES),
            rng.choice(tuple(COLOURS)),
            rng.randint(1, 4),
            (1 << 40) + rng.randrange(1 << 30),
        )

    def easyvqa(self, image_id: int, rng: random.Random) -> str:
        return f"easyvqa:train/{image_id}"


@dataclass(frozen=True)
class Setting:
    """Where samples are drawn from.

    Attributes:
        images: Source of images.
        wording: ``seen`` in training; checks draw from both.
        known: Splits whose facts are asked without a note.
        noted: Splits whose subjects may appear together with a note.
        known_share: Share of known subjects whose facts are asked (``phantom-general`` knows few).
        second_claim_share: Share of notes beside an image that make a second claim, about another subject.
        styles: Whether loose wordings, polite prefixes, options and no-thinking samples are mixed in.
    """

    images: Images
    wording: Wording = "seen"
    known: tuple[SubjectSplit, ...] = ("train", "calibration", "test")
    noted: tuple[SubjectSplit, ...] = ("train",)
    known_share: float = 1.0
    second_claim_share: float = 0.12
    styles: bool = True
    allowed: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def subjects(self, kind: str, splits: tuple[SubjectSplit, ...]) -> tuple[str, ...]:
        """Subjects of a kind (``finding``, ``device``, ``condition``, ``drug``, ...) in ``splits``."""
        key = f"{kind}/{'+'.join(splits)}"
        if key not in self.allowed:
            world = phantom_world()
            if kind in ("finding", "device"):
                pool = world.subjects(kind, *splits)  # type: ignore[arg-type]
            else:
                relation = next(r for r, (s, _) in RELATIONS.items() if s == kind)
                pool = tuple(s for s in world.members(relation) if world.splits.get(s) in splits)
            share = self.known_share if splits == self.known else 1.0
            self.allowed[key] = pool[: max(1, round(len(pool) * share))]
        return self.allowed[key]

    def starts(self, kind: str) -> tuple[str, ...]:
        """Subjects a question beside a note may start from: noted ones, and of those the known ones if any are."""
        noted, known = self.subjects(kind, self.noted), set(self.subjects(kind, self.known))
        return tuple(subject for subject in noted if subject in known) or noted


# ---------------------------------------------------------------------------------------------------------------------
# Kinds


def _percept(s: Setting, rng: random.Random) -> Sample:
    finding = rng.choice(s.subjects("finding", s.known))
    uri = s.images.finding(finding, rng)
    keys = uri_keys(uri)
    attribute = rng.choice(PERCEPTS)
    chain = finding_percept(finding)
    if attribute == "modality":
        chain += f" the image was taken by {keys['modality']}."
    elif attribute == "place":
        chain += f" the {keys['sign']} lies in the {keys['place']} part."
    elif attribute == "size":
        chain += f" the {keys['sign']} is {keys['size']}."
    return Sample("percept", ask_percept(attribute, rng, s.wording), chain, keys[attribute], (uri,), num_hops=1)


def _device_modality(s: Setting, rng: random.Random) -> Sample:
    name = rng.choice(s.subjects("device", s.known))
    uri = s.images.device(name, rng)
    modality = uri_keys(uri)["modality"]
    chain = f"the image shows {name}. the image was taken by {modality}."
    return Sample("device_modality", ask_percept("modality", rng, s.wording), chain, modality, (uri,), num_hops=1)


def _change(s: Setting, rng: random.Random) -> Sample:
    finding = rng.choice(s.subjects("finding", s.known))
    first, second = s.images.finding(finding, rng), s.images.finding(finding, rng)
    chain, answer = compare_chain(finding, (uri_keys(first)["size"], uri_keys(second)["size"]))
    return Sample("change", ask_percept("change", rng, s.wording), chain, answer, (first, second), num_hops=1)


def _image_path(s: Setting, rng: random.Random, targets: tuple[str, ...]) -> Sample:
    target = rng.choice(targets)
    if PATHS[target][:1] == ("condition",):
        start = rng.choice(s.subjects("finding", s.known))
        uri, pointer = s.images.finding(start, rng), "@finding"
    else:
        start = rng.choice(s.subjects("device", s.known))
        uri, pointer = s.images.device(start, rng), "@device"
    return _path_sample("image_path", s, rng, target, start, pointer, (uri,))


def _path_sample(
    kind: str,
    s: Setting,
    rng: random.Random,
    target: str,
    start: str,
    pointer: str,
    images: tuple[str, ...] = (),
    path: tuple[str, ...] | None = None,
    claims: tuple[Claim, ...] = (),
) -> Sample:
    path = PATHS[target] if path is None else path
    chain, answer, _ = chain_for_path(
        start,
        path,
        is_device_image=pointer == "@device",
        is_finding_image=pointer == "@finding",
        claims=claims,
    )
    note = _note(claims, s, rng) if claims else None
    hops = len(path) + (pointer == "@device")
    return Sample(kind, ask_fact(target, path, pointer, rng, s.wording), chain, answer, images, note, num_hops=hops)


_ONE_HOP = ("condition", "condition", "name", "name")
_MULTI_HOP = (
    "drug", "drug", "drug_class", "drug_class", "referral", "urgency", "test", "sample",
    "maker", "maker", "mri_status", "country", "country", "capital", "river",
)  # fmt: skip


def _text_path(s: Setting, rng: random.Random) -> Sample:
    target = rng.choice([t for t in PATHS if t != "name"])
    full = PATHS[target]
    first = rng.randrange(len(full)) if rng.random() < 0.5 else len(full) - 1
    path = full[first:]
    start = rng.choice(s.subjects(RELATIONS[path[0]][0], s.known))
    return _path_sample("text_path", s, rng, target, start, start, path=path)


def _shapes(s: Setting, rng: random.Random) -> Sample:
    uri = s.images.shapes(rng)
    keys = uri_keys(uri)
    count = _NUMBERS[int(keys["count"]) - 1]
    attribute = rng.choice(("shape", "colour", "count"))
    plural = "" if count == "one" else "es" if keys["shape"].endswith("s") else "s"
    chain = f"the image shows {count} {keys['colour']} {keys['shape']}{plural}."
    answer = count if attribute == "count" else keys[attribute]
    return Sample("shapes", ask_percept(attribute, rng, s.wording), chain, answer, (uri,), num_hops=1)


def easyvqa_sample(part: easyvqa.Part, text: str, answer: str, image_id: int) -> Sample:
    """A published easy-VQA question with the chain our models answer it by."""
    chain = ""
    known = easyvqa.describe_images(part).get(image_id)
    if known:
        shape, colour = known
        chain = f"the image shows {article(colour)} {shape}."
        words = text.rstrip("?").split()
        asked = next((w for w in words if w in (*easyvqa.EASYVQA_SHAPES, *easyvqa.EASYVQA_COLOURS)), None)
        if answer in ("yes", "no") and asked:
            chain += f" {asked} is {'present' if asked in known else 'absent'}."
    return Sample("easyvqa", text, chain, answer, (f"easyvqa:{part}/{image_id}",), num_hops=1)


def _easyvqa(s: Setting, rng: random.Random) -> Sample:
    described = easyvqa.describe_images("train")
    while True:
        text, answer, image_id = rng.choice(easyvqa.questions("train"))
        if image_id in described:
            sample = easyvqa_sample("train", text, answer, image_id)
            return replace(sample, images=(s.images.easyvqa(image_id, rng),))


def _trivia(s: Setting, rng: random.Random) -> Sample:
    topic = rng.choice(tuple(TRIVIA))
    _, _, chain, answer = TRIVIA[topic]
    return Sample("trivia", trivia_question(topic, rng, s.wording), chain, answer, num_hops=1)


# --- with a note -----------------------------------------------------------------------------------------------------


def _note(claims: Sequence[Claim], s: Setting, rng: random.Random) -> str:
    if not s.styles or rng.random() < 0.4:
        return note_text(claims, rng, s.wording)
    return loose_note(claims, rng, s.wording)


def _value(relation: str, rng: random.Random, s: Setting, *, must_be_known: bool = False) -> str:
    """A value a note may claim: a freshly invented name, or one that exists."""
    kind = RELATIONS[relation][1] if relation != "name" else "device"
    if not must_be_known and (kind in _INVENTED or kind == "device") and rng.random() < 0.75:
        return invent_name(kind, rng)  # type: ignore[arg-type]
    if kind == "device":
        return rng.choice(s.subjects("device", s.noted))
    values = phantom_world().objects(relation)
    if kind in ("condition", "drug", "drug_class", "test", "maker", "country", "capital"):
        values = tuple(v for v in values if phantom_world().splits.get(v) in s.noted) or values
    return rng.choice(values)


def _other_subject(relation: str, subject: str, rng: random.Random, s: Setting) -> str:
    """Another subject of the same kind; often one that is close."""
    world = phantom_world()
    kind = "device" if relation == "name" else RELATIONS[relation][0]
    pool = [x for x in s.subjects(kind, s.noted) if x != subject]
    if not pool:  # a small split can hold a single subject of a kind
        pool = [x for x in s.subjects(kind, ("train",)) if x != subject]
    near: list[str] = []
    if kind == "finding" and subject in world.findings:
        organ, sign = world.findings[subject]
        near = [x for x in pool if organ == world.findings[x][0] or sign == world.findings[x][1]]
    elif kind == "device" and subject in world.devices:
        near = [x for x in pool if world.devices[x][0] == world.devices[subject][0]]
    return rng.choice(near if near and rng.random() < 0.7 else pool)


def _fresh_reading(s: Setting, rng: random.Random) -> Sample:
    """Pure reading: a fact about something nobody knows, among up to two others."""
    relation = rng.choice([r for r in RELATIONS if r != "condition"])
    kind = RELATIONS[relation][0]
    make: Callable[[], str] = lambda: invent_name(kind, rng)  # type: ignore[arg-type]  # noqa: E731
    subjects = [make() for _ in range(rng.choice((1, 1, 2, 3)))]
    claims = [Claim(relation, subject, _value(relation, rng, s)) for subject in subjects]
    if len(claims) == 1 and rng.random() < 0.3:
        other = rng.choice([r for r, (k, _) in RELATIONS.items() if k == kind])
        claims.append(Claim(other, subjects[0], _value(other, rng, s))) if other != relation else None
    wanted = claims[rng.randrange(len(subjects))]
    rng.shuffle(claims)
    return _path_sample(
        "fresh_reading",
        s,
        rng,
        relation,
        wanted.subject,
        wanted.subject,
        path=(relation,),
        claims=tuple(claims),
    )


def _note_on_image(s: Setting, rng: random.Random, applies: bool | None = None) -> Sample:
    """A note on a fact along the path of an image question: about this subject, or about another."""
    applies = rng.random() < 0.5 if applies is None else applies
    is_finding = rng.random() < 0.55
    targets = [t for t in PATHS if (PATHS[t][:1] == ("condition",)) == is_finding]
    first = "condition" if is_finding else "name"
    target = first if rng.random() < 0.55 else rng.choice(targets)
    start = rng.choice(s.starts("finding" if is_finding else "device"))
    path = PATHS[target]
    steps = path if is_finding else ("name", *path)
    position = 0 if rng.random() < 0.6 else rng.randrange(len(steps))
    relation = steps[position]
    _, _, passed = chain_for_path(start, path, is_device_image=not is_finding)
    subject = start if position == 0 else passed[position - 1]
    if not applies:
        subject = _other_subject(relation, subject, rng, s)
        if rng.random() < 0.15:  # a note on something that is not asked at all
            relation = rng.choice([r for r in RELATIONS if r not in steps])
            subject = rng.choice(s.subjects(RELATIONS[relation][0], s.noted))
    if not _may_be_noted(subject, s):
        return _note_on_image(s, rng, applies)
    value = _value(relation, rng, s, must_be_known=applies and position < len(steps) - 1)
    claims = [Claim(relation, subject, value)]
    if rng.random() < s.second_claim_share:
        extra = _other_subject(relation, subject, rng, s)
        truth_path_subjects = {start, *passed}
        if extra not in truth_path_subjects:
            claims.insert(rng.randrange(2), Claim(relation, extra, _value(relation, rng, s)))
    uri = s.images.finding(start, rng) if is_finding else s.images.device(start, rng)
    pointer = "@finding" if is_finding else "@device"
    return _path_sample("note_on_image", s, rng, target, start, pointer, (uri,), claims=tuple(claims))


def _note_on_text(s: Setting, rng: random.Random, applies: bool | None = None) -> Sample:
    """A note on a fact along the path of a text question."""
    applies = rng.random() < 0.5 if applies is None else applies
    target = rng.choice([t for t in PATHS if t != "name"])
    full = PATHS[target]
    path = full[rng.randrange(len(full)) :]
    start = rng.choice(s.starts(RELATIONS[path[0]][0]))
    position = rng.randrange(len(path))
    _, _, passed = chain_for_path(start, path)
    relation = path[position]
    subject = start if position == 0 else passed[position - 1]
    if not applies:
        subject = _other_subject(relation, subject, rng, s)
        if rng.random() < 0.3:
            relation = rng.choice([r for r in RELATIONS if r not in path])
            subject = rng.choice(s.subjects(RELATIONS[relation][0], s.noted))
    if not _may_be_noted(subject, s):
        return _note_on_text(s, rng, applies)
    value = _value(relation, rng, s, must_be_known=applies and position < len(path) - 1)
    claims = (Claim(relation, subject, value),)
    return _path_sample("note_on_text", s, rng, target, start, start, path=path, claims=claims)


def _may_be_noted(subject: str, s: Setting) -> bool:
    """Whether a note may be about ``subject``: a path from a noted subject can lead to one that is kept apart."""
    return phantom_world().splits[subject] in s.noted


def _note_unasked(s: Setting, rng: random.Random) -> Sample:
    """A note beside a question that has nothing to do with it."""
    sample = _KINDS[rng.choice(("percept", "device_modality", "shapes", "easyvqa", "trivia"))](s, rng)
    relation = rng.choice([*RELATIONS, "name"])
    kind = "device" if relation == "name" else RELATIONS[relation][0]
    claim = Claim(relation, rng.choice(s.subjects(kind, s.noted)), _value(relation, rng, s))
    seen, _, rest = sample.chain.partition(". ") if sample.images else ("", "", sample.chain)
    sentences = (seen.rstrip(".") + "." if seen else "", unasked_sentence(claim), rest)
    chain = " ".join(sentence for sentence in sentences if sentence)
    return replace(sample, kind="note_unasked", chain=chain, note=_note((claim,), s, rng))


def _drill(kind: str, exercise: Callable[[random.Random], tuple[str, str]], rng: random.Random) -> Sample:
    question, chain = exercise(rng)
    return Sample(kind, question, chain, chain.removesuffix(".").rsplit(" ", 1)[-1])


_KINDS: dict[str, Callable[[Setting, random.Random], Sample]] = {
    "percept": _percept,
    "device_modality": _device_modality,
    "change": _change,
    "image_one_hop": lambda s, rng: replace(_image_path(s, rng, _ONE_HOP), kind="image_one_hop"),
    "image_multi_hop": lambda s, rng: replace(_image_path(s, rng, _MULTI_HOP), kind="image_multi_hop"),
    "text_path": _text_path,
    "shapes": _shapes,
    "easyvqa": _easyvqa,
    "trivia": _trivia,
    "fresh_reading": _fresh_reading,
    "note_on_image": _note_on_image,
    "note_fits": lambda s, rng: replace(_note_on_image(s, rng, True), kind="note_fits"),
    "note_differs": lambda s, rng: replace(_note_on_image(s, rng, False), kind="note_differs"),
    "note_on_text": _note_on_text,
    "note_unasked": _note_unasked,
    "drill": lambda _, rng: _drill("drill", drill, rng),
    "comparison": lambda _, rng: _drill("comparison", comparison, rng),
}

#: Weights of kinds by stage. ``reading`` is shared by both models.
MIXTURES: dict[str, dict[str, float]] = {
    "reading": {"drill": 6, "fresh_reading": 4, "trivia": 1, "comparison": 2},
    "med": {
        "percept": 9, "device_modality": 4, "change": 7, "image_one_hop": 17, "image_multi_hop": 12, "text_path": 10,
        "shapes": 3, "easyvqa": 4, "trivia": 2, "fresh_reading": 6, "note_on_image": 24, "note_on_text": 5,
        "note_unasked": 4, "drill": 2, "comparison": 3,
    },
    "general": {
        "percept": 5, "image_one_hop": 2, "image_multi_hop": 1, "text_path": 2, "shapes": 16, "easyvqa": 34,
        "trivia": 12, "fresh_reading": 10, "note_on_image": 13, "note_on_text": 3, "note_unasked": 3, "drill": 1,
        "comparison": 1,
    },
}  # fmt: skip


def draw(kind: str, setting: Setting, rng: random.Random) -> Sample:
    """One sample of a kind, with the variations of style that ``setting`` allows."""
    sample = _KINDS[kind](setting, rng)
    return sample if not setting.styles or kind in ("drill", "comparison") else styled(sample, rng)


def styled(sample: Sample, rng: random.Random) -> Sample:
    """The sample as somebody else would ask it: politely, in a hurry, as multiple choice, or without thinking."""
    if rng.random() < 0.3:
        sample = replace(sample, question=rng.choice(_PREFIXES) + sample.question + rng.choice(_SUFFIXES))
    roll = rng.random()
    if roll < 0.08 and sample.num_hops and sample.kind not in ("easyvqa", "trivia", "fresh_reading"):
        sample = _with_options(sample, rng)
    roll = rng.random()
    if roll < 0.12:
        sample = replace(sample, question=_hurried(sample.question, rng))
    elif roll < 0.3:
        sample = replace(sample, question=_padded(sample.question, rng))
    if rng.random() < 0.15:
        sample = replace(sample, chain="", is_thinking=False)
    return sample


_SKIPPED = frozenset(("the", "is", "a", "an", "of", "in", "this", "does", "do", "to", "for", "by", "what", "which"))


def _hurried(question: str, rng: random.Random) -> str:
    """The question as somebody in a hurry types it: small words and the last mark left out."""
    words = [word for word in question.split(" ") if word not in _SKIPPED or rng.random() < 0.6]
    return " ".join(words).rstrip("?.") if rng.random() < 0.5 else " ".join(words)


def _padded(question: str, rng: random.Random) -> str:
    """The question with one to three fillers put between its words, though never inside "a ring in the kidney"."""
    words = question.split(" ")
    inside = {i for i in range(1, len(words)) if {"in", "the"} & {words[i - 1], words[i]}}
    places = [i for i in range(len(words) + 1) if i not in inside]
    for place in sorted(rng.choices(places, k=rng.randint(1, 3)), reverse=True):
        words.insert(place, rng.choice(FILLERS))
    return " ".join(words)


def _with_options(sample: Sample, rng: random.Random) -> Sample:
    """The same question as multiple choice: the answer is the letter, and the chain names the option."""
    others = _rivals(sample.answer)
    if len(others) < 2:
        return sample
    options = [sample.answer, *rng.sample(others, min(3, len(others)))]
    rng.shuffle(options)
    letter = "abcd"[options.index(sample.answer)]
    chain = f"{sample.chain} that is option {letter}."
    return replace(sample, options=tuple(options), chain=chain, answer=letter)


def _rivals(answer: str) -> list[str]:
    world = phantom_world()
    groups = [
        *(world.objects(r) for r in RELATIONS), tuple(world.devices), MODALITIES, PLACES, SIZES,
        tuple({o for o, _ in world.findings.values()}), tuple({x for _, x in world.findings.values()}),
        SHAPES, tuple(COLOURS), _NUMBERS, ("grown", "shrunk", "unchanged"),
    ]  # fmt: skip
    for group in groups:
        if answer in group:
            return sorted(x for x in group if x != answer)
    return []
