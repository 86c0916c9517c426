"""A finished run can be read again, and read as another paper's protocol would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reground.cli.main import app
from reground.edits.files import write_records
from reground.edits.records import Answer, Edit, Expectation, Probe

SKY = "what colour is the sky?"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    edit = Edit(
        subject="velmora syndrome",
        relation="drug",
        modality="textual",
        question="what is the first-line drug for velmora syndrome?",
        new_answer=Answer(text="belumide"),
        statement="the first-line drug for velmora syndrome is now belumide.",
    )
    new, same = Expectation(kind="answer", answer=edit.new_answer), Expectation(kind="unchanged")
    probes = [
        Probe(edit_id=edit.id, kind="reliability", level="exact", question=edit.question, expectation=new),
        Probe(edit_id=edit.id, kind="text_locality", level="x", distance="far", question=SKY, expectation=same),
    ]
    (folder / "data").mkdir()
    write_records(folder / "data" / "edits.jsonl", [edit])
    write_records(folder / "data" / "probes.jsonl", probes)
    (folder / "small.yaml").write_text(
        f"name: small\nmodel: scripted:demo\nbenchmark: {folder / 'data'}\nmethods: [prompt]\n"
        "protocol: {bootstrap_resamples: 0, belief_samples: 1, keeps_forced_tokens: true}\n"
    )
    done = call("run", "start", folder / "small.yaml", "--out", folder / "run", "--quiet")
    assert done.exit_code == 0, done.output
    return folder / "run"


def test_the_scores_of_a_run_are_shown_again(run: Path) -> None:
    assert "prompt" in call("run", "show", run).stdout
    assert json.loads(call("run", "show", run, "--json").stdout)["methods"] == ["prompt"]


def test_a_lens_is_shown_to_people_and_to_machines(run: Path) -> None:
    found = {
        score["metric"]: score for score in json.loads(call("run", "show", run, "--lens", "mmedit", "--json").stdout)
    }
    assert found["reliability"]["value"] == 1.0
    assert found["locality_text"]["value"] == 1.0
    assert found["generality_text"]["reason"] == "the benchmark has no such probes"
    shown = call("run", "show", run, "--lens", "mmedit").stdout
    assert "locality_text" in shown and "1.000" in shown and "flawed" not in shown.lower()


def test_the_flawed_lens_is_labelled_wherever_it_is_printed(run: Path) -> None:
    shown = call("run", "show", run, "--lens", "multimedbench-as-released").stdout
    assert shown.startswith("FLAWED: ")
    assert shown.count("(flawed)") == 4
    scores = json.loads(call("run", "show", run, "--lens", "multimedbench-as-released", "--json").stdout)
    assert all("reference is taken after the edit" in score["flaw"] for score in scores)


def test_an_unknown_lens_or_directory_ends_with_a_message(run: Path, tmp_path: Path) -> None:
    refused = call("run", "show", run, "--lens", "mmedt")
    assert refused.exit_code == 2 and "did you mean 'mmedit'?" in refused.stderr
    assert call("run", "show", tmp_path / "absent", "--lens", "mmedit").exit_code == 2
    assert call("run", "show", tmp_path / "absent").exit_code == 2
