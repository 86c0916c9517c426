"""Edit and probe files: what is read back, and how each defect is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reground.edits.files import read_edits, read_probes, scan_edits, write_atomically, write_records
from reground.edits.records import Answer, Edit, Expectation, ImageRef, Probe
from reground.errors import InputError, RecordError

EDIT = Edit(
    subject="velmora syndrome",
    relation="drug",
    modality="textual",
    question="what is the drug for velmora syndrome?",
    new_answer=Answer(text="tarvexin", aliases=("tarvex",)),
    statement="the drug for velmora syndrome is tarvexin.",
)
SEEN = EDIT.model_copy(update={"modality": "visual", "image": ImageRef(frames=("img/a.png",))})
PROBE = Probe(
    edit_id=EDIT.id,
    kind="reliability",
    level="exact",
    question=EDIT.question,
    expectation=Expectation(kind="answer", answer=EDIT.new_answer),
)


def content(**changes: Any) -> str:
    value = EDIT.model_dump(mode="json") | changes
    if changes and "id" not in changes:
        del value["id"]
    return json.dumps(value)


def defect(path: Path, text: str | bytes) -> RecordError:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecordError) as caught:
        read_edits(path)
    assert len(str(caught.value).splitlines()) == 3
    assert str(path) in caught.value.tried
    return caught.value


def test_records_survive_a_round_trip(tmp_path: Path) -> None:
    write_records(tmp_path / "edits.jsonl", [EDIT])
    write_records(tmp_path / "probes.jsonl", [PROBE])
    assert read_edits(tmp_path / "edits.jsonl") == (EDIT,)
    assert read_probes(tmp_path / "probes.jsonl") == (PROBE,)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_relative_images_are_placed_without_moving_the_id(tmp_path: Path) -> None:
    write_records(tmp_path / "edits.jsonl", [SEEN])
    (edit,) = read_edits(tmp_path / "edits.jsonl")
    assert edit.id == SEEN.id
    assert edit.image is not None
    assert (edit.image.frames, edit.image.folder) == (("img/a.png",), str(tmp_path))


def test_rendered_images_stay_as_they_are(tmp_path: Path) -> None:
    seen = SEEN.model_copy(update={"image": ImageRef(frames=("phantom:blank",))})
    write_records(tmp_path / "edits.jsonl", [seen])
    assert read_edits(tmp_path / "edits.jsonl") == (seen,)


def test_a_missing_last_newline_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text("\n" + content() + "\n\n" + content(subject="other"))
    assert len(read_edits(tmp_path / "e.jsonl")) == 2


@pytest.mark.parametrize(
    ("line", "field", "says"),
    [
        ('{"subject": "a", ', None, "line 2"),
        ("[]", None, "holds a list"),
        ('{"subject": NaN}', None, "NaN"),
        ('{"subject": -Infinity}', None, "-Infinity"),
        ('{"subject": "a", "subject": "b"}', "subject", "twice"),
        ("1" * 5000, None, "not JSON"),
        ("[" * 100_000, None, "not JSON"),
        (content(question=5), "question", "Accepted: text\n"),
        (content(question=" "), "question", "text that is not empty"),
        (content(question="\u200b\ufeff"), "question", "text that is not empty"),
        (content(question="\x00\x1b"), "question", "text that is not empty"),
        (content(new_answer={"text": "a", "alias": []}), "new_answer.alias", "the fields text, aliases\n"),
        (content(new_answer={"text": "a", "aliases": "b"}), "new_answer.aliases", "Accepted: a list"),
        (content(new_answer="a"), "new_answer", "an object with the fields text, aliases"),
        (content(image=4), "image", "an address as text"),
        (content(quesiton="a"), "quesiton", "did you mean 'question'?"),
        (content(options="a"), "options", "does not fit"),
        (content(modality="visual"), None, "image"),
        (content(colour="red"), "colour", "no such field"),
        (content(subject="b\ud800"), "subject", "does not fit"),
        (content(id="e000000000000"), "id", "not that of the content"),
    ],
)
def test_each_defect_names_line_and_field(tmp_path: Path, line: str, field: str | None, says: str) -> None:
    error = defect(tmp_path / "e.jsonl", content() + "\n" + line + "\n")
    assert (error.line, error.field) == (2, field)
    assert says in str(error)
    assert "line 2" in error.tried


def test_missing_question_is_named(tmp_path: Path) -> None:
    value = EDIT.model_dump(mode="json", exclude={"question", "id"})
    error = defect(tmp_path / "e.jsonl", json.dumps(value))
    assert (error.line, error.field) == (1, "question")
    assert "missing" in error.tried


def test_file_cut_in_the_middle_says_so(tmp_path: Path) -> None:
    assert "ends in the middle" in defect(tmp_path / "e.jsonl", content() + "\n" + content()[:40]).tried


def test_other_encodings_are_named(tmp_path: Path) -> None:
    assert "UTF-8" in defect(tmp_path / "e.jsonl", content().encode() + '\n"é"'.encode("latin-1")).tried


def test_a_byte_order_mark_does_no_harm_and_utf16_is_named(tmp_path: Path) -> None:
    """A mark nobody can see made the first line "not JSON"."""
    (tmp_path / "marked.jsonl").write_text(content() + "\n", encoding="utf-8-sig")
    assert read_edits(tmp_path / "marked.jsonl") == (EDIT,)
    error = defect(tmp_path / "e.jsonl", (content() + "\n").encode("utf-16"))
    assert "UTF-16" in error.tried and "iconv -f utf-16" in error.next_step


def test_any_line_end_will_do(tmp_path: Path) -> None:
    """A file with bare carriage returns was said to end in the middle of a record."""
    for end in ("\r\n", "\r"):
        (tmp_path / "e.jsonl").write_bytes(end.join([content(), "{", content(subject="b"), ""]).encode())
        scan = scan_edits(tmp_path / "e.jsonl")
        assert scan.lines == (1, 3)
        assert [(error.line, "not JSON" in error.tried) for error in scan.errors] == [(2, True)]


def test_duplicates_name_both_lines(tmp_path: Path) -> None:
    error = defect(tmp_path / "e.jsonl", content() + "\n\n" + content() + "\n")
    assert (error.line, error.field) == (3, "id")
    assert "line 1" in error.tried


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_file_is_a_defect(tmp_path: Path, text: str) -> None:
    assert "holds no edit" in defect(tmp_path / "e.jsonl", text).tried


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl"):
        read_edits(tmp_path / "none.jsonl")


def test_a_scan_finds_every_defect_and_keeps_what_is_sound(tmp_path: Path) -> None:
    lines = [content(question=5), content(), "{", content(subject="other")]
    (tmp_path / "e.jsonl").write_text("\n".join(lines) + "\n")
    scan = scan_edits(tmp_path / "e.jsonl")
    assert [error.line for error in scan.errors] == [1, 3]
    assert scan.lines == (2, 4)
    assert [edit.subject for edit in scan.records] == ["velmora syndrome", "other"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
