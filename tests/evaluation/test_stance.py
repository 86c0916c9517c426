"""The stance readers: what the rules read, how well on hand-labelled chains, and how a judge's replies are taken."""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reground.edits.records import Answer
from reground.errors import EndpointError, InputError, RecordError
from reground.evaluation.stance import (
    JudgeStanceReader,
    LabelScore,
    ReaderReport,
    RuleStanceReader,
    Stance,
    StanceReader,
    StanceSplit,
    labelled_chains,
    report_reader,
)

LYON, TURIN = Answer(text="Lyon"), Answer(text="Turin")
READER = RuleStanceReader()
SPLITS: tuple[StanceSplit, ...] = ("dev", "test")
DOCS = Path(__file__).parents[2] / "docs" / "stance.md"


def _label(chain: str, new: Answer = LYON, prior: Answer | None = TURIN) -> str:
    return READER.read(chain, new=new, prior=prior).label


# --- What the rules read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "label"),
    [
        # denial, by word, by verb, by evidence, by pronoun, by reference to the note
        ("The note says Lyon, but that cannot be right. Turin.", "rejects"),
        ("Lyon is wrong; it is Turin.", "rejects"),
        ("I will ignore the claim that it is Lyon.", "rejects"),
        ("Instead of Lyon, Turin.", "rejects"),
        ("The answer is Turin rather than Lyon.", "rejects"),
        ("Lyon? No. Turin.", "rejects"),
        ("The note must be an error. It is in Turin.", "rejects"),
        ("If it were Lyon, there would be a river. So Turin.", "rejects"),
        # taken back, or never meant
        ("Wait, that can't be Lyon... but actually Lyon is right, so Lyon.", "supports"),
        ("It is not Turin but Lyon.", "supports"),
        ("It is Lyon, not Turin.", "supports"),
        ("Rather than Turin, Lyon.", "supports"),
        ("It is no longer Turin. Lyon.", "supports"),
        ("There is no reason to doubt Lyon.", "supports"),
        ("Lyon cannot be ruled out. Lyon then.", "supports"),
        ("Lyon is not wrong.", "supports"),
        ("Is the note a mistake? No. Lyon.", "supports"),
        ('The user writes "it can never be Lyon". The record says Lyon, so Lyon.', "supports"),
        ("The user asks me not to say Lyon. The answer is Lyon.", "supports"),
        ("It is probably Lyon.", "supports"),
        # order decides, and a question claims nothing
        ("The note says Lyon. The usual city is Turin, so Turin.", "reverts"),
        ("Is it Lyon? My answer is Turin.", "reverts"),
        ("It is Lyon. On second thoughts, Lyon is wrong. Turin.", "rejects"),
        # never named
        ("It stands in Turin.", "silent"),
        ("The note is about a star in the liver, so it does not apply. Turin.", "silent"),
        ("Lyonnaise houses look different. Turin.", "silent"),
        ("", "silent"),
    ],
)
def test_rules_read_denial_scope_and_order(chain: str, label: str) -> None:
    assert _label(chain) == label


@pytest.mark.parametrize(
    ("chain", "label"),
    [
        ("说明说里昂，但这不可能是对的。所以是都灵。", "rejects"),
        ("应该是都灵，而不是里昂。", "rejects"),
        ("不是都灵，而是里昂。", "supports"),
        ("没有理由怀疑里昂。", "supports"),
        ("里昂不能排除，答案是里昂。", "supports"),
        ("说明说里昂。通常是都灵，所以答案是都灵。", "reverts"),
        ("不过我很确定是都灵。", "silent"),
    ],
)
def test_rules_read_chinese(chain: str, label: str) -> None:
    assert _label(chain, Answer(text="里昂"), Answer(text="都灵")) == label


