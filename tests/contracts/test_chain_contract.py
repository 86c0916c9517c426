"""What a chain of edits keeps, for every registered method: one state, saved and loaded, and undone without a trace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_method_contract import ALL_METHODS, QUICK, VISION_METHODS, State

from reground.edits.records import Answer, Edit
from reground.methods.chain import EditChain
from reground.methods.chain_target import edit_query
from reground.methods.registry import create_editor, method_entry
from reground.models.hf.adapter import HfModel
from training_world import needs_artifact

#: One of each way to add an edit to those in force; the others take their time.
QUICK_ONES = ("crane-prompt", "ft", "grace", "lora", "none", "prompt", "wise")
Fitted = Callable[[str, str], Path]


def chain_of(name: str, model: HfModel, fitted: Fitted) -> EditChain:
    settings: dict[str, Any] = dict(QUICK.get(name, {}))
    if needs_artifact(name):
        settings["artifact"] = str(fitted(name, model.family.name))
    if "target" in method_entry(name).preset:
        settings["max_chain_tokens"] = 8
    return EditChain(create_editor(name, settings), model, method_entry(name).chain)


def edits_for(name: str, edits: list[Edit]) -> list[Edit]:
    """Four edits that differ in what they teach."""
    visual, textual = edits
    answers = ["drantic fever", "osquine disease", "velmora syndrome", "kidney"]
    bases = [visual] * 4 if name in VISION_METHODS else [visual, textual, textual, visual]
    return [
        base.model_copy(update={"new_answer": Answer(text=answer), "statement": f"it means {answer}."})
        for base, answer in zip(bases, answers, strict=True)
    ]


@pytest.mark.parametrize(
    "name", [name if name in QUICK_ONES else pytest.param(name, marks=pytest.mark.slow) for name in ALL_METHODS]
)
def test_a_chain_saved_in_the_middle_goes_on_as_if_it_had_not_been(
    name: str, one_tiny_model: HfModel, tiny_edits: list[Edit], fitted: Fitted, tmp_path: Path
) -> None:
    model, edits = one_tiny_model, edits_for(name, tiny_edits)
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
    model, edits = one_tiny_model, edits_for(name, tiny_edits)
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
