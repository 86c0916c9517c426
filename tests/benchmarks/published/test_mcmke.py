"""MC-MKE's image edits: six files joined by number, any but the first of which may be missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from published_layouts import write_lines
from reground.benchmarks.registry import open_benchmark
from reground.errors import RecordError

IMAGES = "/home/author/set/images"
EDIT = {
    "relation": "capital",
    "e_ent": "Westland",
    "ie_edit_input_idx": 0,
    "new_e_ent": "Eastland",
    "new_e_ent_alias": ["East Land", "Eastland", "EL"],
    "ie_question": "Which country is shown?",
    "ie_cloze": "The country is",
    "images": [f"{IMAGES}/1.jpg", f"{IMAGES}/2.jpg"],
}
TESTS: dict[str, dict[str, Any]] = {
    "final_ie_edit_reliability_test.jsonl": {"image": f"{IMAGES}/1.jpg"},
    "final_ie_test_text_generality.jsonl": {
        "image": f"{IMAGES}/1.jpg",
        "ie_question_paraphrases": ["Which country is shown?", "What country is it?"],
    },
    "final_ie_test_image_generality.jsonl": {"generality_images": [f"{IMAGES}/2.jpg"]},
    "final_ie_locality_test.jsonl": {
        "locality_test_dict": {
            "7": {"image": f"{IMAGES}/9.jpg", "ie_question": "Which band?", "orig_loc_ent": "The Ouzels"}
        }
    },
    "final_ie_test_consistency.jsonl": {
        "consistency_iro_image": f"{IMAGES}/1.jpg",
        "consistency_iro_input_cloze": "The capital of the country in the picture is",
        "consistency_iro_output": "Newford",
        "consistency_iro_output_alias": ["New Ford"],
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / "final_ie_edit_input.jsonl", [EDIT])
    for name, test in TESTS.items():
        write_lines(tmp_path / name, [{"ie_edit_input_idx": 0, **test}])
    return tmp_path


def test_the_files_are_joined_by_number(folder: Path) -> None:
    benchmark = open_benchmark(f"mcmke:{folder}")
    (edit,) = benchmark.edits("test")
    assert edit.new_answer.spellings == ("Eastland", "East Land", "EL")
    asked = benchmark.probes(edit)
    assert [(probe.level, probe.question) for probe in asked] == [
        ("exact", "Which country is shown?"),
        ("text_rephrase", "What country is it?"),
        ("image_rephrase", "Which country is shown?"),
        ("other_subject", "Which band?"),
        ("hop1", "The capital of the country in the picture is"),
    ]
    assert asked[-1].intermediates == (edit.new_answer,)
    assert asked[-1].expectation.answer is not None
    assert asked[-1].expectation.answer.spellings == ("Newford", "New Ford")


def test_a_missing_file_is_told_and_asks_nothing(folder: Path) -> None:
    for name in TESTS:
        (folder / name).unlink()
    benchmark = open_benchmark(f"mcmke:{folder}")
    assert [probe.level for probe in benchmark.probes(benchmark.edits("test")[0])] == ["exact"]
    assert sum("is not there" in defect for defect in benchmark.card().known_defects) == len(TESTS)


def test_a_number_without_an_edit_or_given_twice_is_refused(folder: Path) -> None:
    path = folder / "final_ie_edit_reliability_test.jsonl"
    write_lines(path, [{"ie_edit_input_idx": 3, "image": "a.jpg"}])
    with pytest.raises(RecordError, match="no edit has the number 3"):
        open_benchmark(f"mcmke:{folder}")
    write_lines(path, [{"ie_edit_input_idx": 0, "image": "a.jpg"}] * 2)
    with pytest.raises(RecordError, match=r"line 2 .*given before"):
        open_benchmark(f"mcmke:{folder}")
