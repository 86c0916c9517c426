"""The codebook at work: which token is asked about, what is replaced, and how codebooks follow one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Answer, Edit
from reground.errors import InputError, ModelError
from reground.methods.chain_target import edit_query
from reground.methods.grace.editor import CodebookEdit
from reground.methods.grace.layers import replaced
from reground.methods.registry import create_editor
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, Pass, load_hf_model

LEARNING: dict[str, Any] = {"learning_rate": 1.0, "num_steps": 60, "radius": 1e-2, "ends": False}
OTHERS = [Query(question="what?"), Query(question="which drug comes first after velmora syndrome and osquine?")]


def apply(model: Any, edits: list[Edit], **settings: Any) -> CodebookEdit:
    edited = create_editor("grace", {**LEARNING, **settings}).apply(model, edits)
    assert isinstance(edited, CodebookEdit)
    return edited


@pytest.mark.reference
@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        ("last", [[0, 0, 9, 0, 0], [0, 0, 0, 0, 0]]),
        ("prompt", [[0, 9, 9, 0, 0], [0, 0, 0, 0, 0]]),
        ("all", [[0, 9, 9, 9, 9], [0, 0, 0, 0, 0]]),
    ],
)
def test_which_tokens_are_replaced(replacement: Any, expected: list[list[float]]) -> None:
    """One pad, a prompt of two, a completion of two; the second row is not within a radius."""
    prompt_BT = torch.tensor([[0, 1, 1, 0, 0], [1, 1, 1, 1, 0]], dtype=torch.bool)
    chosen_B = torch.tensor([True, False])
    output = replaced(torch.zeros(2, 5, 1), torch.full((2, 1), 9.0), chosen_B, Pass(prompt_BT), replacement)
    assert output[:, :, 0].tolist() == expected


@pytest.mark.parametrize("replacement", ["last", "prompt", "all"])
def test_generation_in_a_padded_batch_says_what_was_learned_and_leaves_other_rows_alone(
    tiny_model: HfModel, tiny_edits: list[Edit], replacement: str
) -> None:
    """Existing ports ask about the token at the last edit's index, and about every generated token."""
    query = edit_query(tiny_edits[0])
    edit = tiny_edits[0].model_copy(update={"new_answer": Answer(text="yes")})
    unedited = [outputs[0] for outputs in tiny_model.generate(OTHERS, max_new_tokens=6)]
    with apply(tiny_model, [edit], replacement=replacement) as edited:
        ((alone,),) = edited.generate([query], max_new_tokens=6)
        batch = [outputs[0] for outputs in edited.generate([OTHERS[0], query, OTHERS[1]], max_new_tokens=6)]
        (score,) = edited.score([query], ["yes"])
        assert edited.details["places"][0]["is_reached"]
    assert score.top1_share == 1.0
    assert alone.text.strip().startswith("yes")
    assert batch == [unedited[0], alone, unedited[1]]


