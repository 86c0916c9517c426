"""The client: addresses, keys, time limits, and trying again.

Requests run at the same time on an event loop of their own, so that a notebook's loop is not in the way and Ctrl-C
ends them at once. The key is read from the environment and goes nowhere but into the request's header.
"""

from __future__ import annotations

import email.utils
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from reground.chat.reply import ChatReply, ReplyDefect, read_reply
from reground.errors import EndpointError, InputError, printable

__all__ = ["KEY_VARIABLE", "ChatClient", "check_address"]

#: Environment variable that holds the key, unless another is named.
KEY_VARIABLE = "OPENAI_API_KEY"

#: Busy, or a fault of the server's that may pass.
_RETRIED_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_SECRET = re.compile(r"key|token|secret|password|signature", re.IGNORECASE)
_CONNECT_TIMEOUT_S = 10.0
#: Characters of a server's own words that a message quotes.
_QUOTED = 300

#: Called with the position of a request and the body of its reply, as soon as that is there.
OnReply = Callable[[int, Mapping[str, Any]], None]
#: Reads the body of a reply; raises ``ReplyDefect`` where that is not what was asked for.
Reader = Callable[[Any], object]


def check_address(url: str) -> str:
    """The base URL of an endpoint, without a slash at its end.

    Raises:
        InputError: Not an http(s) address, or one that carries a secret; addresses stand in rows and logs.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or any(character.isspace() for character in url):
        raise InputError(
            f"the endpoint {_without_secrets(url)!r} is no address.",
            "an http:// or https:// address up to and with the version, e.g. http://localhost:8000/v1",
            "write the address in full.",
        )
    if parts.username or parts.password or any(_SECRET.search(name) for name, _ in parse_qsl(parts.query)):
        raise InputError(
            f"the address of the endpoint {_without_secrets(url)!r} carries a secret, which would stand in every row.",
            f"an address without user, password or key; the key is read from {KEY_VARIABLE}",
            f"run `export {KEY_VARIABLE}=...` and take it out of the address.",
        )
    return url.rstrip("/")


def _without_secrets(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    host = rest.partition("?")[0].rpartition("@")[2]
    return f"{scheme}{slashes}{host}" if slashes else url.partition("?")[0].rpartition("@")[2]


class _TryAgain(Exception):
    """A request that failed for a reason that may pass."""

    def __init__(self, problem: str, retry_after_s: float | None = None, *, is_connected: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after_s = retry_after_s
        self.is_connected = is_connected


class ChatClient:
    """Sends chat requests, several at a time, and tries again what may pass.

    Tried again: no connection, a broken or late reply, JSON that is cut short, and statuses that mean busy or a
    server's fault. The wait doubles each time and is scattered; where the endpoint says ``Retry-After``, that is the
    wait.

    Args:
        base_url: Up to and with the version, e.g. ``http://localhost:8000/v1``.
        key_variable: Environment variable that holds the key; None: no key is sent.
        timeout_s: Longest wait for one whole reply.
        num_tries: Times a request is sent at most.
        num_connect_tries: The same while there is no connection at all; None: as often.
        wait_s: Wait before the second try.
        max_wait_s: Longest wait before a try. An endpoint that asks for more is given up.
        concurrency: Requests under way at a time.

    Raises:
        InputError: The address is none or carries a secret, a number is out of range, or the key cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key_variable: str | None = KEY_VARIABLE,
        timeout_s: float = 120.0,
        num_tries: int = 5,
        num_connect_tries: int | None = None,
        wait_s: float = 1.0,
        max_wait_s: float = 60.0,
        concurrency: int = 8,
    ) -> None:
        self.url = check_address(base_url)
        if num_tries < 1 or timeout_s <= 0 or wait_s < 0 or max_wait_s < wait_s or concurrency < 1:
            raise InputError(
                f"the endpoint {self.url!r} was given {num_tries=}, {timeout_s=}, {wait_s=}, {max_wait_s=}, "
                f"{concurrency=}.",
                "num_tries >= 1, timeout_s > 0, 0 <= wait_s <= max_wait_s, concurrency >= 1",
                "correct the value or leave it out.",
            )
        self._key_variable = key_variable
        self._key = _read_key(key_variable)
        self._timeout_s = timeout_s
        self._num_tries = num_tries
        self._num_connect_tries = num_tries if num_connect_tries is None else num_connect_tries
        self._wait_s = wait_s
        self._max_wait_s = max_wait_s
        self._concurrency = concurrency

    def complete(self, body: Mapping[str, Any]) -> ChatReply:
        """One chat completion.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses, or sends no usable reply.
        """
        return read_reply(self.post_all([body])[0])

    def post_all(
        self, bodies: Sequence[Mapping[str, Any]], on_reply: OnReply | None = None, *, read: Reader = read_reply
    ) -> list[Mapping[str, Any]]:
        """The body of the reply to each chat request, in order; ``read`` has read each without complaint.

        After a request has failed for good none is begun any more, but those under way are waited for.

        Args:
            bodies: Of the requests.
            on_reply: See ``OnReply``.
            read: See ``Reader``.

        Raises:
            EndpointError: A request failed for good; that of the first.
        """
        from anyio.from_thread import start_blocking_portal

        with start_blocking_portal() as portal:
            return portal.call(self._post_all, bodies, on_reply or (lambda position, value: None), read)

    def model_names(self) -> list[str]:
        """Names of the models the endpoint says it serves; empty if it does not say."""
        import httpx2

        try:
            with httpx2.Client(timeout=_CONNECT_TIMEOUT_S, headers=self._headers, verify=self._certificates) as http:
                listed = http.get(self._path("models")).json()["data"]
            return [str(model["id"]) for model in listed]
        except (httpx2.HTTPError, ValueError, LookupError, TypeError):
            return []

    def redacted(self, text: str) -> str:
        """A text without the key in it."""
        return text.replace(self._key, "[key]") if self._key else text

    @cached_property
    def _certificates(self) -> Any:
        """Read once, and only for https: it takes longer than many a request. Redirects are not followed."""
        import httpx2

        return httpx2.create_ssl_context() if self.url.startswith("https:") else False

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _path(self, name: str) -> str:
        base, question, query = self.url.partition("?")
        return f"{base.rstrip('/')}/{name}{question}{query}"

    async def _post_all(
        self, bodies: Sequence[Mapping[str, Any]], on_reply: OnReply, read: Reader
    ) -> list[Mapping[str, Any]]:
        import anyio
        import httpx2

        replies: dict[int, Mapping[str, Any]] = {}
        failures: list[Exception] = []
        slots = anyio.CapacityLimiter(self._concurrency)

        async def ask(position: int) -> None:
            async with slots:
                if failures:
                    return
                try:
                    replies[position] = await self._reply(http, bodies[position], failures, read)
                    on_reply(position, replies[position])
                except Exception as error:  # raised below, once those under way have come in
                    failures.append(error)

        limits = httpx2.Limits(max_connections=self._concurrency)
        timeout = httpx2.Timeout(self._timeout_s, connect=min(_CONNECT_TIMEOUT_S, self._timeout_s))
        async with (
            httpx2.AsyncClient(
                timeout=timeout, limits=limits, headers=self._headers, verify=self._certificates
            ) as http,
            anyio.create_task_group() as group,
        ):
            for position in range(len(bodies)):
                group.start_soon(ask, position)
        if failures:
            raise failures[0]
        return [replies[position] for position in range(len(bodies))]

    async def _reply(
        self, http: Any, body: Mapping[str, Any], failures: Sequence[Exception], read: Reader
    ) -> Mapping[str, Any]:
        import anyio
        from tenacity import AsyncRetrying, retry_if_exception_type

        tries = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=lambda state: bool(failures) or self._gives_up(state),
            wait=self._wait,
            sleep=anyio.sleep,
            reraise=True,
        )
        try:
            return await tries(self._send, http, body, read)
        except _TryAgain as error:
            num_tries = tries.statistics["attempt_number"]
            times = "" if num_tries == 1 else f" (tried {num_tries} times)"
            raise self._failure(f"{error.problem}{times}") from error

    async def _send(self, http: Any, body: Mapping[str, Any], read: Reader) -> Mapping[str, Any]:
        import anyio
        import httpx2

        try:
            with anyio.fail_after(self._timeout_s):
                response = await http.post(self._path("chat/completions"), json=body)
        except TimeoutError as error:
            raise _TryAgain(f"gave no whole reply within {self._timeout_s:g} s") from error
        except httpx2.TimeoutException as error:
            raise _TryAgain(f"could not be reached in time: {type(error).__name__}") from error
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            said = f"could not be reached: {type(error).__name__}: {error}"
            raise _TryAgain(said, is_connected=False) from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _TryAgain(f"broke off: {type(error).__name__}: {error}") from error
        return self._checked(response, read)

    def _checked(self, response: Any, read: Reader) -> Mapping[str, Any]:
        """The body of a reply that holds what was asked for."""
        status, said = response.status_code, self._quoted(response.text)
        if status in _RETRIED_STATUS:
            raise _TryAgain(f"answered {status}: {said}", _retry_after_s(response.headers.get("Retry-After")))
        if not 200 <= status < 300:
            raise self._failure(f"answered {status}: {said}")
        try:
            value = response.json()
        except (ValueError, RecursionError) as error:
            if response.text.lstrip().startswith("<"):
                raise self._failure(f"sent a page and no chat completion: {said}") from error
            raise _TryAgain(f"sent JSON that is cut short or damaged: {said}") from error
        try:
            read(value)
        except ReplyDefect as defect:
            problem = f"{self._quoted(defect.problem)}: {said}"
            if defect.status in _RETRIED_STATUS:
                raise _TryAgain(problem) from defect
            raise self._failure(problem, defect.accepted, defect.next_step) from defect
        body: Mapping[str, Any] = value
        return body

    def _wait(self, state: Any) -> float:
        error = state.outcome.exception()
        if error.retry_after_s is not None:
            return float(error.retry_after_s) + random.uniform(0, self._wait_s)
        wait_s: float = min(self._wait_s * 2.0 ** (state.attempt_number - 1), self._max_wait_s)
        return wait_s * random.uniform(0.5, 1.5)

    def _gives_up(self, state: Any) -> bool:
        error = state.outcome.exception()
        most = self._num_tries if error.is_connected else min(self._num_tries, self._num_connect_tries)
        asks_too_long = error.retry_after_s is not None and error.retry_after_s > self._max_wait_s
        return bool(asks_too_long or state.attempt_number >= most)

    def _quoted(self, text: str) -> str:
        return printable(self.redacted(text)[:_QUOTED])

    def _failure(self, problem: str, accepted: str | None = None, next_step: str | None = None) -> EndpointError:
        key = "no key is sent" if self._key_variable is None else f"the key in {self._key_variable}"
        return EndpointError(
            f"the endpoint {self.url!r} {problem}.",
            accepted or "a chat completion, as OpenAI-compatible endpoints send it",
            next_step or f"check that it is up, its URL (up to and with /v1), the name of the model and {key}.",
        )


def _read_key(variable: str | None) -> str | None:
    key = (os.environ.get(variable) or "").strip() if variable else ""
    if not key.isascii() or not key.isprintable():
        raise InputError(
            f"the key in {variable} holds characters that cannot be sent.",
            "printable ASCII",
            f"set {variable} again, without quotes or line ends.",
        )
    return key or None


def _retry_after_s(header: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or a date; None if it does not."""
    if header is None:
        return None
    try:
        return max(0.0, float(header)) if header.strip() != "nan" else None
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
