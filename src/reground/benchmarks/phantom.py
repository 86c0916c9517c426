"""The benchmark on the built-in clinic: edits of what is seen and of what is known, with probes of every kind.

Edits are drawn over the subjects of one split. A visual edit changes what an image is taken for (the condition a
finding means, the name of a device); a textual edit changes a fact about a named thing. The number in ``hopK`` counts
the facts besides the edited one that a chain has to pass: after the edited fact for a visual edit; for a textual edit
also before it, when the question starts from an image and never names the subject.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from reground.benchmarks.base import Card
from reground.benchmarks.clinic import FIRST_SEED, clinic_answer, far_probes, local_probe, sentence
from reground.benchmarks.counted import Counted, counted
from reground.benchmarks.sampling import in_turns
from reground.edits.records import Edit, Expectation, ImageRef, Probe, ProbeKind
from reground.errors import InputError
from reground.phantom.language import (
    PATHS,
    Claim,
    ask_fact,
    ask_percept,
    chain_for_path,
    statement_text,
)
from reground.phantom.render import device_uri, finding_uri, uri_keys
from reground.phantom.world import (
    MODALITIES,
    NUM_FAMILIES,
    ORGANS,
    PLACES,
    SIGNS,
    SIZES,
    SubjectSplit,
    finding_text,
    phantom_world,
)

__all__ = ["PhantomBenchmark"]

_SPLITS: tuple[SubjectSplit, ...] = ("test", "calibration", "train", "unseen")


class PhantomBenchmark:
    """Edits on the built-in clinic; see the module's docstring."""

    def card(self) -> Card:
        """Counts over all splits; the checksum covers every edit and probe of the test split."""
        return Card(
            name="phantom",
            version="1",
            summary="A rendered clinic with invented names: findings, look-alike devices, and facts that lead on.",
            source="Reground, rendered from addresses; far images from easy-VQA (Zhou, 2019, MIT licence)",
            licence="Apache-2.0",
            splits=_SPLITS,
            known_defects=(
                "Names are invented and images are drawn: a method's rank here need not be its rank on clinical "
                "images.",
                "Facts of one relation share few values (3 MRI statuses, 4 urgencies), so a guess is sometimes right.",
            ),
            **counted("phantom").model_dump(),
        )

    def count(self) -> Counted:
        """What is there, edit by edit and probe by probe."""
        world = phantom_world()
        counts = {
            "organs": len(ORGANS),
            "signs": len(SIGNS),
            "modalities": len(MODALITIES),
            "conditions": len(world.findings),
            "devices": len(world.devices),
            "device_families": NUM_FAMILIES,
            "facts": len(world.facts),
        }
        for split in _SPLITS:
            counts[f"findings.{split}"] = len(world.subjects("finding", split))
            counts[f"devices.{split}"] = len(world.subjects("device", split))
        for split in _SPLITS:
            for kind, number in Counter(f"{e.modality}.{e.relation}" for e in self._edits[split]).items():
                counts[f"edits.{split}.{kind}"] = number
            counts[f"edits.{split}"] = len(self._edits[split])
        probes = [probe for edit in self._edits["test"] for probe in self.probes(edit)]
        for (kind, distance), number in Counter((p.kind, p.distance) for p in probes).items():
            counts[f"probes.test.{kind}" + (f".{distance}" if distance else "")] = number
        counts["probes.test"] = len(probes)
        digest = hashlib.sha256()
        for record in (*self._edits["test"], *probes):
            digest.update(record.model_dump_json().encode())
        levels = tuple(dict.fromkeys(p.level for p in probes))
        return Counted(checksum=digest.hexdigest(), counts=counts, levels=levels)

    def edits(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Edit]:
        """The edits of a split; a sample takes every kind of edit in turn.

        Raises:
            InputError: No such split.
        """
        if split not in self._edits:
            raise InputError(
                f"benchmark 'phantom' was asked for the split {split!r}.",
                ", ".join(_SPLITS),
                "name one of these as the benchmark's split.",
            )
        return in_turns(self._edits[split], limit, seed)

    def probes(self, edit: Edit) -> Sequence[Probe]:
        """Every probe of an edit, in-scope probes first."""
        return tuple(_Prober(edit).all())

    def shown(self, image: ImageRef) -> frozenset[str]:
        """The findings and devices an image shows."""
        keys = [uri_keys(frame) for frame in image.frames]
        findings = {finding_text(key["organ"], key["sign"]) for key in keys if "sign" in key}
        return frozenset(findings | {key["name"] for key in keys if "name" in key})

    def chain_sentences(self, edit: Edit) -> tuple[str, ...]:
        """What an unedited chain says from the edit's subject on, sentence by sentence."""
        path = max((path for path in PATHS.values() if edit.relation in path), key=len, default=PATHS["river"])
        onward = path[path.index(edit.relation) :] if edit.relation in path else path
        chain, _, _ = chain_for_path(
            edit.subject,
            onward,
            is_device_image=edit.relation == "name",
            is_finding_image=edit.relation == "condition",
        )
        return tuple(re.findall(r"[^.]+\.", chain))

    @cached_property
    def _edits(self) -> dict[str, tuple[Edit, ...]]:
        return {split: tuple(_edits_of(split)) for split in _SPLITS}


