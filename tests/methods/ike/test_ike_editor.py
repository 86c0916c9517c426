"""In-context editing: which query gets which note."""

from __future__ import annotations

from pathlib import Path

import pytest

from reground.edits.records import Answer, Edit
from reground.errors import InputError, ModelError, RecipeError
from reground.methods.context_edit import NotedModel
from reground.methods.ike.pool import read_pool
from reground.methods.registry import create_editor
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from reground.models.scripted import load_scripted_model


def edit(subject: str, answer: str) -> Edit:
    return Edit(
        subject=subject,
        relation="drug",
        modality="textual",
        question=f"which drug is given first for {subject}?",
        new_answer=Answer(text=answer),
        statement=f"patients with {subject} must now receive {answer} first.",
    )


EDITS = [edit("velmora", "osquine"), edit("drantia", "belumide")]
SKY = Query(question="what colour has coal?")


def seen(edited: NotedModel, query: Query) -> str | None:
    (noted,) = edited.asked([query])
    return noted.note


def apply(name: str, edits: list[Edit] = EDITS, **settings: object) -> NotedModel:
    edited = create_editor(name, settings).apply(load_scripted_model("demo"), edits)
    assert isinstance(edited, NotedModel)
    return edited


def test_a_query_gets_the_fact_of_the_nearest_edit_after_its_demonstrations() -> None:
    edited = apply("ike", num_demonstrations=2)
    note = seen(edited, Query(question="what is given first for drantia?"))
    assert note is not None
    lines = note.splitlines()
    assert len(lines) == 2 * 2 + 1
    assert lines[-1] == "New fact: which drug is given first for drantia? belumide"
    assert "velmora" not in note
    assert edited.details["num_demonstrations"] == [2, 2]


def test_a_query_that_no_edit_is_near_gets_nothing() -> None:
    assert seen(apply("ike"), SKY) is None


def test_gold_facts_stand_in_every_prompt() -> None:
    note = seen(apply("ike-gold", num_demonstrations=1), SKY)
    assert note is not None
    assert note.splitlines()[-2:] == [
        "New fact: which drug is given first for velmora? osquine",
        "New fact: which drug is given first for drantia? belumide",
    ]


def test_no_demonstrations_leave_the_fact_alone() -> None:
    assert seen(apply("ike-gold", EDITS[:1], num_demonstrations=0), SKY) == (
        "New fact: which drug is given first for velmora? osquine"
    )


def test_an_edit_on_a_subject_of_the_pool_is_not_shown_another_fact_about_it() -> None:
    fact = read_pool("phantom")[0]
    own = edit(fact.subject, "osquine").model_copy(update={"question": fact.question, "statement": fact.statement})
    assert not any(fact.new_answer in note for note in apply("ike", [own]).details["notes"])


def test_a_note_stays_below_its_limit_by_leaving_out_demonstrations() -> None:
    edited = apply("ike", EDITS[:1], num_demonstrations=32, max_words=100)
    (note,) = edited.details["notes"]
    (num_shown,) = edited.details["num_demonstrations"]
    assert 2 <= num_shown < 32
    assert 60 < len(note.split()) <= 100


def test_what_does_not_fit_the_model_is_refused_with_the_limit(tiny_model: HfModel) -> None:
    editor = create_editor("ike-gold", {"num_demonstrations": 32, "max_words": 2000})
    with (
        editor.apply(tiny_model, EDITS) as edited,
        pytest.raises(InputError, match=r"tokens\.\n  Accepted: at most 512.*\n  Next: shorten the question"),
    ):
        edited.generate([SKY])


def test_a_saved_edit_is_refused_once_the_pool_has_changed(tmp_path: Path) -> None:
    facts = read_pool("phantom")
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(fact.model_dump_json() + "\n" for fact in facts[:9]))
    editor = create_editor("ike", {"pool": str(pool)})
    model = load_scripted_model("demo")
    with editor.apply(model, EDITS) as edited:
        edited.save(tmp_path / "edit")
    with editor.load(model, tmp_path / "edit") as loaded:
        assert loaded.fingerprint([SKY]) == model.fingerprint([SKY])
    pool.write_text(facts[10].model_dump_json() + "\n")
    with pytest.raises(ModelError, match="another content of the demonstration pool"):
        editor.load(model, tmp_path / "edit")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ike-gold", {"min_similarity": 0.5}),
        ("ike", {"ratio": [0, 0, 0]}),
        ("ike", {"example": "{statement}"}),
        ("ike", {"template": "no field"}),
        ("ike", {"facts": "gold"}),
    ],
)
def test_settings_that_contradict_the_method_are_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        create_editor(name, settings)


def test_no_edits_change_nothing() -> None:
    assert seen(apply("ike", []), SKY) is None
    assert seen(apply("ike-gold", []), SKY) is None
