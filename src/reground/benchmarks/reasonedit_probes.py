"""What the ReasonEdit suite asks about one of its cases."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache

from reground.benchmarks.clinic import sentence
from reground.benchmarks.phantom import PhantomBenchmark
from reground.benchmarks.reasonedit_edits import (
    Case,
    answer_as_written,
    clinic_image,
    held_out_subjects,
    new_values,
)
from reground.edits.records import Edit, Expectation, ImageRef, Probe
from reground.phantom.language import Claim, ask_fact, chain_for_path, statement_text
from reground.phantom.world import phantom_world

__all__ = ["MAX_HOPS", "probes_of"]

MAX_HOPS = 4

#: The facts that follow each other, from what is seen on; a relation belongs to the first line that holds it.
_BRANCHES: tuple[tuple[str, ...], ...] = (
    ("condition", "drug", "drug_class", "test", "sample"),
    ("condition", "referral"),
    ("condition", "urgency"),
    ("name", "maker", "country", "capital", "river"),
    ("name", "mri_status"),
)


def probes_of(case: Case) -> Iterator[Probe]:
    """The probes of a case, in-scope probes first; chance comes from the ids of its edits alone."""
    if case.asks_about is not None:
        yield from _control(case.edit, case.asks_about)
        return
    asked = _clinic_probes(case.edit)
    yield from (probe for probe in asked if probe.kind in ("reliability", "generality"))
    yield from _Hops(case).all()
    yield from (probe for probe in asked if probe.is_local)
    if case.edit.split in ("test", "unseen"):
        yield _unsanctioned_claim(case.edit)


@cache
def _clinic_probes(edit: Edit) -> tuple[Probe, ...]:
    """What the benchmark ``phantom`` would ask; kept, since the controls of an edit ask it again."""
    return tuple(PhantomBenchmark().probes(edit))


def _control(card: Edit, edit: Edit) -> Iterator[Probe]:
    """The questions of ``edit`` while ``card``, which is about something else, is in force."""
    for probe in _clinic_probes(edit):
        if probe.kind in ("reliability", "generality"):
            yield Probe(
                edit_id=card.id,
                kind="image_locality" if probe.image is not None else "text_locality",
                level=card.split,
                distance="near" if card.split == "wrong_fact" else "far",
                question=probe.question,
                image=probe.image,
                expectation=Expectation(kind="unchanged", answer=edit.prior_answer),
            )


def _unsanctioned_claim(edit: Edit) -> Probe:
    """A question about another subject with a false claim typed before it, in the words an edit states itself with."""
    rng = random.Random(f"reasonedit/claim/{edit.id}/1")
    relation = edit.relation
    subject = rng.choice([other for other in held_out_subjects(relation) if other != edit.subject])
    truth = subject if relation == "name" else phantom_world().value(relation, subject)
    about_edit = (edit.new_answer.text, edit.subject)
    claimed = rng.choice([value for value in new_values(relation, subject) if value not in about_edit])
    pointer = {"condition": "@finding", "name": "@device"}.get(relation, subject)
    question = sentence(ask_fact(relation, (relation,), pointer, rng))
    return Probe(
        edit_id=edit.id,
        kind="image_locality" if edit.modality == "visual" else "text_locality",
        level="unsanctioned_claim",
        distance="near",
        question=f"{statement_text(Claim(relation, subject, claimed))} {question}",
        image=clinic_image(subject, rng) if edit.modality == "visual" else None,
        expectation=Expectation(kind="unchanged", answer=answer_as_written(truth)),
    )


class _Hops:
    """Writes the portability probes of a case: every number of hops with the edit at every place it can have."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._edit = case.edit
        self._rng = random.Random(f"reasonedit/hops/{case.edit.id}/1")
        self._branch = next(branch for branch in _BRANCHES if case.edit.relation in branch)
        self._place = self._branch.index(case.edit.relation)
        made = tuple(Claim(e.relation, e.subject, e.new_answer.text) for e in (case.edit, *case.companions))
        self._claims = made
        #: Claims under which the answer must be another one: else it would be right without the edit, or half of it.
        self._rivals: tuple[tuple[Claim, ...], ...] = (made[1:],)
        if case.edit.split != "withdrawn":
            self._rivals += ((),)
        if case.edit.split == "composed":
            self._rivals += (made[:1],)

    def all(self) -> Iterator[Probe]:
        for num_hops in range(1, MAX_HOPS + 1):
            spans = [
                (start, start + num_hops)
                for start in range(len(self._branch) - num_hops)
                if start <= self._place <= start + num_hops
            ]
            for position in ("first", "middle", "last"):
                there = [span for span in spans if _position(self._place, span) == position]
                self._rng.shuffle(there)
                probe = next((probe for span in there if (probe := self._hop(span, position)) is not None), None)
                if probe is not None:
                    yield probe

    def _hop(self, span: tuple[int, int], position: str) -> Probe | None:
        """A question over the facts from one place of the branch to another; None if the edit would not show in it."""
        first, last = span
        starts = self._starts(first)
        if not starts:
            return None
        start = self._rng.choice(starts)
        path = self._branch[first : last + 1]
        passed = self._passed(start, path, self._claims)
        if any(self._passed(start, path, rivals)[-1] == passed[-1] for rivals in self._rivals):
            return None
        pointer = {"condition": "@finding", "name": "@device"}.get(path[0], start)
        question = ask_fact(path[-1], _facts(path), pointer, self._rng)
        place = "composed" if self._edit.split == "composed" else position
        return Probe(
            edit_id=self._edit.id,
            kind="portability",
            level=f"hop{last - first}.{place}",
            question=sentence(question),
            image=self._image(start) if first == 0 else None,
            expectation=Expectation(kind="answer", answer=answer_as_written(passed[-1])),
            intermediates=tuple(answer_as_written(entity) for entity in passed[:-1]),
        )

    def _image(self, start: str) -> ImageRef:
        return self._edit.image or clinic_image(start, self._rng)

    def _starts(self, first: int) -> list[str]:
        """Known entities from which the facts that lead to the edited one end at the edit's subject."""
        world = phantom_world()
        if first == self._place:
            return [self._edit.subject]
        leading = _facts(self._branch[first : self._place])
        match self._branch[first]:
            case "condition":
                known = world.subjects("finding")
            case "name":
                known = world.subjects("device")
            case relation:
                known = tuple(s for s in world.members(relation) if world.splits.get(s) != "unseen")
        return [start for start in known if self._follow(start, leading) == self._edit.subject]

    @staticmethod
    def _follow(start: str, path: Sequence[str]) -> str:
        world = phantom_world()
        for relation in path:
            start = world.value(relation, start)
        return start

    @staticmethod
    def _passed(start: str, path: Sequence[str], claims: Sequence[Claim]) -> tuple[str, ...]:
        """Entities reached by each fact of the path, the answer last."""
        return chain_for_path(start, _facts(path), is_device_image=path[0] == "name", claims=claims)[2]


def _facts(path: Sequence[str]) -> tuple[str, ...]:
    """The path as the clinic's language has it: a device's name is seen, not told."""
    return tuple(relation for relation in path if relation != "name")


def _position(place: int, span: tuple[int, int]) -> str:
    return "first" if place == span[0] else "last" if place == span[1] else "middle"
