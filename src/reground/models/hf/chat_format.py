"""How the prompts of a checkpoint are written and what it writes is read, without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from reground.errors import InputError, ModelError
from reground.models.base import Delimiters, Output, Query
from reground.models.hf.family import Family
from reground.models.prompts import prompt_text

__all__ = ["ChatFormat", "end_ids_of", "rendered"]


class ChatFormat:
    """Prompts and outputs of one checkpoint.

    Args:
        processor: The checkpoint's own.
        family: Of its architecture.
        delimiters: How it marks its chain and its answer.
        end_ids: Tokens that end an answer; the first is the one to train on.
        source: What messages call the checkpoint.

    Attributes:
        processor, delimiters, end_ids, source: As given.
        image_token: The token that an image's features stand in the place of.
        image_mark: What the chat template puts where a picture goes; in some families not the image token.
        pad_id: The token that fills rows up.
    """

    def __init__(
        self,
        processor: Any,
        family: Family,
        delimiters: Delimiters,
        end_ids: tuple[int, ...],
        *,
        image_token: str,
        source: str,
    ) -> None:
        self.processor = processor
        self.delimiters = delimiters
        self.end_ids = end_ids
        self.source = source
        self.image_token = image_token
        self.image_mark: str = processor.image_token
        pad = processor.tokenizer.pad_token_id
        self.pad_id: int = end_ids[0] if pad is None else pad
        self._dropped_ids = frozenset(ids_of(processor.tokenizer, family.dropped_tokens))
        template_can_skip_chain = rendered(processor, Query(question="?"), source) != rendered(
            processor, Query(question="?", is_thinking=False), source
        )
        self._adds_empty_chain = delimiters.writes_chain and not template_can_skip_chain

    def prompt(self, query: Query, num_frames: int) -> tuple[list[str], str]:
        """The prompt of a query, cut where its frames go, and what at its end the answer begins with.

        Raises:
            InputError: Text that is taken for an image, or a template that has no place for one.
        """
        text = rendered(self.processor, query, self.source)
        marks = self.delimiters
        opening = "" if marks.template_opens_chain else marks.chain_open
        if not query.is_thinking and self._adds_empty_chain:
            text = text.rstrip() + opening + marks.chain_close
        begun = "" if query.chain_start is None else opening + query.chain_start
        text += begun
        pieces = text.split(self.image_mark)
        num_stray = 0 if self.image_mark == self.image_token else text.count(self.image_token)
        if len(pieces) != num_frames + 1 or num_stray:
            raise InputError(
                f"a prompt has {len(pieces) - 1 + num_stray} image places for {num_frames} frames: {query.question!r}.",
                f"one place for each frame, and no {self.image_mark!r} or {self.image_token!r} in question, note or "
                "options",
                "take the image token out of the text, or correct the checkpoint's chat template.",
            )
        return pieces, begun

    def tokenise(self, text: str) -> tuple[int, ...]:
        """The tokens of a prompt, special ones where the template has not put them."""
        ids: Sequence[int] = self.processor.tokenizer(text, add_special_tokens=self.adds_special_tokens(text))[
            "input_ids"
        ]
        return tuple(ids)

    def adds_special_tokens(self, text: str) -> bool:
        """Whether the tokenizer is to add its own special tokens: not where the template has begun with them."""
        first = self.processor.tokenizer.bos_token
        # A picture may come before the start of the text.
        return not (bool(first) and text.replace(self.image_token, "").startswith(first))

    def continued(self, text: str, ids: Sequence[int], completion: str) -> tuple[int, ...]:
        """The tokens of a completion put straight after a prompt.

        If the prompt ends in neither a special token nor white space, a space is put between, as a model would write
        one.

        Args:
            text: The prompt.
            ids: Its tokens.
            completion: What stands behind it.

        Raises:
            InputError: The completion holds no tokens, or one that stands for an image.
        """
        tokenizer = self.processor.tokenizer
        special = tokenizer.added_tokens_decoder.get(ids[-1])
        is_set_off = text[-1:].isspace() or (special is not None and special.special)
        glue = "" if is_set_off or completion[:1].isspace() else " "
        joint = self.tokenise(text + glue + completion)
        # Where a token straddles the seam, the prompt keeps its own tokens: it is the completion that is free.
        is_clean = joint[: len(ids)] == tuple(ids)
        written = joint[len(ids) :] if is_clean else self.tokenise(glue + completion)
        if not completion.strip() or not written:
            raise InputError(
                f"the completion {completion!r} holds no tokens.",
                "a text that is not blank",
                "give the answer's text.",
            )
        if tokenizer.convert_tokens_to_ids(self.image_token) in written:
            raise InputError(
                f"the completion {completion!r} holds the image token {self.image_token!r}.",
                "text alone",
                "take the token out.",
            )
        return written

    def written(self, ids: Sequence[int], *, begun: str = "", num_begun: int = 0) -> Output:
        """What generated tokens say, up to the end token; padding is left out.

        Args:
            ids: The tokens.
            begun: What the prompt held of the answer, which the text is to begin with.
            num_begun: Tokens of that.
        """
        ends = [position for position, token in enumerate(ids) if token in self.end_ids]
        kept = ids[: ends[0] if ends else len(ids)]
        written = [token for token in kept if token != self.pad_id and token not in self._dropped_ids]
        text = self.processor.tokenizer.decode(written, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return Output(text=begun + text, num_tokens=num_begun + len(written), is_truncated=not ends)


def rendered(processor: Any, query: Query, source: str) -> str:
    """A query in the checkpoint's chat template, up to where the answer begins.

    Raises:
        ModelError: There is no usable template.
    """
    parts: list[dict[str, str]] = [{"type": "image"} for _ in (query.image.frames if query.image else ())]
    parts.append({"type": "text", "text": prompt_text(query)})
    # A setting the template does not read would be warned of at every prompt.
    settings = {"enable_thinking": query.is_thinking} if "enable_thinking" in str(processor.chat_template) else {}
    try:
        text: str = processor.apply_chat_template(
            [{"role": "user", "content": parts}],
            tokenize=False,
            add_generation_prompt=True,
            **settings,
        )
    except (ValueError, TypeError, TemplateError) as error:
        raise ModelError(
            f"{source!r} has no usable chat template: {error}",
            "a checkpoint whose processor carries a chat template",
            "save one with the processor (chat_template.jinja in the checkpoint folder).",
        ) from error
    return text


def ids_of(tokenizer: Any, tokens: Sequence[str]) -> list[int]:
    """Ids of those of the tokens that a tokenizer knows."""
    known = tokenizer.get_vocab()
    return [known[token] for token in tokens if token in known]


def end_ids_of(generation_config: Any, tokenizer: Any, family: Family) -> tuple[int, ...]:
    """Tokens that end an answer; the first is the one to train on.

    Raises:
        ModelError: The checkpoint states none.
    """
    stated = generation_config.eos_token_id
    many = stated if isinstance(stated, list) else [stated]
    turn_ends = ids_of(tokenizer, family.end_tokens)
    other = ids_of(tokenizer, ["<end_of_utterance>"])
    found = [token for token in (*turn_ends, tokenizer.eos_token_id, *many, *other) if token is not None]
    if not found:
        raise ModelError(
            "the checkpoint states no end token.",
            "an eos_token in the tokenizer or an eos_token_id in the generation config",
            "save the tokenizer with its eos_token set.",
        )
    return tuple(dict.fromkeys(found))
