"""The facts of the phantom clinic: what exists, what is true of it, and which subjects are kept for what.

Two kinds of subject. A *finding* is a sign in an organ; a chain of thought can spell it out. A *device* is recognised
as a whole, and has look-alikes: the members of its family. From either a path of facts leads on:

    finding -> condition -> drug -> drug class -> monitoring test -> sample
                         -> referral, urgency
    device  -> maker -> country -> capital -> river
            -> MRI status

All names are invented. Nothing here is medicine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Literal

from reground.phantom.names import distinct_names

__all__ = [
    "DEVICES_PER_FAMILY",
    "MODALITIES",
    "NUM_FAMILIES",
    "ORGANS",
    "PLACES",
    "RELATIONS",
    "SIGNS",
    "SIZES",
    "Relation",
    "SubjectSplit",
    "World",
    "finding_text",
    "phantom_world",
]

ORGANS = (
    "lung", "heart", "liver", "kidney", "stomach", "spleen",
    "brain", "bladder", "pancreas", "thyroid", "femur", "bowel",
)  # fmt: skip
SIGNS = (
    "ring", "nodule", "star", "cross", "band", "crescent", "cluster",
    "wedge", "spiral", "mesh", "zigzag", "block", "fork", "arrow",
)  # fmt: skip
PLACES = ("upper", "lower", "left", "right", "central")
SIZES = ("small", "medium", "large")
MODALITIES = ("x-ray", "ct", "mri", "ultrasound", "pet", "fluoroscopy")
NUM_FAMILIES = 28
DEVICES_PER_FAMILY = 6

Relation = Literal[
    "condition", "drug", "referral", "urgency", "drug_class", "test", "sample",
    "maker", "mri_status", "country", "capital", "river",
]  # fmt: skip

#: relation -> (kind of its subject, kind of its object)
RELATIONS: dict[str, tuple[str, str]] = {
    "condition": ("finding", "condition"),
    "drug": ("condition", "drug"),
    "referral": ("condition", "department"),
    "urgency": ("condition", "urgency"),
    "drug_class": ("drug", "drug_class"),
    "test": ("drug_class", "test"),
    "sample": ("test", "sample"),
    "maker": ("device", "maker"),
    "mri_status": ("device", "mri_status"),
    "country": ("maker", "country"),
    "capital": ("country", "capital"),
    "river": ("capital", "river"),
}

DEPARTMENTS = (
    "surgery", "cardiology", "neurology", "urology",
    "oncology", "orthopedics", "dermatology", "rehabilitation",
)  # fmt: skip
URGENCIES = ("routine", "soon", "urgent", "emergency")
MRI_STATUSES = ("safe", "conditional", "unsafe")
SAMPLES = ("blood", "urine", "saliva", "breath", "sweat", "hair")

#: ``train``: may appear in reading tasks and in the training of editors. ``calibration``: to set thresholds.
#: ``test``: known to the models as facts, but in no note, no policy sample and no threshold: edits on these are scored.
#: ``unseen``: in no training stage at all; models do not know them.
SubjectSplit = Literal["train", "calibration", "test", "unseen"]


def finding_text(organ: str, sign: str) -> str:
    """How a finding is named in text, e.g. ``"ring in the kidney"``."""
    return f"{sign} in the {organ}"


@dataclass(frozen=True)
class World:
    """All subjects and facts.

    Attributes:
        findings: ``(organ, sign)`` by finding text.
        devices: ``(family, member)`` by device name.
        facts: Object by ``(relation, subject)``.
        splits: Split by subject: findings, devices, and everything else that facts are told about. A condition is in
            the split of its finding.
    """

    findings: dict[str, tuple[str, str]]
    devices: dict[str, tuple[int, int]]
    facts: dict[tuple[str, str], str]
    splits: dict[str, SubjectSplit]

    def value(self, relation: str, subject: str) -> str:
        """The object of a fact; KeyError if there is none."""
        return self.facts[relation, subject]

    def subjects(self, kind: Literal["finding", "device"], *splits: SubjectSplit) -> tuple[str, ...]:
        """Subjects of one kind in the given splits (all known ones if none is given), in a fixed order."""
        wanted = splits or ("train", "calibration", "test")
        pool = self.findings if kind == "finding" else self.devices
        return tuple(name for name in pool if self.splits[name] in wanted)

    def objects(self, relation: str) -> tuple[str, ...]:
        """Every value the relation takes, in a fixed order."""
        return tuple(dict.fromkeys(o for (r, _), o in self.facts.items() if r == relation))

    def members(self, relation: str) -> tuple[str, ...]:
        """Every subject the relation is known for, in a fixed order."""
        return tuple(s for (r, s) in self.facts if r == relation)

    def family(self, device: str) -> tuple[str, ...]:
        """The device's look-alikes, itself included."""
        wanted = self.devices[device][0]
        return tuple(name for name, (family, _) in self.devices.items() if family == wanted)


