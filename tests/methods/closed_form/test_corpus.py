"""Which texts a closed-form edit spares, and that none of them is about what is scored."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from reground.edits.records import ImageRef
from reground.errors import InputError, RecordError
from reground.methods.closed_form.corpus import BUILT_IN_CORPORA, CorpusText, open_corpus
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from reground.phantom.render import uri_keys
from reground.phantom.world import phantom_world


@pytest.mark.parametrize("name", BUILT_IN_CORPORA)
def test_the_built_in_corpora_are_about_training_subjects_alone(name: str, tiny_model: HfModel) -> None:
    world = phantom_world()
    others = [subject for subject, split in world.splits.items() if split != "train"]
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, others))})\b")
    texts = list(open_corpus(name, tiny_model).texts(200))
    assert texts == list(open_corpus(name, tiny_model).texts(200))
    assert len({text.query.question for text in texts}) > 100
    for text in texts:
        query = text.query
        assert text.completion is not None
        assert not named.search(" ".join([query.question, query.note or "", *query.options, text.completion]))
        for uri in query.image.frames if query.image else ():
            keys = uri_keys(uri) if uri.startswith("phantom:") else {}
            subject = keys.get("name") or f"{keys.get('sign')} in the {keys.get('organ')}"
            assert world.splits.get(subject, "train") == "train"


def test_a_file_is_read_line_by_line(tiny_model: HfModel, tmp_path: Path, tiny_images: list[str]) -> None:
    plain = tmp_path / "texts.txt"
    plain.write_text("one?\n\n two? \n")
    assert list(open_corpus(str(plain), tiny_model).texts(5)) == [
        CorpusText(Query(question="one?")),
        CorpusText(Query(question="two?")),
    ]
    records = tmp_path / "texts.jsonl"
    records.write_text('{"question": "one?", "image": "1.png", "completion": "yes"}\n{"question": "two?"}\n')
    first, second = open_corpus(str(records), tiny_model).texts(5)
    image = ImageRef(frames=("1.png",)).inside(str(tmp_path))
    assert first == CorpusText(Query(question="one?", image=image), "yes")
    assert first.query.image is not None and first.query.image.folder == str(tmp_path)
    assert second == CorpusText(Query(question="two?"))
    assert list(islice(open_corpus(str(records), tiny_model).texts(1), 2)) == [first]


def test_equal_content_has_an_equal_key(tiny_model: HfModel, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text("other" if name == "c.txt" else "same")
    first, second, third = (open_corpus(str(tmp_path / name), tiny_model).key for name in ("a.txt", "b.txt", "c.txt"))
    assert first == second != third


def test_what_is_no_corpus_is_refused(tiny_model: HfModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no corpus was named"):
        open_corpus(None, tiny_model)
    with pytest.raises(InputError, match="cannot be read"):
        open_corpus(str(tmp_path / "absent.txt"), tiny_model)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        open_corpus(str(tmp_path / "empty.txt"), tiny_model)
    (tmp_path / "bad.jsonl").write_text('{"question": "one?"}\n{"query": "two?"}\n')
    with pytest.raises(RecordError, match="line 2") as caught:
        list(open_corpus(str(tmp_path / "bad.jsonl"), tiny_model).texts(5))
    assert caught.value.line == 2
