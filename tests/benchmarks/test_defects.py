"""The kinds of defect that sound records can have, on hand-made cases."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from published_layouts import mmedit_record, mmke_record, write_json
from reground.benchmarks.defects import check_benchmark, find_defects, leaked_parts
from reground.benchmarks.registry import open_benchmark
from reground.edits.records import Answer, Edit
from reground.errors import InputError, UnknownNameError


def counts(path: Path, **options: str) -> dict[str, int]:
    found = check_benchmark(str(path), format_name="vlkeb", **options)  # type: ignore[arg-type]
    return {defect.kind: len(defect.examples) for defect in found.defects}


@pytest.mark.parametrize(
    ("question", "target", "prior", "part"),
    [
        ("Which New Jersey city is shown?", "Long Branch, New Jersey", "Bremerton,_Washington", "New"),
        ("What town in Eastland is shown?", "Newford, Eastland", "Old_Harbour,_Westland", "Eastland"),
        ("What town in Eastland is shown?", "Newford, Eastland", "Old_Harbour,_Eastland", None),
        ("Is the ball red?", "red", "blue", "red"),
        ("Is the ball red or blue?", "red", "blue", None),
        ("Which film is shown?", "The Tide (film)", "11", None),
    ],
)
def test_a_question_leaks_what_it_names_of_the_target(
    tmp_path: Path, question: str, target: str, prior: str, part: str | None
) -> None:
    path = write_json(tmp_path / "eval.json", [mmedit_record(src=question, alt=target, pred=prior)])
    (edit,) = open_benchmark(f"vlkeb:{path}").edits("test")
    assert leaked_parts(question, edit)[:1] == ((part,) if part else ())


def test_each_kind_is_found(tmp_path: Path) -> None:
    records = [
        mmedit_record(rephrase="Which Eastland town is this?"),
        mmedit_record(alt="Old Harbour, Westland"),
        mmedit_record(alt=""),
        mmedit_record(pred="Third", m_loc="m.0aa1/bing_0.jpg", m_loc_q="which town is shown"),
    ]
    path = write_json(tmp_path / "eval.json", records)
    train = write_json(tmp_path / "train.json", [mmedit_record(image="m.0aa1/other.jpg", m_loc="m.0b/1.jpg")])
    alone = {"target_leaked_by_question": 1, "prior_equals_target": 1, "empty_target": 1, "locality_overlaps_edit": 1}
    assert counts(path) == alone
    # one edit repeats a training fact; the rephrase image is the training record's too
    shared = {"repeated_across_splits": 1, "image_shared_across_splits": 1}
    assert counts(path, against=str(train)) == alone | shared


def test_a_file_whose_name_says_nothing_needs_a_format(tmp_path: Path) -> None:
    path = write_json(tmp_path / "mine.json", [mmedit_record()])
    with pytest.raises(InputError, match="cannot tell the format"):
        check_benchmark(str(path))
    with pytest.raises(UnknownNameError, match="benchmark format"):
        check_benchmark(str(path), format_name="vlkep")
    assert check_benchmark(str(path), format_name="vlkeb").num_records == 1


def test_a_question_about_a_text_is_held_against_its_own_answer(tmp_path: Path) -> None:
    """Every question about the text shares a name with it; only one that holds its own answer gives it away."""
    path = write_json(tmp_path / "eval.json", [mmke_record(m_rel_1="Did Ada Quill design the bridge shown?")])
    found = check_benchmark(str(path), format_name="mmke")
    assert [(defect.kind, len(defect.examples)) for defect in found.defects] == [("target_leaked_by_question", 1)]
    assert "'Ada Quill' of the target 'Ada Quill'" in found.defects[0].examples[0].problem


def test_images_are_opened_below_the_image_root(tmp_path: Path) -> None:
    path = write_json(tmp_path / "eval.json", [mmedit_record(), mmedit_record(m_loc="m.0aa1/bing_1.jpg")])
    for name in ("bing_0.jpg", "bing_1.jpg"):
        (tmp_path / "images" / "m.0aa1").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), "red").save(tmp_path / "images" / "m.0aa1" / name)
    found = check_benchmark(str(path), format_name="vlkeb", image_root=tmp_path / "images")
    assert [(defect.kind, len(defect.examples)) for defect in found.defects] == [("unsound_image", 1)]
    assert (found.defects[0].examples[0].line, found.defects[0].examples[0].field) == (2, "image")
    assert "google_4.jpg" in found.defects[0].examples[0].problem
    with pytest.raises(InputError, match="image root"):
        check_benchmark("phantom", image_root=tmp_path)


@pytest.mark.parametrize(("others", "is_leak"), [(0, True), (1, False), (2, False)])
def test_a_word_that_is_asked_whatever_the_answer_is_leaks_nothing(others: int, is_leak: bool) -> None:
    """Out of the questions that say "urgent", most have to expect it."""
    targets = ["urgent", *["routine"] * others]
    edits = [
        Edit(
            subject=f"fever {number}",
            relation="urgency",
            modality="textual",
            question=f"How urgent is fever {number}?",
            new_answer=Answer(text=target),
            prior_answer=Answer(text="soon"),
            statement=f"Fever {number} is {target}.",
        )
        for number, target in enumerate(targets)
    ]
    kinds = [defect.kind for defect in find_defects([(edit, ()) for edit in edits])]
    assert kinds == (["target_leaked_by_question"] if is_leak else [])
