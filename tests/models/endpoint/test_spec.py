"""Names of models behind endpoints."""

from __future__ import annotations

import pytest

from reground.errors import InputError
from reground.models.endpoint.spec import parse_spec
from reground.models.registry import model_entry

ADDRESS = "endpoint:http://h:8000/v1"


def test_a_name_says_which_model_and_how_it_is_asked() -> None:
    spec = parse_spec(f"{ADDRESS}/#Qwen/Qwen3-VL-8B:free?concurrency=2&cache=no&max_pixels=1000&extra.top_k=-1")
    assert (spec.url, spec.model) == ("http://h:8000/v1", "Qwen/Qwen3-VL-8B:free")
    assert (spec.concurrency, spec.cache, spec.max_pixels, spec.extra) == (2, False, 1000, {"top_k": -1})


def test_what_only_says_how_it_is_asked_is_no_part_of_the_name_in_results() -> None:
    manners = "concurrency=2&timeout_s=3&num_tries=1&key_variable=K&cache=false"
    assert parse_spec(f"{ADDRESS}#m?{manners}").name == f"{ADDRESS}#m"
    for told in (
        "revision=a%26b",
        "writes_chain=true",
        "max_pixels=10",
        "scores=prompt_logprobs",
        "extra.a.b=%7B%22c%22%3A+1%7D",
    ):
        name = parse_spec(f"{ADDRESS}#m?{told}&{manners}").name
        assert name == f"{ADDRESS}#m?{told}"
        assert parse_spec(name).name == name


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("endpoint:", "names nothing"),
        (ADDRESS, "without a model"),
        (f"{ADDRESS}#", "without a model"),
        (f"{ADDRESS}#?cache=true", "without a model"),
        ("endpoint:h#m", "is no address"),
        ("endpoint:http://u:p@h/v1#m", "carries a secret"),
        (f"{ADDRESS}#m?concurency=3", "unknown option 'concurency'"),
        (f"{ADDRESS}#m?url=3", "unknown option 'url'"),
        (f"{ADDRESS}#m?extra.api_key=3", "looks like a secret"),
        (f"{ADDRESS}#m?cache=true&cache=false", "given twice"),
        (f"{ADDRESS}#m?concurrency=0", "concurrency='0'"),
        (f"{ADDRESS}#m?timeout_s=inf", "timeout_s='inf'"),
        (f"{ADDRESS}#m?max_tokens_field=tokens", "max_tokens_field='tokens'"),
        (f"{ADDRESS}#m?chain_open=", "chain_open=''"),
        (f"{ADDRESS}#m?scores=logprobs", "scores='logprobs'"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_anything_is_loaded(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        model_entry(spec)
