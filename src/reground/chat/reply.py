"""What an OpenAI-compatible endpoint sends back, read in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ChatReply", "ReplyDefect", "read_reply", "require_choice"]


class ReplyDefect(Exception):
    """A reply that is none; the text says what it is instead.

    Args:
        problem: What is wrong, to follow "the endpoint ...".
        status: The HTTP status it stands for, if it names one.
        accepted: What would have done; None: any chat completion.
        next_step: What to do; None: what helps where there is no chat completion.
    """

    def __init__(
        self, problem: str, status: int | None = None, *, accepted: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.status = status
        self.accepted = accepted
        self.next_step = next_step


@dataclass(frozen=True)
class ChatReply:
    """One completion.

    Attributes:
        text: What the model said; empty if nothing.
        reasoning: Its chain of thought, where the endpoint sends it apart; None where it does not.
        finish: Why it ended: ``stop``, ``length``, ``content_filter``, ...; None if not said.
        num_tokens: Tokens written, chain included; None if the endpoint does not count.
    """

    text: str
    reasoning: str | None
    finish: str | None
    num_tokens: int | None


def read_reply(value: Any) -> ChatReply:
    """The first completion in the body of a reply.

    The chain is taken from ``reasoning_content`` or ``reasoning``, or from parts of type ``thinking``.

    Raises:
        ReplyDefect: It is an error report, or holds no completion.
    """
    choice = require_choice(value)
    message, finish = choice["message"], choice.get("finish_reason")
    content = message.get("content")
    text, thought = _texts(content)
    said_apart = message.get("reasoning_content") or message.get("reasoning")
    reasoning = said_apart if isinstance(said_apart, str) and said_apart.strip() else thought
    refusal = message.get("refusal")
    if text is None and isinstance(refusal, str):
        text = refusal
    if text is None and reasoning is None:
        raise ReplyDefect("sent a completion without text")
    return ChatReply(text or "", reasoning, finish if isinstance(finish, str) else None, _num_tokens(value))


def require_choice(value: Any) -> Mapping[str, Any]:
    """The first choice in the body of a reply; it holds a message.

    Raises:
        ReplyDefect: It is an error report, or holds no completion.
    """
    if isinstance(value, dict) and value.get("error") and not value.get("choices"):
        raise _reported(value["error"])
    try:
        choice = value["choices"][0]
        is_sound = isinstance(choice, Mapping) and isinstance(choice["message"], Mapping)
    except (LookupError, TypeError) as error:
        raise ReplyDefect("sent no chat completion") from error
    if not is_sound:
        raise ReplyDefect("sent no chat completion")
    sound: Mapping[str, Any] = choice
    return sound


def _reported(error: Any) -> ReplyDefect:
    details = error if isinstance(error, Mapping) else {"message": error}
    code = details.get("code")
    return ReplyDefect(f"reported an error: {details.get('message')}", code if isinstance(code, int) else None)


def _texts(content: Any) -> tuple[str | None, str | None]:
    """What is said and what is thought; None where there is no such part."""
    if isinstance(content, str):
        return content, None
    if not isinstance(content, list):
        return None, None
    said: list[str] = []
    thought: list[str] = []
    for part in content:
        if isinstance(part, Mapping) and isinstance(part.get("text"), str):
            said.append(part["text"])
        elif isinstance(part, Mapping) and part.get("type") == "thinking":
            inner, _ = _texts(part.get("thinking"))
            thought.append(inner or "")
    return "".join(said), "".join(thought) or None


def _num_tokens(value: Mapping[str, Any]) -> int | None:
    usage = value.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and count >= 0 else None
