"""SERAC: its scope, its routing, its counterfactual model and their training."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import functional_call

from reground.edits.records import Edit, ImageRef
from reground.errors import ArtifactError, InputError
from reground.methods.chain_target import edit_query
from reground.methods.fitting import completion_logits
from reground.methods.registry import create_editor, create_fit_config
from reground.methods.serac.counterfactual import LowRankDifference, lent
from reground.methods.serac.editor import SeracEditedModel
from reground.methods.serac.fit import SeracLearner, fit_serac
from reground.methods.serac.parts import SeracParts, edit_prompt, stated
from reground.methods.serac.scope import ScopeClassifier, hidden_states, route
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from training_world import QUICK_FIT, fit_data_of


@pytest.mark.reference
def test_routing_by_hand() -> None:
    """Log-odds of 0 are a probability of 0.5, those of log 3 one of 0.75."""
    odds = torch.tensor([[-1.0, -2.0], [0.0, -5.0], [1.0986, 3.0], [2.0, 2.0], [-9.0, 0.5]])
    assert route(odds, 0.5) == [None, 0, 1, 1, 1]
    assert route(odds, 0.75) == [None, None, 1, 1, None]
    assert route(odds, 0.0) == [0, 0, 1, 1, 1]
    assert route(odds, 1.0) == [None] * 5


@pytest.mark.reference
def test_the_classifier_is_its_equations() -> None:
    torch.manual_seed(0)
    scope = ScopeClassifier(hidden_size=6, num_heads=2, width=3)
    hidden, is_token = torch.randn(2, 4, 6), torch.tensor([[False, True, True, True], [True, True, True, True]])
    with torch.no_grad():
        encoded = scope.encode(hidden, is_token)
        for row in range(2):
            tokens = [token - token.mean() for token in hidden[row][is_token[row]]]
            tokens = [token / (token.square().mean() + 1e-5).sqrt() for token in tokens]
            means = []
            for head in scope.heads_KH:
                weights = torch.stack([head @ token for token in tokens]).softmax(0)
                means.append(sum(weight * token for weight, token in zip(weights, tokens, strict=True)))
            expected = scope.encoder.weight @ torch.cat(means) + scope.encoder.bias
            torch.testing.assert_close(encoded[row], expected)
        odds = scope(encoded, encoded[:1])
        for row in range(2):
            a, b = encoded[row], encoded[0]
            inner = scope.compared.weight @ torch.cat([a, b, a * b, (a - b).abs()]) + scope.compared.bias
            torch.testing.assert_close(odds[row], scope.decided.weight @ inner.relu() + scope.decided.bias)


def test_padding_does_not_matter(one_tiny_model: HfModel) -> None:
    scope = ScopeClassifier(one_tiny_model.module.get_input_embeddings().weight.shape[-1], 2, 8)
    queries = [Query(question="what?"), Query(question="which condition does this image show, and why is it so?")]
    with torch.no_grad():
        together = scope.encode(*hidden_states(one_tiny_model, queries, -1))
        alone = scope.encode(*hidden_states(one_tiny_model, queries[:1], -1))
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)


def test_the_classifier_sees_the_image(tiny_model: HfModel, tiny_images: list[str]) -> None:
    """A classifier of texts cannot tell these queries apart."""
    scope = ScopeClassifier(tiny_model.module.get_input_embeddings().weight.shape[-1], 2, 8)
    first, second = (Query(question="what?", image=ImageRef(frames=(image,))) for image in tiny_images[:2])
    with torch.no_grad():
        a, b = scope.encode(*hidden_states(tiny_model, [first, second], -1))
    assert float((a - b).abs().max()) > 1e-3


@pytest.mark.reference
def test_the_counterfactual_model_has_the_sum_of_weight_and_product() -> None:
    torch.manual_seed(0)
    layers = {"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(2, 4)}
    difference = LowRankDifference(layers, rank=2)
    assert not list(difference.buffers()) and len(list(difference.parameters())) == 4, "the layers are the model's"
    with torch.no_grad():
        for (path, layer), weight in zip(layers.items(), difference.weights().values(), strict=True):
            assert torch.equal(weight, layer.weight), f"{path}: no difference at first"
        for up in difference.up:
            up.normal_()
        weights = difference.weights()
    assert list(weights) == ["a.weight", "b.weight"]
    for position, (path, layer) in enumerate(layers.items()):
        expected = layer.weight + sum(
            torch.outer(difference.up[position][:, r], difference.down[position][r]) for r in range(2)
        )
        torch.testing.assert_close(weights[f"{path}.weight"], expected.detach())


def test_lent_weights_are_given_back_after_an_error() -> None:
    layer = torch.nn.Linear(2, 2)
    pointer, value = layer.weight.data_ptr(), layer.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), lent({"w": layer.weight}, {"w": torch.zeros(2, 2)}):
        assert not layer.weight.any()
        raise KeyboardInterrupt
    assert layer.weight.data_ptr() == pointer
    assert torch.equal(layer.weight, value)


def edited_by(
    model: HfModel, edits: list[Edit], folder: Path, monkeypatch: pytest.MonkeyPatch, routes: list[int | None]
) -> SeracEditedModel:
    """An edited model whose classifier is told what to say."""
    edited = create_editor("serac", {"artifact": str(folder)}).apply(model, edits)
    assert isinstance(edited, SeracEditedModel)
    monkeypatch.setattr(edited, "routes", lambda queries: [None] * len(queries) if edited.is_restored else routes)
    return edited


def test_each_query_goes_to_its_model(
    tiny_model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in scope to the counterfactual model with the edit stated, the others to the model as it is."""
    queries = [Query(question="what?"), Query(question="why?", note="mine"), edit_query(tiny_edits[0])]
    targets = ["yes", "drantic fever", "tarvexin"]
    folder = fitted("serac", tiny_model.family.name)
    before = tiny_model.generate(queries[:1], max_new_tokens=5), tiny_model.score(queries[:1], targets[:1])
    noted = [stated(tiny_edits[1], queries[1]), stated(tiny_edits[0], queries[2])]
    assert noted[0].note == "Note: a star in the liver means osquine disease.\nmine"
    with edited_by(tiny_model, tiny_edits, folder, monkeypatch, [None, 1, 0]) as edited:
        after = edited.generate(queries, max_new_tokens=5), edited.score(queries, targets)
        with lent(edited._parameters, edited._weights):
            expected = tiny_model.generate(noted, max_new_tokens=5), tiny_model.score(noted, targets[1:])
        assert after[0] == [before[0][0], *expected[0]]
        assert after[1] == [before[1][0], *expected[1]]
        monkeypatch.setattr(edited, "routes", lambda queries: [None] * len(queries))
        assert edited.fingerprint(queries) == tiny_model.fingerprint(queries)