# ---------------------------------------------------------------------------------------------------------------------
# Edits


def _edits_of(split: SubjectSplit) -> Iterator[Edit]:
    world = phantom_world()
    for finding in world.subjects("finding", split):
        yield _visual_edit("condition", finding, split)
    for device in world.subjects("device", split):
        yield _visual_edit("name", device, split)
    if split == "unseen":  # nothing is known about an unseen subject that a textual edit could change
        return
    for finding in world.subjects("finding", split):
        for relation in ("drug", "referral", "urgency"):
            yield _textual_edit(relation, world.value("condition", finding), split)
    for device in world.subjects("device", split):
        for relation in ("maker", "mri_status"):
            yield _textual_edit(relation, device, split)
    for relation in ("drug_class", "country", "test", "capital"):
        for subject in world.members(relation):
            if world.splits.get(subject) == split:
                yield _textual_edit(relation, subject, split)


def _visual_edit(relation: str, subject: str, split: SubjectSplit) -> Edit:
    world = phantom_world()
    rng = random.Random(f"edit/{relation}/{subject}/1")
    pool_split: SubjectSplit = "test" if split == "unseen" else split
    if relation == "condition":
        old = world.value("condition", subject)
        new = world.value("condition", rng.choice([f for f in world.subjects("finding", pool_split) if f != subject]))
    else:
        old = subject
        family = world.family(subject)
        new = rng.choice([d for d in world.subjects("device", pool_split) if d not in family])
    pointer = "@finding" if relation == "condition" else "@device"
    return Edit(
        subject=subject,
        relation=relation,
        modality="visual",
        question=sentence(ask_fact(relation, PATHS[relation], pointer, rng)),
        image=ImageRef(frames=(_image_of(subject, rng),)),
        new_answer=clinic_answer(new),
        prior_answer=clinic_answer(old),
        statement=statement_text(Claim(relation, subject, new)),
        source="phantom clinic",
        split=split,
    )


def _textual_edit(relation: str, subject: str, split: SubjectSplit) -> Edit:
    world = phantom_world()
    rng = random.Random(f"edit/{relation}/{subject}/1")
    old = world.value(relation, subject)
    new = rng.choice([value for value in world.objects(relation) if value != old])
    return Edit(
        subject=subject,
        relation=relation,
        modality="textual",
        question=sentence(ask_fact(relation, (relation,), subject, rng)),
        new_answer=clinic_answer(new),
        prior_answer=clinic_answer(old),
        statement=statement_text(Claim(relation, subject, new)),
        source="phantom clinic",
        split=split,
    )


def _image_of(subject: str, rng: random.Random) -> str:
    """A fresh image of a finding or device."""
    world = phantom_world()
    seed = FIRST_SEED + rng.randrange(1 << 30)
    if subject in world.findings:
        organ, sign = world.findings[subject]
        return finding_uri(organ, sign, rng.choice(PLACES), rng.choice(SIZES), rng.choice(MODALITIES), seed)
    return device_uri(subject, rng.choice(MODALITIES), seed)


# ---------------------------------------------------------------------------------------------------------------------
# Probes


