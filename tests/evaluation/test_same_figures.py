"""Figures of a made-up run are, to the last digit that is compared, those stored when they were first computed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
from typing import Any

from reground.edits.records import Answer, Edit, Expectation, Failure, Probe, Row, Timings, Trace
from reground.evaluation.protocol import ProtocolSettings
from reground.evaluation.results import Summary
from reground.evaluation.scores import summarise
from reground.evaluation.stance import RuleStanceReader, Stance, StanceReader
from reground.evaluation.strata import Belief

_WORDS = ("velmora", "tarvex", "orbex", "beta", "not", "is", "the note says", "so", "but", "wrong", ".", ",")
_LEVELS = (
    ("reliability", "exact"),
    ("generality", "text_rephrase"),
    ("portability", "hop1"),
    ("portability", "hop2.last"),
    ("text_locality", "other_subject"),
    ("image_locality", "look_alike"),
)
#: SHA-256 of each part, computed by a plain loop over all measures of all probes.
_STORED = {
    "all": "790ed4f75ccd27f40f2271d3cf4d24acc68774ba793ea41a47cda50d1763290d",
    "strata": "78c58f24c4fbddcb1c224b678d61131f922b4db8a1ed2b56d6db17af93519874",
    "comparisons": "b503578362be5eaed9cfd2b67f9e4dad741c2f4e73369e9d5f6c00c037fb9e03",
    "examples": "33cc523eab417c10a75c3e532f1496f66f3345d6b34b4ef4e798b88e3bccef0c",
    "notes": "c9a1537468c74185c8d4c12f31b1cf258a0cb29ae4e1d99b3bdbe40bffb11906",
}


class MadeUpRun:
    """A run with everything in it that makes two figures differ: chains, failures, gaps, beliefs and tags."""

    def __init__(self, seed: int, num_edits: int) -> None:
        self._draw = random.Random(seed)
        self.edits = [self._edit(number) for number in range(num_edits)]
        self.probes = [
            self._probe(edit, *self._draw.choice(_LEVELS), place) for edit in self.edits for place in range(9)
        ]
        self.orders = [[edit.id for edit in self._draw.sample(self.edits, num_edits)] for _ in range(2)]
        self.rows = [*self._single(), *self._chains()]
        self.beliefs = [
            Belief(edit_id=edit.id, model="m", answers=self._answers(), k=4, temperature=1.0, seed=0)
            for edit in self.edits[1:]
        ]
        self.tags = {edit.id: [self._draw.choice(["tier:low", "tier:high"])] for edit in self.edits[2:]}

    def summary(self, reader: StanceReader | None = None, workers: int = 1) -> Summary:
        settings = ProtocolSettings(bootstrap_resamples=100)
        return summarise(
            self.edits,
            self.probes,
            self.rows,
            self.beliefs,
            reader,
            settings=settings,
            tags=self.tags,
            orders=self.orders,
            fit_seconds={"ft": 3.0},
            workers=workers,
        )

    def _edit(self, number: int) -> Edit:
        return Edit(
            subject=f"subject {number % 5}",
            relation="r",
            modality="textual",
            question=f"what is {number}?",
            new_answer=Answer(text="tarvex", aliases=("beta",) * (number % 2)),
            prior_answer=Answer(text="velmora") if number % 3 else None,
            statement=f"it is so {number}.",
            options=() if number % 4 else ("velmora", "tarvex", "orbex"),
        )

    def _probe(self, edit: Edit, kind: Any, level: str, place: int) -> Probe:
        is_local = kind.endswith("locality")
        same = Expectation(kind="unchanged", answer=Answer(text="orbex") if place % 2 else None)
        return Probe(
            edit_id=edit.id,
            kind=kind,
            level=level,
            distance=("near" if place % 3 else "far") if is_local else None,
            question=f"{edit.subject if place % 2 else edit.question} {place}",
            expectation=same if is_local else Expectation(kind="answer", answer=edit.new_answer),
            intermediates=(Answer(text="orbex"),) if kind == "portability" and place % 2 else (),
            options=edit.options,
        )

    def _answers(self) -> tuple[Trace, ...]:
        said = self._draw.choices(["tarvex", "velmora"], k=4)
        return tuple(Trace(outcome="answered", answer=one, num_tokens=1) for one in said)

    def _trace(self) -> Trace | None:
        chain = " ".join(self._draw.choices(_WORDS, k=self._draw.randrange(9)))
        kind = self._draw.choice(["answered"] * 8 + ["no_answer", "broken_format", "truncated", "none"])
        if kind == "none":
            return None
        if kind != "answered":
            return Trace(outcome=kind, chain=self._draw.choice([None, chain]), num_tokens=1, reason="so")
        answer = self._draw.choice(["velmora", "tarvex", "orbex", "B", "beta"])
        return Trace(outcome="answered", chain=self._draw.choice([chain, chain, ""]), answer=answer, num_tokens=3)

    def _row(self, edit_id: str, probe: Probe | None, method: str, **fields: Any) -> Row:
        given = {"run": "r", "method": method, "model": "m", "benchmark": "b", "schedule": "single", "seed": 0}
        given |= {"dtype": "f", "device": "cpu", "versions": {}, "phase": "after", "checkpoint": 1, "edit_id": edit_id}
        given |= {"probe_id": probe.id if probe is not None else None}
        if "failure" not in fields:
            given |= {
                "raw": f"said {self._draw.random()}",
                "trace": self._trace() if probe is not None else None,
                "tf": self._draw.choice([None, 0.0, 1 / 3, 2 / 3, 3 / 7, 1.0]),
                "timings": Timings(apply_s=self._draw.random(), generate_s=self._draw.choice([None, 0.3, 0.7])),
                "stored_bytes": self._draw.choice([None, 3, 100]),
                "is_restored_exactly": self._draw.choice([True, True, None, False]),
            }
        return Row.model_validate(given | fields)

    def _single(self) -> list[Row]:
        rows = []
        for method, phase in (("reference", "before"), ("ft", "after"), ("none", "after"), ("grace", "after")):
            for step, edit in enumerate(self.edits):
                if phase == "after" and self._draw.random() < 0.1:
                    failure = Failure(stage=self._draw.choice(["apply", "generate"]), message="so")
                    rows.append(self._row(edit.id, None, method, step=step, failure=failure))
                    continue
                rows += [
                    self._row(edit.id, probe, method, step=step, phase=phase)
                    for probe in self.probes
                    if probe.edit_id == edit.id and self._draw.random() < 0.95
                ]
        return rows

    def _chains(self) -> list[Row]:
        rows = []
        for method in ("ft", "none"):
            for number, order in enumerate(self.orders):
                for applied in (1, len(order) // 2, len(order)):
                    common = {"schedule": "lifelong", "step": 100 * (number + 1) + applied, "checkpoint": applied}
                    common |= {"order": number, "num_applied": 1}
                    for place, edit_id in enumerate(order[:applied]):
                        rows += [
                            self._row(edit_id, probe, method, age=applied - 1 - place, **common)
                            for probe in self.probes
                            if probe.edit_id == edit_id and self._draw.random() < 0.9
                        ]
        return rows


def _rounded(value: Any) -> Any:
    """Libraries for linear algebra differ in the last bits of a sum."""
    return round(value, 9) if isinstance(value, float) else value


def _digest(records: list[Any]) -> str:
    fields = [
        {name: _rounded(value) for name, value in record.model_dump(mode="json").items()}
        if hasattr(record, "model_dump")
        else record
        for record in records
    ]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def test_every_figure_is_the_one_stored() -> None:
    summary = MadeUpRun(seed=3, num_edits=11).summary()
    scores = {is_all: [one for one in summary.scores if (one.stratum == "all") is is_all] for is_all in (True, False)}
    assert len(summary.comparisons) > 50 and len(scores[True]) > 300 and len(scores[False]) > 300
    assert {
        "all": _digest(scores[True]),
        "strata": _digest(scores[False]),
        "comparisons": _digest(list(summary.comparisons)),
        "examples": _digest(list(summary.examples)),
        "notes": _digest(list(summary.notes)),
    } == _STORED


class _EndsItsWorker(RuleStanceReader):
    """Reads in the process it was made in, and ends any other at once."""

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return super().read(chain, new=new, prior=prior, question=question)


class _ReadsInWorkers(RuleStanceReader):
    """Reads in a process that was started for it, and nowhere else."""

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        assert multiprocessing.parent_process() is not None, "read in the process that asked"
        return super().read(chain, new=new, prior=prior, question=question)


def test_several_processes_find_the_same() -> None:
    made_up = MadeUpRun(seed=3, num_edits=40)  # more than one process is handed at once
    assert made_up.summary(_ReadsInWorkers(), workers=2) == made_up.summary()


def test_what_lost_processes_were_to_judge_is_judged() -> None:
    made_up = MadeUpRun(seed=3, num_edits=40)
    assert made_up.summary(_EndsItsWorker(), workers=2) == made_up.summary()
