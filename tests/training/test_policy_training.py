"""The two trainings of a policy, on a tiny model: what they write, going on after a stop, the model left as found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from reground.cli.main import app
from reground.errors import ArtifactError, InputError, RunDirectoryError
from reground.methods.crane.policy import load_policy
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from reground.training.policy_card import PolicyCard
from reground.training.policy_settings import GrpoRecipe, SftRecipe

pytest.importorskip("trl", reason="trl is not installed; pip install 'reground[train]'")

from reground.training.grpo import train_grpo
from reground.training.sft import train_sft

#: trl and peft use names of transformers that are being replaced.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

SFT = SftRecipe(
    name="tiny-sft", num_steps=4, batch_size=2, learning_rate=1e-2, rank=2, save_every=2, log_every=1, num_measured=1,
    images_per_subject=1,
)  # fmt: skip
GRPO = GrpoRecipe(
    name="tiny-grpo", num_steps=2, num_prompts=2, num_generations=2, learning_rate=1e-3, max_new_tokens=6, save_every=1,
    log_every=1, num_measured=1, images_per_subject=1,
)  # fmt: skip
QUERIES = [Query(question="what is it?"), Query(question="who makes it?", note="[card]\nstates: a.")]


def tensors_of(model: HfModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


@pytest.fixture(scope="module")
def trained(loaded_tiny_models: dict[str, HfModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies") / "sft"
    train_sft(SFT, loaded_tiny_models["idefics3"], folder)
    return folder


def test_supervised_training_writes_an_adapter_that_changes_answers(trained: Path, one_tiny_model: HfModel) -> None:
    card = PolicyCard.read(trained)
    assert card.stage == "sft"
    assert [point["step"] for point in card.curve if "loss" in point] == [1, 2, 3, 4]
    assert (trained / "curve.jsonl").read_text().count("\n") == len(card.curve)
    assert {score.kind for score in card.measured} >= {"conflict", "look_alike", "no_card"}
    assert card.settings["rank"] == 2
    settings = json.loads((trained / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == one_tiny_model.info.name
    plain = one_tiny_model.fingerprint(QUERIES)
    policy = load_policy(one_tiny_model, trained, card)
    with policy.in_force():
        assert one_tiny_model.fingerprint(QUERIES) != plain
    assert one_tiny_model.fingerprint(QUERIES) == plain


def test_training_leaves_the_model_as_it_was(one_tiny_model: HfModel, tmp_path: Path) -> None:
    before, prints = tensors_of(one_tiny_model), one_tiny_model.fingerprint(QUERIES)
    train_sft(SFT.model_copy(update={"num_steps": 1}), one_tiny_model, tmp_path / "p")
    after = tensors_of(one_tiny_model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert one_tiny_model.fingerprint(QUERIES) == prints
    assert not one_tiny_model.module.training
    assert not any(parameter.requires_grad for parameter in one_tiny_model.module.parameters())


def test_training_that_stopped_goes_on_where_it_was(
    trained: Path, one_tiny_model: HfModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trl

    step = trl.SFTTrainer.training_step
    num_steps = 0

    def stop_at_the_fourth(*arguments: object, **settings: object) -> torch.Tensor:
        nonlocal num_steps
        num_steps += 1
        if num_steps == 4:
            raise KeyboardInterrupt
        return step(*arguments, **settings)  # type: ignore[no-any-return]

    with monkeypatch.context() as patch:
        patch.setattr(trl.SFTTrainer, "training_step", stop_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            train_sft(SFT, one_tiny_model, tmp_path / "p")
    with pytest.raises(ArtifactError, match="not finished"):
        PolicyCard.read(tmp_path / "p")
    card = train_sft(SFT, one_tiny_model, tmp_path / "p")
    assert card.adapter == PolicyCard.read(trained).adapter
    assert [point["loss"] for point in card.curve if "loss" in point] == pytest.approx(
        [point["loss"] for point in PolicyCard.read(trained).curve if "loss" in point]
    )


def test_a_finished_training_is_not_done_again_and_another_recipe_is_refused(
    trained: Path, one_tiny_model: HfModel
) -> None:
    assert train_sft(SFT, one_tiny_model, trained) == PolicyCard.read(trained)
    with pytest.raises(RunDirectoryError, match="another recipe"):
        train_sft(SFT.model_copy(update={"seed": 2}), one_tiny_model, trained)
    with pytest.raises(RunDirectoryError, match="something else"):
        train_sft(SFT, one_tiny_model, trained.parent)


def test_a_policy_of_other_weights_is_refused(trained: Path, one_tiny_model: HfModel) -> None:
    with torch.no_grad():
        one_tiny_model.text_layers[0].self_attn.q_proj.weight.add_(1e-3)
    with pytest.raises(ArtifactError, match="not those it was trained for"):
        load_policy(one_tiny_model, trained, PolicyCard.read(trained))


def test_a_policy_is_known_again_until_its_files_or_the_weights_below_it_change(
    trained: Path, one_tiny_model: HfModel, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(trained, folder)
    policy = load_policy(one_tiny_model, folder, PolicyCard.read(folder))
    assert policy.is_of(one_tiny_model, folder)
    assert not policy.is_of(one_tiny_model, trained)
    (folder / "policy.json").touch()
    assert not policy.is_of(one_tiny_model, folder)
    policy = load_policy(one_tiny_model, folder, PolicyCard.read(folder))
    with torch.no_grad():
        one_tiny_model.text_layers[0].self_attn.q_proj.weight.mul_(1)
    assert not policy.is_of(one_tiny_model, folder)
    shutil.rmtree(folder)
    assert not policy.is_of(one_tiny_model, folder)


def test_reinforcement_goes_on_from_a_policy_and_logs_every_term(
    trained: Path, one_tiny_model: HfModel, tmp_path: Path
) -> None:
    before = tensors_of(one_tiny_model)
    card = train_grpo(GRPO, one_tiny_model, tmp_path / "g", policy=trained)
    assert card.stage == "grpo"
    assert card.started_from == PolicyCard.read(trained).id
    points = [json.loads(line) for line in (tmp_path / "g" / "curve.jsonl").read_text().splitlines()]
    steps = [point for point in points if "reward" in point]
    assert len(steps) == 2
    for name in ("format", "answer", "routing", "grounding", "intermediates", "copying"):
        assert all(0 <= point[f"terms/{name}"] <= 1 for point in steps)
    after = tensors_of(one_tiny_model)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    load_policy(one_tiny_model, tmp_path / "g", card)


def test_reinforcement_needs_a_policy_to_start_from(one_tiny_model: HfModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="from no policy"):
        train_grpo(GRPO, one_tiny_model, tmp_path / "g")
    assert not (tmp_path / "g").exists()
    with pytest.raises(ArtifactError):
        train_grpo(GRPO, one_tiny_model, tmp_path / "g", policy=tmp_path)


def test_reinforcement_may_begin_a_new_adapter(trained: Path, one_tiny_model: HfModel, tmp_path: Path) -> None:
    alone = GrpoRecipe.model_validate({**GRPO.model_dump(), "rank": 2, "alpha": 4.0})
    before = tensors_of(one_tiny_model)
    with pytest.raises(InputError, match="begins a new adapter"):
        train_grpo(alone, one_tiny_model, tmp_path / "g", policy=trained)
    card = train_grpo(alone, one_tiny_model, tmp_path / "g")
    assert card.stage == "grpo" and card.started_from is None and card.earlier_s == 0
    policy = load_policy(one_tiny_model, tmp_path / "g", card)
    assert {pair[0].shape[0] for pair in policy.layers.values()} == {2}
    after = tensors_of(one_tiny_model)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("given", [{"rank": 2}, {"alpha": 4.0}, {"rank": 2, "alpha": 4.0, "policy": "work"}])
def test_an_adapter_is_new_or_gone_on_with(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GrpoRecipe.model_validate({**GRPO.model_dump(), **given})


def test_a_policy_is_shown_with_its_curve(trained: Path) -> None:
    card = PolicyCard.read(trained)
    shown = CliRunner().invoke(app, ["train", "show", str(trained), "--points", "2"])
    assert shown.exit_code == 0
    assert card.id in shown.stdout and "token accuracy" in shown.stdout and "conflict" in shown.stdout
    assert [row["step"] for row in card.curve_rows] == sorted({int(point["step"]) for point in card.curve})
    assert json.loads(CliRunner().invoke(app, ["train", "show", str(trained), "--json"]).stdout)["id"] == card.id
