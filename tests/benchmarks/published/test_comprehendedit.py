"""ComprehendEdit: corrected visual questions with unrelated ones beside them."""

from __future__ import annotations

from pathlib import Path

from published_layouts import comprehended_record, write_json
from reground.benchmarks.published.benchmark import scan_published
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.rules import probe_misfits


def test_the_true_answer_of_text_locality_is_the_one_given(tmp_path: Path) -> None:
    """The authors' loader puts the question in its place."""
    path = write_json(tmp_path / "ComprehendEdit_test.json", [comprehended_record()])
    benchmark = open_benchmark(f"comprehendedit:{path}")
    (edit,) = benchmark.edits("test")
    assert (edit.relation, edit.new_answer.text) == ("object counting", "3")
    asked = benchmark.probes(edit)
    assert [(probe.kind, probe.level) for probe in asked] == [
        ("reliability", "exact"),
        ("generality", "text_rephrase"),
        ("text_locality", "unrelated_text"),
        ("image_locality", "unrelated_image"),
    ]
    assert asked[2].expectation.answer is not None
    assert asked[2].expectation.answer.text == "Ada Quill"
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


def test_an_answer_is_a_text_or_a_number_and_not_blank(tmp_path: Path) -> None:
    records = [comprehended_record(answer=answer) for answer in ("yes", 2.5, True, "", None)]
    found = scan_published("comprehendedit", write_json(tmp_path / "ComprehendEdit_train.json", records))
    assert [item.edit.new_answer.text for item in found.items] == ["yes", "2.5"]
    assert [error.kind for error in found.reading.errors] == ["unsound_record", "empty_target", "empty_target"]
