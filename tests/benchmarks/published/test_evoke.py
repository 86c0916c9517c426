"""EVOKE: texts about an image, and questions about another image."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import evoke_question, evoke_text, write_json, write_lines
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.rules import probe_misfits
from reground.errors import RecordError


def test_the_text_is_the_edit_and_the_question_is_asked_of_both_images(tmp_path: Path) -> None:
    write_json(tmp_path / "evoke_injection_data.json", [evoke_text()])
    write_lines(tmp_path / "evoke_evaluation_data.jsonl", [evoke_question()])
    benchmark = open_benchmark(f"evoke:{tmp_path}")
    (edit,) = benchmark.edits("test")
    assert edit.subject == "Long Span bridge"
    assert (edit.question, edit.statement) == ("Tell me about the bridge.", "The Long Span is a bridge of two miles.")
    asked = benchmark.probes(edit)
    assert [(probe.level, probe.question, probe.image == edit.image) for probe in asked] == [
        ("exact", "How long is the bridge in the image?", True),
        ("image_rephrase", "How long is the bridge in the image?", False),
    ]
    assert {probe.expectation.answer.text for probe in asked if probe.expectation.answer} == {"two miles"}
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


def test_without_the_texts_the_question_is_the_edit(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "evoke_evaluation_data.jsonl", [evoke_question(answer='"two" miles')])
    benchmark = open_benchmark(f"evoke:{path}")
    (edit,) = benchmark.edits("test")
    assert edit.new_answer.text == '"two" miles'
    assert [probe.level for probe in benchmark.probes(edit)] == ["exact"]
    assert any("evoke_injection_data.json" in defect for defect in benchmark.card().known_defects)


def test_a_question_without_its_text_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "evoke_injection_data.json", [evoke_text()])
    questions = [evoke_question(), evoke_question(question_id=5, ground_truth=[0]), evoke_question(question_id=2)]
    write_lines(tmp_path / "evoke_evaluation_data.jsonl", questions)
    with pytest.raises(RecordError, match=r"line 3 .*'question_id': no text stands at the place 1"):
        open_benchmark(f"evoke:{tmp_path}")
