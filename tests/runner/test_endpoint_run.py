"""Runs on a model behind an endpoint: prompt methods work, weight methods are refused while planning."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fault_server import FaultServer, Reply, completion, serving
from reground.cli.main import app
from reground.edits.files import write_records
from reground.edits.records import Answer, Edit, Expectation, Probe
from reground.runner.journal import read_rows

KEY = "sk-ZZSENTINELZZ"
CONDITION = "velmora syndrome"


def answer(request: dict[str, Any]) -> Reply:
    """A model that thinks apart, and believes what a note says about the condition."""
    *notes, question = request["messages"][0]["content"].split("\n")
    drug = "unknown"
    if CONDITION in question:
        drug = "belumide" if any("belumide" in note for note in notes) else "tarvexin"
    return completion(drug, reasoning_content=f"the drug for {CONDITION} is {drug}.")


def scored(request: dict[str, Any]) -> Reply:
    """The same model, on a server that tells how likely each word of its prompt is: its own answer's words most."""
    reply = answer(request)
    if "return_token_ids" not in request:
        return reply
    said = reply.body["choices"][0]["message"]["content"]
    words = [word for message in request["messages"] for word in (f"<{message['role']}>", *message["content"].split())]
    if request.get("add_generation_prompt", True):
        words.append("<assistant>")
    ids = [zlib.crc32(word.encode()) for word in words]
    told: list[dict[str, Any] | None] = [None]
    for word, number in zip(words[1:], ids[1:], strict=True):
        place = {str(zlib.crc32(said.encode())): {"logprob": -0.1, "rank": 1, "decoded_token": said}}
        told.append({str(number): {"logprob": -3.0, "rank": 7, "decoded_token": word}} | place)
    return Reply({**reply.body, "prompt_token_ids": ids, "prompt_logprobs": told})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultServer]:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as running:
        running.answer = answer
        yield running


@pytest.fixture
def recipe(tmp_path: Path, server: FaultServer) -> Path:
    question = f"what is the first-line drug for {CONDITION}?"
    edit = Edit(
        subject=CONDITION,
        relation="drug",
        modality="textual",
        question=question,
        new_answer=Answer(text="belumide"),
        prior_answer=Answer(text="tarvexin"),
        statement=f"the first-line drug for {CONDITION} is now belumide.",
    )
    new = Expectation(kind="answer", answer=edit.new_answer)
    probe = Probe(edit_id=edit.id, kind="reliability", level="exact", question=question, expectation=new)
    (tmp_path / "data").mkdir()
    write_records(tmp_path / "data" / "edits.jsonl", [edit])
    write_records(tmp_path / "data" / "probes.jsonl", [probe])
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\nmodel: {server.url.replace('http', 'endpoint:http', 1)}#m?num_tries=1\n"
        f"benchmark: {tmp_path / 'data'}\nmethods: [none, prompt, ike]\n"
        "protocol: {bootstrap_resamples: 10, belief_samples: 2}\n"
    )
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_prompt_methods_run_and_what_is_not_offered_is_not_measured(
    recipe: Path, server: FaultServer, tmp_path: Path
) -> None:
    result = call("run", "start", recipe, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.output
    said = {(row.method, row.phase): row.trace for row in read_rows(tmp_path / "run")}
    assert {key: trace.answer for key, trace in said.items() if trace} == {
        ("reference", "before"): "tarvexin",
        ("none", "after"): "tarvexin",
        ("prompt", "after"): "belumide",
        ("ike", "after"): "belumide",
    }
    assert all(row.tf is None and row.is_restored_exactly is None for row in read_rows(tmp_path / "run"))
    scores = json.loads(result.stdout)["scores"]
    grounded = {
        score["method"]: score["value"]
        for score in scores
        if (score["metric"], score["level"]) == ("grounded", "exact")
    }
    assert grounded == {"none": 0.0, "prompt": 1.0, "ike": 1.0}
    forced = [score for score in scores if score["metric"] in ("tf", "illusion_gap")]
    assert all(score["value"] is None for score in forced)
    assert all(score["unscored_reasons"] for score in forced if score["level"] == "exact")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "manifest.json" for path in files)
    assert all(KEY.encode() not in path.read_bytes() for path in files)
    assert {request["key"] for request in server.requests} == {f"Bearer {KEY}"}


def test_where_the_server_tells_log_probabilities_teacher_forced_scores_are_measured(
    recipe: Path, server: FaultServer, tmp_path: Path
) -> None:
    server.answer = scored
    name = f"endpoint:{server.url}#m?num_tries=1&scores=prompt_logprobs"
    settings = ("--set", f'model="{name}"', "--set", "protocol.keeps_forced_tokens=true")
    result = call("run", "start", recipe, "--out", tmp_path / "run", "--json", *settings)
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "run")
    assert {(row.method, row.phase): row.tf for row in rows} == {
        ("reference", "before"): 0.0,
        ("none", "after"): 0.0,
        ("prompt", "after"): 1.0,
        ("ike", "after"): 1.0,
    }
    assert all(row.is_restored_exactly is None for row in rows)
    gaps = {
        score["method"]: score["value"]
        for score in json.loads(result.stdout)["scores"]
        if (score["metric"], score["level"], score["stratum"]) == ("illusion_gap", "exact", "all")
    }
    assert gaps == {"none": 0.0, "prompt": 0.0, "ike": 0.0}
    server.requests.clear()
    assert call("run", "start", recipe, "--out", tmp_path / "two", *settings).exit_code == 0
    assert len(server.requests) == 3, "the first question, and a score of an answer to it, which takes two"


