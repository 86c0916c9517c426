"""Layers that are computed a second time: the same gradients, in the same pass, and less kept."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from reground.edits.records import Edit
from reground.methods import recomputing as module
from reground.methods.chain_target import edit_query
from reground.methods.layer_output import hidden_of
from reground.methods.recomputing import recomputing
from reground.methods.registry import create_editor
from reground.methods.training_step import completion_columns, label_loss
from reground.models.hf.adapter import HfModel, prompt_tokens


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 0)


@contextmanager
def nothing(*_: object) -> Iterator[None]:
    yield


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("between", [None, "other", "in place"])
@pytest.mark.parametrize("layers_a_group", [1, 2, 3])
def test_gradients_are_the_same_and_less_is_kept(
    layers_a_group: int,
    between: str | None,
    tiny_model: HfModel,
    tiny_edits: list[Edit],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_group_size", lambda *_: layers_a_group)
    hook = _doubled_in_place if between == "in place" else _doubled
    handles = [layer.register_forward_hook(hook) for layer in tiny_model.text_layers if between]
    edit = tiny_edits[0]
    batch = tiny_model.training_batch([edit_query(edit)], [edit.new_answer.text])
    weights = tiny_model.layer_parameters(0, "mlp")
    found = []
    for context in (nothing, recomputing):
        kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        for parameter in weights.values():
            parameter.requires_grad_(True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            tokens = batch["attention_mask"].numel()
            with tiny_model.passing(prompt_tokens(batch)), context(tiny_model, tokens):
                loss = label_loss(completion_columns(tiny_model.module, batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((kept, float(loss.detach()), [parameter.grad.clone() for parameter in weights.values()]))  # type: ignore[union-attr]
        for parameter in weights.values():
            parameter.requires_grad_(False)
            parameter.grad = None
    for handle in handles:
        handle.remove()
    (plain_kept, plain_loss, plain), (kept, loss_again, again) = found
    assert loss_again == plain_loss
    assert all(map(torch.equal, plain, again))
    assert kept < plain_kept / 2
    assert "forward" not in vars(tiny_model.text_layers[0])


def _doubled(_: torch.nn.Module, __: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """As towers do whose features enter several text layers: the next is not given what this one put out."""
    return 2 * output


def _doubled_in_place(_: torch.nn.Module, __: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    output.mul_(2)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("is_one_group", [False, True])
def test_of_a_group_of_layers_one_input_is_kept(
    is_one_group: bool, tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each of the others is made once on the way back, from the one below."""
    edit = tiny_edits[0]
    batch = tiny_model.training_batch([edit_query(edit)], [edit.new_answer.text])
    layers = tiny_model.text_layers
    weight = next(iter(tiny_model.layer_parameters(0, "mlp.down_proj").values()))
    monkeypatch.setattr(module, "_group_size", lambda *_: len(layers) if is_one_group else 1)
    storages: list[weakref.ref[Any]] = []
    calls: list[int] = []

    def called(number: int, *_: Any) -> None:
        calls.append(number)

    def put_out(_: torch.nn.Module, __: Any, output: Any) -> None:
        storages.append(weakref.ref(hidden_of(output).untyped_storage()))

    handles = [layer.self_attn.register_forward_hook(partial(called, number)) for number, layer in enumerate(layers)]
    handles += [layer.register_forward_hook(put_out) for layer in layers[:-1]]
    weight.requires_grad_(True)
    with tiny_model.passing(prompt_tokens(batch)), recomputing(tiny_model, batch["attention_mask"].numel()):
        loss = label_loss(completion_columns(tiny_model.module, batch), batch)
    num_alive = sum(storage() is not None for storage in storages)
    calls.clear()
    loss.backward()  # type: ignore[no-untyped-call]
    for handle in handles:
        handle.remove()
    weight.requires_grad_(False)
    weight.grad = None
    counts = [calls.count(number) for number in range(len(layers))]
    below = len(layers) - 1
    assert num_alive == (0 if is_one_group else below)
    assert counts == ([2] * below if is_one_group else [1] * below) + [1]


@pytest.mark.parametrize(
    ("num_layers", "hidden_bytes", "expected"),
    [
        pytest.param(28, 16 << 10, 1, id="little in all"),
        pytest.param(28, 1 << 20, 2, id="14 and 1 of 28"),
        pytest.param(28, 3 << 20, 4, id="too much whatever is done: 7 and 3 of 28"),
        pytest.param(1, 1 << 40, 1, id="one layer"),
    ],
)
def test_groups_are_as_small_as_they_can_be(num_layers: int, hidden_bytes: int, expected: int) -> None:
    assert module._group_size(num_layers, hidden_bytes) == expected


@pytest.mark.parametrize("method", ["rome", "lora", "ft", "grace", "wise"])
def test_an_edit_is_the_same_and_made_in_its_own_pass(
    method: str, tiny_model: HfModel, tiny_edits: list[Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a model with a codebook in force, which asks at every pass where prompts end."""
    settings = {"num_steps": 2, **({"corpus": "phantom-med", "num_texts": 4} if method == "rome" else {})}
    prints, times = [], []
    with create_editor("grace", {"num_steps": 2, "layer": 0}).apply(tiny_model, tiny_edits[:1]) as below:
        for most in (module._MOST_BYTES, 0):
            monkeypatch.setattr(module, "_MOST_BYTES", most)
            recomputed = MagicMock(side_effect=module._recomputed)
            monkeypatch.setattr(module, "_recomputed", recomputed)
            with create_editor(method, settings).apply(below, tiny_edits[1:2]) as edited:
                prints.append(edited.fingerprint([edit_query(edit) for edit in tiny_edits]))
            times.append(recomputed.call_count)
    assert prints[0] == prints[1]
    assert times[0] == 0 < times[1]


def test_without_gradients_or_with_few_tokens_nothing_is_patched(tiny_model: HfModel) -> None:
    with recomputing(tiny_model, 1):
        assert "forward" not in vars(tiny_model.text_layers[0])
    with torch.no_grad(), recomputing(tiny_model, 1 << 40):
        assert "forward" not in vars(tiny_model.text_layers[0])
