"""Layers that are computed a second time: the same gradients, in the same pass, and less kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import MagicMock

import pytest
import torch

from reground.edits.records import Edit
from reground.methods import recomputing as module
from reground.methods.chain_target import edit_query
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
def test_gradients_are_the_same_and_less_is_kept(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
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
    (plain_kept, plain_loss, plain), (kept, loss_again, again) = found
    assert loss_again == plain_loss
    assert all(map(torch.equal, plain, again))
    assert kept < plain_kept / 2
    assert "forward" not in vars(tiny_model.text_layers[0])


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
