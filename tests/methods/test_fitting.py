"""The training of trained methods: artifacts, interruptions, and whom an artifact serves."""

from __future__ import annotations

import copy
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reground.edits.records import Edit
from reground.errors import ArtifactError, InputError, ModelError
from reground.methods.artifact import Artifact, FitConfig, FitData, FitSample, shipped_folder
from reground.methods.chain_target import edit_query
from reground.methods.fitting import OwnOutputs, divergence, fit_artifact
from reground.methods.identity import model_identity
from reground.methods.registry import create_editor, find_artifact, fit_entry, trained_methods
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from training_world import fit_data_of, quick_fit

CONFIG = FitConfig(num_steps=7, validate_every=2, batch_size=1, learning_rate=0.1)


class Slope:
    """Learns one number: that the loss is lowest at 1."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.value = torch.nn.Parameter(torch.rand(1) - 3)
        self._stop_at = stop_at
        self.num_calls = 0

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.value]}]

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"value": self.value}

    def losses(self, samples: Sequence[FitSample], rng: random.Random) -> Iterator[dict[str, torch.Tensor]]:
        self.num_calls += 1
        if self.num_calls == self._stop_at:
            raise KeyboardInterrupt
        yield {"slope": (self.value - 1).square().sum() * (1 + 0.1 * rng.random())}


@pytest.fixture
def model(one_tiny_model: HfModel) -> HfModel:
    return one_tiny_model


@pytest.fixture
def data(tiny_edits: list[Edit], tiny_images: list[str]) -> FitData:
    return fit_data_of(tiny_edits, tiny_images)


def fit(model: HfModel, data: FitData, folder: Path, learner: Callable[[], Any] = Slope, seed: int = 3) -> Artifact:
    return fit_artifact(model, data, CONFIG, folder, learner, method="slope", seed=seed)


@pytest.mark.parametrize("stop_at", [1, 2, 4, 9])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    model: HfModel, data: FitData, tmp_path: Path, stop_at: int
) -> None:
    whole = fit(model, data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, tmp_path / "parts", lambda: Slope(stop_at))
    resumed = fit(model, data, tmp_path / "parts")
    assert resumed.report.curve == whole.report.curve
    assert resumed.tensors == whole.tensors
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["artifact.json", "tensors.safetensors"]


def test_a_finished_training_is_returned_as_it_is(model: HfModel, data: FitData, tmp_path: Path) -> None:
    first = fit(model, data, tmp_path)
    assert fit(model, data, tmp_path, lambda: Slope(stop_at=1)) == first


def test_the_best_values_on_the_validation_edits_are_kept(model: HfModel, data: FitData, tmp_path: Path) -> None:
    artifact = fit(model, data, tmp_path)
    losses = {point.step: point.validation_loss for point in artifact.report.curve}
    assert list(losses) == [0, 2, 4, 6, 7]
    assert losses[artifact.report.best_step] == min(losses.values()) < losses[0]
    assert set(load_file(tmp_path / "tensors.safetensors")) == {"value"}


def test_another_training_is_not_gone_on_with(model: HfModel, data: FitData, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, tmp_path, lambda: Slope(stop_at=5))
    with pytest.raises(ArtifactError, match="another method, settings, seed, model or data"):
        fit(model, data, tmp_path, seed=4)
    fit(model, data, tmp_path)
    with pytest.raises(ArtifactError, match="another method, settings, seed, model or data"):
        fit(model, data, tmp_path, seed=4)


def test_a_damaged_checkpoint_is_refused(model: HfModel, data: FitData, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ArtifactError, match="cannot be read"):
        fit(model, data, tmp_path)


def test_a_training_that_diverges_says_so(model: HfModel, data: FitData, tmp_path: Path) -> None:
    class Broken(Slope):
        def losses(self, samples: Sequence[FitSample], rng: random.Random) -> Iterator[dict[str, torch.Tensor]]:
            yield {"slope": self.value.sum() / 0}

    with pytest.raises(ModelError, match="not finite after 0 steps"):
        fit(model, data, tmp_path, Broken)


def test_nothing_to_learn_from_is_refused(model: HfModel, data: FitData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no validation edits"):
        fit(model, data.model_copy(update={"validation": ()}), tmp_path)


def test_an_edited_model_is_not_trained_on(
    model: HfModel, data: FitData, tiny_edits: list[Edit], tmp_path: Path
) -> None:
    with (
        create_editor("ft", {"num_steps": 1}).apply(model, tiny_edits),
        pytest.raises(InputError, match="edits in force"),
    ):
        fit(model, data, tmp_path)


def test_the_callers_random_state_is_left_alone(model: HfModel, data: FitData, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    fit(model, data, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_own_outputs_are_asked_once(model: HfModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [Query(question="what?"), Query(question="why?"), Query(question="what?")]
    OwnOutputs(model, tmp_path, 4).ask(queries)
    texts = [output.text for (output,) in model.generate(queries, max_new_tokens=4)]
    monkeypatch.delattr(HfModel, "generate")
    again = OwnOutputs(model, tmp_path, 4)
    again.ask(queries)
    assert [again[query] for query in queries] == texts
    assert Query(question="who?") not in again


@pytest.mark.reference
def test_the_divergence_is_that_of_distributions() -> None:
    before, after = torch.randn(3, 5), torch.randn(3, 5)
    expected = 0.0
    for p, q in zip(before.softmax(-1), after.softmax(-1), strict=True):
        expected += sum(float(p[i]) * (float(p[i].log()) - float(q[i].log())) for i in range(5)) / 3
    assert float(divergence(before, after)) == pytest.approx(expected, rel=1e-5)
    assert float(divergence(before, before)) == pytest.approx(0.0, abs=1e-7)


TRAINED = sorted(trained_methods())


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_that_is_killed_goes_on(
    name: str,
    model: HfModel,
    tiny_edits: list[Edit],
    tiny_images: list[str],
    tiny_folders: dict[str, Path],
    fitted: Callable[[str, str], Path],
    tmp_path: Path,
) -> None:
    """Killed by the kernel in the middle of a step, in a process of its own; then finished in this one."""
    (tmp_path / "edits.json").write_text("[" + ",".join(edit.model_dump_json() for edit in tiny_edits) + "]")
    code = f"""