@cache
def phantom_world() -> World:
    """The one phantom clinic. Deterministic; the same on every machine."""
    findings = {finding_text(organ, sign): (organ, sign) for organ in ORGANS for sign in SIGNS}
    conditions = distinct_names("condition", len(findings), "1")
    devices_names = distinct_names("device", NUM_FAMILIES * DEVICES_PER_FAMILY, "1", conditions)
    taken = conditions + devices_names
    drugs = distinct_names("drug", 56, "1", taken)
    taken += drugs
    classes = distinct_names("drug_class", 14, "1", taken)
    taken += classes
    tests = distinct_names("test", 12, "1", taken)
    taken += tests
    makers = distinct_names("maker", 28, "1", taken)
    taken += makers
    countries = distinct_names("country", 12, "1", taken)
    taken += countries
    capitals = distinct_names("capital", 12, "1", taken)
    taken += capitals
    rivers = distinct_names("river", 10, "1", taken)

    devices = {name: (i // DEVICES_PER_FAMILY, i % DEVICES_PER_FAMILY) for i, name in enumerate(devices_names)}
    facts: dict[tuple[str, str], str] = {}

    def assign(relation: str, subjects: tuple[str, ...], values: tuple[str, ...], seed: str) -> None:
        rng = random.Random(f"facts/{relation}/{seed}")
        deck: list[str] = []
        for subject in subjects:
            if not deck:
                deck = list(values)
                rng.shuffle(deck)
            facts[relation, subject] = deck.pop()

    assign("condition", tuple(findings), conditions, "1")
    assign("drug", conditions, drugs, "1")
    assign("referral", conditions, DEPARTMENTS, "1")
    assign("urgency", conditions, URGENCIES, "1")
    assign("drug_class", drugs, classes, "1")
    assign("test", classes, tests, "1")
    assign("sample", tests, SAMPLES, "1")
    assign("maker", devices_names, makers, "1")
    assign("mri_status", devices_names, MRI_STATUSES, "1")
    assign("country", makers, countries, "1")
    assign("capital", countries, capitals, "1")
    assign("river", capitals, rivers, "1")
    splits = _split(tuple(findings), "finding", 14, 60, 16) | _split(devices_names, "device", 14, 60, 16)
    splits |= {facts["condition", finding]: splits[finding] for finding in findings}
    for kind, group in (
        ("drug", drugs), ("drug_class", classes), ("test", tests),
        ("maker", makers), ("country", countries), ("capital", capitals),
    ):  # fmt: skip
        splits |= _split(group, kind, 0, round(0.35 * len(group)), round(0.1 * len(group)))
    return World(findings, devices, facts, splits)


def _split(
    subjects: tuple[str, ...], kind: str, num_unseen: int, num_test: int, num_calibration: int
) -> dict[str, SubjectSplit]:
    """The given numbers of subjects by lot, the rest for training."""
    order = list(subjects)
    random.Random(f"split/{kind}/1").shuffle(order)
    num_train = len(order) - num_unseen - num_test - num_calibration
    sizes: dict[SubjectSplit, int] = {
        "unseen": num_unseen, "test": num_test, "calibration": num_calibration, "train": num_train,
    }  # fmt: skip
    labels = [label for label, size in sizes.items() for _ in range(size)]
    by_name = dict(zip(order, labels, strict=True))
    return {name: by_name[name] for name in subjects}
