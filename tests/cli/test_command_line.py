"""The command line: quick, and plain about mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from reground.cli import launch
from reground.cli.main import app
from reground.edits.files import write_records
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe
from reground.evaluation import stance
from reground.evaluation.stance import Stance

QUESTION = "what is the first-line drug for velmora syndrome?"


class PlainReader:
    """A stance reader without rules: the tables need one, these tests do not."""

    name = "plain"

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        return Stance(label="supports" if new.text in chain else "silent")


@pytest.fixture(autouse=True)
def plain_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stance, "RuleStanceReader", PlainReader, raising=False)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refuse(*arguments: object) -> str:
    """What is said to a user who made a mistake: code 2, three parts, no traceback, nothing on stdout."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert [line.split(":")[0].strip() for line in lines[-2:]] == ["Accepted", "Next"]
    return result.stderr


def make_edit(condition: str = "velmora syndrome", image: str | None = None) -> Edit:
    return Edit(
        subject=condition,
        relation="drug",
        modality="visual" if image else "textual",
        question=f"what is the first-line drug for {condition}?",
        image=ImageRef(frames=(image,)) if image else None,
        new_answer=Answer(text="belumide"),
        prior_answer=Answer(text="tarvexin"),
        statement=f"the first-line drug for {condition} is now belumide.",
    )