import json, os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import training_world
from pathlib import Path
from reground.edits.records import Edit
from reground.methods import fitting
from reground.models.hf.adapter import load_hf_model

def kill(self, done=[0]):
    done[0] += 1
    if done[0] == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self)

step = fitting._Training._take_step
fitting._Training._take_step = kill
edits = [Edit.model_validate(edit) for edit in json.loads(Path("edits.json").read_text())]
model = load_hf_model({str(tiny_folders["idefics3"])!r}, name="tiny-idefics3", device="cpu")
training_world.quick_fit({name!r}, model, edits, {tiny_images!r}, Path("artifact"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "artifact" / "checkpoint.pt").is_file()
    with pytest.raises(ArtifactError, match="training is not finished"):
        Artifact.read(tmp_path / "artifact", name)
    artifact = quick_fit(name, model, tiny_edits, tiny_images, tmp_path / "artifact")
    whole = Artifact.read(fitted(name, "idefics3"), name)
    assert artifact.tensors == whole.tensors
    assert artifact.report.curve == whole.report.curve


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_that_was_not_trained_says_how_to_train_it(
    name: str, model: HfModel, tiny_edits: list[Edit], tmp_path: Path
) -> None:
    for attempt in (
        lambda: create_editor(name).apply(model, tiny_edits),
        lambda: find_artifact(name, {}, model.info.name),
        lambda: find_artifact(name, {"artifact": str(tmp_path)}, model.info.name),
    ):
        with pytest.raises(ArtifactError, match=rf"reground methods fit {name} --model") as caught:
            attempt()
        assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("name", TRAINED)
def test_an_artifact_serves_its_own_model_alone(
    name: str,
    model: HfModel,
    loaded_tiny_models: dict[str, HfModel],
    tiny_edits: list[Edit],
    fitted: Callable[[str, str], Path],
) -> None:
    folder = fitted(name, "idefics3")
    artifact = Artifact.read(folder, name)
    assert artifact.model == model_identity(model)
    settings = {"artifact": str(folder)}
    with pytest.raises(ArtifactError, match="not those it was trained for"):
        create_editor(name, settings).apply(copy.deepcopy(loaded_tiny_models["llava"]), tiny_edits)
    with torch.no_grad():
        next(iter(model.layer_parameters(0).values())).mul_(1.001)
    with pytest.raises(ArtifactError, match="not those it was trained for"):
        create_editor(name, settings).apply(model, tiny_edits)


@pytest.mark.parametrize("name", TRAINED)
def test_the_artifact_that_ships_for_a_model_is_found(
    name: str,
    model: HfModel,
    tiny_edits: list[Edit],
    fitted: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reground.methods.artifact._SHIPPED", tmp_path)
    shutil.copytree(fitted(name, "idefics3"), shipped_folder(name, model.info.name))
    find_artifact(name, {}, model.info.name)
    with create_editor(name).apply(model, tiny_edits) as edited:
        assert edited.cost.stored_bytes > 0
    with pytest.raises(ArtifactError, match=rf"artifacts of '{name}' ship for tiny-idefics3"):
        find_artifact(name, {}, "hf:org/name")


def test_an_artifact_serves_its_model_with_other_edits_in_force(
    model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path]
) -> None:
    editor = create_editor("mend", {"artifact": str(fitted("mend", "idefics3"))})
    with (
        create_editor("ft", {"num_steps": 1}).apply(model, tiny_edits[:1]) as first,
        editor.apply(first, tiny_edits[1:]) as second,
    ):
        assert second.cost.num_changed_parameters > 0


@pytest.mark.parametrize("name", TRAINED)
def test_half_precision_is_trained_on_and_edited(
    name: str, model: HfModel, tiny_edits: list[Edit], tiny_images: list[str], tmp_path: Path
) -> None:
    model.module.to(torch.bfloat16)
    queries = [edit_query(edit) for edit in tiny_edits]
    fingerprint = model.fingerprint(queries)
    artifact = quick_fit(name, model, tiny_edits, tiny_images, tmp_path)
    assert artifact.model.dtype == "bfloat16"
    with create_editor(name, {"artifact": str(tmp_path)}).apply(model, tiny_edits) as edited:
        assert len(edited.generate(queries, max_new_tokens=3)) == 2
        assert edited.fingerprint(queries) != fingerprint
        assert model.dtype == torch.bfloat16
    assert model.fingerprint(queries) == fingerprint


@pytest.mark.parametrize("name", TRAINED)
def test_a_damaged_or_foreign_artifact_is_refused(
    name: str, model: HfModel, tiny_edits: list[Edit], fitted: Callable[[str, str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(fitted(name, "idefics3"), folder)
    with pytest.raises(ArtifactError, match="was to be used by 'slope'"):
        Artifact.read(folder, "slope")
    (folder / "tensors.safetensors").write_bytes(b"0")
    with pytest.raises(ArtifactError, match="missing or not those"):
        create_editor(name, {"artifact": str(folder)}).apply(model, tiny_edits)


@pytest.mark.parametrize("name", TRAINED)
def test_an_artifact_says_what_it_was_learned_from(
    name: str, fitted: Callable[[str, str], Path], data: FitData
) -> None:
    artifact = Artifact.read(fitted(name, "idefics3"), name)
    assert artifact.data == data.summary()
    assert artifact.data.subjects == ("ring in the kidney", "star in the liver")
    assert artifact.report.num_parameters > 0
    assert artifact.report.curve[0].step == 0


def test_a_method_that_needs_no_training_is_not_trained() -> None:
    with pytest.raises(InputError, match="edits without having been"):
        fit_entry("ft")