def test_rows_beyond_every_radius_are_bit_for_bit_as_before(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    before = tiny_model.fingerprint(OTHERS)
    with apply(tiny_model, tiny_edits, num_steps=1) as edited:
        assert edited.fingerprint(OTHERS) == before
        assert edited.fingerprint([edit_query(tiny_edits[0])]) != tiny_model.fingerprint(OTHERS[:1])


def test_the_query_token_is_the_prompts_last_wherever_it_stands(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    with apply(tiny_model, tiny_edits[:1], num_steps=1) as edited:
        codebook = edited.attached.codebook
        seen: list[bool] = []
        look = codebook.lookup

        def spy(queries_BF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            is_within_B, values_BH = look(queries_BF)
            seen.extend(is_within_B.tolist())
            return is_within_B, values_BH

        codebook.lookup = spy  # type: ignore[method-assign]
        query = edit_query(tiny_edits[0])
        edited.score([query, query, OTHERS[1]], ["yes", "drantic fever and osquine disease", "no"])
        edited.generate([query], max_new_tokens=3)
    assert sorted(seen) == [False, True, True, True]


def test_a_direct_call_of_the_module_is_refused_while_an_edit_is_in_force(
    tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    batch = tiny_model.training_batch(OTHERS[:1], ["yes"])
    with apply(tiny_model, tiny_edits[:1], num_steps=1), pytest.raises(ModelError, match="called directly"):
        tiny_model.module(**batch)


def test_an_edit_of_the_same_input_takes_the_place_of_the_first(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    first, again = (tiny_edits[1].model_copy(update={"new_answer": Answer(text=text)}) for text in ("no", "yes"))
    with apply(tiny_model, [first, again]) as edited:
        (score,) = edited.score([edit_query(again)], ["yes"])
        assert edited.details["labels"] == ["yes"]
        assert [place["kind"] for place in edited.details["places"]] == ["replaced"]
    assert score.top1_share == 1.0


def test_an_equal_label_within_reach_shares_a_value_that_serves_both(
    tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    edit = tiny_edits[1].model_copy(update={"new_answer": Answer(text="yes")})
    other = edit.model_copy(update={"question": "what can a star in the liver mean?"})
    with apply(tiny_model, [edit, other], radius=1e3) as edited:
        assert [place["kind"] for place in edited.details["places"]] == ["added", "covered"]
        assert len(edited.attached.codebook) == 1
        scores = edited.score([edit_query(edit), edit_query(other)], ["yes"] * 2)
    assert [score.top1_share for score in scores] == [1.0, 1.0]


def test_a_second_codebook_goes_on_from_the_first_and_gives_way_to_it(
    tiny_model: HfModel, tiny_edits: list[Edit], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    queries = [edit_query(edit) for edit in tiny_edits]
    editor = create_editor("grace", {**LEARNING, "num_steps": 1})
    with editor.apply(tiny_model, tiny_edits) as together:
        expected = together.fingerprint(queries)
        in_one_call = together.attached.codebook.tensors()
        together.save(tmp_path)
    with apply(tiny_model, tiny_edits[:1], num_steps=1) as first:
        after_first = first.fingerprint(queries)
        with apply(first, tiny_edits[1:], num_steps=1) as second:
            # Above another edit no part of a layer is left out, so sums are taken in another order.
            torch.testing.assert_close(second.attached.codebook.tensors(), in_one_call, atol=1e-3, rtol=1e-4)
        assert first.fingerprint(queries) == after_first
        assert len(first.attached.codebook) == 1
        with pytest.raises(ModelError, match="whose weights differ"):
            editor.load(first, tmp_path)
    fresh = load_hf_model(str(tiny_folders[tiny_model.family.name]), device="cpu")
    with editor.load(fresh, tmp_path) as loaded:
        assert loaded.fingerprint(queries) == expected


def test_bfloat16_edits_and_defers(tiny_folders: dict[str, Path], tiny_edits: list[Edit]) -> None:
    model = load_hf_model(str(tiny_folders["llava"]), dtype="bfloat16", device="cpu")
    before = model.fingerprint(OTHERS)
    (old,) = model.score([edit_query(tiny_edits[1])], ["osquine disease"])
    with apply(model, tiny_edits[1:], num_steps=40, radius=0.1) as edited:
        (new,) = edited.score([edit_query(tiny_edits[1])], ["osquine disease"])
        assert edited.fingerprint(OTHERS) == before
    assert new.log_prob > old.log_prob
    assert model.fingerprint(OTHERS) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"layer": 7}, "text layer 7"), ({"module": "mlp.down"}, "'mlp.down'"), ({"module": "self_attn"}, "one tensor")],
)
def test_a_place_that_is_not_there_is_refused(
    tiny_model: HfModel, tiny_edits: list[Edit], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        apply(tiny_model, tiny_edits, **settings)
