"""What an edit and a probe must keep so that their scores mean something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reground.benchmarks.files import scan_folder
from reground.benchmarks.rules import edit_misfits, probe_misfits
from reground.edits.files import write_records
from reground.edits.records import Edit, Probe

EDIT: dict[str, Any] = {
    "subject": "velmora",
    "relation": "drug",
    "modality": "textual",
    "question": "what is the drug for velmora?",
    "new_answer": {"text": "tarvexin"},
    "statement": "the drug for velmora is tarvexin.",
}
PROBE: dict[str, Any] = {
    "edit_id": "e1",
    "kind": "reliability",
    "level": "exact",
    "question": "what?",
    "expectation": {"kind": "answer", "answer": {"text": "tarvexin"}},
}
LOCAL = {"distance": "far", "expectation": {"kind": "unchanged"}}
PASSED = {"intermediates": [{"text": "tarvexin"}]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, None),
        ({"prior_answer": {"text": "belumide"}}, None),
        ({"prior_answer": {"text": "belumide", "aliases": ["Tarvexin"]}}, "new_answer"),
        ({"options": ["a", "b"]}, None),
        ({"options": ["a", "A"]}, "options"),
    ],
)
def test_an_edit_changes_something_and_offers_each_option_once(changes: dict[str, Any], field: str | None) -> None:
    found = [misfit.field for misfit in edit_misfits(Edit.model_validate({**EDIT, **changes}))]
    assert found == ([field] if field else [])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, None),
        ({"level": "hop1"}, "level"),
        ({"kind": "generality", "level": "text_rephrase"}, None),
        ({"kind": "generality", "level": "text_rephrased"}, "level"),
        ({"kind": "generality", "level": "both", "image": "phantom:blank"}, None),
        ({"kind": "generality", "level": "both"}, "image"),
        ({"kind": "generality", "level": "free_text"}, None),
        ({"kind": "generality", "level": "shuffled_options", "options": ["tarvexin", "belumide"]}, None),
        ({"kind": "generality", "level": "shuffled_options"}, "options"),
        ({"kind": "text_locality", "level": "multiple_choice", **LOCAL}, None),
        ({"kind": "portability", "level": "hop12", **PASSED}, None),
        ({"kind": "portability", "level": "hop0", **PASSED}, "level"),
        ({"kind": "portability", "level": "hop2.middle", **PASSED}, None),
        ({"kind": "portability", "level": "hop2.composed", **PASSED}, None),
        ({"kind": "portability", "level": "hop2.second", **PASSED}, "level"),
        ({"kind": "portability", "level": "hop2"}, "intermediates"),
        ({"kind": "text_locality", "level": "whatever", **LOCAL}, None),
        ({"kind": "image_locality", "level": "whatever", **LOCAL}, "image"),
        ({"options": ["a", "a"]}, "options"),
    ],
)
def test_a_probe_is_of_a_level_that_is_counted(changes: dict[str, Any], field: str | None) -> None:
    """A probe of a level nobody counts was asked and then left out of every table."""
    found = [misfit.field for misfit in probe_misfits(Probe.model_validate({**PROBE, **changes}))]
    assert found == ([field] if field else [])


def test_a_folder_that_breaks_a_rule_names_file_line_and_field(tmp_path: Path) -> None:
    edit = Edit.model_validate({**EDIT, "prior_answer": {"text": "tarvexin"}})
    probe = Probe.model_validate({**PROBE, "edit_id": edit.id, "kind": "generality", "level": "text_rephrased"})
    write_records(tmp_path / "edits.jsonl", [edit])
    write_records(tmp_path / "probes.jsonl", [probe])
    _, _, errors = scan_folder(tmp_path)
    assert [(Path(error.file or "").name, error.line, error.field) for error in errors] == [
        ("edits.jsonl", 1, "new_answer"),
        ("probes.jsonl", 1, "level"),
    ]
    assert errors[1].next_step == "did you mean 'text_rephrase'?"