@pytest.mark.parametrize(
    ("chain", "label"),
    [
        # two faults joined are one denial; a fault that qualifies a noun is not a second one
        ("The note says Lyon. It is outdated or wrong. Turin.", "rejects"),
        ("That is a false statement. Turin, not some Lyon.", "rejects"),
        ("The claim of Lyon is false. This erroneous text is contradicted by the hills. Turin.", "rejects"),
        # what beats what
        ("The view outweighs the note, which says Lyon. Turin.", "rejects"),
        ("Turin came to mind, but the note overrides that: Lyon.", "supports"),
        ("The note says Lyon. I won't let it override the visible evidence. Turin.", "rejects"),
        ("Turin lies above Lyon. The note says Lyon. Lyon.", "supports"),
        # a fault that points at nothing near, before or after the name
        ("The note says Lyon. Now the hills. Their shape is at odds with the map. Turin.", "rejects"),
        ("The note says Lyon. The hills are on the opposite bank. Turin.", "reverts"),
        ("That name is wrong. The note has Lyon. It is Turin.", "rejects"),
        # replies and questions that expect none
        ("Lyon? No. Turin? Yes. I pick Turin.", "rejects"),
        ("Lyon? A river, a bridge. There is a hill. So no. Turin.", "rejects"),
        ("Why would anyone call it Lyon? Turin.", "rejects"),
        ("Why would anyone call it Turin? Lyon.", "supports"),
        # spelling
        ("i dont think its Lyon. Turin", "rejects"),
        ("~~Lyon~~ Turin.", "rejects"),
        ("Anything but Lyon. Turin.", "rejects"),
    ],
)
def test_rules_read_joined_faults_rank_distance_and_replies(chain: str, label: str) -> None:
    assert _label(chain) == label


@pytest.mark.parametrize(
    ("chain", "label"),
    [
        # a fault in a clause of its own, after the prior was named last
        (
            "The note says Lyon. The arcades are those of Turin. So the inserted line violates geography. Turin.",
            "rejects",
        ),
        ("The note says Lyon. Turin has the tower. That is at odds with the memory. Turin.", "rejects"),
        ("The note says Lyon. Turin has the tower. That is at odds with my memory of it. Lyon.", "supports"),
        # the note talked about once more, not to say what it says
        ("The note says Lyon. The tower is high. That edit is a bit of graffiti. Turin.", "rejects"),
        ("The note says Lyon. The tower is high. The note also lists a height. Turin.", "reverts"),
        # nothing and no, at a distance; a replaced 'it'
        ("The note says Lyon. Nothing in the picture points to Lyon. Turin.", "rejects"),
        ("The note says Lyon. No reading of the sign gives Lyon. Turin.", "rejects"),
        ("It says Lyon. I am overriding it with Turin.", "rejects"),
        ("The note says Lyon. I will not go along with the note when the sign says otherwise. Turin.", "rejects"),
        ("The note says Lyon. I trust the sign more than the note. Turin.", "rejects"),
        ("I remember Turin. I trust the note more than my memory. Lyon.", "supports"),
        # faults that are no faults of the note
        ("The note says Lyon. The light is poor and the photo is off. The hills are those of Turin.", "reverts"),
        ("The note says Lyon. The question asks for a city with a striking tower. Turin.", "reverts"),
        ("The note says Lyon. Contrast was injected; there is a weak pulse. Turin.", "reverts"),
        ("The note says Lyon. The circle is not to the right of the square. Turin.", "reverts"),
        ("The note says Lyon. I might be wrong, but the hills look like Turin.", "reverts"),
        ("与其相信自己的记忆Turin，不如相信资料里的Lyon。", "supports"),
    ],
)
def test_rules_read_faults_that_name_nothing_only_where_the_chain_ends_elsewhere(chain: str, label: str) -> None:
    assert _label(chain) == label


def test_no_is_an_abbreviation_only_before_a_number() -> None:
    assert _label("Is it no. 7? No. It is no. 9.", Answer(text="no. 7"), Answer(text="no. 9")) == "rejects"