def write_benchmark(folder: Path, *edits: Edit) -> None:
    folder.mkdir(exist_ok=True)
    new = Expectation(kind="answer", answer=edits[0].new_answer)
    write_records(folder / "edits.jsonl", edits)
    write_records(
        folder / "probes.jsonl",
        [
            Probe(
                edit_id=edit.id,
                kind="reliability",
                level="exact",
                question=edit.question,
                image=edit.image,
                expectation=new,
            )
            for edit in edits
        ],
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe on a benchmark folder of one edit beside it."""
    write_benchmark(tmp_path / "data", make_edit())
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\nmodel: scripted:demo\nbenchmark: {tmp_path / 'data'}\nmethods: [none, prompt]\n"
        "protocol: {bootstrap_resamples: 10, belief_samples: 2}\n"
    )
    return path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from reground.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['methods', 'list']).exit_code == 0\n"
        "found = {'torch', 'transformers', 'peft', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("noun", ["methods", "models", "benchmarks", "recipes"])
def test_lists_come_for_people_and_for_machines(noun: str) -> None:
    records = json.loads(call(noun, "list", "--json").stdout)
    assert records
    for record in records:
        assert record["name"].split("-")[0] in call(noun, "list").stdout


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("methods", "show", "none"), "settings"),
        (("models", "show", "scripted:demo"), "capabilities"),
        (("recipes", "show", "quickstart"), "methods"),
    ],
)
def test_one_thing_is_shown(arguments: tuple[str, ...], key: str) -> None:
    assert key in json.loads(call(*arguments, "--json").stdout)
    assert key in call(*arguments).stdout


def test_the_card_of_a_benchmark_is_shown(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "data", make_edit())
    card = json.loads(call("benchmarks", "show", tmp_path / "data", "--json").stdout)
    assert (card["name"], card["counts"]["edits"]) == ("data", 1)
    assert card["checksum"] in call("benchmarks", "show", tmp_path / "data").stdout


@pytest.mark.parametrize("noun", ["methods", "models", "benchmarks"])
def test_unknown_names_suggest_the_nearest(noun: str) -> None:
    near = {"methods": "promt", "models": "phantom-medd", "benchmarks": "phantm"}[noun]
    assert "did you mean" in refuse(noun, "show", near)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("runn",), "Did you mean 'run'?"),
        (("--nosuch",), "quickstart, ask, doctor, run"),
        (("run", "begin"), "start, resume"),
        (("quickstart", "--output", "x"), "reground quickstart [OPTIONS]"),
        (("benchmarks", "show"), "reground benchmarks show --help"),
        (("ask", "what is it?", "--model", "phantom-med", "--max-new-tokens", "0"), "greater than or equal to 1"),
    ],
)
def test_words_that_make_no_command_end_with_a_message(arguments: tuple[str, ...], says: str) -> None:
    assert says in refuse(*arguments)


def test_a_group_without_a_command_shows_its_help() -> None:
    result = call("run")
    assert "resume" in result.output and "Error" not in result.output


def test_a_run_prints_its_tables_and_leaves_its_directory(recipe: Path, tmp_path: Path) -> None:
    result = call("run", "start", recipe, "--out", tmp_path / "run", "--quiet")
    assert result.exit_code == 0, result.output
    assert "prompt" in result.stdout
    assert "9 steps" not in result.stderr
    assert "3 steps are in" in result.stderr
    for name in (
        "manifest.json",
        "rows.jsonl",
        "beliefs.jsonl",
        "summary.json",
        "edits.jsonl",
        "probes.jsonl",
    ):
        assert (tmp_path / "run" / name).is_file()
    again = call("run", "resume", tmp_path / "run", "--json")
    assert json.loads(again.stdout)["methods"] == ["none", "prompt"]


def test_failed_steps_end_with_code_1_and_a_count(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, *arguments: object, **settings: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr("reground.methods.prompt.editor.PromptEditor.apply", fail)
    result = call("run", "start", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "1 of 3 steps failed" in result.stderr


def test_a_dry_run_prints_the_plan_and_writes_nothing(recipe: Path, tmp_path: Path) -> None:
    plan = json.loads(call("run", "start", recipe, "--out", tmp_path / "run", "--dry-run", "--json").stdout)
    assert (plan["num_edits"], plan["num_generations"]) == (1, 1 + 2 + 2)
    assert "prompt" in call("run", "start", recipe, "--dry-run").stdout
    assert not (tmp_path / "run").exists()


def test_a_dry_run_estimates_from_a_run_or_a_trial_and_says_so(recipe: Path, tmp_path: Path) -> None:
    dry = ("run", "start", recipe, "--dry-run")
    assert "unknown: nothing was measured" in call(*dry).stdout
    call("run", "start", recipe, "--out", tmp_path / "run", "--quiet")
    known = ("--from", tmp_path / "run")
    estimate = json.loads(call(*dry, *known, "--json").stdout)["estimate"]
    assert [unit["unit"] for unit in estimate["units"]] == ["reference", "none", "prompt"]
    assert all(unit["seconds"]["value"] > 0 for unit in estimate["units"])
    assert estimate["used"][0]["label"] == str(tmp_path / "run")
    assert estimate["used"][0]["trial_s"] is None
    printed = call(*dry, *known).stdout
    assert f"[1] {tmp_path / 'run'}" in printed and "Nothing was loaded" in printed
    assert "weights of the model" in printed
    tried = call(*dry, "--measure")
    assert tried.exit_code == 0, tried.output
    assert "trial of 1 edits on scripted:demo in" in tried.stdout and "Nothing was loaded" not in tried.stdout
    partly = call(*dry, *known, "--set", "methods=[none,ike]")
    assert "has no step of this method with these settings" in partly.stdout
    assert "without 1 of the units" in partly.stdout


@pytest.mark.parametrize("option", [("--from", "somewhere"), ("--measure",)])
def test_what_only_an_estimate_uses_is_refused_without_a_dry_run(recipe: Path, option: tuple[str, ...]) -> None:
    assert f"{option[0]} was given without --dry-run" in refuse("run", "start", recipe, *option)


def test_an_estimate_needs_a_run(recipe: Path, tmp_path: Path) -> None:
    assert "is not a run directory" in refuse("run", "start", recipe, "--dry-run", "--from", tmp_path / "none")


def test_a_dry_run_finds_what_the_model_does_not_offer(recipe: Path) -> None:
    message = refuse("run", "start", recipe, "--dry-run", "--set", "methods=[ft]")
    assert "CapabilityError" in message and "none, prompt" in message


def test_a_dry_run_finds_that_the_directory_is_taken(recipe: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "kept.txt").write_text("mine")
    message = refuse("run", "start", recipe, "--dry-run", "--out", taken)
    assert "RunDirectoryError" in message and "kept.txt" in message


def test_ask_prints_chain_and_answer(tmp_path: Path) -> None:
    stdout = call("ask", "--model", "scripted:demo", QUESTION).stdout
    assert "answer: tarvexin" in stdout
    assert "chain:" in stdout
    value = json.loads(call("ask", "--model", "scripted:demo", "--json", QUESTION).stdout)
    assert (value["outcome"], value["answer"]) == ("answered", "tarvexin")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert call("ask", "--model", "scripted:demo", "--image", tmp_path / "a.png", QUESTION).exit_code == 0
    looping = call("ask", "--model", "scripted:demo", "what is the first-line drug for hartwin palsy?")
    assert "degenerate" in looping.stdout
    assert "none.png" in refuse("ask", "--model", "scripted:demo", "--image", tmp_path / "none.png", QUESTION)


@pytest.mark.parametrize("arguments", [("",), ("\u200b",), ("x", "--image", ""), ("x", "--option", " ")])
def test_ask_refuses_what_is_empty(arguments: tuple[str, ...]) -> None:
    """An empty image ended in a traceback, an empty question was asked."""
    assert "empty" in refuse("ask", "--model", "scripted:demo", *arguments)


@pytest.mark.parametrize("arguments", [("caf\udce9?",), ("x", "--image", "caf\udce9.png")])
def test_ask_refuses_what_is_not_unicode(arguments: tuple[str, ...]) -> None:
    """A file name in another encoding ended in a traceback, such a question went to the model."""
    assert "not valid Unicode" in refuse("ask", "--model", "scripted:demo", *arguments)


def test_a_benchmark_without_a_name_is_not_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that was not set made the check look at whatever lay around."""
    write_benchmark(tmp_path, make_edit())
    monkeypatch.chdir(tmp_path)
    assert "unknown benchmark ''" in refuse("benchmarks", "validate", "")


def test_a_terminal_without_unicode_is_no_traceback(recipe: Path, tmp_path: Path) -> None:
    """A dash in a table ended a finished run with a traceback under `LC_ALL=C`."""
    assert call("run", "start", recipe, "--out", tmp_path / "run").exit_code == 0
    environment = {**os.environ, "REGROUND_LAUNCHED": "1", "PYTHONIOENCODING": "ascii"}
    for more in ([], ["--json"]):
        command = [sys.executable, "-c", "from reground.cli.main import main; main()"]
        command += ["run", "resume", str(tmp_path / "run"), *more]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["methods"] == ["none", "prompt"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "and should be an object with the fields name, vocab_size, tower"),
        ("name: x\nvocab_siez: 5\n", "did you mean 'vocab_size'?"),
        ("name: x\nvocab_size: many\ntower: {}\nreading: {}\nlanguage: {}\n", "vocab_size is 'many', and should be"),
        ("name: [\n", "cannot read the training recipe"),
        ("name: \udce9\n", "cannot read the training recipe"),
    ],
)
def test_a_bad_training_recipe_ends_with_a_message(tmp_path: Path, text: str, says: str) -> None:
    """The message held the words of the library that checks it, and no field."""
    path = tmp_path / "small.yaml"
    path.write_text(text, errors="surrogateescape")
    message = refuse("train", "phantom", path, "--work", tmp_path / "work")
    assert says in message and "validation error" not in message
    assert not (tmp_path / "work").exists()
    assert "none.yaml" in refuse("train", "phantom", tmp_path / "none.yaml", "--work", tmp_path / "work")