def test_a_run_whose_server_tells_no_log_probabilities_ends_before_it_begins(
    recipe: Path, server: FaultServer, tmp_path: Path
) -> None:
    model = f"endpoint:{server.url}#m?num_tries=1&scores=prompt_logprobs"
    result = call("run", "start", recipe, "--out", tmp_path / "run", "--set", f'model="{model}"')
    assert result.exit_code == 2
    assert "sent no prompt_token_ids" in result.stderr and "vLLM" in result.stderr
    assert not (tmp_path / "run").exists()


def hybrid(request: dict[str, Any]) -> Reply:
    """The same server with a template that puts an empty chain before an answer, and into a prompt without thinking."""
    first, *rest = request["messages"]
    if rest:
        rest = [{**rest[0], "content": f"<think></think> {rest[0]['content']}"}]
    elif "chat_template_kwargs" in request:
        rest = [{"role": "assistant", "content": "<think></think>"}]
        request = {**request, "add_generation_prompt": False}
    return scored({**request, "messages": [first, *rest]})


def test_a_run_behind_whose_prompts_nothing_can_be_scored_ends_before_it_begins(
    recipe: Path, server: FaultServer, tmp_path: Path
) -> None:
    """Hybrid models can be scored without a chain alone: each step of a run with chains failed."""
    server.answer = hybrid
    model = f"endpoint:{server.url}#m?num_tries=1&scores=prompt_logprobs"
    start = ("run", "start", recipe, "--set", f'model="{model}"', "--out")
    result = call(*start, tmp_path / "run")
    assert result.exit_code == 2
    assert "reads on as '<think></think>" in result.stderr and "ask without thinking" in result.stderr
    assert not (tmp_path / "run").exists()
    result = call(*start, tmp_path / "bare", "--set", "protocol.chain_tokens=0")
    assert result.exit_code == 0, result.output


def test_a_run_again_asks_nothing_but_the_first_question(recipe: Path, server: FaultServer, tmp_path: Path) -> None:
    assert call("run", "start", recipe, "--out", tmp_path / "one").exit_code == 0
    server.requests.clear()
    assert call("run", "start", recipe, "--out", tmp_path / "two").exit_code == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["ft", "lora", "grace", "rome", "mend"])
@pytest.mark.parametrize("is_dry", [True, False])
def test_weight_methods_are_refused_while_planning(
    recipe: Path, server: FaultServer, tmp_path: Path, method: str, is_dry: bool
) -> None:
    dry = ["--dry-run"] if is_dry else []
    result = call("run", "start", recipe, "--out", tmp_path / "run", "--set", f"methods=[{method}]", *dry)
    assert result.exit_code == 2
    assert f"method {method!r} needs" in result.stderr
    assert "methods that work with it: crane-prompt, ike" in result.stderr
    assert server.requests == []
    assert not (tmp_path / "run").exists()


def test_a_budget_for_chains_is_refused_while_planning(recipe: Path, server: FaultServer, tmp_path: Path) -> None:
    result = call("run", "start", recipe, "--out", tmp_path / "run", "--set", "protocol.chain_tokens=20")
    assert result.exit_code == 2
    assert "cannot close a chain" in result.stderr
    assert server.requests == []


def test_a_run_without_its_endpoint_leaves_nothing_behind(recipe: Path, server: FaultServer, tmp_path: Path) -> None:
    server.answer = lambda request: Reply(b"down", status=503)
    result = call("run", "start", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "answered 503: down" in result.stderr
    assert not (tmp_path / "run").exists()


def test_steps_that_failed_are_tried_again_on_resume(recipe: Path, server: FaultServer, tmp_path: Path) -> None:
    def fails_on_notes(request: dict[str, Any]) -> Reply:
        is_noted = "\n" in request["messages"][0]["content"]
        return Reply(f"no room for {KEY}".encode(), status=400) if is_noted else answer(request)

    server.answer = fails_on_notes
    assert call("run", "start", recipe, "--out", tmp_path / "run").exit_code == 1
    failures = [row.failure for row in read_rows(tmp_path / "run") if row.failure]
    assert {failure.stage for failure in failures} == {"generate"}
    assert all("no room for [key]" in failure.message for failure in failures)
    server.answer = answer
    assert call("run", "resume", tmp_path / "run").exit_code == 0


def test_kept_replies_are_shown_and_cleared_with_the_rest_of_the_cache(
    recipe: Path, server: FaultServer, tmp_path: Path
) -> None:
    assert call("run", "start", recipe, "--out", tmp_path / "one").exit_code == 0
    entries = {entry["name"]: entry for entry in json.loads(call("cache", "show", "--json").stdout)["entries"]}
    assert entries["endpoints"]["num_bytes"] > 0
    assert call("cache", "clear", "endpoints").exit_code == 0
    server.requests.clear()
    assert call("run", "start", recipe, "--out", tmp_path / "two").exit_code == 0
    assert len(server.requests) > 1


def test_a_model_shows_what_works_with_it(server: FaultServer) -> None:
    name = f"endpoint:{server.url}#m"
    shown = json.loads(call("models", "show", name, "--json").stdout)
    assert shown["capabilities"] == ["generate", "notes"]
    assert {"none", "prompt", "ike"} <= set(shown["methods"])
    assert not {"ft", "rome", "grace"} & set(shown["methods"])
    scoring = json.loads(call("models", "show", f"{name}?scores=prompt_logprobs", "--json").stdout)
    assert scoring["capabilities"] == ["generate", "notes", "score"]
    assert call("models", "show", f"{name}?nonsense=1").exit_code == 2