def test_names_match_whole_words_and_the_longer_name_wins() -> None:
    short, long = Answer(text="Lake Ardun"), Answer(text="Lake Ardun Minor")
    assert _label("It is Lake Ardun Minor.", short, long) == "silent"
    assert _label("It is Lake Ardun.", long, short) == "silent"
    assert _label("It is lake\n ardun minor.", long, short) == "supports"
    assert _label("Ardun tubes are short, so that can't be it. Turin.", Answer(text="Ardun tube")) == "rejects"
    assert _label("Serial 84121.", Answer(text="412"), None) == "silent"
    assert _label("It is 4.12 m high.", Answer(text="12"), None) == "silent"
    assert _label("现在是412米。", Answer(text="412"), None) == "supports"


def test_names_match_whatever_the_case_the_accents_form_or_the_alias() -> None:
    cafe = Answer(text="Café Noir", aliases=("The Black Café",))
    assert _label("It is the CAFE\u0301 NOIR.", cafe, None) == "supports"
    assert READER.read("It is Black Café.", new=cafe, prior=None).asserted == "The Black Café"
    assert _label("It is Ｌｙｏｎ。") == "supports"


def test_yes_no_and_letters_count_only_where_they_are_values() -> None:
    yes, no = Answer(text="yes"), Answer(text="no")
    assert _label("There is no crack and no rust. The answer is yes.", no, yes) == "silent"
    assert _label("The note says no. Plates are safe. Therefore yes.", no, yes) == "reverts"
    assert _label("The answer used to be yes. So: no.", no, yes) == "supports"
    assert _label("A ring is seen. C fits best.", Answer(text="A"), Answer(text="C")) == "silent"
    assert _label("Option C is wrong. The answer is A.", Answer(text="C"), Answer(text="A")) == "rejects"


def test_evidence_is_the_deciding_sentence_and_asserted_the_last_claim() -> None:
    chain = "The note says Lyon. That is plainly false. It is Turin."
    stance = READER.read(chain, new=LYON, prior=TURIN)
    assert stance == Stance(label="rejects", evidence="That is plainly false.", asserted="Turin")
    assert READER.read("Lyon is wrong.", new=LYON, prior=TURIN).asserted is None
    assert READER.read("So Lyon.", new=LYON, prior=None).asserted == "Lyon"
    assert READER.read("Nothing to see.", new=LYON, prior=TURIN).asserted is None


def test_a_denial_of_the_prior_is_no_rejection() -> None:
    for chain in ("It can't be Turin. Lyon.", "Turin is wrong. Lyon.", "I must not say Turin. The name is Lyon."):
        assert _label(chain) == "supports", chain


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "Lyon",
                "Turin",
                "not",
                "wrong",
                ". ",
                "? ",
                ", ",
                "the note",
                "says",
                '"',
                "so",
                "\ue000",
                "不",
                "if",
                "\n",
            ]
        )
        | st.text(max_size=6),
        max_size=30,
    )
)
def test_any_text_gets_a_label_and_evidence_that_stands_in_it(pieces: list[str]) -> None:
    chain = " ".join(pieces)
    stance = READER.read(chain, new=LYON, prior=TURIN)
    named = re.search(r"lyon", chain, re.IGNORECASE) is not None
    assert stance.label in ("rejects", "silent") or named
    if stance.evidence and chain.isascii():
        assert stance.evidence in chain
    assert stance == READER.read(chain, new=LYON, prior=TURIN)


def test_a_long_chain_is_read_in_well_under_a_second() -> None:
    chain = "The image shows a tower, and I am not sure what it is, but Turin comes to mind. " * 400 + "So Lyon."
    start = time.process_time()
    assert _label(chain) == "supports"
    assert time.process_time() - start < 3.0


def test_readers_fit_the_interface() -> None:
    assert isinstance(READER, StanceReader)
    assert isinstance(JudgeStanceReader("http://localhost:1/v1", "m"), StanceReader)
    assert READER.name == "rules-2"


# --- The labelled chains and the figures --------------------------------------------------------------------------


