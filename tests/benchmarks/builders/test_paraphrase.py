"""Questions in other words, from rules and from an endpoint that runs in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from reground.benchmarks.builders.items import Item
from reground.benchmarks.builders.paraphrase import EndpointParaphraser, RuleParaphraser, create_paraphraser, fits
from reground.chat.client import ChatClient
from reground.errors import EndpointError, InputError

Reply = tuple[int, Any]


def make_item(question: str = "What is shown in the image?", **fields: Any) -> Item:
    given = {"id": "s/1", "source": "s", "tier": "understanding", "subject": "s", "question": question}
    return Item.model_validate({**given, "options": ("bone", "lung"), "answer": 1, "images": ("a.png",), **fields})


def said(text: object) -> Reply:
    return 200, {"choices": [{"message": {"content": text}}]}


class Endpoint:
    """Replies in turn, the last one again and again; keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.url = ""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    fake = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.requests.append({**body, "path": self.path, "key": self.headers.get("Authorization")})
            status, value = fake.replies.pop(0) if len(fake.replies) > 1 else fake.replies[0]
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(endpoint: Endpoint) -> Callable[[], EndpointParaphraser]:
    return lambda: EndpointParaphraser(ChatClient(endpoint.url, num_tries=4, wait_s=0.0), "m")


@pytest.mark.parametrize(
    "question", ["What is shown in the image?", "MRI of a knee: which sign is it?", "x?", "Is it?"]
)
def test_rules_say_it_otherwise_and_say_so(question: str) -> None:
    item = make_item(question)
    first = RuleParaphraser().paraphrase(item)
    assert first == RuleParaphraser().paraphrase(item)
    assert first.by == "rules"
    assert fits(first.text, item)
    assert "pictures" in RuleParaphraser().paraphrase(make_item(question, images=("a", "b"))).text


def test_what_fits() -> None:
    item = make_item()
    assert fits("Name what the picture shows.", item)
    assert not fits("what is shown in the image", item), "the same words"
    assert not fits("Is it the lung that is shown?", item), "names the right option"
    assert fits("Is the bone shown?", item)
    assert not fits("One.\nTwo.", item)
    assert not fits(" ... ", item)


def test_an_endpoint_is_asked_with_model_and_key(
    endpoint: Endpoint, ask: Callable[[], EndpointParaphraser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    endpoint.replies = [said(" Name what the picture shows. ")]
    found = ask().paraphrase(make_item())
    assert (found.text, found.by) == ("Name what the picture shows.", "the model m")
    (request,) = endpoint.requests
    assert (request["path"], request["model"], request["key"]) == ("/v1/chat/completions", "m", "Bearer secret")
    assert request["messages"][-1]["content"] == "What is shown in the image?"


def test_wordings_that_do_not_fit_fall_back_to_rules(
    endpoint: Endpoint, ask: Callable[[], EndpointParaphraser]
) -> None:
    endpoint.replies = [said("What is shown in the image?"), said("")]
    assert ask().paraphrase(make_item()).by == "rules"
    assert len(endpoint.requests) == 2


def test_a_busy_endpoint_is_asked_again(endpoint: Endpoint, ask: Callable[[], EndpointParaphraser]) -> None:
    endpoint.replies = [(503, {}), (429, {}), said("Name what the picture shows.")]
    assert ask().paraphrase(make_item()).by != "rules"
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("reply", "num_asked"), [((401, {"error": "no key"}), 1), ((500, {}), 4), ((200, {"x": 1}), 1)]
)
def test_an_endpoint_that_does_not_serve_says_why(
    endpoint: Endpoint, ask: Callable[[], EndpointParaphraser], reply: Reply, num_asked: int
) -> None:
    endpoint.replies = [reply]
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1"):
        ask().paraphrase(make_item())
    assert len(endpoint.requests) == num_asked


def test_an_endpoint_that_is_not_there_says_so() -> None:
    paraphraser = EndpointParaphraser(ChatClient("http://127.0.0.1:9/v1", wait_s=0.0), "m")
    with pytest.raises(EndpointError, match="ConnectError"):
        paraphraser.paraphrase(make_item())


@pytest.mark.parametrize(
    ("spec", "model"), [("rule", None), ("rules", "m"), ("http://x/v1", None), ("http://x/v1", " "), ("", None)]
)
def test_a_paraphraser_that_is_none_is_refused(spec: str, model: str | None) -> None:
    with pytest.raises(InputError, match="--paraphraser"):
        create_paraphraser(spec, model)