class _Prober:
    """Writes the probes of one edit; chance comes from the edit's id alone."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._rng = random.Random(f"probes/{edit.id}")
        self._world = phantom_world()
        self._claim = Claim(edit.relation, edit.subject, edit.new_answer.text)

    def all(self) -> Iterator[Probe]:
        if self._edit.modality == "visual":
            yield from self._visual_in_scope()
            yield from self._visual_near()
        else:
            yield from self._textual_in_scope()
            yield from self._textual_near()
        yield from far_probes(self._edit, self._rng)

    # -- in scope

    def _in_scope(
        self, kind: ProbeKind, level: str, question: str, image: str | None, passed: Sequence[str] = ()
    ) -> Probe:
        """A probe whose answer is the last of ``passed``, or the new answer if there is none."""
        answer = clinic_answer(passed[-1]) if passed else self._edit.new_answer
        return Probe(
            edit_id=self._edit.id,
            kind=kind,
            level=level,
            question=sentence(question),
            image=ImageRef(frames=(image,)) if image else None,
            expectation=Expectation(kind="answer", answer=answer),
            intermediates=tuple(clinic_answer(entity) for entity in passed[:-1]),
        )

    def _visual_in_scope(self) -> Iterator[Probe]:
        edit, rng = self._edit, self._rng
        assert edit.image is not None
        here, pointer = edit.image.frames[0], "@finding" if edit.relation == "condition" else "@device"
        path = PATHS[edit.relation]

        def reworded() -> str:
            return ask_fact(edit.relation, path, pointer, rng, "held_out")

        yield self._in_scope("reliability", "exact", edit.question, here)
        yield self._in_scope("generality", "text_rephrase", reworded(), here)
        yield self._in_scope("generality", "image_rephrase", edit.question, _image_of(edit.subject, rng))
        yield self._in_scope("generality", "both", reworded(), _image_of(edit.subject, rng))
        targets = (
            ("drug", "drug_class", "test", "sample")
            if pointer == "@finding"
            else ("maker", "country", "capital", "river")
        )
        for hop, target in enumerate(targets, start=1):
            onward = PATHS[target]
            before, after = self._without_and_with(edit.subject, onward, pointer)
            if before[-1] != after[-1]:  # else the answer would be right without the edit
                yield self._in_scope("portability", f"hop{hop}", ask_fact(target, onward, pointer, rng), here, after)

    def _textual_in_scope(self) -> Iterator[Probe]:
        edit, rng = self._edit, self._rng
        yield self._in_scope("reliability", "exact", edit.question, None)
        reworded = ask_fact(edit.relation, (edit.relation,), edit.subject, rng, "held_out")
        yield self._in_scope("generality", "text_rephrase", reworded, None)
        full = self._longest_path()
        position = full.index(edit.relation)
        for hop, end in enumerate(range(position + 1, len(full)), start=1):
            path = full[position : end + 1]
            before, after = self._without_and_with(edit.subject, path, edit.subject)
            if before[-1] != after[-1]:
                question = ask_fact(path[-1], path, edit.subject, rng)
                yield self._in_scope("portability", f"hop{hop}", question, None, after)
        starts = self._image_starts(full[:position])
        if not starts:
            return
        start = rng.choice(starts)
        pointer = "@finding" if start in self._world.findings else "@device"
        image = _image_of(start, rng)
        for end in range(position, len(full)):
            path = full[: end + 1]
            before, after = self._without_and_with(start, path, pointer)
            hop = len(path) - 1 + (pointer == "@device")
            if before[-1] != after[-1] and hop <= 4:
                yield self._in_scope("portability", f"hop{hop}", ask_fact(path[-1], path, pointer, rng), image, after)

    def _longest_path(self) -> tuple[str, ...]:
        """The longest path the edited relation lies on."""
        return max((p for p in PATHS.values() if self._edit.relation in p), key=len)

    def _image_starts(self, leading: Sequence[str]) -> list[str]:
        """Known findings or devices from which ``leading`` ends at the edit's subject."""
        world = self._world
        kind = "finding" if leading[:1] == ("condition",) else "device"
        found = []
        for start in world.subjects(kind):  # type: ignore[arg-type]
            current = start
            for relation in leading:
                current = world.value(relation, current)
            if current == self._edit.subject:
                found.append(start)
        return found

    def _without_and_with(
        self, start: str, path: Sequence[str], pointer: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Entities passed without the edit and with it, the answer last."""
        before, after = (
            chain_for_path(
                start,
                path,
                is_device_image=pointer == "@device",
                is_finding_image=pointer == "@finding",
                claims=claims,
            )[2]
            for claims in ((), (self._claim,))
        )
        return before, after

    # -- out of scope

    def _local(
        self, kind: ProbeKind, level: str, distance: str, question: str, frames: Sequence[str], truth: str
    ) -> Probe:
        return local_probe(self._edit, kind, level, distance, question, frames, clinic_answer(truth))

    def _visual_near(self) -> Iterator[Probe]:
        edit, rng, world = self._edit, self._rng, self._world
        assert edit.image is not None and edit.prior_answer is not None
        here = edit.image.frames[0]
        is_finding = edit.relation == "condition"
        alike = rng.choice(self._alike(edit.subject))
        if is_finding:
            yield self._text_local("other_subject", alike, ("condition",))
            other = rng.choice(("drug", "referral", "urgency"))
            yield self._text_local("other_relation", edit.prior_answer.text, (other,))
            attribute = rng.choice(("modality", "organ", "sign", "place"))
            truth = dict(zip(("organ", "sign"), world.findings[edit.subject], strict=True)) | uri_keys(here)
            pointer, same = "@finding", world.value("condition", alike)
        else:
            yield self._text_local("other_subject", alike, ("maker",))
            yield self._text_local("other_relation", edit.subject, (rng.choice(("maker", "mri_status")),))
            attribute, truth = "modality", uri_keys(here)
            pointer, same = "@device", alike
        percept = ask_percept(attribute, rng)
        yield self._local("image_locality", "other_question", "near", percept, (here,), truth[attribute])
        question = ask_fact(edit.relation, PATHS[edit.relation], pointer, rng)
        yield self._local("image_locality", "look_alike", "near", question, (_image_of(alike, rng),), same)

    def _textual_near(self) -> Iterator[Probe]:
        edit, rng, world = self._edit, self._rng, self._world
        others = [
            s
            for s in world.members(edit.relation)
            if s != edit.subject and world.splits.get(s) != "unseen" and self._is_other(world.value(edit.relation, s))
        ]
        yield self._text_local("other_subject", rng.choice(others), (edit.relation,))
        siblings = {
            "drug": ("referral", "urgency"), "referral": ("drug", "urgency"), "urgency": ("drug", "referral"),
            "maker": ("mri_status",), "mri_status": ("maker",),
        }.get(edit.relation)  # fmt: skip
        if siblings:
            yield self._text_local("other_relation", edit.subject, (rng.choice(siblings),))
        full = self._longest_path()
        leading = full[: full.index(edit.relation)]
        kind = "finding" if leading[:1] == ("condition",) else "device"
        path, pointer, reached = (*leading, edit.relation), f"@{kind}", self._image_starts(leading)
        ends = {s: chain_for_path(s, path)[1] for s in world.subjects(kind) if s not in reached}  # type: ignore[arg-type]
        start = rng.choice([s for s, end in ends.items() if self._is_other(end)])
        truth = ends[start]
        question = ask_fact(edit.relation, path, pointer, rng)
        yield self._local("image_locality", "other_subject", "near", question, (_image_of(start, rng),), truth)
        if reached:
            image = _image_of(rng.choice(reached), rng)
            attribute = rng.choice(("modality", "organ", "sign")) if kind == "finding" else "modality"
            yield self._local(
                "image_locality",
                "other_question",
                "near",
                ask_percept(attribute, rng),
                (image,),
                uri_keys(image)[attribute],
            )

    def _is_other(self, value: str) -> bool:
        """Whether a locality probe may have this as its truth: the new answer would hide a leak."""
        return value != self._edit.new_answer.text

    def _text_local(self, level: str, subject: str, path: tuple[str, ...]) -> Probe:
        _, truth, _ = chain_for_path(subject, path)
        return self._local("text_locality", level, "near", ask_fact(path[-1], path, subject, self._rng), (), truth)

    def _alike(self, subject: str) -> list[str]:
        """Known subjects that look like this one: the same family; the same organ or the same sign."""
        world = self._world
        if subject in world.devices:
            return [d for d in world.family(subject) if d != subject and world.splits[d] != "unseen"]
        organ, sign = world.findings[subject]
        return [
            f
            for f in world.subjects("finding")
            if f != subject
            and (world.findings[f][0] == organ or world.findings[f][1] == sign)
            and self._is_other(world.value("condition", f))
        ]
