"""MC-MKE's fact edits: what is told in text is asked of an image, and the other way round."""

from __future__ import annotations

from pathlib import Path

import pytest

from published_layouts import image_fact, text_fact, write_lines
from reground.benchmarks.registry import open_benchmark
from reground.benchmarks.rules import probe_misfits
from reground.errors import RecordError

TEXT = "final_new_sro_edits_input_cloze.alias.indexed.locality.explore3.upper_first.category_fix.locality.jsonl"
IMAGE = "final_iro_edits_inputs.cloze.alias.explore3.locality.jsonl"
KEPT = {"orig_loc_output_ent": "Spanish", "orig_loc_output_ent_alias": ["es"]}


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    number = {"sro_edit_input_idx": 0}
    write_lines(tmp_path / TEXT, [text_fact()])
    wordings = ["What is the capital of Westland?", "Which city is the capital of Westland?"]
    write_lines(
        tmp_path / "final_sro_text_generality_test.jsonl",
        [{**number, "image": "", "sro_question_paraphrases": wordings}],
    )
    kept = {str(n): {"image": "", "sro_question": "What is spoken in Southland?", **KEPT} for n in (7, 9)}
    write_lines(tmp_path / "final_sro_test_locality.jsonl", [{**number, "locality_test_dict": kept}])
    consistency = {
        "consistency_data_image": "/home/author/images/1.jpg",
        "consistency_data_irocloze": "The capital of the country in the picture is",
        "consistency_new_o": "Newford",
    }
    write_lines(tmp_path / "final_sro_consistency.jsonl", [{**number, **consistency}])
    return tmp_path


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    number = {"iro_edit_input_idx": 0}
    question = "What is the capital of the country in the picture?"
    write_lines(tmp_path / IMAGE, [image_fact()])
    write_lines(tmp_path / "final_iro_test_reliability.jsonl", [{**number, "image": "/home/author/images/2.jpg"}])
    wordings = {"image": "/home/author/images/2.jpg", "iro_question_paraphrases": [question, "Name its capital."]}
    write_lines(tmp_path / "final_iro_text_generality.jsonl", [{**number, **wordings}])
    write_lines(tmp_path / "final_iro_image_generality.jsonl", [{**number, "generality_images": ["3.jpg", "3.jpg"]}])
    kept = {"7": {"image": "9.jpg", "iro_question": "What is spoken in this country?", **KEPT}}
    write_lines(tmp_path / "final_iro_test_locality.jsonl", [{**number, "locality_test_dict": kept}])
    follows = {"consistency_image": "", "consistency_sro_cloze": "The capital of Westland is", "new_o": "Newford"}
    write_lines(tmp_path / "final_iro_consistency.jsonl", [{**number, **follows}])
    return tmp_path


def test_a_fact_told_in_text_is_asked_of_an_image(text_folder: Path) -> None:
    benchmark = open_benchmark(f"mcmke-sro:{text_folder}", str(text_folder / "images"))
    (edit,) = benchmark.edits("test")
    assert (edit.modality, edit.subject, edit.new_answer.spellings) == ("textual", "Westland", ("Newford", "New Ford"))
    asked = benchmark.probes(edit)
    assert [(probe.level, probe.question) for probe in asked] == [
        ("exact", "What is the capital of Westland?"),
        ("text_rephrase", "Can you name the capital of Westland?"),
        ("text_rephrase", "Which city is the capital of Westland?"),
        ("other_subject", "What is spoken in Southland?"),
        ("hop1.last", "The capital of the country in the picture is"),
    ]
    assert asked[-2].kind == "text_locality"
    assert asked[-1].image is not None
    assert asked[-1].image.folder == str(text_folder / "images")
    assert [answer.text for answer in asked[-1].intermediates] == ["Westland"]
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


def test_a_fact_about_an_image_is_asked_by_name(image_folder: Path) -> None:
    benchmark = open_benchmark(f"mcmke-iro:{image_folder}")
    (edit,) = benchmark.edits("test")
    assert edit.image is not None
    assert edit.image.frames == ("/home/author/images/2.jpg",)
    asked = benchmark.probes(edit)
    assert [(probe.kind, probe.level, probe.image is None) for probe in asked] == [
        ("reliability", "exact", False),
        ("generality", "text_rephrase", False),
        ("generality", "image_rephrase", False),
        ("image_locality", "other_subject", False),
        ("portability", "hop1.last", True),
    ]
    assert not [misfit for probe in asked for misfit in probe_misfits(probe)]


@pytest.mark.parametrize("name", ["mcmke-sro", "mcmke-iro"])
def test_the_tests_of_an_edit_may_be_missing(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / TEXT, [text_fact()])
    write_lines(tmp_path / IMAGE, [image_fact()])
    benchmark = open_benchmark(f"{name}:{tmp_path}")
    (edit,) = benchmark.edits("test")
    assert benchmark.probes(edit)[0].level == "exact"
    assert any("is not there" in defect for defect in benchmark.card().known_defects)


def test_a_test_without_an_edit_is_refused(text_folder: Path) -> None:
    write_lines(
        text_folder / "final_sro_text_generality_test.jsonl",
        [{"sro_edit_input_idx": 4, "sro_question_paraphrases": []}],
    )
    with pytest.raises(RecordError, match=r"'sro_edit_input_idx': no edit has the number 4"):
        open_benchmark(f"mcmke-sro:{text_folder}")
