"""Fine-tuning: which weights, and on which base a saved edit fits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import CapabilityError, InputError, ModelError, RecipeError
from reground.methods.chain_target import edit_query
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel


def changed_names(model: HfModel, edits: list[Edit], method: str = "ft", **settings: object) -> set[str]:
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    with create_editor(method, {"num_steps": 1, **settings}).apply(model, edits):
        return {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}


def test_the_default_is_the_second_map_of_the_last_mlp(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    assert changed_names(tiny_model, tiny_edits) == set(tiny_model.layer_parameters(-1, "mlp.down_proj"))


def test_layers_and_modules_are_chosen(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    names = changed_names(tiny_model, tiny_edits, layers=[0, -1], modules=["mlp.down_proj", "self_attn.o_proj"])
    expected = [
        *tiny_model.layer_parameters(0, "mlp.down_proj"),
        *tiny_model.layer_parameters(0, "self_attn.o_proj"),
        *tiny_model.layer_parameters(1, "mlp.down_proj"),
        *tiny_model.layer_parameters(1, "self_attn.o_proj"),
    ]
    assert names == set(expected)


def test_a_layer_that_is_not_there_is_refused(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    with pytest.raises(InputError, match="text layer 7"):
        create_editor("ft", {"layers": [7]}).apply(tiny_model, tiny_edits)


def test_each_name_trains_its_part_and_nothing_else(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    visual = tiny_edits[:1]
    tower = changed_names(tiny_model, visual, "ft-vision", layers=[0])
    assert tower == set(tiny_model.vision_layer_parameters(0, "mlp"))
    assert all(name.startswith(tiny_model.family.vision[0]) for name in tower)
    projector = changed_names(tiny_model, visual, "ft-projector")
    assert projector == set(tiny_model.projector_parameters())
    assert tiny_model.family.projector is not None
    assert all(name.startswith(tiny_model.family.projector) for name in projector)


@pytest.mark.parametrize("name", ["ft-vision", "ft-projector"])
def test_features_of_the_trained_tower_are_used_while_it_is_in_force_and_not_after(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    """Everything is asked before, so that stale features would be at hand."""
    query = edit_query(tiny_edits[0])
    before = tiny_model.fingerprint([query])
    with create_editor(name, {"num_steps": 2}).apply(tiny_model, tiny_edits[:1]) as edited:
        while_edited = edited.fingerprint([query])
        tiny_model.images.clear()
        assert edited.fingerprint([query]) == while_edited != before
    assert tiny_model.fingerprint([query]) == before


@pytest.mark.parametrize("name", ["ft-vision", "ft-projector"])
def test_a_textual_edit_is_refused_where_the_vision_side_is_trained(
    name: str, tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    with pytest.raises(InputError, match=f"{tiny_edits[1].id} on 'star in the liver', which has no image"):
        create_editor(name).apply(tiny_model, tiny_edits)


def test_a_layer_the_tower_does_not_have_is_refused(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    with pytest.raises(InputError, match="vision layer 7"):
        create_editor("ft-vision", {"layers": [7]}).apply(tiny_model, tiny_edits[:1])
    with pytest.raises(InputError, match="part 'fc9' of vision layer -1"):
        create_editor("ft-vision", {"modules": ["fc9"]}).apply(tiny_model, tiny_edits[:1])
    activation = {"qwen2_vl": "mlp.act"}.get(tiny_model.family.name, "mlp.activation_fn")
    with pytest.raises(InputError, match="modules that hold weights"):
        create_editor("ft-vision", {"modules": [activation]}).apply(tiny_model, tiny_edits[:1])


def test_a_family_that_does_not_name_the_part_is_refused(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    tiny_model.family = replace(tiny_model.family, vision_layers=None, projector=None)
    for name in ("ft-vision", "ft-projector"):
        with pytest.raises(CapabilityError, match="does not name them"):
            create_editor(name).apply(tiny_model, tiny_edits[:1])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ft-projector", {"layers": [0]}),
        ("ft-vision", {"layers": None}),
        ("ft-l", {"ends": True}),
        ("ft-vision", {"objective": "prompt_last"}),
        ("ft-chain", {"objective": "prompt_last"}),
        ("ft", {"part": "vision"}),
    ],
)
def test_settings_without_effect_or_against_the_name_are_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        create_editor(name, settings)


@pytest.mark.reference
def test_a_target_at_one_position_costs_at_least_the_logarithm_of_its_length(
    tiny_model: HfModel, tiny_edits: list[Edit]
) -> None:
    """n different tokens share one distribution, so their mean loss is ln(n) at best: no loss floor is reached."""
    edit = tiny_edits[1]
    batch = tiny_model.training_batch([edit_query(edit)], [edit.new_answer.text], ends=False)
    num_tokens = len(set(batch["labels"][batch["labels"] != -100].tolist()))
    with create_editor("ft-l", {"num_steps": 60, "learning_rate": 1e-2}).apply(tiny_model, [edit]) as edited:
        training = edited.details["training"]
    assert not training["has_converged"]
    assert math.log(num_tokens) - 1e-3 <= training["last_loss"] < training["first_loss"] - 1


def test_a_saved_edit_is_refused_on_other_weights(tiny_model: HfModel, tiny_edits: list[Edit], tmp_path: Path) -> None:
    editor = create_editor("ft", {"num_steps": 1})
    with editor.apply(tiny_model, tiny_edits) as edited:
        edited.save(tmp_path)
        with pytest.raises(ModelError, match="whose weights differ"):
            editor.load(tiny_model, tmp_path)
    with editor.load(tiny_model, tmp_path):
        pass
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        editor.load(tiny_model, tmp_path)
