"""The low-rank adapter: where it goes, and when it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import InputError, ModelError
from reground.methods.chain_target import edit_query
from reground.methods.lora.config import LoraConfig
from reground.methods.lora.layers import AttachedAdapter
from reground.methods.registry import create_editor
from reground.models.hf.adapter import HfModel


def test_adapters_go_into_the_text_model_alone(tiny_model: HfModel) -> None:
    """The vision tower has layers of the same names."""
    adapter = AttachedAdapter(tiny_model, LoraConfig(rank=2))
    assert adapter.parameters
    assert all(name.startswith(tiny_model.family.text_layers) for name in adapter.parameters)
    assert len(adapter.parameters) == len(tiny_model.text_layers) * 2 * 2
    trained = {name for name, parameter in tiny_model.module.named_parameters() if parameter.requires_grad}
    assert trained == set(adapter.parameters)
    adapter.undo()
    assert not any("lora" in name for name, _ in tiny_model.module.named_modules())


def test_one_layer_can_be_chosen(tiny_model: HfModel) -> None:
    adapter = AttachedAdapter(tiny_model, LoraConfig(rank=2, layers=(-1,), modules=("mlp.down_proj",)))
    assert len(adapter.parameters) == 2
    assert all(".layers.1.mlp.down_proj." in name for name in adapter.parameters)
    adapter.undo()


@pytest.mark.parametrize(
    ("modules", "expected"),
    [("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}), ("mlp", {"gate_proj", "up_proj", "down_proj"})],
)
def test_a_preset_names_the_linear_parts_of_every_layer(tiny_model: HfModel, modules: str, expected: set[str]) -> None:
    adapter = AttachedAdapter(tiny_model, LoraConfig.model_validate({"rank": 2, "modules": modules}))
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in adapter.parameters} == expected
    assert len(adapter.parameters) == 2 * 2 * len(expected)
    adapter.undo()
    every = AttachedAdapter(tiny_model, LoraConfig(rank=2, modules="all"))
    assert len(every.parameters) == 2 * 2 * 7
    every.undo()


@pytest.mark.reference
@pytest.mark.parametrize(("rank", "alpha", "scale"), [(2, None, 2.0), (16, None, 2.0), (4, 2.0, 0.5)])
def test_a_layer_adds_the_scaled_product_of_its_two_factors(
    tiny_model: HfModel, rank: int, alpha: float | None, scale: float
) -> None:
    """h = W x + (alpha / r) B A x (Hu et al., 2021, equation 3)."""
    path = tiny_model.layer_path(0, "self_attn.q_proj")
    weight = tiny_model.module.get_submodule(path).weight.detach().clone()
    adapter = AttachedAdapter(tiny_model, LoraConfig(rank=rank, alpha=alpha, layers=(0,)))
    down, up = (adapter.parameters[f"{path}.lora_{side}.reground.weight"] for side in "AB")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        up.copy_(torch.randn(up.shape, generator=generator))
        x = torch.randn(3, weight.shape[1], generator=generator)
        found = tiny_model.module.get_submodule(path)(x)
        torch.testing.assert_close(found, x @ weight.T + scale * (x @ down.T) @ up.T, atol=1e-4, rtol=1e-4)
    assert down.shape[0] == rank
    adapter.undo()


def test_a_part_that_is_not_linear_is_refused(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    names = [name for name, _ in tiny_model.module.named_modules()]
    with pytest.raises(InputError, match=r"'model.*self_attn', which is a"):
        create_editor("lora", {"modules": ["self_attn"]}).apply(tiny_model, tiny_edits)
    assert [name for name, _ in tiny_model.module.named_modules()] == names


def test_an_adapter_of_other_settings_is_refused(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    with (
        create_editor("lora", {"num_steps": 1}).apply(tiny_model, tiny_edits) as edited,
        pytest.raises(InputError, match="carries one already"),
    ):
        create_editor("lora", {"num_steps": 1, "rank": 2}).apply(edited, tiny_edits)


def test_a_second_edit_trains_the_same_adapter_further(one_tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    editor = create_editor("lora", {"num_steps": 2})
    queries = [edit_query(edit) for edit in tiny_edits]
    with editor.apply(one_tiny_model, tiny_edits[:1]) as first:
        after_first = first.fingerprint(queries)
        names = [name for name, _ in one_tiny_model.module.named_modules()]
        with editor.apply(first, tiny_edits[1:]) as second:
            assert second.fingerprint(queries) != after_first
            assert [name for name, _ in one_tiny_model.module.named_modules()] == names
        assert first.fingerprint(queries) == after_first


def test_an_adapter_is_refused_on_other_weights(tiny_model: HfModel, tiny_edits: list[Edit], tmp_path: Path) -> None:
    editor = create_editor("lora", {"num_steps": 1})
    with editor.apply(tiny_model, tiny_edits) as edited:
        edited.save(tmp_path)
    path = tiny_model.layer_path(0, "self_attn.q_proj")
    with torch.no_grad():
        tiny_model.module.get_submodule(path).weight.mul_(1.01)
    with pytest.raises(ModelError, match="whose weights differ"):
        editor.load(tiny_model, tmp_path)
    assert not hasattr(tiny_model.module, "peft_config")
