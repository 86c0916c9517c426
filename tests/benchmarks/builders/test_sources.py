"""Published layouts are read whole; what does not fit is named with file, place and field."""

from __future__ import annotations

import json
from pathlib import Path

import published_trees as trees
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reground.benchmarks.builders.items import listed_options, option_at, scan_entries
from reground.benchmarks.builders.locality import pick_images, pick_texts, read_natural_questions, read_vqav2
from reground.benchmarks.builders.sources import read_medframeqa, read_medxpertqa, read_omnimedvqa, read_pmc_vqa
from reground.errors import InputError, MissingExtraError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_pmc_vqa(tmp_path: Path) -> None:
    scan = read_pmc_vqa(trees.write_pmc_vqa(tmp_path / "pmc"))
    assert len(scan.items) == 5
    first = scan.items[0]
    assert (first.id, first.tier, first.question) == (
        "pmc-vqa/test_clean.csv/2",
        "understanding",
        "What is shown in image 0?",
    )
    assert (first.options, first.answer) == (("organ 0", "bone", "a,b", "none"), 1)
    assert first.images == (str(tmp_path / "pmc" / "images" / "PMC0_F1.jpg"),)
    assert [(error.line, error.field) for error in scan.errors] == [(7, "Figure_path"), (8, "options")]
    assert "absent.jpg" in str(scan.errors[0])


def test_medframeqa(tmp_path: Path) -> None:
    scan = read_medframeqa(trees.write_medframeqa(tmp_path / "frames"), tmp_path / "out")
    (item,) = scan.items
    assert (item.id, item.tier, item.subject) == ("medframeqa/Q1", "reasoning", "meniscal tear")
    assert (item.options, item.answer) == (("grows", "shrinks", "stays"), 2)
    assert [Path(image).name for image in item.images] == ["a.png", "b.png"]
    assert [(error.line, error.field) for error in scan.errors] == [(2, "options"), (3, None)]


def test_medframeqa_in_parquet_carries_its_frames(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="install the extra 'data' to read Parquet")
    from pyarrow import parquet

    trees.draw(tmp_path / "frame.png")
    content = (tmp_path / "frame.png").read_bytes()
    row = {"question_id": "Q/1", "question": "Which?", "options": ["x", "y"], "correct_answer": "B"}
    (tmp_path / "set" / "data").mkdir(parents=True)
    table = pyarrow.Table.from_pylist([{**row, "image_1": {"bytes": content, "path": None}}])
    parquet.write_table(table, tmp_path / "set" / "data" / "test-0.parquet")
    (item,) = read_medframeqa(tmp_path / "set", tmp_path / "out").items
    assert Path(item.images[0]).read_bytes() == content
    assert Path(item.images[0]).parent == tmp_path / "out"


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "test-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"reground\[data\]"):
        read_medframeqa(tmp_path, tmp_path / "out")


def test_medxpertqa(tmp_path: Path) -> None:
    scan = read_medxpertqa(trees.write_medxpertqa(tmp_path / "expert"))
    (item,) = scan.items
    assert (item.question, item.options, item.answer) == ("Which sign is it?", ("ring", "star"), 0)
    assert (item.tier, item.subject) == ("understanding", "Urinary")
    assert [(error.line, error.field) for error in scan.errors] == [(2, "label")]


def test_omnimedvqa(tmp_path: Path) -> None:
    trees.draw(tmp_path / "secret.png")
    scan = read_omnimedvqa(trees.write_omnimedvqa(tmp_path / "omni"))
    (item,) = scan.items
    assert (item.id, item.answer, item.subject) == ("omnimedvqa/ct_0001", 1, "Chest CT Scan")
    assert [(error.line, error.field) for error in scan.errors] == [(2, "image_path")], "no image from outside the set"


