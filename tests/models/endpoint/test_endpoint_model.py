"""Models behind an endpoint: what is asked, how replies are read, what is kept, and what never gets out."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fault_server import FaultServer, Reply, completion
from reground.edits.images import open_image
from reground.edits.records import ImageRef
from reground.errors import CapabilityError, EndpointError, ImageError, InputError
from reground.models.base import Model, Query
from reground.models.endpoint.model import EndpointModel, load_endpoint_model
from reground.models.registry import load_model, model_entry

Load = Callable[..., EndpointModel]
KEY = "sk-ZZSENTINELZZ"
WHICH = Query(question="which?")


def sent_pictures(request: dict[str, Any]) -> list[Image.Image]:
    parts = request["messages"][0]["content"]
    uris = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(uri.startswith("data:image/png;base64,") for uri in uris)
    return [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in uris]


def test_it_is_a_model_and_declares_what_it_offers(load: Load, server: FaultServer) -> None:
    model = load("revision=7&concurrency=2")
    assert isinstance(model, Model)
    assert model.capabilities == {"generate", "notes"} == model_entry(f"endpoint:{server.url}#m").capabilities
    assert model.info.name == f"endpoint:{server.url}#m?revision=7"
    assert (model.info.revision, model.info.num_parameters) == ("7", None)
    for refused in (lambda: model.score([WHICH], ["a"]), lambda: model.fingerprint([WHICH])):
        with pytest.raises(CapabilityError, match="which gives none"):
            refused()


def test_a_question_is_asked_as_every_model_reads_it(load: Load, server: FaultServer, tiny_images: list[str]) -> None:
    model = load("max_tokens_field=max_completion_tokens&extra.top_k=1&extra.reasoning_effort=low")
    query = Query(
        question="which?", note="Note: so.", options=("a", "b"), image=ImageRef(frames=tuple(tiny_images[:2]))
    )
    model.generate([WHICH, query], max_new_tokens=9)
    plain, pictured = sorted(server.requests, key=lambda request: len(str(request)))
    assert plain["messages"] == [{"role": "user", "content": "which?"}]
    assert (plain["model"], plain["max_completion_tokens"], plain["temperature"]) == ("m", 9, 0.0)
    assert (plain["top_k"], plain["reasoning_effort"]) == (1, "low")
    assert not {"seed", "top_p", "max_tokens", "chat_template_kwargs"} & set(plain)
    assert pictured["messages"][0]["content"][-1] == {"type": "text", "text": "Note: so.\nwhich?\nA. a\nB. b"}
    for picture, frame in zip(sent_pictures(pictured), tiny_images[:2], strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(open_image(ImageRef(frames=(frame,)))[0]))


def test_no_thinking_is_asked_for_and_joins_the_users_own_settings(load: Load, server: FaultServer) -> None:
    model = load('extra.chat_template_kwargs={"a":1}')
    model.generate([WHICH.model_copy(update={"is_thinking": False})])
    assert server.requests[0]["chat_template_kwargs"] == {"a": 1, "enable_thinking": False}
    with pytest.raises(CapabilityError, match="close no chains"):
        model.generate([WHICH.model_copy(update={"chain_tokens": 5})])


def test_large_images_are_scaled_down_if_wanted(load: Load, server: FaultServer, tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), "red").save(tmp_path / "a.png")
    load("max_pixels=5000").generate([Query(question="which?", image=ImageRef(frames=(str(tmp_path / "a.png"),)))])
    assert sent_pictures(server.requests[0])[0].size == (100, 50)


def test_answers_keep_their_order(load: Load, server: FaultServer) -> None:
    model = load()
    server.answer = lambda request: completion(request["messages"][0]["content"])
    queries = [Query(question=f"{number}?") for number in range(20)]
    assert [outputs[0].text for outputs in model.generate(queries)] == [query.question for query in queries]
    assert model.generate([]) == []


@pytest.mark.parametrize(
    ("reply", "text", "is_truncated", "num_tokens"),
    [
        (completion("yes"), "yes", False, 3),
        (completion("yes", finish="length"), "yes", True, 3),
        (completion("yes", reasoning_content="so."), "<think>so.</think>yes", False, 3),
        (completion("", reasoning="so", finish="length"), "<think>so", True, 3),
        (completion(None, reasoning="so"), "<think>so</think>", False, 3),
        (completion("one two", num_tokens=None), "one two", False, 2),
    ],
)
def test_replies_become_outputs(
    load: Load, server: FaultServer, reply: Reply, text: str, is_truncated: bool, num_tokens: int
) -> None:
    model = load()
    server.replies = [reply]
    ((output,),) = model.generate([WHICH])
    assert (output.text, output.is_truncated, output.num_tokens) == (text, is_truncated, num_tokens)


def test_an_answer_that_was_withheld_is_a_failure(load: Load, server: FaultServer) -> None:
    model = load()
    server.replies = [completion("", finish="content_filter")]
    with pytest.raises(EndpointError, match="withheld"):
        model.generate([WHICH])


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (completion("3"), {"writes_chain": False, "answer_open": None}),
        (completion("3", reasoning_content="so"), {"writes_chain": True, "template_opens_chain": False}),
        (completion("<think>so</think>3"), {"writes_chain": True, "template_opens_chain": False}),
        (completion("so</think>3"), {"writes_chain": True, "template_opens_chain": True}),
        (completion("<think>so</think><answer>3</answer>"), {"writes_chain": True, "answer_open": "<answer>"}),
    ],
)
def test_the_first_reply_shows_how_a_chain_is_marked(
    load: Load, server: FaultServer, first: Reply, expected: dict[str, Any]
) -> None:
    server.replies = [first]
    assert load().delimiters.model_dump().items() >= expected.items()
    (output,) = load("cache=false").generate([WHICH])[0]
    trace = output.trace(load().delimiters)
    assert (trace.outcome, trace.answer) == ("answered", "3")
    assert trace.chain == ("so" if expected["writes_chain"] else None)


def test_the_name_can_say_how_a_chain_is_marked(load: Load, server: FaultServer) -> None:
    server.replies = [completion("[T]so[/T]3")]
    model = load("chain_open=[T]&chain_close=[/T]&writes_chain=true")
    trace = model.generate([WHICH])[0][0].trace(model.delimiters)
    assert (trace.chain, trace.answer) == ("so", "3")
    with pytest.raises(InputError, match="do not fit together"):
        load("answer_open=[A]")


def test_samples_have_seeds_of_their_own(load: Load, server: FaultServer) -> None:
    model = load("cache=false")
    (outputs,) = model.generate([WHICH], temperature=0.7, num_samples=3, seed=5)
    assert len(outputs) == 3
    seeds = [request["seed"] for request in server.requests]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert {request["top_p"] for request in server.requests} == {1.0}
    server.requests.clear()
    model.generate([WHICH], temperature=0.7, num_samples=3, seed=5)
    assert sorted(request["seed"] for request in server.requests) == sorted(seeds)
    server.requests.clear()
    assert len(model.generate([WHICH], num_samples=3)[0]) == 3
    assert len(server.requests) == 1


def test_nothing_is_asked_twice_unless_something_differs(
    load: Load, server: FaultServer, tiny_images: list[str]
) -> None:
    pictured = [Query(question="which?", image=ImageRef(frames=(frame,))) for frame in tiny_images[:2]]
    asked = [WHICH, *pictured, WHICH.model_copy(update={"note": "so"}), WHICH]
    said = load().generate(asked)
    assert len(server.requests) == 4
    assert load().generate(asked) == said
    assert server.requests == []
    for options, settings in [
        ("", {"max_new_tokens": 7}),
        ("", {"temperature": 1.0}),
        ("", {"temperature": 1.0, "seed": 1}),
        ("revision=2", {}),
        ("extra.top_k=1", {}),
        ("cache=false", {}),
    ]:
        model = load(options)
        model.generate([WHICH], **settings)
        assert len(server.requests) == 1, (options, settings)
    model = load(name="other")
    model.generate([WHICH])
    assert len(server.requests) == 1


def test_the_same_pixels_under_another_name_are_not_asked_again(
    load: Load, server: FaultServer, tiny_images: list[str], tmp_path: Path
) -> None:
    Image.open(tiny_images[0]).save(tmp_path / "same.bmp")
    model = load()
    model.generate([Query(question="which?", image=ImageRef(frames=(tiny_images[0],)))])
    model.generate([Query(question="which?", image=ImageRef(frames=(str(tmp_path / "same.bmp"),)))])
    assert len(server.requests) == 1


def test_what_came_before_a_failure_is_kept(load: Load, server: FaultServer) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        is_bad = request["messages"][0]["content"] == "2?"
        return Reply(b"bad", status=400) if is_bad else completion("yes")

    model = load("concurrency=1")
    server.answer = answer
    queries = [Query(question=f"{number}?") for number in range(4)]
    with pytest.raises(EndpointError, match="answered 400"):
        model.generate(queries)
    server.requests.clear()
    server.answer = None
    model.generate(queries)
    assert [request["messages"][0]["content"] for request in server.requests] == ["2?", "3?"]


def test_a_model_that_is_not_there_is_refused_at_once_with_those_that_are(load: Load, server: FaultServer) -> None:
    server.replies = [Reply(b"no such model", status=404)]
    server.models = ["qwen-vl", "llava"]
    with pytest.raises(EndpointError, match="no such model") as caught:
        load(name="qwen-v1")
    assert "qwen-vl, llava" in caught.value.accepted
    assert caught.value.next_step == "did you mean 'qwen-vl'?"


def test_an_endpoint_that_is_not_there_is_refused_while_loading() -> None:
    with pytest.raises(EndpointError, match="could not be reached"):
        load_model("endpoint:http://127.0.0.1:9/v1#m?num_tries=1")
    with pytest.raises(InputError, match="has no weights"):
        load_model("endpoint:http://127.0.0.1:9/v1#m", dtype="bfloat16")


def test_the_key_is_in_no_cache_error_or_log(
    load: Load, server: FaultServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    model = load("key_variable=MY_KEY")
    server.replies = [completion(f"your key is {KEY}")]
    model.generate([WHICH])
    assert server.requests[0]["key"] == f"Bearer {KEY}"
    server.replies = [Reply(f"bad key {KEY}".encode(), status=403)]
    with pytest.raises(EndpointError) as caught:
        model.generate([Query(question="again?")])
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert b"your key is [key]" in kept
    assert KEY.encode() not in kept
    assert KEY not in repr(caught.value) + caplog.text + model.info.model_dump_json() + repr(vars(model))


def test_an_image_that_cannot_be_read_is_refused_before_anything_is_asked(load: Load, server: FaultServer) -> None:
    model = load()
    with pytest.raises(ImageError):
        model.generate([WHICH, Query(question="which?", image=ImageRef(frames=("absent.png",)))])
    assert server.requests == []
    for settings in ({"max_new_tokens": 0}, {"num_samples": 0}, {"temperature": -1.0}):
        with pytest.raises(InputError, match="were given"):
            model.generate([WHICH], **settings)


def test_of_a_dicom_file_pixels_alone_are_sent(load: Load, server: FaultServer, tmp_path: Path) -> None:
    """Every textual element holds the sentinel; the request holds it nowhere, not even inside the picture."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'reground[dicom]'")
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    for keyword in ("PatientName", "PatientID", "InstitutionName", "StudyDescription", "PatientComments"):
        setattr(dataset, keyword, "ZZSENTINELZZ")
    dataset.save_as(tmp_path / "a.dcm")
    load().generate([Query(question="which?", image=ImageRef(frames=(str(tmp_path / "a.dcm"),)))])
    (request,) = server.requests
    (picture,) = sent_pictures(request)
    assert picture.size == (128, 128)
    assert picture.info == {}
    assert "ZZSENTINELZZ" not in json.dumps(request)


def test_load_reads_the_registrys_spec(server: FaultServer) -> None:
    assert isinstance(load_endpoint_model(f"endpoint:{server.url}#m?cache=false"), EndpointModel)
