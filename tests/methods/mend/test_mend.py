"""MEND: its factors, its network, its training and its edits, against plain rewrites of the equations."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from reground.edits.records import Edit
from reground.errors import ArtifactError, InputError
from reground.methods.chain_target import edit_query
from reground.methods.fitting import OwnOutputs, completion_logits, target_loss
from reground.methods.mend.fit import MendLearner, fit_mend
from reground.methods.mend.layers import Factors, MendNetwork, Moments, edited_layers, gradient_factors
from reground.methods.mend.transform import MendTransform
from reground.methods.registry import create_editor, create_fit_config
from reground.models.hf.adapter import HfModel
from training_world import QUICK_FIT, fit_data_of

MODULES = ("mlp.up_proj", "mlp.down_proj")


@pytest.mark.reference
def test_factors_multiply_to_the_dense_gradient(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    for edit in tiny_edits:
        query, text = edit_query(edit), edit.new_answer.text
        layers = edited_layers(tiny_model, (0, 1), MODULES)
        factors = gradient_factors(tiny_model, layers, query, text, ends=True)
        weights = [layer.weight.requires_grad_(True) for layer in layers.values()]
        loss = target_loss(*completion_logits(tiny_model.module, tiny_model.training_batch([query], [text])))
        for weight, found, dense in zip(weights, factors.values(), torch.autograd.grad(loss, weights), strict=True):
            torch.testing.assert_close(found.dense(), dense, atol=1e-6, rtol=1e-4)
            assert float(dense.abs().max()) > 1e-4
            weight.requires_grad_(False)


def test_only_tokens_that_the_gradient_reaches_are_kept(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    """In the last layer these are the last of the prompt and those of the target but for its last."""
    edit = tiny_edits[0]
    layers = edited_layers(tiny_model, (0, -1), ("mlp.down_proj",))
    batch = tiny_model.training_batch([edit_query(edit)], [edit.new_answer.text], ends=True)
    first, last = gradient_factors(tiny_model, layers, edit_query(edit), edit.new_answer.text, ends=True).values()
    assert len(last.inputs_TI) == int((batch["labels"] != -100).sum())
    assert len(first.inputs_TI) > len(last.inputs_TI)


@pytest.mark.reference
def test_an_untrained_network_gives_the_normalised_rank_one_gradient() -> None:
    """Two tokens, two inputs, one output, by hand: values 1 and 3 have mean 2 and deviation 1."""
    factors = Factors(torch.tensor([[1.0, 5.0], [3.0, 9.0]]), torch.tensor([[-4.0], [0.0]]))
    network = MendNetwork(2, 1, num_layers=1, rank=1)
    moments = Moments()
    moments.add(factors)
    network.normalise_by(moments)
    moved = network(factors, 0)
    torch.testing.assert_close(moved.inputs_TI, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    torch.testing.assert_close(moved.outputs_TO, torch.tensor([[-1.0], [1.0]]))
    torch.testing.assert_close(moved.dense(), torch.tensor([[2.0, 2.0]]))


@pytest.mark.reference
def test_moments_are_those_of_all_tokens_together() -> None:
    parts = [Factors(torch.randn(count, 3), 1e-5 * torch.randn(count, 2)) for count in (4, 1, 7)]
    for part in parts:
        part.inputs_TI[:, 1] = 0.3
    moments = Moments()
    for part in parts:
        moments.add(part)
    together = torch.cat([torch.cat([part.inputs_TI, part.outputs_TO], dim=-1) for part in parts]).double()
    torch.testing.assert_close(moments.mean_D, together.mean(0))
    expected = together.std(0, unbiased=False)
    expected[1] = 1.0
    torch.testing.assert_close(moments.deviation_D, expected)


@pytest.mark.reference
def test_the_network_is_its_equations() -> None:
    torch.manual_seed(0)
    network = MendNetwork(3, 2, num_layers=2, rank=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
        network.mean_D.normal_()
        network.deviation_D.uniform_(0.5, 2.0)
    pairs = torch.randn(4, 5)
    moved = network(Factors(pairs[:, :3], pairs[:, 3:]), 1)
    for token in range(4):
        z = (pairs[token] - network.mean_D) / network.deviation_D
        u, v, bias = network.up_bDR, network.down_bRD, network.bias_bD
        scale, offset = network.scale_bLD, network.offset_bLD
        h = z + torch.relu(scale[0, 1] * (u[0] @ (v[0] @ z) + bias[0]) + offset[0, 1])
        g = h + scale[1, 1] * (u[1] @ (v[1] @ h) + bias[1]) + offset[1, 1]
        torch.testing.assert_close(torch.cat([moved.inputs_TI[token], moved.outputs_TO[token]]), g)


@pytest.mark.reference
def test_an_update_is_the_step_size_times_a_sum_of_outer_products() -> None:
    torch.manual_seed(1)
    layers = {"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(3, 2), "c": torch.nn.Linear(2, 3)}
    transform = MendTransform(layers, rank=2, step_size=0.5)
    assert len(transform.networks) == 2, "layers of one shape share a network"
    steps = {"a": 0.5, "b": 2.0, "c": -1.0}
    shapes = {name: (layer.in_features, layer.out_features) for name, layer in layers.items()}
    edits = [{name: Factors(torch.randn(4, i), torch.randn(4, o)) for name, (i, o) in shapes.items()} for _ in range(2)]
    with torch.no_grad():
        transform.step_sizes.copy_(torch.tensor(list(steps.values())))
        updates = transform.updates(edits)
        for name, layer in layers.items():
            expected = torch.zeros_like(layer.weight)
            for edit in edits:
                for row, column in zip(edit[name].outputs_TO, edit[name].inputs_TI, strict=True):
                    expected += steps[name] * torch.outer(row, column)
            torch.testing.assert_close(updates[name], expected)
        torch.testing.assert_close(transform.updates(edits[::-1]), updates)


def learner_of(model: HfModel, edits: list[Edit], images: list[str], folder: Path, **settings: Any) -> MendLearner:
    config: Any = create_fit_config("mend", {**QUICK_FIT["mend"], **settings})
    layers = edited_layers(model, config.layers, config.modules)
    data = fit_data_of(edits, images)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MendLearner(model, layers, data, config, OwnOutputs(model, folder, 6), method="mend")


def test_losses_reach_everything_that_is_trained_and_nothing_of_the_model(
    tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_model.module.state_dict().items()}
    learner = learner_of(tiny_model, tiny_edits, tiny_images, tmp_path)
    for parts in learner.losses(fit_data_of(tiny_edits, tiny_images).training, random.Random(0)):
        assert set(parts) == {"edit", "locality"}
        sum(parts.values()).backward()  # type: ignore[union-attr]
    moved = {name for name, tensor in learner.transform.named_parameters() if tensor.grad is not None}
    assert moved == {name for name, _ in learner.transform.named_parameters()}
    assert all(parameter.grad is None for parameter in tiny_model.module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.module.state_dict().items())


def test_an_update_of_nothing_costs_no_locality(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    learner = learner_of(one_tiny_model, tiny_edits, tiny_images, tmp_path)
    with torch.no_grad():
        learner.transform.step_sizes.zero_()
    for parts in learner.losses(fit_data_of(tiny_edits, tiny_images).training, random.Random(0)):
        assert float(parts["locality"].detach()) == pytest.approx(0.0, abs=1e-6)


def test_training_makes_edits_take(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    settings = {"num_steps": 60, "learning_rate": 1e-2, "step_learning_rate": 1e-2, "edit_weight": 1.0}
    config: Any = create_fit_config("mend", {**QUICK_FIT["mend"], **settings, "validate_every": 30})
    artifact = fit_mend(one_tiny_model, fit_data_of(tiny_edits, tiny_images), config, tmp_path, method="mend")
    points = artifact.report.curve
    assert points[-1].validation_loss < 0.5 * points[0].validation_loss
    queries = [edit_query(edit) for edit in tiny_edits]
    targets = [edit.new_answer.text for edit in tiny_edits]
    before = one_tiny_model.score(queries, targets)
    editor = create_editor("mend", {"artifact": str(tmp_path)})
    for position, edit in enumerate(tiny_edits):
        with editor.apply(one_tiny_model, [edit]) as edited:
            (after,) = edited.score(queries[position : position + 1], targets[position : position + 1])
        assert after.log_prob > before[position].log_prob + 5
        assert after.top1_share == 1.0


def test_several_edits_do_not_depend_on_their_order(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    config: Any = create_fit_config("mend", QUICK_FIT["mend"])
    fit_mend(one_tiny_model, fit_data_of(tiny_edits, tiny_images), config, tmp_path, method="mend")
    editor = create_editor("mend", {"artifact": str(tmp_path)})
    queries = [edit_query(edit) for edit in tiny_edits]
    with editor.apply(one_tiny_model, tiny_edits) as edited:
        first = edited.fingerprint(queries)
    with editor.apply(one_tiny_model, tiny_edits[::-1]) as edited:
        assert edited.fingerprint(queries) == first


def test_layers_that_are_not_there_or_not_linear_are_refused(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    data = fit_data_of(tiny_edits, tiny_images)
    for settings, words in (({"layers": [5]}, "text layer 5"), ({"modules": ["mlp"]}, "linear layers")):
        config: Any = create_fit_config("mend", {**QUICK_FIT["mend"], **settings})
        with pytest.raises(InputError, match=words):
            fit_mend(one_tiny_model, data, config, tmp_path, method="mend")


def test_tensors_of_other_layers_are_refused() -> None:
    transform = MendTransform({"a": torch.nn.Linear(3, 2)}, rank=2, step_size=0.5)
    other = MendTransform({"a": torch.nn.Linear(3, 4)}, rank=2, step_size=0.5)
    with pytest.raises(ArtifactError, match="do not fit"):
        transform.fill(other.tensors())