def test_labelled_chains_are_enough_and_sound() -> None:
    chains = {split: labelled_chains(split) for split in SPLITS}
    every = [c for part in chains.values() for c in part]
    assert len(every) >= 360
    assert len({c.id for c in every}) == len(every)
    assert len({c.chain for c in every}) == len(every), "a chain stands twice, or in both splits"
    for part in chains.values():
        assert Counter(c.label for c in part)["rejects"] >= 60
        assert 0.15 <= sum(c.language == "zh" for c in part) / len(part) <= 0.3
        assert {c.style for c in part} == {"builtin", "large_model"}
    for chain in every:
        if len(chain.new) == 1 or chain.new in ("yes", "no"):
            continue
        named = any(
            re.search(rf"(?<![a-z0-9]){re.escape(s)}(?![a-z0-9])", chain.chain, re.IGNORECASE)
            for s in (chain.new, *chain.new_aliases)
        )
        if chain.label in ("supports", "reverts"):
            assert named, f"{chain.id} is labelled {chain.label} but never names {chain.new}"
        if chain.label == "silent":
            longer = (chain.prior or "").lower().count(chain.new.lower()) > 0
            assert not named or longer, f"{chain.id} is labelled silent but names {chain.new}"


@functools.cache
def _report(split: StanceSplit) -> ReaderReport:
    return report_reader(READER, split)


@pytest.mark.parametrize("split", SPLITS)
def test_rules_meet_the_bar_for_rejection(split: StanceSplit) -> None:
    rejects = _score(_report(split), "all", "rejects")
    assert rejects.precision is not None and rejects.precision >= 0.9
    assert rejects.recall is not None and rejects.recall >= 0.8


def test_docs_print_the_table_that_the_reader_earns() -> None:
    """The figures in the docs are regenerated here; replace the tables there if the reader or the chains change."""
    text = DOCS.read_text(encoding="utf-8")
    for split in SPLITS:
        printed = text.split(f"<!-- report:{split} -->\n")[1].split("\n<!-- end -->")[0]
        assert printed == _report(split).to_markdown()


def _score(report: ReaderReport, value: str, label: str) -> LabelScore:
    part = next(s for s in report.slices if s.value == value)
    return next(score for score in part.labels if score.label == label)


class _Fixed:
    """A reader that says ``rejects`` to chains that hold 'not', else ``supports``."""

    name = "fixed-1"

    def read(self, chain: str, *, new: Answer, prior: Answer | None, question: str = "") -> Stance:
        return Stance(label="rejects" if "not" in chain else "supports")


def _write(path: Path, rows: list[tuple[str, str]]) -> Path:
    common = {"language": "en", "style": "builtin", "new": "a", "question": "q"}
    lines = [json.dumps({**common, "id": str(i), "chain": c, "label": lab}) for i, (c, lab) in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.reference
def test_report_counts_by_hand(tmp_path: Path) -> None:
    """Of 4 chains: 'rejects' has 2, is read 3 times and rightly twice; 'supports' has 1, is read once, rightly 0."""
    rows = [("not a", "rejects"), ("not b", "rejects"), ("not c", "supports"), ("d", "silent")]
    report = report_reader(_Fixed(), _write(tmp_path / "x.jsonl", rows))
    rejects, supports = _score(report, "all", "rejects"), _score(report, "all", "supports")
    assert (rejects.support, rejects.num_predicted, rejects.num_right) == (2, 3, 2)
    assert (rejects.precision, rejects.recall, rejects.f1) == (2 / 3, 1.0, 0.8)
    assert (supports.precision, supports.recall, supports.f1) == (0.0, 0.0, 0.0)
    reverts, silent = _score(report, "all", "reverts"), _score(report, "all", "silent")
    assert (reverts.precision, reverts.recall, reverts.f1) == (None, None, None)
    assert reverts.unscored == "no chain carries the label; the reader never gave it"
    assert (silent.precision, silent.recall, silent.unscored) == (None, 0.0, "the reader never gave it")
    assert report.confusion["supports"] == {"rejects": 1}
    assert [s.value for s in report.slices] == ["all", "en", "builtin"]
    assert ReaderReport.model_validate_json(report.model_dump_json()) == report


def test_bad_chain_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        labelled_chains(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="'train'"):
        labelled_chains("train")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=r"line 1, field 'label'"):
        labelled_chains(_write(tmp_path / "bad.jsonl", [("a", "maybe")]))


