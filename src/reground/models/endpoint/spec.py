"""``endpoint:URL#NAME?key=value&...``: which model of which endpoint, and how it is to be talked to."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import Field, ValidationError

from reground.chat.client import KEY_VARIABLE, check_address
from reground.edits.misfits import accepted_words, shown
from reground.edits.records import Record
from reground.errors import InputError, nearest
from reground.models.base import Capability

__all__ = ["PATTERN", "EndpointSpec", "check_spec", "lacking", "parse_spec"]

PATTERN = "endpoint:URL#NAME, e.g. endpoint:http://localhost:8000/v1#org/name"

_PREFIX = "endpoint:"
_EXTRA = "extra."
_SECRET = re.compile(r"key|token$|secret|password|authorization", re.IGNORECASE)
_Mark = Annotated[str, Field(min_length=1)]


class EndpointSpec(Record):
    """What a model name that begins with ``endpoint:`` says.

    The first group decides what is asked and how it is read, and is part of the model's name in results; the second
    only decides how it is asked.

    Attributes:
        url: Base URL, up to and with the version.
        model: Name of the model there.
        revision: Which weights stand behind that name, as far as you know; another one has another cache.
        chain_open, chain_close, answer_open, answer_close, writes_chain, template_opens_chain: As in ``Delimiters``;
            None: found out by asking once.
        max_pixels: Larger images are scaled down to as many pixels; None: sent as they are.
        max_tokens_field: What the endpoint calls the token budget.
        scores: By which field of a request the endpoint tells the log-probabilities of a text it is given; None: it
            only writes.
        extra: Further fields of each request.
        concurrency: Requests under way at a time.
        timeout_s: Longest wait for a whole reply.
        num_tries: Times a request is sent at most.
        key_variable: Environment variable that holds the key.
        cache: Whether replies are kept on disk and taken from there.
    """

    url: str
    model: str
    revision: str | None = None
    chain_open: _Mark | None = None
    chain_close: _Mark | None = None
    answer_open: _Mark | None = None
    answer_close: _Mark | None = None
    writes_chain: bool | None = None
    template_opens_chain: bool | None = None
    max_pixels: Annotated[int, Field(ge=1)] | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    scores: Literal["prompt_logprobs"] | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    num_tries: Annotated[int, Field(ge=1, le=100)] = 5
    key_variable: str = KEY_VARIABLE
    cache: bool = True

    @property
    def name(self) -> str:
        """The model's name in results: without what only says how it is asked."""
        told = self.model_dump(mode="json", exclude_defaults=True, exclude={*_ADDRESS, *_MANNERS, "extra"})
        options = {key: str(value).lower() if isinstance(value, bool) else value for key, value in told.items()}
        options |= {f"{_EXTRA}{key}": json.dumps(value, sort_keys=True) for key, value in sorted(self.extra.items())}
        return f"{_PREFIX}{self.url}#{self.model}" + (f"?{urlencode(options)}" if options else "")


_ADDRESS = ("url", "model")
_MANNERS = ("concurrency", "timeout_s", "num_tries", "key_variable", "cache")


def check_spec(spec: str) -> None:
    """Nothing, if ``spec`` can be parsed.

    Raises:
        InputError: It cannot.
    """
    parse_spec(spec)


def lacking(spec: str) -> frozenset[Capability]:
    """What the model will not offer that others behind endpoints do.

    Raises:
        InputError: ``spec`` cannot be parsed.
    """
    return frozenset({"score"} if parse_spec(spec).scores is None else ())


def parse_spec(spec: str) -> EndpointSpec:
    """What a model name says.

    Raises:
        InputError: The address is none or carries a secret, the model is not named, an option is unknown, given twice
            or does not fit.
    """
    url, _, rest = spec.removeprefix(_PREFIX).partition("#")
    url = check_address(url)
    model, _, query = rest.partition("?")
    if not model.strip():
        raise InputError(
            f"the endpoint {url!r} was named without a model.",
            PATTERN,
            "put # and the name of the model behind the address, as the endpoint knows it.",
        )
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        _require_known(key, url)
        if key in options or key.removeprefix(_EXTRA) in extra:
            raise InputError(f"the option {key!r} of the model at {url!r} was given twice.", "it once", "drop one.")
        if key.startswith(_EXTRA):
            extra[key.removeprefix(_EXTRA)] = _json_or_text(value)
        else:
            options[key] = value
    try:
        return EndpointSpec(url=url, model=model.strip(), extra=extra, **options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"the model at {url!r} was given {field}={shown(first['input'])}.",
            accepted_words(EndpointSpec, first),
            "correct the option behind the ? of the model's name.",
        ) from error


def _require_known(key: str, url: str) -> None:
    known = [name for name in EndpointSpec.model_fields if name not in (*_ADDRESS, "extra")]
    if key.startswith(_EXTRA) and not _SECRET.search(key):
        return
    if key.startswith(_EXTRA):
        raise InputError(
            f"the option {key!r} of the model at {url!r} looks like a secret, which would stand in every row.",
            f"a key in the variable {KEY_VARIABLE}, or in the one that key_variable names",
            "take it out of the model's name.",
        )
    if key not in known:
        near = nearest(key, known)
        raise InputError(
            f"the model at {url!r} was given the unknown option {key!r}.",
            ", ".join([*known, f"{_EXTRA}FIELD"]),
            f"did you mean {near!r}?" if near else "correct the option behind the ? of the model's name.",
        )


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
