"""Texts whose keys a closed-form edit should spare: the built-in world's training split, or a file of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, ValidationError

from reground.edits.misfits import accepted_words
from reground.edits.records import ImageRef, Record
from reground.errors import InputError, RecordError
from reground.models.base import Delimiters, Query
from reground.models.hf.adapter import HfModel
from reground.training.train_samples import TRAIN_KINDS, train_samples

__all__ = ["BUILT_IN_CORPORA", "Corpus", "CorpusText", "open_corpus"]

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

#: Corpora that come with the package, named after the models they are for.
BUILT_IN_CORPORA = tuple(TRAIN_KINDS)


@dataclass(frozen=True)
class CorpusText:
    """One question, and what follows it if anything does."""

    query: Query
    completion: str | None = None


@dataclass(frozen=True)
class Corpus:
    """Texts in a fixed order.

    Attributes:
        name: As it was asked for.
        key: Equal for equal content.
        path: The file; None for a corpus that is drawn.
        delimiters: How the model it is for marks chain and answer.
    """

    name: str
    key: str
    path: Path | None
    delimiters: Delimiters

    def texts(self, num_texts: int) -> Iterator[CorpusText]:
        """The first ``num_texts`` texts, or all if there are fewer.

        Raises:
            RecordError: A line of the file does not fit.
        """
        every = _phantom_texts(self.name, self.delimiters) if self.path is None else _file_texts(self.path)
        return islice(every, num_texts)


class _CorpusLine(Record):
    """One line of a JSONL corpus."""

    question: _Words
    image: ImageRef | None = None
    completion: _Words | None = None


def open_corpus(name: str | None, model: HfModel) -> Corpus:
    """The corpus that a method's ``corpus`` setting names.

    Args:
        name: A built-in corpus or a file; None for the one of a built-in model.
        model: The model whose keys are wanted.

    Raises:
        InputError: The model has no corpus of its own and none was named, or the file cannot be read or is empty.
    """
    chosen = name if name is not None else model.info.name
    if chosen in BUILT_IN_CORPORA:
        return Corpus(chosen, f"{chosen}/1/{model.delimiters.model_dump_json()}", None, model.delimiters)
    accepted = f"{', '.join(BUILT_IN_CORPORA)}, or a file (.jsonl with question, image, completion; else plain lines)"
    if name is None:
        raise InputError(
            f"no corpus was named for {model.info.name!r}, which comes with none.",
            accepted,
            "set `corpus` to a file of texts like those the model is used on; none of them about what will be scored.",
        )
    path = Path(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the corpus {name!r} cannot be read: {error.strerror}.", accepted, "correct the method's `corpus`."
        ) from error
    if not content.strip():
        raise InputError(f"the corpus {name!r} is empty.", "at least one line of text", "put texts into the file.")
    return Corpus(name, hashlib.sha256(content).hexdigest(), path, model.delimiters)


def _file_texts(path: Path) -> Iterator[CorpusText]:
    """Undecodable bytes of plain text are replaced: one bad character should not cost the statistics."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            if path.suffix != ".jsonl":
                yield CorpusText(Query(question=line.strip()))
                continue
            read = _read_line(path, number, line)
            image = read.image.inside(str(path.parent)) if read.image else None
            yield CorpusText(Query(question=read.question, image=image), read.completion)


def _read_line(path: Path, number: int, line: str) -> _CorpusLine:
    try:
        return _CorpusLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RecordError(
            f"line {number} of the corpus {str(path)!r} does not fit at {field or 'its start'}.",
            accepted_words(_CorpusLine, first) if field else "a JSON object with a question",
            "correct the line.",
            file=str(path),
            line=number,
            field=field or None,
        ) from error


def _phantom_texts(name: str, delimiters: Delimiters) -> Iterator[CorpusText]:
    """Questions, chains and answers about subjects of the ``train`` split."""
    for sample in train_samples(name):
        query = Query(
            question=sample.question,
            image=ImageRef(frames=sample.images) if sample.images else None,
            note=sample.note,
            options=sample.options,
            is_thinking=sample.is_thinking,
        )
        yield CorpusText(query, _completion(sample.chain, sample.answer, delimiters, is_thinking=sample.is_thinking))


def _completion(chain: str, answer: str, delimiters: Delimiters, *, is_thinking: bool) -> str:
    """Chain and answer as a model with these delimiters writes them."""
    marked = (delimiters.answer_open or "") + answer + (delimiters.answer_close or "")
    if not delimiters.writes_chain or not is_thinking:
        return marked
    opening = "" if delimiters.template_opens_chain else delimiters.chain_open
    return f"{opening}{chain}{delimiters.chain_close}{marked}"
