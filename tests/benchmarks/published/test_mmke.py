"""MMKE-Bench: a text is the edit, and short questions ask for single facts in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import mmke_record, write_json
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.rules import probe_misfits

VISUAL = {
    "knowledge_type": "visual_knowledge",
    "rel": "What does a raised flag mean?",
    "rel_ans": "a start",
    "m_rel": "What does the sign shown mean?",
    "m_rel_ans": "a start",
    "image_rephrase_question": "What does the umpire signal?",
    "one_hop_img": "visual/hop.jpg",
}


def test_single_facts_of_the_text_are_asked(tmp_path: Path) -> None:
    write_json(tmp_path / "entity" / "eval.json", [mmke_record()])
    benchmark = open_benchmark(f"mmke:{tmp_path}")
    (edit,) = benchmark.edits("test")
    assert edit.statement == edit.new_answer.text == mmke_record()["alt"]
    assert edit.prior_answer is None
    asked = benchmark.probes(edit)
    answers = [probe.expectation.answer.text for probe in asked if probe.expectation.answer is not None]
    assert [(p.level, p.question, a) for p, a in zip(asked, answers, strict=True)][:6] == [
        ("exact", "Who designed the bridge shown?", "Ada Quill"),
        ("exact", "What does the bridge shown span?", "the Wend"),
        ("exact", "Who designed the Long Span?", "Ada Quill"),
        ("exact", "When was the Long Span built?", "1923"),
        ("image_rephrase", "Who designed the bridge shown?", "Ada Quill"),
        ("image_rephrase", "What does the bridge shown span?", "the Wend"),
    ]
    assert [probe.image is None for probe in asked[:4]] == [False, False, True, True]
    assert (asked[-1].level, asked[-1].image) == ("hop1", edit.image)
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


def test_a_visual_meaning_has_one_question_and_images_of_its_own(tmp_path: Path) -> None:
    record = {key: value for key, value in mmke_record().items() if "rel_" not in key} | VISUAL
    path = write_json(tmp_path / "visual" / "train.json", [record])
    benchmark = open_benchmark(f"mmke:{path}")
    (edit,) = benchmark.edits("train")
    asked = benchmark.probes(edit)
    assert [(probe.level, probe.question) for probe in asked[:3]] == [
        ("exact", "What does the sign shown mean?"),
        ("exact", "What does a raised flag mean?"),
        ("image_rephrase", "What does the umpire signal?"),
    ]
    assert asked[-1].image is not None
    assert asked[-1].image.frames == ("visual/hop.jpg",)


@pytest.mark.parametrize(
    ("missing", "accepted"),
    [
        (("rel_ans_2",), "comes with its answer"),
        (("m_rel_1", "m_rel_ans_1", "m_rel_2", "m_rel_2_ans"), "about the image"),
    ],
)
def test_a_question_without_an_answer_is_refused(tmp_path: Path, missing: tuple[str, ...], accepted: str) -> None:
    record = {key: value for key, value in mmke_record().items() if key not in missing}
    found = scan_published("mmke", write_json(tmp_path / "entity" / "eval.json", [record]))
    assert [accepted in error.accepted for error in found.reading.errors] == [True]
