"""A tiny hand-made world: one edit (a ring now means tarvex, formerly velmora) and its probes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from reground.edits.records import Answer, Edit, Expectation, Failure, Probe, Row, Timings, Trace
from reground.evaluation.stance import Stance

RowMaker = Callable[..., Row]


class FakeReader:
    """Reads stance by three crude rules, so that these tests do not depend on the real rules."""

    name = "fake-1"

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        at_new = [m.end() for m in re.finditer(rf"\b{re.escape(new.text)}\b", chain)]
        at_prior = [m.end() for m in re.finditer(rf"\b{re.escape(prior.text)}\b", chain)] if prior else []
        ends_on_prior = bool(at_prior) and (not at_new or at_prior[-1] > at_new[-1])
        asserted = prior.text if ends_on_prior and prior else new.text if at_new else None
        if not at_new:
            return Stance(label="silent", evidence=None, asserted=asserted)
        if f"not {new.text}" in chain:
            return Stance(label="rejects", evidence=chain, asserted=asserted)
        return Stance(label="reverts" if ends_on_prior else "supports", evidence=chain, asserted=asserted)


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


@pytest.fixture
def make_edit() -> Callable[..., Edit]:
    def make(number: int = 0, **fields: Any) -> Edit:
        return Edit.model_validate(
            {
                "subject": f"ring {number}",
                "relation": "condition",
                "modality": "textual",
                "question": "which condition is it?",
                "new_answer": {"text": "tarvex", "aliases": ["tarvex disease"]},
                "prior_answer": {"text": "velmora"},
                "statement": "a ring means tarvex.",
                **fields,
            }
        )

    return make


@pytest.fixture
def make_probe() -> Callable[..., Probe]:
    def make(edit: Edit, kind: str = "reliability", level: str = "exact", **fields: Any) -> Probe:
        if kind.endswith("locality"):
            fields = {"distance": "near", "expectation": Expectation(kind="unchanged"), **fields}
        else:
            fields = {"expectation": Expectation(kind="answer", answer=edit.new_answer), **fields}
        given = {"edit_id": edit.id, "kind": kind, "level": level, "question": f"{kind} {level}?", **fields}
        return Probe.model_validate(given)

    return make


@pytest.fixture
def make_row() -> RowMaker:
    def make(
        probe: Probe,
        chain: str | None = None,
        answer: str | None = None,
        *,
        phase: str = "after",
        outcome: str | None = None,
        **fields: Any,
    ) -> Row:
        outcome = outcome or ("answered" if answer is not None else "broken_format")
        trace = Trace.model_validate({"outcome": outcome, "chain": chain, "answer": answer, "num_tokens": 5})
        given: dict[str, Any] = {
            "run": "r",
            "method": "ft",
            "model": "m",
            "benchmark": "b",
            "schedule": "single",
            "step": 0,
            "checkpoint": 0 if phase == "before" else 1,
            "edit_id": probe.edit_id,
            "probe_id": probe.id,
            "phase": phase,
            "raw": f"<think>{chain}</think><answer>{answer}</answer>",
            "trace": trace,
            "seed": 0,
            "dtype": "float32",
            "device": "cpu",
            "versions": {"protocol": "1"},
            **fields,
        }
        return Row.model_validate(given)

    return make


@pytest.fixture
def make_failed_row(make_row: RowMaker) -> RowMaker:
    def make(probe: Probe, stage: str = "apply", **fields: Any) -> Row:
        failure = Failure(stage=stage, message="loss is not finite")
        row = make_row(probe, outcome="no_answer", **fields)
        return row.model_copy(update={"probe_id": None, "trace": None, "raw": None, "failure": failure})

    return make


@pytest.fixture
def seconds() -> Callable[..., Timings]:
    def make(**fields: float) -> Timings:
        return Timings(**fields)

    return make
