"""What a model offers, found out by loading it and asking it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edit_state import State
from reground.cli.main import app
from reground.edits.records import Edit
from reground.methods.base import NeedsMemory
from reground.methods.registry import METHODS, create_editor
from reground.models.hf.adapter import HfModel
from reground.models.registry import load_model
from reground.runner.doctor import diagnose


def test_a_model_with_weights_is_described_and_left_as_it_was(family_copy: Callable[[str], HfModel]) -> None:
    model = family_copy("mllama")
    before = State(model)
    found = diagnose(model, max_new_tokens=4)
    before.assert_same(model)
    assert (found.family, found.lacked) == ("mllama", ("image_tokens",))
    assert found.weights_bytes == 4 * (model.info.num_parameters or 0)
    by_name = {line.method: line for line in found.methods}
    assert by_name.keys() == METHODS.keys()
    assert by_name["liveedit"].reason == "the model lacks image_tokens"
    assert "reground methods fit mend" in (by_name["mend"].reason or "")
    assert by_name["prompt"].working_bytes == 0
    passed = {check.name: check.passed for check in found.checks}
    assert passed.pop("its output is read as its delimiters say") is False  # its weights are random
    assert set(passed.values()) == {True}
    assert found.num_failed == 1


@pytest.mark.parametrize("name", ["ft", "ft-vision", "ft-projector", "lora"])
def test_memory_counts_what_an_edit_then_changes(name: str, tiny_model: HfModel, tiny_edits: list[Edit]) -> None:
    editor = create_editor(name, {"num_steps": 1})
    assert isinstance(editor, NeedsMemory)
    needed = editor.working_bytes(tiny_model)
    with editor.apply(tiny_model, tiny_edits[:1]) as edited:
        assert needed == 4 * 4 * edited.cost.num_changed_parameters


def test_a_model_without_weights_is_described_too() -> None:
    found = diagnose(load_model("scripted:demo"))
    assert found.family is None
    assert found.weights_bytes is None
    assert {"weights", "hidden_states"} <= set(found.lacked)
    assert not next(line for line in found.methods if line.method == "ft").is_available


def test_the_command_ends_with_one_if_a_check_failed_and_prints_json(tiny_folders: dict[str, Path]) -> None:
    model = f"hf:{tiny_folders['llava']}"
    result = CliRunner().invoke(app, ["doctor", "--model", model, "--max-new-tokens", "4", "--json"])
    assert result.exit_code == 1
    assert "checks failed" in result.stderr
    printed = json.loads(result.stdout)
    assert printed["model"]["name"] == model
    assert printed["num_failed"] == sum(check["passed"] is False for check in printed["checks"]) > 0


def test_the_command_prints_for_people(tiny_folders: dict[str, Path]) -> None:
    result = CliRunner().invoke(
        app, ["doctor", "--model", f"hf:{tiny_folders['llava']}", "--max-new-tokens", "4"], terminal_width=200
    )
    assert "llava" in result.stdout
    assert "KiB" in result.stdout
    assert "the image has a say" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "hf:/absent"], "no checkpoint folder"),
        (["--model", "phantom-mad"], "unknown model"),
        (["--model", "phantom-med", "--image", "/absent.png"], "absent.png"),
    ],
)
def test_a_mistake_ends_with_two(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
