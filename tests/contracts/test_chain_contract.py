"""What a chain of edits keeps, for every registered method: one state, saved and loaded, and undone without a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edit_state import State
from method_settings import ALL_METHODS, four_edits, settings_of
from reground.edits.records import Edit
from reground.methods.chain import EditChain
from reground.methods.chain_target import edit_query
from reground.methods.registry import create_editor, method_entry
from reground.models.hf.adapter import HfModel

#: One of each way to add an edit to those in force; the others take their time.
QUICK_ONES = ("crane-prompt", "ft", "grace", "lora", "none", "prompt", "wise")
Fitted = Callable[[str, str], Path]


def chain_of(name: str, model: HfModel, fitted: Fitted) -> EditChain:
    editor = create_editor(name, settings_of(name, model.family.name, fitted))
    return EditChain(editor, model, method_entry(name).chain)


@pytest.mark.parametrize(
    "name", [name if name in QUICK_ONES else pytest.param(name, marks=pytest.mark.slow) for name in ALL_METHODS]
)
def test_a_chain_saved_in_the_middle_goes_on_as_if_it_had_not_been(
    name: str, one_tiny_model: HfModel, tiny_edits: list[Edit], fitted: Fitted, tmp_path: Path
) -> None:
    model, edits = one_tiny_model, four_edits(name, tiny_edits)
    queries = [edit_query(edit) for edit in edits]
    before, unedited = State(model), model.fingerprint(queries)
    whole = chain_of(name, model, fitted)
    for number, edit in enumerate(edits):
        whole.add([edit], seed=number if method_entry(name).chain != "anew" else 0)
        if number == 1:
            middle = whole.model.fingerprint(queries)
            if whole.keeps_state:
                whole.save(tmp_path / "state")
    assert len(model.edits_in_force) <= 1, "a chain is one edit on the original, however long it is"
    end = whole.model.fingerprint(queries)
    assert (end != unedited) == (name != "none")
    whole.restore()
    before.assert_same(model)
    assert model.fingerprint(queries) == unedited

    resumed = chain_of(name, model, fitted)
    if (tmp_path / "state").is_dir():
        resumed.load(tmp_path / "state", edits[:2])
        assert resumed.model.fingerprint(queries) == middle
        for number, edit in list(enumerate(edits))[2:]:
            resumed.add([edit], seed=number)
    else:
        assert method_entry(name).chain == "anew"
        resumed.add(edits, seed=0)
    assert resumed.edits == tuple(edits)
    assert resumed.model.fingerprint(queries) == end
    resumed.restore()
    before.assert_same(model)


@pytest.mark.parametrize("name", ["ft", "grace", "lora", "prompt"])
def test_an_edit_that_fails_does_not_break_the_chain(
    name: str, one_tiny_model: HfModel, tiny_edits: list[Edit], fitted: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, edits = one_tiny_model, four_edits(name, tiny_edits)
    queries = [edit_query(edit) for edit in edits]
    before = State(model)
    chain = chain_of(name, model, fitted)
    chain.add(edits[:1], seed=0)
    held = chain.model.fingerprint(queries)
    with monkeypatch.context() as patch:
        patch.setattr(type(create_editor(name)), "apply", _refuse)
        with pytest.raises(RuntimeError):
            chain.add(edits[1:2], seed=1)
    if method_entry(name).chain == "anew":
        assert chain.edits == tuple(edits[:2]), "all are tried again with the next"
    else:
        assert chain.edits == tuple(edits[:1])
        assert chain.model.fingerprint(queries) == held
    chain.add(edits[2:3], seed=2)
    assert chain.model.fingerprint(queries) != held
    chain.restore()
    before.assert_same(model)


def _refuse(*arguments: object, **settings: object) -> None:
    raise RuntimeError("no")
