"""The loop that weight editors share."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import ModelError
from reground.methods.chain_target import edit_query
from reground.methods.completion_training import LowestChange, fit_completions
from reground.methods.training_step import completion_columns, label_loss, prompt_last_loss, seeded, trainable
from reground.methods.weight_edit import copy_into
from reground.models.base import Query
from reground.models.hf.adapter import HfModel

QUERIES = [Query(question="which drug comes first?"), Query(question="what?"), Query(question="why is it?")]
TEXTS = ["tarvexin", "drantic fever", "yes"]
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-2,
    "num_steps": 4,
    "loss_floor": 0.0,
    "weight_decay": 0.0,
    "batch_size": 16,
    "ends": True,
}


def test_the_loss_is_that_of_a_forward_pass_over_all_positions(tiny_model: HfModel) -> None:
    batch = tiny_model.training_batch(QUERIES, TEXTS)
    expected = tiny_model.module(**batch).loss
    found = label_loss(completion_columns(tiny_model.module, batch), batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.reference
def test_every_token_of_a_target_is_predicted_at_the_prompts_last_token(tiny_model: HfModel) -> None:
    """The mean over all target tokens y of -log p(y | prompt), rows of different lengths in one batch."""
    losses = []
    for query, text in zip(QUERIES, TEXTS, strict=True):
        (row,) = tiny_model._completed_rows([query], [text], ends=False)
        (prompt,) = [tiny_model._prompt_row(query)]
        with torch.no_grad():
            log_probs_V = tiny_model._forward([prompt], keep=1)[0, -1].log_softmax(-1)
        losses += [-float(log_probs_V[token]) for token in row.ids[-row.num_completion :]]
    batch = tiny_model.training_batch(QUERIES, TEXTS, ends=False)
    found = prompt_last_loss(completion_columns(tiny_model.module, batch), batch)
    assert float(found) == pytest.approx(sum(losses) / len(losses), abs=1e-4)


@pytest.mark.reference
def test_the_vision_side_gets_the_gradient_of_the_whole_model(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    """The derivative along a direction equals the difference quotient of the loss, the image encoded each time."""
    query, target = edit_query(tiny_edits[0]), tiny_edits[0].new_answer.text
    parameters = {**tiny_model.vision_layer_parameters(-1), **tiny_model.projector_parameters()}
    tiny_model.module.double()

    def loss() -> torch.Tensor:
        batch = tiny_model.training_batch([query], [target], trains_vision=True)
        return label_loss(completion_columns(tiny_model.module, batch), batch)

    generator = torch.Generator().manual_seed(0)
    with trainable(parameters.values()):
        loss().backward()  # type: ignore[no-untyped-call]
        directions = {
            name: torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            for name, parameter in parameters.items()
        }
        slope = sum(float((parameters[name].grad * direction).sum()) for name, direction in directions.items())
        assert all(bool(parameter.grad.any()) for parameter in parameters.values() if parameter.dim() > 1)
    values = []
    with torch.no_grad():
        for step in (1e-4, -2e-4):
            for name, direction in directions.items():
                parameters[name].add_(step * direction)
            values.append(float(loss()))
    assert abs(slope) > 1e-4
    assert (values[0] - values[1]) / 2e-4 == pytest.approx(slope, rel=1e-2)


def test_images_that_are_encoded_for_training_go_past_the_cache(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    query, target = edit_query(tiny_edits[0]), tiny_edits[0].new_answer.text
    live = tiny_model.training_batch([query], [target], trains_vision=True)
    assert (tiny_model.images.num_hits, tiny_model.images.num_misses, tiny_model.images.held_bytes) == (0, 0, 0)
    held = tiny_model.training_batch([query], [target])
    assert not held["inputs_embeds"].requires_grad
    torch.testing.assert_close(live["inputs_embeds"], held["inputs_embeds"])


def test_only_what_is_trained_changes_and_gets_gradients(tiny_model: HfModel) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_model.module.state_dict().items()}
    parameters = tiny_model.layer_parameters(-1)
    report = fit_completions(tiny_model, parameters, QUERIES, TEXTS, **SETTINGS)
    assert report.num_steps == 4
    assert report.last_loss < report.first_loss
    assert not report.has_converged
    changed = {name for name, tensor in tiny_model.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(parameters)
    assert all(parameter.grad is None for parameter in tiny_model.module.parameters())


@pytest.mark.parametrize("objective", ["target_new", "prompt_last"])
@pytest.mark.parametrize("layer", [0, 1])
def test_what_lies_below_the_lowest_change_is_computed_once_and_makes_no_difference(
    tiny_model: HfModel, layer: int, objective: Any
) -> None:
    parameters = tiny_model.layer_parameters(layer)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    reports, values, num_calls = [], [], []
    for lowest in (None, LowestChange(layer, "mlp")):
        calls: list[int] = []
        attention = tiny_model.text_layers[layer].input_layernorm
        handle = attention.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        reports.append(
            fit_completions(tiny_model, parameters, QUERIES, TEXTS, **SETTINGS, lowest=lowest, objective=objective)
        )
        handle.remove()
        num_calls.append(len(calls))
        values.append({name: parameter.detach().clone() for name, parameter in parameters.items()})
        copy_into(parameters, before)
    assert num_calls == [SETTINGS["num_steps"], 1]
    assert reports[1].last_loss == pytest.approx(reports[0].last_loss, abs=1e-3)
    for name in parameters:
        torch.testing.assert_close(values[1][name], values[0][name], atol=2e-2, rtol=0)


def test_training_stops_once_the_loss_is_below_the_floor(tiny_model: HfModel) -> None:
    settings = {**SETTINGS, "loss_floor": 1e6}
    report = fit_completions(tiny_model, tiny_model.layer_parameters(-1), QUERIES, TEXTS, **settings)
    assert (report.num_steps, report.has_converged) == (0, True)


def test_several_batches_take_a_step_each(tiny_model: HfModel) -> None:
    settings = {**SETTINGS, "batch_size": 2, "num_steps": 3}
    report = fit_completions(tiny_model, tiny_model.layer_parameters(-1), QUERIES, TEXTS, **settings)
    assert report.num_steps == 6
    assert report.last_loss < report.first_loss


def test_a_step_size_that_diverges_is_reported(tiny_model: HfModel) -> None:
    settings = {**SETTINGS, "learning_rate": 1e30, "num_steps": 5}
    with pytest.raises(ModelError, match=r"diverged at learning_rate=1e\+30"):
        fit_completions(tiny_model, tiny_model.layer_parameters(-1), QUERIES, TEXTS, **settings)


def test_flags_and_gradients_are_put_back_after_an_error() -> None:
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    with pytest.raises(ZeroDivisionError), trainable([frozen]):
        (frozen * 2).sum().backward()
        assert frozen.grad is not None
        _ = 1 / 0
    assert not frozen.requires_grad
    assert frozen.grad is None


def test_a_seeded_block_repeats_and_leaves_no_trace() -> None:
    state = torch.get_rng_state()
    with seeded(3, torch.device("cpu")):
        first = torch.rand(2)
    with seeded(3, torch.device("cpu")):
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.get_rng_state(), state)
