"""Edits written together by memit and alphaedit: where, how far, and what becomes of earlier ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import InputError
from reground.methods.base import Editor
from reground.methods.chain_target import edit_query
from reground.methods.closed_form.activations import at_tokens
from reground.methods.closed_form.config import BatchConfig
from reground.methods.closed_form.statistics import KeyStatistics
from reground.methods.closed_form.tokens import token_index
from reground.methods.memit.config import MemitConfig
from reground.methods.memit.editor import MemitEditor
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel

#: So light that a residual is written in full; and for alphaedit room to write in, though random weights use it all.
LIGHT: dict[str, dict[str, Any]] = {"memit": {"corpus_weight": 1e-6}, "alphaedit": {"threshold": 0.5, "ridge": 1e-9}}
METHODS = sorted(LIGHT)


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "corpus.txt"
    path.write_text("which drug comes first?\nwhat does the image show?\nis a ring in the kidney urgent?\n")
    return str(path)


def editor_of(name: str, corpus: str, **settings: object) -> Editor:
    return create_editor(name, {"corpus": corpus, "num_steps": 3, **LIGHT[name], **settings})


def down(model: HfModel) -> str:
    return model.layer_path(0, "mlp.down_proj")


def weight_of(model: HfModel) -> torch.Tensor:
    return model.module.get_submodule(down(model)).get_parameter("weight").detach().clone()


def key_of(model: HfModel, edit: Edit) -> torch.Tensor:
    query = edit_query(edit)
    index = token_index(model, query, "prompt", edit.subject)
    return at_tokens(model, model.prompt_batch([query]), [index], inputs_of=[down(model)])[0][down(model)][0]


@pytest.mark.parametrize("name", METHODS)
def test_one_layer_changes_and_every_value_of_the_batch_moves_as_far_as_it_should(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    before = {key: tensor.clone() for key, tensor in tiny_model.module.state_dict().items()}
    weight_OI = weight_of(tiny_model)
    with editor_of(name, corpus).apply(tiny_model, tiny_edits) as edited:
        after = tiny_model.module.state_dict()
        changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
        assert changed == {f"{down(tiny_model)}.weight"}
        update_OI = weight_of(tiny_model) - weight_OI
        assert torch.linalg.matrix_rank(update_OI, rtol=1e-3) == len(tiny_edits)
        for edit, report in zip(tiny_edits, edited.details["values"], strict=True):  # type: ignore[attr-defined]
            key_I = key_of(tiny_model, edit)
            moved = float((update_OI @ key_I).norm() / (weight_OI @ key_I).norm())
            assert moved == pytest.approx(report["relative_norm"], rel=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_not_the_sequence_of_its_edits(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    editor = editor_of(name, corpus)
    with editor.apply(tiny_model, tiny_edits):
        together_OI = weight_of(tiny_model)
    with editor.apply(tiny_model, tiny_edits[:1]) as first, editor.apply(first, tiny_edits[1:]):
        assert not torch.allclose(weight_of(tiny_model), together_OI, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_a_second_edit_spares_the_first_with_alphaedit_alone(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    """How far the second moves the value of the first, on top of the first and, for comparison, of another method."""
    moved = {}
    for below in ("rome", name):
        settings = {} if below == "rome" else LIGHT[name]
        first_editor = create_editor(below, {"corpus": corpus, "num_steps": 3, **settings})
        with first_editor.apply(tiny_model, tiny_edits[:1]) as first:
            weight_OI, key_I = weight_of(tiny_model), key_of(tiny_model, tiny_edits[0])
            with editor_of(name, corpus).apply(first, tiny_edits[1:]):
                moved[below] = float(((weight_of(tiny_model) - weight_OI) @ key_I).norm())
    if name == "alphaedit":
        assert moved["alphaedit"] < 0.1 * moved["rome"]
    else:
        assert moved["memit"] > 0.1 * moved["rome"]


def test_a_loaded_edit_is_spared_too(tiny_model: HfModel, tiny_edits: list[Edit], corpus: str, tmp_path: Path) -> None:
    editor = editor_of("alphaedit", corpus)
    with editor.apply(tiny_model, tiny_edits[:1]) as first:
        first.save(tmp_path / "edit")
        with editor.apply(first, tiny_edits[1:]):
            expected_OI = weight_of(tiny_model)
    with editor.load(tiny_model, tmp_path / "edit") as loaded, editor.apply(loaded, tiny_edits[1:]):
        assert torch.equal(weight_of(tiny_model), expected_OI)


def test_heavier_statistics_hold_the_update_back(one_tiny_model: HfModel, tiny_edits: list[Edit], corpus: str) -> None:
    sizes = []
    for weight in (1e-3, 1e9):
        weight_OI = weight_of(one_tiny_model)
        with editor_of("memit", corpus, corpus_weight=weight).apply(one_tiny_model, tiny_edits):
            sizes.append(float((weight_of(one_tiny_model) - weight_OI).norm()))
    assert sizes[1] < 0.5 * sizes[0]


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_weights_are_edited_in_place(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    tiny_model.module.to(torch.bfloat16)
    queries = [edit_query(edit) for edit in tiny_edits]
    before = tiny_model.fingerprint(queries)
    with editor_of(name, corpus).apply(tiny_model, tiny_edits) as edited:
        assert tiny_model.dtype == torch.bfloat16
        assert edited.fingerprint(queries) != before
    assert tiny_model.fingerprint(queries) == before


def test_layers_go_from_an_eighth_to_a_quarter_of_the_way_up() -> None:
    class Deep:
        def __init__(self, num_layers: int) -> None:
            self.text_layers = [None] * num_layers

    editor = MemitEditor("memit", MemitConfig())
    chosen = {depth: editor.layers(Deep(depth), MemitConfig()) for depth in (4, 8, 32)}  # type: ignore[arg-type]
    assert chosen == {4: [0], 8: [1, 2], 32: [4, 5, 6, 7, 8]}
    assert BatchConfig().layers is None


@pytest.mark.parametrize("name", METHODS)
def test_what_cannot_carry_the_edits_is_refused(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit], corpus: str
) -> None:
    for settings, message in (
        ({"layers": (0, -1)}, "the last one"),
        ({"layers": (7,)}, "text layer 7"),
        ({"layers": ()}, "no layers"),
        ({"module": "mlp"}, "which is a"),
        ({"module": "mlp.up_proj"}, "puts out"),
    ):
        with pytest.raises(InputError, match=message):
            editor_of(name, corpus, **settings).apply(tiny_model, tiny_edits)
    assert tiny_model.edits_in_force == []


def test_a_corpus_that_leaves_no_direction_free_is_refused(
    tiny_model: HfModel, tiny_edits: list[Edit], corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strong = torch.ones(4), torch.eye(4)
    monkeypatch.setattr(KeyStatistics, "principal", lambda *_: strong)
    with pytest.raises(InputError, match="no free direction among the 4"):
        editor_of("alphaedit", corpus).apply(tiny_model, tiny_edits)
    assert tiny_model.edits_in_force == []
