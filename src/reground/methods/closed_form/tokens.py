"""At which token of a prompt an edit acts."""

from __future__ import annotations

import re

from reground.errors import InputError, ModelError
from reground.methods.closed_form.config import TokenKind
from reground.models.base import Query
from reground.models.hf.adapter import CutPrompt, HfModel

__all__ = ["names_subject", "token_index"]


def names_subject(question: str, subject: str) -> bool:
    """Whether a question names a subject, as whole words and whatever the case."""
    return _mention(question, subject) is not None


def token_index(model: HfModel, query: Query, kind: TokenKind, subject: str) -> int:
    """Index from 0, in the unpadded prompt of ``query``, of the token an edit acts at.

    Args:
        model: Whose prompt and tokens.
        query: What is asked.
        kind: Which token.
        subject: What is asked about; for ``subject``, its last mention in the question counts.

    Raises:
        InputError: The question does not name the subject, or there is no image to act at.
        ModelError: The chat template changes the question, so that its tokens cannot be found.
        CapabilityError: The tokenizer does not say where its tokens lie.
    """
    tokens = model.cut_prompt(query)
    if kind == "prompt":
        return len(tokens.spans) - 1
    if kind == "image":
        return _last_image_token(tokens, query)
    question = query.question.strip()
    start = tokens.text.rfind(question)
    if start < 0:
        raise ModelError(
            f"the question {question!r} is not found in the prompt that {model.info.name!r} makes of it.",
            "a chat template that leaves the text of a turn as it is",
            "correct the checkpoint's chat template, or let the edit act at the last token of the prompt.",
        )
    end = start + (_end_of_subject(question, subject) if kind == "subject" else len(question))
    return max(
        index
        for index, (first, past) in enumerate(tokens.spans)
        if first < past and first < end and not tokens.is_image[index]
    )


def _end_of_subject(question: str, subject: str) -> int:
    mention = _mention(question, subject)
    if mention is None:
        raise InputError(
            f"an edit was to act at the subject {subject!r}, which the question {question!r} does not name.",
            "a question that holds the subject's name word for word",
            "reword the edit's question or subject, or set `textual_token` to question or prompt.",
        )
    return mention.end()


def _last_image_token(tokens: CutPrompt, query: Query) -> int:
    places = [index for index, is_image in enumerate(tokens.is_image) if is_image]
    if not places:
        raise InputError(
            f"an edit was to act at the image of {query.question!r}, which has none.",
            "a visual edit, or a question that names its subject",
            "give the edit its image, or name the subject in the question.",
        )
    return places[-1]


def _mention(question: str, subject: str) -> re.Match[str] | None:
    pattern = r"\s+".join(map(re.escape, subject.split()))
    return next(reversed(list(re.finditer(rf"(?<!\w){pattern}(?!\w)", question, re.IGNORECASE))), None)
