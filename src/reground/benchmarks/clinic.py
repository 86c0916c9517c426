"""What benchmarks on the built-in clinic share: how answers are spelled, and probes that no edit should move."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache

from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe, ProbeKind
from reground.phantom import easyvqa
from reground.phantom.language import TRIVIA, ask_percept, trivia_question
from reground.phantom.render import COLOURS, SHAPES, shapes_uri

__all__ = ["FIRST_SEED", "clinic_answer", "far_probes", "local_probe", "sentence"]

#: Image seeds of benchmarks lie above those of training and of the models' own checks.
FIRST_SEED = 1 << 41
_NUMBERS = ("one", "two", "three", "four")
_ALIASES = {
    "one": ("1",), "two": ("2",), "three": ("3",), "four": ("4",), "gray": ("grey",),
    "ct": ("computed tomography",), "mri": ("magnetic resonance imaging",), "x-ray": ("xray", "radiograph"),
    "pet": ("positron emission tomography",),
}  # fmt: skip


@cache
def clinic_answer(text: str) -> Answer:
    """An answer with its usual other spellings."""
    return Answer(text=text, aliases=_ALIASES.get(text, ()))


def sentence(text: str) -> str:
    """``text`` with a capital."""
    return text[0].upper() + text[1:]


def local_probe(
    edit: Edit,
    kind: ProbeKind,
    level: str,
    distance: str,
    question: str,
    frames: Sequence[str],
    truth: Answer,
    options: Sequence[str] = (),
) -> Probe:
    """A probe whose answer the edit should leave alone; ``truth`` is what is so."""
    return Probe(
        edit_id=edit.id,
        kind=kind,
        level=level,
        distance=distance,  # type: ignore[arg-type]
        question=sentence(question),
        image=ImageRef(frames=tuple(frames)) if frames else None,
        expectation=Expectation(kind="unchanged", answer=truth),
        options=tuple(options),
    )


def far_probes(edit: Edit, rng: random.Random) -> Iterator[Probe]:
    """Two small facts everybody knows, a published easy-VQA question, and a picture of shapes."""
    for topic in rng.sample(tuple(TRIVIA), 2):
        question, truth = trivia_question(topic, rng), clinic_answer(TRIVIA[topic][3])
        yield local_probe(edit, "text_locality", "general_knowledge", "far", question, (), truth)
    text, answer, image_id = rng.choice(easyvqa.questions("test"))
    frames = (f"easyvqa:test/{image_id}",)
    yield local_probe(edit, "image_locality", "easyvqa", "far", text, frames, clinic_answer(answer))
    shape, colour, count = rng.choice(SHAPES), rng.choice(tuple(COLOURS)), rng.randint(1, 4)
    image = shapes_uri(shape, colour, count, FIRST_SEED + rng.randrange(1 << 30))
    attribute = rng.choice(("shape", "colour", "count"))
    seen = {"shape": shape, "colour": colour, "count": _NUMBERS[count - 1]}[attribute]
    question = ask_percept(attribute, rng)
    yield local_probe(edit, "image_locality", "shapes", "far", question, (image,), clinic_answer(seen))
