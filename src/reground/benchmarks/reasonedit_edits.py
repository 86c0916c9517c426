"""The edits of the ReasonEdit suite, split by what they are there to show.

``test`` and ``unseen`` hold plain edits: one fact, one new value. In the other splits a step puts more than one edit
in force, or the edit is a control:

- ``composed``: a visual and a textual edit whose facts follow each other, the textual one a companion;
- ``corrected``: an earlier edit of the same fact, a companion, which the edit overrules;
- ``withdrawn``: an earlier edit of the same fact, a companion, which the edit takes back;
- ``wrong_fact``, ``irrelevant_fact``: the edit is the card that a retrieval could wrongly bring; it is about another
  subject than the questions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from reground.benchmarks.clinic import sentence
from reground.edits.records import Answer, Edit, ImageRef
from reground.phantom.language import Claim, ask_fact, statement_text
from reground.phantom.render import device_uri, finding_uri
from reground.phantom.world import MODALITIES, PLACES, SIZES, SubjectSplit, phantom_world

__all__ = [
    "SPLITS",
    "Case",
    "SplitName",
    "answer_as_written",
    "cases_of",
    "clinic_image",
    "held_out_subjects",
    "new_values",
]

SplitName = Literal["test", "unseen", "composed", "corrected", "withdrawn", "wrong_fact", "irrelevant_fact"]

SPLITS: tuple[SplitName, ...] = (
    "test", "unseen", "composed", "corrected", "withdrawn", "wrong_fact", "irrelevant_fact",
)  # fmt: skip

#: relation -> new values for each subject; the subjects of the later facts are few
_NUM_TARGETS = {
    "condition": 2, "name": 2, "drug": 1, "referral": 1, "urgency": 1, "maker": 1, "mri_status": 1,
    "drug_class": 2, "test": 2, "sample": 2, "country": 2, "capital": 2, "river": 2,
}  # fmt: skip
_VISUAL = ("condition", "name")
_FINDING_SIDE = ("condition", "drug", "referral", "urgency", "drug_class", "test", "sample")
_SOURCE = "phantom clinic"
#: Edits of each relation that are corrected, and as many others that are withdrawn.
_NUM_REVISED = 20
_REVISED = ("condition", "name", "drug", "maker")
_NUM_COMPOSED = 30
#: Image seeds of the suite lie above those of every training and of the benchmark ``phantom``.
_FIRST_SEED = 1 << 42
_SPELLINGS = {"orthopedics": ("orthopaedics",)}


@dataclass(frozen=True)
class Case:
    """One edit of the suite with what belongs to it.

    Attributes:
        edit: The edit whose probes are asked.
        companions: Edits put in force before it, in the same step.
        asks_about: On a control, the edit whose questions are asked while ``edit`` is in force; None elsewhere.
    """

    edit: Edit
    companions: tuple[Edit, ...] = ()
    asks_about: Edit | None = None


def answer_as_written(text: str) -> Answer:
    """A value with the spellings that somebody who knows it could also write.

    The clinic's names are invented and have one spelling each. What a writer may do without having been told is to
    put a name that stands for many things in the plural (devices, drug classes) or to spell an English word the other
    way. Case and articles are handled where answers are matched, and so are "the X company" and "X's": they hold the
    name as a whole word.
    """
    return Answer(text=text, aliases=_SPELLINGS.get(text, (_plural(text),) if text in _countable() else ()))


def _plural(name: str) -> str:
    return name + ("es" if name.endswith(("s", "x", "z", "ch", "sh")) else "s")


@cache
def _countable() -> frozenset[str]:
    world = phantom_world()
    return frozenset((*world.devices, *world.objects("drug_class")))


def clinic_image(subject: str, rng: random.Random) -> ImageRef:
    """A fresh image of a finding or device."""
    world = phantom_world()
    seed = _FIRST_SEED + rng.randrange(1 << 30)
    modality = rng.choice(MODALITIES)
    if subject in world.devices:
        return ImageRef(frames=(device_uri(subject, modality, seed),))
    organ, sign = world.findings[subject]
    return ImageRef(frames=(finding_uri(organ, sign, rng.choice(PLACES), rng.choice(SIZES), modality, seed),))


def cases_of(split: SplitName) -> Iterator[Case]:
    """The cases of one split, in a fixed order."""
    match split:
        case "test" | "unseen":
            yield from _plain(split)
        case "composed":
            yield from _composed()
        case "corrected" | "withdrawn":
            yield from _revised(split)
        case "wrong_fact" | "irrelevant_fact":
            yield from _controls(split)


# ---------------------------------------------------------------------------------------------------------------------
# Subjects and values


@cache
def held_out_subjects(relation: str, split: SubjectSplit = "test") -> tuple[str, ...]:
    """Subjects of a relation that no editor, note or threshold was made with."""
    world = phantom_world()
    if relation in ("drug", "referral", "urgency"):
        return tuple(world.value("condition", finding) for finding in world.subjects("finding", split))
    if relation in _VISUAL:
        return world.subjects("finding" if relation == "condition" else "device", split)
    if relation in ("maker", "mri_status"):
        return world.subjects("device", split)
    return tuple(subject for subject in world.members(relation) if world.splits.get(subject) == split)


def _true_value(relation: str, subject: str) -> str:
    return subject if relation == "name" else phantom_world().value(relation, subject)


@cache
def new_values(relation: str, subject: str) -> tuple[str, ...]:
    """What a fact may be changed to, in a fixed order: held-out values where there are enough, never what is true."""
    if relation == "name":
        alike = phantom_world().family(subject)
        return tuple(device for device in held_out_subjects("name") if device not in alike)
    truth = _true_value(relation, subject)
    return tuple(value for value in _values(relation) if value != truth)


@cache
def _values(relation: str) -> tuple[str, ...]:
    if relation == "condition":
        return tuple(_true_value("condition", finding) for finding in held_out_subjects("condition"))
    return phantom_world().objects(relation)


def _edit(
    relation: str, subject: str, new: str, split: str, *, prior: str | None = None, source: str = _SOURCE
) -> Edit:
    """An edit in the clinic's words; chance comes from what it says and where it belongs."""
    rng = random.Random(f"reasonedit/{split}/{relation}/{subject}/{new}/{source}/1")
    pointer = subject
    if relation in _VISUAL:
        pointer = "@finding" if relation == "condition" else "@device"
    return Edit(
        subject=subject,
        relation=relation,
        modality="visual" if relation in _VISUAL else "textual",
        question=sentence(ask_fact(relation, (relation,), pointer, rng)),
        image=clinic_image(subject, rng) if relation in _VISUAL else None,
        new_answer=answer_as_written(new),
        prior_answer=answer_as_written(_true_value(relation, subject) if prior is None else prior),
        statement=statement_text(Claim(relation, subject, new)),
        source=source,
        split=split,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Splits


def _plain(split: Literal["test", "unseen"]) -> Iterator[Case]:
    # Nothing is known about an unseen subject that a textual edit could change.
    relations = _NUM_TARGETS if split == "test" else _VISUAL
    for relation in relations:
        for subject in held_out_subjects(relation, split):
            rng = random.Random(f"reasonedit/targets/{relation}/{subject}/1")
            for new in rng.sample(new_values(relation, subject), _NUM_TARGETS[relation]):
                yield Case(_edit(relation, subject, new, split))


def _composed() -> Iterator[Case]:
    for visual, textual in (("condition", "drug"), ("name", "maker")):
        rng = random.Random(f"reasonedit/composed/{visual}/1")
        for subject in rng.sample(held_out_subjects(visual), _NUM_COMPOSED):
            seen_as = rng.choice(new_values(visual, subject))
            leads_to = rng.choice(
                [value for value in new_values(textual, seen_as) if value != _end_of(visual, textual, subject)]
            )
            companion = _edit(textual, seen_as, leads_to, "composed")
            yield Case(_edit(visual, subject, seen_as, "composed"), (companion,))


def _end_of(visual: str, textual: str, subject: str) -> str:
    return _true_value(textual, _true_value(visual, subject))


def _revised(split: Literal["corrected", "withdrawn"]) -> Iterator[Case]:
    for relation in _REVISED:
        subjects = list(held_out_subjects(relation))
        random.Random(f"reasonedit/revised/{relation}/1").shuffle(subjects)
        chosen = subjects[:_NUM_REVISED] if split == "corrected" else subjects[-_NUM_REVISED:]
        for subject in chosen:
            rng = random.Random(f"reasonedit/{split}/{relation}/{subject}/values/1")
            first, second = rng.sample(new_values(relation, subject), 2)
            earlier = _edit(relation, subject, first, split)
            if split == "corrected":
                yield Case(_edit(relation, subject, second, split, prior=first), (earlier,))
                continue
            again = _edit(relation, subject, _true_value(relation, subject), split, prior=first)
            statement = f"The earlier change is withdrawn. {again.statement}"
            yield Case(again.model_copy(update={"statement": statement}), (earlier,))


def _controls(split: Literal["wrong_fact", "irrelevant_fact"]) -> Iterator[Case]:
    """A card for the questions of each plain edit, one edit a fact."""
    asked: set[tuple[str, str]] = set()
    for case in _plain("test"):
        edit = case.edit
        if (edit.relation, edit.subject) in asked:
            continue
        asked.add((edit.relation, edit.subject))
        rng = random.Random(f"reasonedit/{split}/{edit.id}/1")
        relation = edit.relation if split == "wrong_fact" else _elsewhere(edit.relation)
        subjects = _mistakable(edit) if split == "wrong_fact" else held_out_subjects(relation)
        subject = rng.choice(subjects)
        assert edit.prior_answer is not None, "the clinic knows every fact"
        new = rng.choice([value for value in new_values(relation, subject) if value != edit.prior_answer.text])
        yield Case(_edit(relation, subject, new, split, source=f"control for {edit.id}"), asks_about=edit)


def _elsewhere(relation: str) -> str:
    """A relation of the other side of the clinic, visual for visual."""
    is_visual = relation in _VISUAL
    if relation in _FINDING_SIDE:
        return "name" if is_visual else "maker"
    return "condition" if is_visual else "drug"


def _mistakable(edit: Edit) -> Sequence[str]:
    """Held-out subjects that the edit's could be taken for: look-alikes where there are any, else of its kind."""
    world = phantom_world()
    others = [subject for subject in held_out_subjects(edit.relation) if subject != edit.subject]
    if edit.relation == "condition":
        organ, sign = world.findings[edit.subject]
        alike = [other for other in others if world.findings[other][0] == organ or world.findings[other][1] == sign]
    elif edit.relation == "name":
        alike = [other for other in others if other in world.family(edit.subject)]
    else:
        alike = []
    return alike or others