def test_a_call_that_fails_leaves_the_weights_as_they_were(
    tiny_model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (value.data_ptr(), value.clone()) for name, value in tiny_model.module.named_parameters()}
    folder = fitted("serac", tiny_model.family.name)
    with (
        edited_by(tiny_model, tiny_edits, folder, monkeypatch, [0]) as edited,
        pytest.raises(InputError, match="holds no tokens"),
    ):
        edited.score([Query(question="what?")], [" "])
    for name, value in tiny_model.module.named_parameters():
        assert (value.data_ptr(), True) == (before[name][0], torch.equal(value, before[name][1]))


def test_the_losses_are_those_of_pairs_and_of_answers(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str]
) -> None:
    config: Any = create_fit_config("serac", QUICK_FIT["serac"])
    learner = SeracLearner(one_tiny_model, config)
    samples = fit_data_of(tiny_edits, tiny_images).training
    drawn = [({p for p in sample.probes if p.expectation.kind == "answer"}) for sample in samples]
    assert all(len(inside) == config.num_in_scope for inside in drawn), "every probe in scope is drawn"
    first, *answers = learner.losses(samples, random.Random(0))
    assert set(first) == {"scope"} and [set(parts) for parts in answers] == [{"answer"}] * 2
    parts = learner.parts
    inside, outside = [], []
    with torch.no_grad():
        for own, sample in enumerate(samples):
            queries = [edit_query(sample.edit)] + [
                Query(question=probe.question, image=probe.image) for probe in sample.probes
            ]
            for number, query in enumerate(queries):
                for other, edit in enumerate(tiny_edits):
                    a = parts.scope.encode(*hidden_states(one_tiny_model, [query], config.scope_layer))
                    b = parts.scope.encode(*hidden_states(one_tiny_model, [edit_prompt(edit)], config.scope_layer))
                    is_inside = other == own and number < 3
                    odds = parts.scope(a, b).squeeze()
                    (inside if is_inside else outside).append(
                        -odds.sigmoid().log() if is_inside else -(1 - odds.sigmoid()).log()
                    )
        expected = (torch.stack(inside).mean() + torch.stack(outside).mean()) / 2
    torch.testing.assert_close(first["scope"].detach(), expected, atol=1e-4, rtol=1e-4)
    assert len(inside) == 6 and len(outside) == 14
    for loss in answers:
        assert float(loss["answer"].detach()) > 0