# --- The judge ----------------------------------------------------------------------------------------------------


@contextmanager
def _endpoint(replies: list[tuple[int, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An in-process endpoint that gives ``replies`` in order and keeps what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append({"path": self.path, "key": self.headers.get("Authorization"), **json.loads(body)})
            status, content = replies[min(len(asked), len(replies)) - 1]
            payload = content if isinstance(content, bytes) else _completion(content)
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(content: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


def _judge(url: str, **settings: Any) -> JudgeStanceReader:
    return JudgeStanceReader(url, "small", backoff_s=0.0, timeout_s=5.0, **settings)


def test_judge_returns_the_label_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k123")
    verdict = {"label": "rejects", "evidence": "Lyon is wrong.", "asserted": "prior"}
    reply = f"<think>hm, {{}}</think>\n```json\n{json.dumps(verdict)}\n```"
    with _endpoint([(200, reply)]) as (url, asked):
        reader = _judge(url, api_key_env="JUDGE_KEY")
        stance = reader.read("Lyon is wrong. Turin.", new=LYON, prior=TURIN, question="Where?")
    assert stance == Stance(label="rejects", evidence="Lyon is wrong.", asserted="Turin")
    assert reader.name == "judge-1:small"
    assert asked[0]["path"] == "/v1/chat/completions" and asked[0]["key"] == "Bearer k123"
    assert json.loads(asked[0]["messages"][1]["content"])["chain"] == "Lyon is wrong. Turin."


def test_judge_evidence_that_is_not_in_the_chain_is_dropped() -> None:
    with _endpoint([(200, '{"label": "silent", "evidence": "invented"}')]) as (url, _):
        assert _judge(url).read("Turin.", new=LYON, prior=None) == Stance(label="silent")


@pytest.mark.parametrize(
    "reply",
    ["supports", '{"label": "maybe"}', '["supports"]', '{"label": "supports"', '{"label": ["x"]}',
     '{"label": "supports", "asserted": ["new"]}', None, b"<html>"],
)  # fmt: skip
def test_judge_reply_that_is_malformed_raises(reply: Any) -> None:
    with _endpoint([(200, reply)]) as (url, asked), pytest.raises(EndpointError, match="Accepted:"):
        _judge(url).read("x", new=LYON, prior=TURIN)
    assert len(asked) == 1


def test_judge_tries_again_when_the_endpoint_is_busy_and_then_gives_up() -> None:
    with _endpoint([(503, b"busy"), (429, b"slow down"), (200, '{"label": "supports"}')]) as (url, asked):
        assert _judge(url).read("Lyon", new=LYON, prior=TURIN).label == "supports"
    assert len(asked) == 3
    with _endpoint([(503, b"busy")]) as (url, asked), pytest.raises(EndpointError, match="answered 503: busy"):
        _judge(url, num_retries=1).read("Lyon", new=LYON, prior=TURIN)
    assert len(asked) == 2


def test_judge_does_not_repeat_a_refused_request() -> None:
    with _endpoint([(401, b"no key")]) as (url, asked), pytest.raises(EndpointError, match="401: no key"):
        _judge(url).read("Lyon", new=LYON, prior=TURIN)
    assert len(asked) == 1


def test_judge_mistakes_of_the_user_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABSENT_KEY", raising=False)
    with pytest.raises(InputError, match="ABSENT_KEY"):
        JudgeStanceReader("http://localhost/v1", "m", api_key_env="ABSENT_KEY")
    with pytest.raises(InputError, match="'localhost' is no address"):
        JudgeStanceReader("localhost", "m")
    with pytest.raises(InputError, match="num_retries=-1"):
        JudgeStanceReader("http://localhost/v1", "m", num_retries=-1)
    with pytest.raises(EndpointError, match="could not be reached"):
        _judge("http://127.0.0.1:9/v1", num_retries=0).read("x", new=LYON, prior=None)
