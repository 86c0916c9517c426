"""Which data a trained method may see, and the command that trains it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reground.benchmarks.phantom import PhantomBenchmark
from reground.cli.main import app
from reground.edits.files import write_records
from reground.edits.records import Edit, Probe
from reground.errors import InputError
from reground.methods.artifact import Artifact
from reground.runner.fit import fit_data
from reground.runner.journal import read_rows
from reground.runner.recipe import Recipe
from reground.runner.run import start_run
from reground.runner.schedules import REFERENCE


@pytest.fixture(scope="module")
def phantom() -> PhantomBenchmark:
    return PhantomBenchmark()


def test_nothing_that_is_scored_is_trained_on(phantom: PhantomBenchmark) -> None:
    """Neither a subject, nor what an image of it is taken for, nor a question with its image."""
    data = fit_data(phantom, "train", "calibration", limit=60)
    scored = [edit for split in data.scored_splits for edit in phantom.edits(split)]
    assert data.scored_splits == ("test", "unseen")
    subjects = {edit.subject for edit in scored}
    seen_as = {edit.prior_answer.text for edit in scored if edit.modality == "visual" and edit.prior_answer}
    asked = {(probe.question, probe.image) for edit in scored for probe in phantom.probes(edit)}
    samples = (*data.training, *data.validation)
    assert not subjects & {sample.edit.subject for sample in samples}
    assert not set(data.summary().subjects) & set(data.summary().validation_subjects)
    probes = [probe for sample in samples for probe in sample.probes]
    assert len(probes) > 4 * len(samples)
    assert data.num_dropped_probes > 0
    for probe in probes:
        assert (probe.question, probe.image) not in asked
        assert not _words(probe, phantom) & (subjects | seen_as)


def _words(probe: Probe, phantom: PhantomBenchmark) -> set[str]:
    answer = probe.expectation.answer
    shown = phantom.shown(probe.image) if probe.image else frozenset()
    return {*shown, *(answer.spellings if answer else ())}


def test_a_sample_keeps_every_kind_of_probe(phantom: PhantomBenchmark) -> None:
    data = fit_data(phantom, "train", "calibration", limit=60)
    kinds = {(probe.kind, probe.distance) for sample in data.training for probe in sample.probes}
    assert {kind for kind, _ in kinds} == {
        "reliability", "generality", "portability", "text_locality", "image_locality",
    }  # fmt: skip
    assert ("image_locality", "near") in kinds and ("image_locality", "far") in kinds


def test_one_split_for_both_is_refused(phantom: PhantomBenchmark) -> None:
    with pytest.raises(InputError, match="trained and validated on"):
        fit_data(phantom, "train", "train")


def test_splits_that_share_a_subject_are_refused(phantom: PhantomBenchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    every = PhantomBenchmark.edits

    def leaking(self: PhantomBenchmark, split: str, limit: int | None = None, seed: int = 0) -> tuple[Edit, ...]:
        extra = every(self, "test")[:1] if split == "train" else ()
        return (*every(self, split, limit, seed), *extra)

    monkeypatch.setattr(PhantomBenchmark, "edits", leaking)
    with pytest.raises(InputError, match="share 1 subjects"):
        fit_data(phantom, "train", "calibration")


def test_every_row_names_the_artifact_that_made_the_edit(
    fitted: Callable[[str, str], Path],
    tiny_folders: dict[str, Path],
    tiny_edits: list[Edit],
    tiny_images: list[str],
    tmp_path: Path,
) -> None:
    from training_world import probes_of

    world = tmp_path / "world"
    world.mkdir()
    write_records(world / "edits.jsonl", tiny_edits[:1])
    write_records(world / "probes.jsonl", probes_of(tiny_edits[0], tiny_images[1]))
    folder = fitted("mend", "idefics3")
    recipe = Recipe.model_validate(
        {
            "name": "trained",
            "model": f"hf:{tiny_folders['idefics3']}",
            "device": "cpu",
            "benchmark": str(world),
            "methods": {"mend": {"artifact": str(folder)}, "none": {}},
            "protocol": {"belief_samples": 1, "max_new_tokens": 4, "bootstrap_resamples": 20},
        }
    )
    rows = read_rows(start_run(recipe, tmp_path / "run").folder)
    named = {row.method: row.versions.get("method_artifact") for row in rows}
    assert named == {REFERENCE: None, "mend": Artifact.read(folder, "mend").id, "none": None}


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_trains_and_goes_on(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    command = (
        "methods", "fit", "mend", "--model", f"hf:{tiny_folders['idefics3']}", "--out", tmp_path / "artifact",
        "--limit", 2, "--set", "num_steps=1", "--set", "layers=[-1]", "--set", "max_new_tokens=2",
        "--set", "num_validation=1", "--json",
    )  # fmt: skip
    code, out, err = call(*command)
    assert code == 0, err
    printed = json.loads(out)
    assert printed["steps"] == 1
    assert printed["edits"] == 2
    assert call(*command) == (0, out, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ft", "--model", "phantom-med"), "it edits without having been"),
        (("mnd", "--model", "phantom-med"), "did you mean 'mend'"),
        (("mend", "--model", "scripted:demo"), "needs .*weights"),
        (("mend", "--model", "phantom-med", "--set", "rnk=2"), "did you mean 'rank'"),
        (("mend", "--model", "phantom-med", "--split", "exam"), "asked for the split 'exam'"),
        (("mend", "--model", "phantom-med", "--set", "target=chain"), "what the name 'mend' means"),
    ],
)
def test_mistakes_are_explained_before_anything_is_loaded(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    code, out, err = call("methods", "fit", *arguments, "--out", tmp_path / "artifact")
    assert code == 2
    assert out == ""
    assert re.search(words, err), err
    assert not (tmp_path / "artifact").exists()
