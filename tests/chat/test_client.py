"""The client of chat endpoints against one that misbehaves."""

from __future__ import annotations

import email.utils
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fault_server import FaultServer, Reply, completion, serving
from reground.chat.client import ChatClient, check_address
from reground.chat.reply import ReplyDefect, read_reply
from reground.errors import EndpointError, InputError

KEY = "sk-ZZSENTINELZZ"
BODY = {"model": "m", "messages": []}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving() as running:
        yield running


def client(server: FaultServer, **settings: Any) -> ChatClient:
    return ChatClient(server.url, **{"wait_s": 0.0, "num_tries": 4, **settings})


@pytest.mark.parametrize(
    "fault",
    [
        Reply({"error": "busy"}, status=429),
        Reply(b"oops", status=500),
        Reply(b"", status=503),
        Reply(completion("yes").body, keeps_back=9),
        Reply(b'{"choices": [{"mess'),
        Reply(b"\xff\xfe\x00"),
        Reply({"error": {"message": "overloaded", "code": 503}}),
        Reply(completion("late").body, wait_s=4.0),
        Reply(completion("late").body, drip_s=0.2),
    ],
    ids=["429", "500", "503", "half", "cut-json", "no-text", "error-in-200", "slow", "dripping"],
)
def test_what_may_pass_is_tried_again(server: FaultServer, fault: Reply) -> None:
    server.replies = [fault, fault, completion("yes")]
    is_slow = fault.wait_s or fault.drip_s
    assert client(server, timeout_s=1.0 if is_slow else 30.0).complete(BODY).text == "yes"
    assert is_slow or len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "said", "num_tries"),
    [
        (Reply(b"no such key", status=401), "answered 401: no such key", 1),
        (Reply(b"", status=404), "answered 404", 1),
        (Reply(b"", status=307, headers={"Location": "http://127.0.0.1:1/"}), "answered 307", 1),
        (Reply(b"<html>welcome</html>"), "sent a page", 1),
        (Reply({"id": 1}), "sent no chat completion", 1),
        (Reply([1]), "sent no chat completion", 1),
        (completion(None), "without text", 1),
        (Reply({"error": {"message": "context too long"}}), "context too long", 1),
        (Reply(b"{", status=200), r"cut short or damaged: { \(tried 4 times\)", 4),
        (Reply(b"busy", status=503), r"answered 503: busy \(tried 4 times\)", 4),
    ],
)
def test_what_does_not_pass_is_said(server: FaultServer, fault: Reply, said: str, num_tries: int) -> None:
    server.replies = [fault]
    with pytest.raises(EndpointError, match=said) as caught:
        client(server).complete(BODY)
    assert server.url in caught.value.tried
    assert len(server.requests) == num_tries


def test_a_reply_that_never_comes_is_not_waited_for(server: FaultServer) -> None:
    server.replies = [Reply(b"", wait_s=3.0)]
    with pytest.raises(EndpointError, match=r"no whole reply within 0.2 s \(tried 2 times\)"):
        client(server, timeout_s=0.2, num_tries=2).complete(BODY)


def test_an_endpoint_that_is_not_there_says_so() -> None:
    with pytest.raises(EndpointError, match=r"could not be reached: ConnectError.*tried 2 times"):
        ChatClient("http://127.0.0.1:9/v1", wait_s=0.0, num_tries=2).complete(BODY)
    with pytest.raises(EndpointError, match="tried 3 times"):
        ChatClient("http://127.0.0.1:9/v1", wait_s=0.0, num_connect_tries=3).complete(BODY)


@pytest.mark.parametrize("is_date", [False, True])
def test_retry_after_is_waited_for(server: FaultServer, is_date: bool) -> None:
    when = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.replies = [Reply(b"", status=429, headers={"Retry-After": when if is_date else "0.5"}), completion("yes")]
    start = time.monotonic()
    assert client(server).complete(BODY).text == "yes"
    assert time.monotonic() - start >= (0.9 if is_date else 0.5)


def test_an_endpoint_that_asks_for_too_long_a_wait_is_given_up(server: FaultServer) -> None:
    server.replies = [Reply(b"come back tomorrow", status=429, headers={"Retry-After": "86400"})]
    with pytest.raises(EndpointError, match="come back tomorrow"):
        client(server).complete(BODY)
    assert len(server.requests) == 1


def test_a_senseless_retry_after_is_passed_over(server: FaultServer) -> None:
    server.replies = [Reply(b"", status=503, headers={"Retry-After": "soon"}), completion("yes")]
    assert client(server).complete(BODY).text == "yes"