def test_what_is_shown_to_a_person_does_not_steer_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An escape sequence in a model's output or in a data file went to the screen as it was."""
    monkeypatch.setattr("reground.models.scripted.ScriptedModel._answer", lambda *_: "\x1b[2Jred")
    assert r"answer: \x1b[2Jred" in call("ask", "--model", "scripted:demo", QUESTION).stdout
    assert json.loads(call("ask", "--model", "scripted:demo", "--json", QUESTION).stdout)["answer"] == "\x1b[2Jred"
    write_benchmark(tmp_path / "data", make_edit().model_copy(update={"source": "[bold]\x1b[31mme"}))
    assert r"[bold]\x1b[31mme" in call("benchmarks", "show", tmp_path / "data").stdout


def test_names_are_suggested_whatever_their_case() -> None:
    assert "did you mean 'ft'?" in refuse("methods", "show", "FT")


def test_settings_of_a_method_are_named(recipe: Path) -> None:
    start = ("run", "start", recipe, "--dry-run", "--set")
    assert "no setting 'templat'" in refuse(*start, "methods.prompt.templat=x")
    assert "no settings" in refuse(*start, "methods.none.rank=3")
    model = ("--set", "model=phantom-med")
    assert "a number greater than 0" in refuse(*start, "methods={ft: {learning_rate: -1}}", *model)
    assert "a finite number" in refuse(*start, "methods={ft: {learning_rate: .inf}}", *model)


