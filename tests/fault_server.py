"""An OpenAI-compatible endpoint on loopback that misbehaves on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["FaultServer", "Reply", "completion", "serving"]


@dataclass(frozen=True)
class Reply:
    """One reply: a status and a body, and what goes wrong on the way.

    Attributes:
        keeps_back: Bytes of the announced body that never come.
        wait_s: Before anything is sent.
        drip_s: Between one byte of the body and the next.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    keeps_back: int = 0
    wait_s: float = 0.0
    drip_s: float = 0.0

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def completion(text: str | None, *, finish: str = "stop", num_tokens: int | None = 3, **message: Any) -> Reply:
    """A sound chat completion."""
    usage = {} if num_tokens is None else {"usage": {"completion_tokens": num_tokens}}
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return Reply({"choices": [choice], **usage})


class FaultServer:
    """Gives ``replies`` in turn, the last one again and again, or what ``answer`` makes of a request.

    Attributes:
        requests: Bodies of the requests so far, with ``path`` and ``key`` of each.
        most_at_once: Requests that were under way at the same time, at most.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = [completion("yes")]
        self.answer: Callable[[dict[str, Any]], Reply] | None = None
        self.requests: list[dict[str, Any]] = []
        self.models: list[str] = []
        self.most_at_once = 0
        self.url = ""
        self._under_way = 0
        self._lock = threading.Lock()

    def take(self, request: dict[str, Any]) -> Reply:
        """The reply to a request."""
        with self._lock:
            self.requests.append(request)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
            if self.answer is not None:
                return self.answer(request)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def done(self) -> None:
        """A request is about to be replied to."""
        with self._lock:
            self._under_way -= 1


@contextmanager
def serving() -> Iterator[FaultServer]:
    """A server while the block runs."""
    fake = FaultServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = fake.take({**body, "path": self.path, "key": self.headers.get("Authorization")})
            time.sleep(reply.wait_s)
            fake.done()  # before the client can know of it, and ask again
            with suppress(BrokenPipeError, ConnectionResetError):  # the client lost patience, as it should
                self._send(reply)

        def do_GET(self) -> None:
            self._send(Reply({"data": [{"id": name} for name in fake.models]}))

        def _send(self, reply: Reply) -> None:
            content = reply.content
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for byte in content[: len(content) - reply.keeps_back] if reply.drip_s else b"":
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(reply.drip_s)
            if not reply.drip_s:
                self.wfile.write(content[: len(content) - reply.keeps_back])
            self.close_connection = bool(reply.keeps_back)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