def test_training_finds_the_scope_and_answers_in_it(
    one_tiny_model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    settings = {**QUICK_FIT["serac"], "num_steps": 60, "validate_every": 20, "learning_rate": 2e-2, "rank": 8}
    config: Any = create_fit_config("serac", settings)
    data = fit_data_of(tiny_edits, tiny_images)
    artifact = fit_serac(one_tiny_model, data, config, tmp_path, method="serac")
    first, last = artifact.report.curve[0], artifact.report.curve[-1]
    assert last.training["scope"] < 0.1 * first.validation["scope"]
    assert last.training["answer"] < 0.5 * first.validation["answer"]
    queries = [Query(question=p.question, image=p.image) for sample in data.training for p in sample.probes]
    with create_editor("serac", {"artifact": str(tmp_path)}).apply(one_tiny_model, tiny_edits) as edited:
        assert isinstance(edited, SeracEditedModel)
        assert edited.routes(queries) == [0, 0, None, None, 1, 1, None, None]
        assert edited.routes([]) == []
    assert edited.routes(queries) == [None] * 8


def test_the_threshold_is_the_editors(
    one_tiny_model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path]
) -> None:
    artifact = str(fitted("serac", one_tiny_model.family.name))
    unrelated = Query(question="which drug comes first?")
    for threshold, is_inside in ((0.0, True), (0.5, False)):
        editor = create_editor("serac", {"artifact": artifact, "threshold": threshold})
        with editor.apply(one_tiny_model, tiny_edits) as edited:
            assert isinstance(edited, SeracEditedModel)
            (edit,) = edited.routes([unrelated])
            assert (edit is not None) == is_inside


def test_the_counterfactual_loss_is_under_the_lent_weights(tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    """What is trained by exchanged weights in a functional call is what a routed query meets."""
    config: Any = create_fit_config("serac", QUICK_FIT["serac"])
    parts = SeracParts(tiny_model, config)
    with torch.no_grad():
        for up in parts.difference.up:
            up.normal_(std=0.1)
        weights = parts.difference.weights()
        batch = tiny_model.training_batch([edit_query(tiny_edits[0])], ["yes"])
        called, _ = completion_logits(
            lambda **inputs: functional_call(tiny_model.module, weights, args=(), kwargs=inputs), batch
        )
        parameters = {name: tiny_model.module.get_parameter(name) for name in weights}
        with lent(parameters, weights):
            found, _ = completion_logits(tiny_model.module, batch)
        unedited, _ = completion_logits(tiny_model.module, batch)
    torch.testing.assert_close(found, called)
    assert float((found - unedited).abs().max()) > 1e-3


def test_parts_of_other_sizes_are_refused(one_tiny_model: HfModel) -> None:
    first, second = (
        SeracParts(one_tiny_model, create_fit_config("serac", {**QUICK_FIT["serac"], "width": width}))  # type: ignore[arg-type]
        for width in (4, 8)
    )
    with pytest.raises(ArtifactError, match="do not fit"):
        first.fill(second.tensors())


def test_a_layer_that_is_not_there_is_refused(one_tiny_model: HfModel) -> None:
    with pytest.raises(InputError, match="text layer 9"):
        SeracParts(one_tiny_model, create_fit_config("serac", {"scope_layer": 9}))  # type: ignore[arg-type]
