"""SLAKE and VQA-RAD as sources of near locality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import published_trees as trees
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reground.benchmarks.builders.locality import pick_images
from reground.benchmarks.builders.near import read_slake, read_vqa_rad
from reground.errors import InputError

VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)


def test_slake_gives_its_english_questions(tmp_path: Path) -> None:
    found = read_slake(trees.write_slake(tmp_path / "slake"))
    assert [(one.question, one.answers) for one in found.questions] == [
        ("Which organ is it?", ("Liver",)),
        ("How many lungs are shown?", ("2",)),
    ]
    assert found.questions[0].image == str(tmp_path / "slake" / "imgs" / "xmlab1" / "source.jpg")
    assert [path.name for path in found.files] == ["train.json", "validate.json"]
    assert [(error.line, error.field) for error in found.errors] == [(1, "answer")]
    assert len(pick_images(found.questions, 3, 0, "slake")) == 3


def test_vqa_rad_is_read_with_its_images(tmp_path: Path) -> None:
    found = read_vqa_rad(trees.write_vqa_rad(tmp_path / "rad"))
    assert [one.answers for one in found.questions] == [("Yes",), ("3",)]
    assert found.questions[0].image == str(tmp_path / "rad" / "VQA_RAD Image Folder" / "synpic1.jpg")
    assert found.errors == ()


def test_a_folder_without_the_set_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no questions to sample"):
        read_vqa_rad(tmp_path)
    found = read_slake(trees.write_slake(tmp_path / "slake"))
    (tmp_path / "slake" / "imgs" / "xmlab1" / "source.jpg").unlink()
    with pytest.raises(InputError, match="none of the images of slake"):
        pick_images(found.questions, 1, 0, "slake")


@settings(max_examples=40, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(["question", "answer", "image_name"]), VALUES, max_size=3))
def test_no_record_ends_in_a_crash(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("rad")
    sound = {"question": "Is it?", "answer": "Yes", "image_name": "synpic1.jpg"}
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps([sound, sound | changes, "text"]))
    found = read_vqa_rad(folder)
    assert len(found.questions) + len(found.errors) == 3
