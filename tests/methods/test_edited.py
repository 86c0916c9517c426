"""The file that describes a saved edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from reground.edits.records import Answer, Edit
from reground.errors import InputError
from reground.methods.base import EditCost
from reground.methods.edited import SavedEdit

SAVED = SavedEdit(
    method="ft",
    config={"layers": [-1]},
    model="tiny",
    edits=(
        Edit(
            subject="ring",
            relation="condition",
            modality="textual",
            question="what does a ring mean?",
            new_answer=Answer(text="osquine"),
            statement="a ring means osquine",
        ),
    ),
    cost=EditCost(apply_s=0.5, peak_bytes=None, stored_bytes=8, num_changed_parameters=2),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    SAVED.write(tmp_path / "edit")
    assert SavedEdit.read(tmp_path / "edit", "ft") == SAVED


def test_another_methods_edit_is_refused(tmp_path: Path) -> None:
    SAVED.write(tmp_path)
    with pytest.raises(InputError, match="saved by method 'ft' and is to be loaded by 'lora'"):
        SavedEdit.read(tmp_path, "lora")


@pytest.mark.parametrize("content", [None, "", "{}", '{"format": 2}'])
def test_a_folder_without_a_readable_edit_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "edit.json").write_text(content)
    with pytest.raises(InputError, match="no saved edit can be read"):
        SavedEdit.read(tmp_path, "ft")
