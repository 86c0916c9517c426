"""Teacher-forced scores from an endpoint that tells the log-probabilities of a prompt's tokens.

A target is sent as the beginning of the assistant's turn, which the endpoint is to go on with. Its tokens are those
that stand behind the same prompt without it, and they have to read as the target does: a chat template that puts
something between, leaves something out, or opens the turn in another way is refused.

Source:
    vLLM, OpenAI-compatible server, fields ``prompt_logprobs``, ``return_token_ids``, ``continue_final_message``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reground.chat.reply import ReplyDefect, require_choice
from reground.errors import EndpointError
from reground.models.base import NUM_TOP_TOKENS, TargetScore
from reground.models.ranked import RankedToken, ranked_score

__all__ = [
    "ASKS_FOR_IDS",
    "ASKS_FOR_SCORES",
    "FedPrompt",
    "fed_score",
    "ids_alone",
    "read_fed_prompt",
    "read_prompt_ids",
    "told_behind",
]

#: Fields of a request whose reply tells the prompt's tokens.
ASKS_FOR_IDS: Mapping[str, Any] = {"temperature": 0.0, "return_token_ids": True}

#: The same, with what could have stood in the place of each.
ASKS_FOR_SCORES: Mapping[str, Any] = {**ASKS_FOR_IDS, "prompt_logprobs": NUM_TOP_TOKENS}

_ACCEPTED = (
    "prompt_token_ids and prompt_logprobs, one for each token of the prompt, as vLLM's server sends them if it is "
    "asked for return_token_ids and prompt_logprobs"
)
_NEXT_STEP = (
    "serve the model with a vLLM that knows both fields, take scores=prompt_logprobs out of the model's name, or load "
    "the weights, e.g. --model hf:ORG/NAME."
)
#: What tokens that are a part of a character read as.
_BROKEN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class FedPrompt:
    """A prompt as the endpoint read it.

    Attributes:
        ids: Its tokens.
        places: For each of them, the tokens that could stand in its place, by id; nothing for the first.
    """

    ids: tuple[int, ...]
    places: tuple[Mapping[int, RankedToken], ...]


def read_prompt_ids(value: Any) -> tuple[int, ...]:
    """The tokens of the prompt that a reply answers.

    Raises:
        ReplyDefect: It is an error report, holds no completion, or does not tell.
    """
    require_choice(value)
    ids = value.get("prompt_token_ids")
    if not isinstance(ids, list) or not ids or not all(type(token) is int for token in ids):
        raise _lacks("no prompt_token_ids")
    return tuple(ids)


def read_fed_prompt(value: Any) -> FedPrompt:
    """The tokens of the prompt that a reply answers, with what could have stood in their places.

    Raises:
        ReplyDefect: It is an error report, holds no completion, does not tell, or tells what cannot be.
    """
    ids = read_prompt_ids(value)
    told = value.get("prompt_logprobs")
    if not isinstance(told, list):
        raise _lacks("no prompt_logprobs")
    if len(told) != len(ids):
        raise _lacks(f"prompt_logprobs for {len(told)} of {len(ids)} tokens of the prompt")
    try:
        places = tuple({} if place is None else _place(place) for place in told)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _lacks("prompt_logprobs that cannot be read") from error
    return FedPrompt(ids, places)


def ids_alone(value: Mapping[str, Any]) -> dict[str, Any]:
    """Of a reply that was read, what ``read_prompt_ids`` reads: all that is worth keeping."""
    return {"choices": [{"message": {}}], "prompt_token_ids": value["prompt_token_ids"]}


def told_behind(value: Mapping[str, Any], start: int) -> dict[str, Any]:
    """Of a reply that was read, what a score of the tokens from ``start`` on needs.

    What could have stood in the places of the prompt's own tokens is most of a reply, and read by nobody.
    """
    told = value["prompt_logprobs"]
    first = min(start, len(told))
    return {**ids_alone(value), "prompt_logprobs": [None] * first + told[first:]}


def fed_score(prompt_ids: Sequence[int], fed: FedPrompt, target: str, url: str) -> TargetScore:
    """The score of a target.

    Args:
        prompt_ids: The tokens of the prompt alone.
        fed: The prompt with the target behind it.
        target: The target.
        url: Of the endpoint, for messages.

    Raises:
        EndpointError: The tokens behind the prompt are not those of the target, or the endpoint left one out.
    """
    start = len(prompt_ids)
    kept = fed.ids[:start] == tuple(prompt_ids)
    target_ids, places = fed.ids[start:], fed.places[start:]
    if not kept or not target_ids:
        raise _misplaced(url, target, "does not begin with the tokens of the prompt" if not kept else "adds no token")
    try:
        score = ranked_score(target_ids, places)
    except ValueError as error:
        raise EndpointError(
            f"the endpoint {url!r} does not tell all of the target {target[:80]!r}: {error}.", _ACCEPTED, _NEXT_STEP
        ) from error
    read = "".join(place[token].text for token, place in zip(target_ids, places, strict=True))
    if not _reads_as(read, target):
        raise _misplaced(url, target, f"reads on as {read[:120]!r}")
    return score


def _place(told: Mapping[str, Mapping[str, Any]]) -> dict[int, RankedToken]:
    place = {}
    for token, details in told.items():
        log_prob, rank, text = float(details["logprob"]), details["rank"], details["decoded_token"]
        if not math.isfinite(log_prob) or type(rank) is not int or rank < 1 or not isinstance(text, str):
            raise ValueError(token)
        place[int(token)] = RankedToken(log_prob, rank, text)
    return place


def _reads_as(read: str, target: str) -> bool:
    """Whether tokens, each read by itself, make up a text: but for white space, case and broken characters."""
    first, *rest = [_folded(piece) for piece in re.split(f"{_BROKEN}+", read)]
    wanted = _folded(target)
    if not rest:
        return first == wanted
    *between, last = rest
    # A broken character stands for at least one; each piece as far left as it goes leaves the most to the others.
    end = len(first)
    for piece in between:
        found = wanted.find(piece, end + 1)
        if found < 0:
            return False
        end = found + len(piece)
    return wanted.startswith(first) and wanted.endswith(last) and end < len(wanted) - len(last)


def _folded(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _lacks(what: str) -> ReplyDefect:
    return ReplyDefect(f"sent {what}", accepted=_ACCEPTED, next_step=_NEXT_STEP)


def _misplaced(url: str, target: str, how: str) -> EndpointError:
    return EndpointError(
        f"the endpoint {url!r} does not put the target {target[:80]!r} straight behind its prompt: the prompt with "
        f"it {how}.",
        "a chat template that writes the assistant's turn as it stands, straight behind what opens it",
        "serve the model with such a template (vLLM: --chat-template), ask without thinking if the template adds an "
        "empty chain, or load the weights, e.g. --model hf:ORG/NAME.",
    )
