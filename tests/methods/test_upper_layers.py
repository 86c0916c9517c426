"""The upper layers by themselves are the upper layers of the whole model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reground.errors import InputError, ModelError
from reground.methods.training_step import completion_columns, label_loss
from reground.methods.upper_layers import UpperLayers, recorded
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, Pass, prompt_tokens

QUERIES = [Query(question="which drug comes first?"), Query(question="what?")]
TEXTS = ["tarvexin", "drantic fever"]


def whole_loss(model: HfModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with model.passing(prompt_tokens(batch)):
        return label_loss(completion_columns(model.module, batch), batch)


def gradient_of(loss: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
    (gradient,) = torch.autograd.grad(loss, [parameter])
    return gradient


@pytest.mark.parametrize("layer", [0, -1])
@pytest.mark.parametrize("num_rows", [1, 2])
@pytest.mark.parametrize("is_cut", [False, True])
def test_loss_and_gradient_are_those_of_the_whole_model(
    tiny_model: HfModel, layer: int, num_rows: int, is_cut: bool
) -> None:
    """One row has no padding and so no mask; two rows have both."""
    batch = tiny_model.training_batch(QUERIES[:num_rows], TEXTS[:num_rows])
    first = int(Pass(prompt_tokens(batch)).prompt_ends_B.min()) if is_cut else 0
    upper = UpperLayers(tiny_model, layer, batch, first_column=first)
    assert upper.first_column == first
    (parameter,) = tiny_model.layer_parameters(-1, "self_attn.o_proj").values()
    parameter.requires_grad_(True)
    expected, found = whole_loss(tiny_model, batch), upper.loss()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    if not is_cut:
        # With columns left out, what an edit of weights changes to their left is not seen.
        torch.testing.assert_close(
            gradient_of(found, parameter), gradient_of(expected, parameter), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("num_rows", [1, 2])
@pytest.mark.parametrize("layer", [0, -1])
def test_behind_the_attention_nothing_else_is_run(tiny_model: HfModel, layer: int, num_rows: int) -> None:
    """Loss and gradient are those of the whole model; attention of the lowest layer is not run again."""
    batch = tiny_model.training_batch(QUERIES[:num_rows], TEXTS[:num_rows])
    upper = UpperLayers(tiny_model, layer, batch, part="mlp.down_proj")
    called: list[str] = []
    names = ("self_attn", "mlp", "mlp.up_proj", "mlp.down_proj")
    parts = {name: tiny_model.text_layers[layer].get_submodule(name) for name in names}
    handles = [part.register_forward_hook(lambda *_, name=name: called.append(name)) for name, part in parts.items()]
    upper.loss()
    for handle in handles:
        handle.remove()
    assert called == ["mlp.down_proj"]
    (parameter,) = tiny_model.layer_parameters(layer, "mlp.down_proj").values()
    parameter.requires_grad_(True)
    found, expected = upper.loss(), whole_loss(tiny_model, batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient_of(found, parameter), gradient_of(expected, parameter), atol=1e-5, rtol=1e-4)
    parameter.requires_grad_(False)
    with torch.no_grad():
        parameter.mul_(2)
    torch.testing.assert_close(upper.loss(), whole_loss(tiny_model, batch), atol=1e-5, rtol=1e-5)


def test_what_stands_in_for_the_lowest_parts_output_is_what_a_hook_would_put_there(tiny_model: HfModel) -> None:
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    upper = UpperLayers(tiny_model, 0, batch, part="mlp.down_proj")
    path = tiny_model.layer_path(0, "mlp.down_proj")
    assert upper.starts_at(path) and not upper.starts_at(tiny_model.layer_path(0, "mlp"))
    assert not UpperLayers(tiny_model, 0, batch).starts_at(path)
    module = tiny_model.module.get_submodule(path)
    expected = []
    for factor in (1.0, 3.0):
        handle = module.register_forward_hook(lambda _, __, output, factor=factor: output * factor)
        expected.append(upper.loss())
        handle.remove()
    calls: list[int] = []
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(upper.loss(lambda output: output), expected[0])
    torch.testing.assert_close(upper.loss(lambda output: output * 3.0), expected[1])
    handle.remove()
    assert len(calls) == 1, "the part's own output is computed once"


def test_of_the_last_layers_mlp_only_what_is_read_is_run(tiny_model: HfModel) -> None:
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    upper = UpperLayers(tiny_model, -1, batch, part="mlp")
    num_columns = batch["labels"].shape[1]
    assert upper.first_column == int(Pass(prompt_tokens(batch)).prompt_ends_B.min()) > 0
    assert UpperLayers(tiny_model, 0, batch, part="mlp").first_column == 0
    assert upper.logits().shape[1] == num_columns - upper.first_column


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("num_rows", [1, 2])
def test_the_last_layer_asks_and_adds_at_what_is_read_alone(tiny_model: HfModel, num_rows: int, is_cut: bool) -> None:
    """Every column is attended to, so keys are made of all that can change."""
    batch = tiny_model.training_batch(QUERIES[:num_rows], TEXTS[:num_rows])
    first = int(Pass(prompt_tokens(batch)).prompt_ends_B.min()) - 1 if is_cut else 0
    upper = UpperLayers(tiny_model, 0, batch, first_column=first)
    widths: list[int] = []
    names = ("self_attn.k_proj", "self_attn.q_proj", "self_attn.o_proj", "mlp")
    parts = [tiny_model.text_layers[-1].get_submodule(name) for name in names]
    handles = [part.register_forward_hook(lambda _, __, output: widths.append(output.shape[1])) for part in parts]
    found = upper.loss()
    for handle in handles:
        handle.remove()
    num_read = upper.logits().shape[1]
    assert sorted(widths) == [num_read, num_read, num_read, batch["labels"].shape[1] - first]
    torch.testing.assert_close(found, whole_loss(tiny_model, batch), atol=1e-5, rtol=1e-5)


def test_the_edited_layers_attention_keeps_its_columns(tiny_model: HfModel) -> None:
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    upper = UpperLayers(tiny_model, -1, batch, part="self_attn.o_proj")
    widths: list[int] = []
    path = tiny_model.layer_path(-1, "self_attn.o_proj")
    handle = tiny_model.module.get_submodule(path).register_forward_hook(
        lambda _, __, output: widths.append(output.shape[1])
    )
    upper.loss()
    handle.remove()
    assert widths == [batch["labels"].shape[1]]


def test_an_attention_that_does_something_else_is_called_itself(
    tiny_model: HfModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = tiny_model.text_layers[-1].self_attn
    attend = attention.forward
    calls: list[int] = []

    def louder(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        attended, *rest = attend(*args, **kwargs)
        return (attended * 1.5, *rest)

    monkeypatch.setattr(attention, "forward", louder)
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    upper = UpperLayers(tiny_model, 0, batch)
    calls.clear()
    found = upper.loss()
    assert calls == [1]
    torch.testing.assert_close(found, whole_loss(tiny_model, batch), atol=1e-5, rtol=1e-5)
    assert upper.logits().shape[1] < batch["labels"].shape[1]


def test_an_attention_with_queries_of_another_shape_is_called_itself(
    tiny_model: HfModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where half of what the queries' map puts out is a gate."""
    project = tiny_model.text_layers[-1].self_attn.q_proj
    attend, forward = tiny_model.text_layers[-1].self_attn.forward, project.forward
    calls: list[int] = []

    def gated(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        with monkeypatch.context() as inside:
            inside.setattr(project, "forward", forward)
            return attend(*args, **kwargs)

    monkeypatch.setattr(project, "forward", lambda hidden: torch.cat([forward(hidden), forward(hidden)], dim=-1))
    monkeypatch.setattr(tiny_model.text_layers[-1].self_attn, "forward", gated)
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    upper = UpperLayers(tiny_model, 0, batch)
    calls.clear()
    found = upper.loss()
    assert calls == [1]
    torch.testing.assert_close(found, whole_loss(tiny_model, batch), atol=1e-5, rtol=1e-5)


def test_a_last_layer_that_puts_its_parts_together_in_another_way_is_run_whole(
    tiny_model: HfModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tiny_model.text_layers[-1]
    forward = layer.forward
    monkeypatch.setattr(layer, "forward", lambda hidden_BTH, **kwargs: forward(hidden_BTH * 1.5, **kwargs))
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    found = UpperLayers(tiny_model, 0, batch).loss()
    torch.testing.assert_close(found, whole_loss(tiny_model, batch), atol=1e-5, rtol=1e-5)


def test_a_last_layer_that_tells_its_attention_more_is_run_whole(
    tiny_model: HfModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tiny_model.text_layers[-1]
    forward, attend = layer.forward, layer.self_attn.forward
    monkeypatch.setattr(layer, "forward", lambda hidden_BTH, **kwargs: forward(hidden_BTH, scale=1.5, **kwargs))
    monkeypatch.setattr(layer.self_attn, "forward", lambda *args, scale, **kwargs: attend(*args, **kwargs))
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    found = UpperLayers(tiny_model, 0, batch).loss()
    torch.testing.assert_close(found, whole_loss(tiny_model, batch), atol=1e-5, rtol=1e-5)


def test_a_layer_that_is_built_in_another_way_is_run_whole(tiny_model: HfModel) -> None:
    """Gemma's norm of that name stands behind the attention, before the residual."""
    layer = tiny_model.text_layers[-1]
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    handle = layer.register_forward_hook(lambda _, __, output: output * 1.5)
    upper = UpperLayers(tiny_model, -1, batch, part="mlp")
    assert upper.first_column == 0
    torch.testing.assert_close(upper.loss(), whole_loss(tiny_model, batch), atol=1e-5, rtol=1e-5)
    handle.remove()


def test_a_change_above_takes_effect_and_one_below_does_not(tiny_model: HfModel) -> None:
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    upper = UpperLayers(tiny_model, -1, batch)
    before = upper.loss()
    with torch.no_grad():
        tiny_model.text_layers[0].mlp.down_proj.weight.mul_(2)
    assert torch.equal(upper.loss(), before)
    with torch.no_grad():
        tiny_model.text_layers[-1].mlp.down_proj.weight.mul_(2)
    assert not torch.equal(upper.loss(), before)


def test_nothing_below_and_no_tower_runs_after_construction(tiny_model: HfModel, tiny_edits: list[Any]) -> None:
    calls: list[int] = []
    query = Query(question=tiny_edits[0].question, image=tiny_edits[0].image)
    upper = UpperLayers(tiny_model, -1, tiny_model.training_batch([query], ["yes"]))
    parts = [tiny_model.text_layers[0], tiny_model.module.get_submodule(tiny_model.family.vision[0])]
    handles = [part.register_forward_hook(lambda *_: calls.append(1)) for part in parts]
    upper.loss()
    for handle in handles:
        handle.remove()
    assert not calls


def test_hooks_see_the_columns_that_are_run_and_where_prompts_end_in_them(tiny_model: HfModel) -> None:
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    ends_B = Pass(prompt_tokens(batch)).prompt_ends_B
    first = int(ends_B.min())
    upper = UpperLayers(tiny_model, -1, batch, first_column=first)
    seen: list[tuple[int, list[int]]] = []

    def look(_: torch.nn.Module, __: Any, output: torch.Tensor) -> None:
        seen.append((output.shape[1], tiny_model.require_pass().prompt_ends_B.tolist()))

    handle = tiny_model.text_layers[-1].mlp.register_forward_hook(look)
    upper.loss()
    handle.remove()
    assert seen == [(batch["labels"].shape[1] - first, (ends_B - first).tolist())]


def test_a_record_holds_the_first_call(tiny_model: HfModel) -> None:
    path = tiny_model.layer_path(-1, "mlp.down_proj")
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    with recorded(tiny_model, path) as record:
        UpperLayers(tiny_model, -1, batch)
    input_BTH, output_BTH = record.tensors
    torch.testing.assert_close(tiny_model.module.get_submodule(path)(input_BTH), output_BTH)
    assert input_BTH.shape[:2] == batch["labels"].shape


def test_a_module_of_another_shape_is_refused(tiny_model: HfModel) -> None:
    path = tiny_model.layer_path(-1, "self_attn")
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    with pytest.raises(InputError, match="more than one tensor"), recorded(tiny_model, path):
        UpperLayers(tiny_model, -1, batch)
    assert not tiny_model.module.get_submodule(path)._forward_hooks


def test_layers_that_do_not_add_up_to_the_model_are_refused(
    tiny_model: HfModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = tiny_model.module.get_output_embeddings()
    monkeypatch.setattr(tiny_model.module, "get_output_embeddings", lambda: lambda hidden: 1.1 * head(hidden))
    with pytest.raises(ModelError, match="run by themselves, miss"):
        UpperLayers(tiny_model, -1, tiny_model.training_batch(QUERIES, TEXTS))