def test_waits_grow_and_are_scattered(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import anyio

    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(anyio, "sleep", note)
    server.replies = [Reply(b"", status=500)]
    with pytest.raises(EndpointError):
        client(server, num_tries=7, wait_s=1.0, max_wait_s=8.0).complete(BODY)
    for wait_s, middle_s in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.5 * middle_s <= wait_s <= 1.5 * middle_s
    assert waits[-1] != waits[-2]


def test_many_keep_their_order_and_the_limit(server: FaultServer) -> None:
    server.answer = lambda request: Reply(completion(request["n"]).body, wait_s=0.02)
    seen: list[int] = []
    replies = client(server, concurrency=3).post_all(
        [{**BODY, "n": str(number)} for number in range(12)], lambda position, value: seen.append(position)
    )
    assert [read_reply(reply).text for reply in replies] == [str(number) for number in range(12)]
    assert sorted(seen) == list(range(12))
    assert server.most_at_once == 3


def test_after_a_failure_none_is_begun_and_those_under_way_are_kept(server: FaultServer) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        return Reply(b"bad", status=400) if request["n"] == 0 else Reply(completion("yes").body, wait_s=0.5)

    server.answer = answer
    kept: list[int] = []
    with pytest.raises(EndpointError, match="answered 400"):
        client(server, concurrency=2).post_all(
            [{**BODY, "n": number} for number in range(10)], lambda position, value: kept.append(position)
        )
    assert kept == [1]
    assert len(server.requests) == 2


def test_the_key_goes_into_the_header_and_nowhere_else(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some servers quote the key they refuse."""
    monkeypatch.setenv("OTHER_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    server.replies = [Reply(f"the key {KEY} is not known".encode(), status=401)]
    with pytest.raises(EndpointError, match=r"the key \[key\] is not known") as caught:
        client(server, key_variable="OTHER_KEY").complete(BODY)
    assert server.requests[0]["key"] == f"Bearer {KEY}"
    assert KEY not in repr(caught.value) + caplog.text
    assert "OTHER_KEY" in caught.value.next_step
    server.replies = [Reply({"error": {"message": f"{KEY} is spent"}})]
    with pytest.raises(EndpointError, match=r"\[key\] is spent") as caught:
        client(server, key_variable="OTHER_KEY").complete(BODY)
    assert KEY not in repr(caught.value)


def test_without_a_key_no_header_is_sent(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    client(server, key_variable=None).complete(BODY)
    monkeypatch.delenv("OPENAI_API_KEY")
    client(server).complete(BODY)
    assert [request["key"] for request in server.requests] == [None, None]
    monkeypatch.setenv("OPENAI_API_KEY", "schlüssel")
    with pytest.raises(InputError, match="cannot be sent"):
        client(server)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://x/v1", "http://", "http://x y/v1", "http://[::1/v1", "http://h:99999/v1", ""],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        check_address(url)


@pytest.mark.parametrize("url", [f"http://me:{KEY}@h/v1", f"http://h/v1?api_key={KEY}", f"http://{KEY}@h/v1?v=1"])
def test_an_address_with_a_secret_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(InputError, match="carries a secret") as caught:
        check_address(url)
    assert KEY not in repr(caught.value)


def test_a_query_stays_behind_the_path(server: FaultServer) -> None:
    ChatClient(f"{server.url}/?api-version=2026-01-01").complete(BODY)
    assert server.requests[0]["path"] == "/v1/chat/completions?api-version=2026-01-01"


@pytest.mark.parametrize("settings", [{"num_tries": 0}, {"timeout_s": 0}, {"concurrency": 0}, {"wait_s": -1}])
def test_numbers_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        ChatClient("http://127.0.0.1:9/v1", **settings)


def test_names_of_the_models_are_listed_if_they_can_be(server: FaultServer) -> None:
    server.models = ["one", "two"]
    assert client(server).model_names() == ["one", "two"]
    assert ChatClient("http://127.0.0.1:9/v1").model_names() == []


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "yes", "reasoning_content": "so"}, "yes", "so"),
        ({"content": "yes", "reasoning": "so"}, "yes", "so"),
        ({"content": "yes", "reasoning_content": None}, "yes", None),
        ({"content": "yes", "reasoning": " "}, "yes", None),
        ({"content": None, "reasoning": "so"}, "", "so"),
        ({"content": [{"type": "text", "text": "y"}, {"type": "text", "text": "es"}]}, "yes", None),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}, {"text": "yes"}]},
            "yes",
            "so",
        ),
        ({"content": None, "refusal": "i will not"}, "i will not", None),
    ],
)
def test_text_and_chain_are_found_wherever_servers_put_them(
    message: dict[str, Any], text: str, reasoning: str | None
) -> None:
    reply = read_reply({"choices": [{"message": message, "finish_reason": "length"}]})
    assert (reply.text, reply.reasoning, reply.finish, reply.num_tokens) == (text, reasoning, "length", None)


@pytest.mark.parametrize("body", [None, [], {}, {"choices": []}, {"choices": [{"message": "x"}]}, {"choices": [1]}])
def test_what_is_no_completion_is_a_defect(body: Any) -> None:
    with pytest.raises(ReplyDefect):
        read_reply(body)


def test_ctrl_c_ends_requests_that_are_under_way(server: FaultServer) -> None:
    server.answer = lambda request: Reply(completion("late").body, wait_s=60.0)
    code = (
        # whoever started the tests in the background has interrupts ignored, and children inherit that
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from reground.chat.client import ChatClient\n"
        f"client = ChatClient({server.url!r})\nprint('ready', flush=True)\n"
        "try:\n    client.post_all([{'n': 1}] * 4)\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            while len(server.requests) < 4:
                time.sleep(0.01)
            start = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=50)[0] == "interrupted\n"
            assert time.monotonic() - start < 30
        finally:
            child.kill()
