"""Fine-tuning: which weights, and on which base a saved edit fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import InputError, ModelError
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel


def changed_names(model: HfModel, edits: list[Edit], **settings: object) -> set[str]:
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    with create_editor("ft", {"num_steps": 1, **settings}).apply(model, edits):
        return {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}


def test_the_default_is_the_last_mlp(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    assert changed_names(tiny_model, tiny_edits) == set(tiny_model.layer_parameters(-1, "mlp"))


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
