"""An edit that leaves chains whole leaves the answers to unrelated questions alone, on the built-in model."""

from __future__ import annotations

import pytest

from reground.benchmarks.phantom import PhantomBenchmark
from reground.methods.registry import create_editor
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, load_hf_model
from reground.models.phantom import weights_folder

#: Methods that break the chain of every question (`ft`, `lora`) are not among them: that is what they are shown for.
SPARING = ("none", "prompt", "crane-prompt", "ft-chain", "lora-chain", "grace")
QUESTIONS = (
    "what colour is grass?",
    "what is the opposite of hot?",
    "what comes after monday?",
    "how much is one plus one?",
)


@pytest.fixture(scope="module")
def med() -> HfModel:
    return load_hf_model(str(weights_folder("phantom-med")), name="phantom-med", device="cpu")


@pytest.mark.parametrize("name", SPARING)
def test_an_unrelated_question_keeps_its_answer(name: str, med: HfModel) -> None:
    queries = [Query(question=question) for question in QUESTIONS]
    before = [_answer(output[0].text) for output in med.generate(queries)]
    assert before == ["green", "cold", "tuesday", "two"]
    for edit in PhantomBenchmark().edits("test", limit=2):
        with create_editor(name).apply(med, [edit]) as edited:
            assert [_answer(output[0].text) for output in edited.generate(queries)] == before, edit.question


def _answer(text: str) -> str:
    return text.partition("<answer>")[2].partition("</answer>")[0].strip()