@pytest.mark.parametrize("read", [read_pmc_vqa, read_medxpertqa, read_omnimedvqa])
def test_an_empty_folder_says_what_is_wanted(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(InputError, match="no question file"):
        read(tmp_path)


def test_what_comes_twice_is_named(tmp_path: Path) -> None:
    folder = trees.write_medxpertqa(tmp_path / "expert")
    path = folder / "MM" / "test.jsonl"
    first = path.read_text().splitlines()[0]
    path.write_text(f"{first}\n{first}\n{first.replace('MM-1', 'MM-9', 1)}\n")
    scan = read_medxpertqa(folder)
    assert len(scan.items) == 1
    assert [(error.line, error.field) for error in scan.errors] == [(2, "id"), (3, "question")]
    assert "test.jsonl, entry 1" in str(scan.errors[0])


def test_a_name_no_file_can_have_is_a_missing_image(tmp_path: Path) -> None:
    folder = trees.write_medxpertqa(tmp_path / "expert")
    path = folder / "MM" / "test.jsonl"
    first = path.read_text().splitlines()[0]
    names = ("x" * 300, "\\u0000")
    path.write_text("".join(first.replace("MM-1-a.jpeg", name) + "\n" for name in names))
    assert [error.field for error in read_medxpertqa(folder).errors] == ["images", "images"]


def test_natural_questions_in_both_layouts(tmp_path: Path) -> None:
    found = read_natural_questions(trees.write_natural_questions(tmp_path / "nq.json"))
    assert [(one.question, one.answers) for one in found] == [("who sang it", ("Ann",)), ("when was it", ("1990",))]
    (tmp_path / "nq.jsonl").write_text('{"question": "who", "answer": ["Ann", "Ann"]}\nnot json\n{"question": 3}\n')
    assert [one.answers for one in read_natural_questions(tmp_path / "nq.jsonl")] == [("Ann",)]
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(InputError, match="holds no questions"):
        read_natural_questions(tmp_path / "bad.json")


def test_vqav2_takes_questions_whose_image_is_there(tmp_path: Path) -> None:
    pool = read_vqav2(trees.write_vqav2(tmp_path / "vqa"))
    assert len(pool) == 2
    picked = pick_images(pool, 3, seed=0)
    assert {one.question for one in picked} == {"what colour is 42?"} and len(picked) == 3
    (tmp_path / "vqa" / "val2014" / "COCO_val2014_000000000042.jpg").unlink()
    with pytest.raises(InputError, match="none of the images"):
        pick_images(pool, 1, seed=0)


def test_no_question_is_taken_twice_before_all_were(tmp_path: Path) -> None:
    pool = read_natural_questions(trees.write_natural_questions(tmp_path / "nq.json"))
    picked = pick_texts(pool, 4, seed=1)
    assert picked[:2] == picked[2:] and len({one.question for one in picked[:2]}) == 2
    assert picked == pick_texts(pool, 4, seed=1)


def test_letters_are_dropped_only_where_all_options_carry_their_own() -> None:
    assert listed_options(["A: x", "B: y"]) == ("x", "y")
    assert listed_options(["(A) x", "(B) y"]) == ("x", "y")
    assert listed_options(["A. x", "C. y"]) == ("A. x", "C. y")
    assert option_at("answer", "B: bone", ("organ", "Bone")) == 1
    assert option_at("answer", "b", ("organ", "bone")) == 1


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.write_medxpertqa(tmp_path_factory.mktemp("fuzz") / "expert")


FIELDS = ("id", "question", "options", "label", "images", "body_system", "question_type")


@settings(max_examples=60, deadline=None)
@given(bare=JSON, field=st.sampled_from(FIELDS), value=JSON, is_absent=st.booleans())
def test_no_entry_crashes_a_reader(expert: Path, bare: object, field: str, value: object, is_absent: bool) -> None:
    """A sound entry with one field replaced or taken out, and an entry that is anything: each an item or an error."""
    sound = {
        "id": "MM-1",
        "question": "Which?",
        "options": {"A": "ring", "B": "star"},
        "label": "A",
        "images": ["MM-1-a.jpeg"],
    }
    damaged = {key: kept for key, kept in (sound | {field: value}).items() if not (is_absent and key == field)}
    (expert / "MM" / "test.jsonl").write_text(f"{json.dumps(damaged)}\n{json.dumps(bare)}\n")
    scan = read_medxpertqa(expert)
    assert len(scan.items) + len(scan.errors) == 2
    assert all(error.line in (1, 2) and error.file for error in scan.errors)


def test_an_entry_that_is_no_object_is_named(tmp_path: Path) -> None:
    scan = scan_entries(tmp_path / "x.json", [(1, "text")], lambda place, entry: entry)
    assert "the entry is text" in str(scan.errors[0])