def test_a_file_that_the_system_refuses_is_no_traceback(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "run", tmp_path / ("a" * 300)):
        refuse("run", "start", recipe, "--out", out)
    refuse("run", "resume", tmp_path / "file")
    assert not list(tmp_path.glob("a*"))


def test_a_reader_that_leaves_early_is_no_failed_step(recipe: Path, tmp_path: Path) -> None:
    """`reground ... | head` ended with code 1, which stands for failed steps."""
    assert call("run", "start", recipe, "--out", tmp_path / "run").exit_code == 0
    environment = {**os.environ, "REGROUND_LAUNCHED": "1"}
    for arguments in (["run", "resume", str(tmp_path / "run")], ["methods", "show", "ft"]):
        command = [sys.executable, "-c", "from reground.cli.main import main; main()", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait() == 128 + 13, said
        assert "Traceback" not in said and "Exception" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, as Linux has it")
def test_output_that_cannot_be_written_is_no_traceback() -> None:
    command = [sys.executable, "-c", "from reground.cli.main import main; main()", "methods", "list", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left" in done.stderr and "Traceback" not in done.stderr


def _cut(data: Path) -> None:
    text = (data / "edits.jsonl").read_text()
    (data / "edits.jsonl").write_text(text[: len(text) // 2])


def _change(**changes: Any) -> Callable[[Path], None]:
    def apply(data: Path) -> None:
        value = json.loads((data / "edits.jsonl").read_text())
        del value["id"]
        for key, new in changes.items():
            if new is None:
                del value[key]
            else:
                value[key] = new
        (data / "edits.jsonl").write_text(json.dumps(value) + "\n")

    return apply


def _torn_image(data: Path) -> None:
    Image.effect_noise((32, 32), 50).save(data / "a.png")
    (data / "a.png").write_bytes((data / "a.png").read_bytes()[:100])
    write_benchmark(data, make_edit(image="a.png"))


MISTAKES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated file": (_cut, "line 1"),
    "wrong type": (_change(question=5), "'question'"),
    "no question": (_change(question=None), "'question'"),
    "unknown field": (_change(colour="red"), "'colour'"),
    "empty file": (lambda data: os.truncate(data / "edits.jsonl", 0), "no edit"),
    "no file": (lambda data: (data / "probes.jsonl").unlink(), "probes.jsonl"),
    "missing image": (lambda data: write_benchmark(data, make_edit(image="a.png")), "a.png"),
    "unreadable image": (_torn_image, "a.png"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_malformed_data_end_with_a_message_and_leave_nothing(recipe: Path, tmp_path: Path, mistake: str) -> None:
    spoil, says = MISTAKES[mistake]
    spoil(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    for arguments in (("--dry-run",), ("--out", tmp_path / "run")):
        assert says in refuse("run", "start", recipe, *arguments)
    assert sorted(tmp_path.rglob("*")) == before
    result = call("benchmarks", "validate", tmp_path / "data")
    assert result.exit_code == 2
    assert says in result.output


def test_validate_counts_every_defect(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "data", make_edit(), make_edit("x"))
    name = str(tmp_path / "data")
    sound = call("benchmarks", "validate", name)
    assert (sound.exit_code, sound.stdout) == (0, f"{name}: 4 records, 0 defects.\n")
    path = tmp_path / "data" / "edits.jsonl"
    path.write_text(path.read_text().replace('"question":', '"quest":'))
    result = call("benchmarks", "validate", name, "--json")
    assert result.exit_code == 2
    (defect,) = json.loads(result.stdout)["defects"]
    assert (defect["kind"], defect["count"]) == ("unsound_record", 2)
    assert [(example["line"], example["field"]) for example in defect["examples"]] == [
        (1, "question"),
        (2, "question"),
    ]


def test_recipe_mistakes_end_with_a_message(recipe: Path, tmp_path: Path) -> None:
    assert "'benchmark.limt'" in refuse("run", "start", recipe, "--set", "benchmark.limt=3")
    assert "nope" in refuse("run", "start", recipe, "--set", "model=nope")
    assert "executor" in refuse("run", "start", recipe, "--executor", "slurm")
    assert "dtype" in refuse("run", "start", recipe, "--out", tmp_path / "run", "--set", "dtype=float16")
    assert "quickstart" in refuse("run", "start", "quickstrat")
    assert not (tmp_path / "run").exists()


def test_run_directories_that_do_not_fit_end_with_a_message(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert "not a run directory" in refuse("run", "resume", tmp_path)
    assert call("run", "start", recipe, "--out", folder).exit_code == 0
    assert "run resume" in refuse("run", "start", recipe, "--out", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["versions"]["reground"] = "0.0.1"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "reground 0.0.1" in refuse("run", "resume", folder)
    manifest["schema_version"] = 0
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "schema version 0" in refuse("run", "resume", folder)
    (folder / "manifest.json").write_text("{")
    assert "damaged" in refuse("run", "resume", folder)


def test_an_interrupt_says_how_to_go_on(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, *arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("reground.methods.prompt.editor.PromptEditor.apply", interrupt)
        result = call("run", "start", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert f"reground run resume {tmp_path / 'run'}" in result.stderr
    assert call("run", "resume", tmp_path / "run").exit_code == 0


def test_version_is_printed() -> None:
    import reground

    assert call("--version").stdout.strip() == reground.__version__


def test_a_fault_of_ours_has_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A crash ended with code 1, which stands for failed steps."""

    def crash(*arguments: object, **settings: object) -> None:
        raise ZeroDivisionError("an oversight")

    monkeypatch.setenv("REGROUND_LAUNCHED", "1")
    monkeypatch.setattr("reground.models.registry.load_model", crash)
    monkeypatch.setattr(sys, "argv", ["reground", "ask", "--model", "scripted:demo", QUESTION])
    with pytest.raises(SystemExit) as ended:
        launch.main()
    assert ended.value.code == 70
    said = capsys.readouterr().err
    assert "ZeroDivisionError: an oversight" in said and "please report" in said


def test_help_names_the_exit_codes() -> None:
    assert "70" in call("--help").stdout


@pytest.mark.skipif(not launch._is_glibc(), reason="the allocator's settings exist in glibc only")
def test_launching_sets_up_the_process_once_and_keeps_the_users_settings() -> None:
    code = (
        "import os, reground.cli.main as m\n"
        "m.main = lambda: print({k: os.environ.get(k) for k in "
        "('OMP_WAIT_POLICY', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_', 'TOKENIZERS_PARALLELISM')})\n"
        "from reground.cli.launch import main; main()"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "OMP_"))}
    environment |= {"MALLOC_TOP_PAD_": "4096"}
    environment.pop("REGROUND_LAUNCHED", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert eval(done.stdout) == {
        "OMP_WAIT_POLICY": "PASSIVE",
        "MALLOC_TRIM_THRESHOLD_": "4294967296",
        "MALLOC_TOP_PAD_": "4096",
        "TOKENIZERS_PARALLELISM": "false",
    }


def test_a_grid_runs_from_the_command_line(recipe: Path, tmp_path: Path) -> None:
    start = ("run", "start", recipe, "--set", "seeds=[0,1]", "--out", tmp_path / "grid")
    dry = call(*start, "--dry-run").stdout
    assert "[seed-0]" in dry
    assert "2 runs, 6 units" in dry and "time unknown" in dry
    assert dry.count("trial of") == 0 and call(*start, "--dry-run", "--measure").stdout.count("trial of") == 2
    assert not (tmp_path / "grid").exists()
    plans = json.loads(call(*start, "--dry-run", "--json").stdout)["runs"]
    assert [plan["num_units"] for plan in plans.values()] == [3, 3]
    call(*start)
    shown = json.loads(call("run", "show", tmp_path / "grid", "--json").stdout)
    assert {score["num_seeds"] for score in shown["scores"]} <= {0, 1, 2}
    assert "means over 2 seeds" in call("run", "resume", tmp_path / "grid").stdout
    message = refuse("run", "show", tmp_path / "grid", "--lens", "vlkeb")
    assert "holds a grid of 2 runs" in message
    assert str(tmp_path / "grid" / "seed-0") in message
