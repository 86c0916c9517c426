"""Rank-one model editing: what is written, where, and on which base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import InputError, ModelError
from reground.methods import recomputing
from reground.methods.base import Editor
from reground.methods.chain_target import edit_query
from reground.methods.closed_form import value
from reground.methods.closed_form.activations import at_tokens
from reground.methods.closed_form.config import TokenKind
from reground.methods.closed_form.tokens import token_index
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "corpus.txt"
    path.write_text("which drug comes first?\nwhat does the image show?\nis a ring in the kidney urgent?\n")
    return str(path)


def rome(corpus: str, **settings: object) -> Editor:
    return create_editor("rome", {"corpus": corpus, "num_contexts": 2, "num_steps": 3, **settings})


def output_at(model: HfModel, edit: Edit, path: str, token: TokenKind) -> torch.Tensor:
    query = edit_query(edit)
    index = token_index(model, query, token, edit.subject)
    return at_tokens(model, model.prompt_batch([query]), [index], outputs_of=[path])[1][path][0]


@pytest.mark.parametrize("tokens", [("image", "subject"), ("question", "question"), ("prompt", "prompt")])
def test_one_layer_changes_by_rank_one_and_the_value_by_the_whole_shift(
    tokens: tuple[TokenKind, TokenKind], tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    path = tiny_model.layer_path(0, "mlp.down_proj")
    before = {name: tensor.clone() for name, tensor in tiny_model.module.state_dict().items()}
    editor = rome(corpus, visual_token=tokens[0], textual_token=tokens[1])
    for edit, token in zip(tiny_edits, tokens, strict=True):
        value_H = output_at(tiny_model, edit, path, token)
        with editor.apply(tiny_model, [edit]) as edited:
            (report,) = edited.details["values"]  # type: ignore[attr-defined]
            after = tiny_model.module.state_dict()
            changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
            assert changed == {f"{path}.weight"}
            update_OI = after[f"{path}.weight"] - before[f"{path}.weight"]
            assert torch.linalg.matrix_rank(update_OI, rtol=1e-3) == 1
            shift_H = output_at(tiny_model, edit, path, token) - value_H
        assert report["token"] == token
        assert float(shift_H.norm() / value_H.norm()) == pytest.approx(report["relative_norm"], rel=1e-3)


def test_a_heavier_drift_term_keeps_more_of_what_else_is_said_of_the_subject(
    tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    norms = []
    for weight in (0.0, 100.0):
        editor = rome(corpus, visual_token="image", textual_token="subject", kl_weight=weight, num_steps=15)
        with editor.apply(tiny_model, tiny_edits) as edited:
            norms.append([report["relative_norm"] for report in edited.details["values"]])  # type: ignore[attr-defined]
    assert all(held < free for free, held in zip(*norms, strict=True))


def test_the_value_gets_better_with_steps(tiny_model: HfModel, tiny_edits: list[Edit], corpus: str) -> None:
    with rome(corpus, num_steps=15).apply(tiny_model, tiny_edits) as edited:
        for report in edited.details["values"]:  # type: ignore[attr-defined]
            assert report["num_steps"] == 15
            assert report["last_loss"] < report["first_loss"]


def test_a_single_edit_makes_its_answer_likelier(tiny_model: HfModel, tiny_edits: list[Edit], corpus: str) -> None:
    for edit in tiny_edits:
        query, answer = edit_query(edit), edit.new_answer.text
        (before,) = tiny_model.score([query], [answer])
        with rome(corpus, num_steps=30, norm_penalty=0.0).apply(tiny_model, [edit]) as edited:
            (after,) = edited.score([query], [answer])
        assert after.log_prob > before.log_prob


def test_the_shift_stays_within_its_bound(tiny_model: HfModel, tiny_edits: list[Edit], corpus: str) -> None:
    with rome(corpus, max_norm=0.01).apply(tiny_model, tiny_edits) as edited:
        norms = [report["relative_norm"] for report in edited.details["values"]]  # type: ignore[attr-defined]
    assert norms == [pytest.approx(0.01)] * 2


def test_a_list_of_edits_is_a_sequence_of_single_edits(
    tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    name = f"{tiny_model.layer_path(0, 'mlp.down_proj')}.weight"
    with rome(corpus).apply(tiny_model, tiny_edits):
        together = tiny_model.module.state_dict()[name].clone()
    with rome(corpus).apply(tiny_model, tiny_edits[:1]) as first, rome(corpus).apply(first, tiny_edits[1:]):
        torch.testing.assert_close(tiny_model.module.state_dict()[name], together, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("below", ["grace", "wise"])
def test_an_edit_goes_on_top_of_a_method_that_asks_where_prompts_end(
    below: str, tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    settings = {"grace": {"num_steps": 2}, "wise": {"num_steps": 2, "num_irrelevant": 4}}[below]
    queries = [edit_query(edit) for edit in tiny_edits]
    before = tiny_model.fingerprint(queries)
    with create_editor(below, settings).apply(tiny_model, tiny_edits[:1]) as first:
        after_first = first.fingerprint(queries)
        for tokens in ({}, {"visual_token": "image", "textual_token": "subject"}):
            with rome(corpus, **tokens).apply(first, tiny_edits[1:]) as second:
                assert second.fingerprint(queries) not in (before, after_first)
            assert first.fingerprint(queries) == after_first
    assert tiny_model.fingerprint(queries) == before
    assert tiny_model.current_pass is None


def test_bfloat16_weights_are_edited_in_place(tiny_model: HfModel, tiny_edits: list[Edit], corpus: str) -> None:
    tiny_model.module.to(torch.bfloat16)
    queries = [edit_query(edit) for edit in tiny_edits]
    before = tiny_model.fingerprint(queries)
    with rome(corpus).apply(tiny_model, tiny_edits) as edited:
        assert tiny_model.dtype == torch.bfloat16
        assert edited.fingerprint(queries) != before
        for report in edited.details["values"]:  # type: ignore[attr-defined]
            assert report["last_loss"] < report["first_loss"]
    assert tiny_model.fingerprint(queries) == before


def test_what_cannot_carry_the_edit_is_refused(tiny_model: HfModel, tiny_edits: list[Edit], corpus: str) -> None:
    with pytest.raises(InputError, match="the last one"):
        rome(corpus, layer=-1).apply(tiny_model, tiny_edits)
    with pytest.raises(InputError, match="text layer 7"):
        rome(corpus, layer=7).apply(tiny_model, tiny_edits)
    with pytest.raises(InputError, match="which is a"):
        rome(corpus, module="mlp").apply(tiny_model, tiny_edits)
    with pytest.raises(InputError, match="no corpus was named"):
        create_editor("rome").apply(tiny_model, tiny_edits)
    unnamed = tiny_edits[1].model_copy(update={"question": "what does it mean?"})
    with pytest.raises(InputError, match="does not name"):
        rome(corpus, textual_token="subject").apply(tiny_model, [unnamed])
    assert tiny_model.edits_in_force == []


def test_a_saved_edit_is_refused_on_other_weights(
    tiny_model: HfModel, tiny_edits: list[Edit], corpus: str, tmp_path: Path
) -> None:
    editor = rome(corpus)
    with editor.apply(tiny_model, tiny_edits) as edited:
        edited.save(tmp_path / "edit")
        with pytest.raises(ModelError, match="whose weights differ"):
            editor.load(tiny_model, tmp_path / "edit")
    with editor.load(tiny_model, tmp_path / "edit"):
        pass


def test_prompts_run_one_by_one_find_the_value_that_all_together_find(
    tiny_model: HfModel, tiny_edits: list[Edit], corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all prompts together would keep too much for the way back."""
    editor = rome(corpus, num_steps=4)
    found, num_parts = [], []
    split = value._parts

    def counted(*given: Any) -> list[Any]:
        parts = split(*given)
        num_parts.append(len(parts))
        return parts

    monkeypatch.setattr(value, "_parts", counted)
    for most in (recomputing._MOST_BYTES, 0):
        monkeypatch.setattr(recomputing, "_MOST_BYTES", most)
        with editor.apply(tiny_model, tiny_edits[:1]) as edited:
            (report,) = edited.details["values"]  # type: ignore[attr-defined]
            path = tiny_model.layer_path(0, "mlp.down_proj")
            found.append((report, tiny_model.module.get_submodule(path).get_parameter("weight").detach().clone()))
    assert num_parts == [1, 3]
    (together, weight_OI), (one_by_one, again_OI) = found
    for name in ("num_steps", "first_loss", "last_loss", "relative_norm"):
        assert one_by_one[name] == pytest.approx(together[name], rel=1e-3)
    torch.testing.assert_close(again_OI, weight_OI, rtol=1e-3, atol=1e-5)
