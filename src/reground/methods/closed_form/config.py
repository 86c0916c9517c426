"""Settings that the closed-form weight editors have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reground.methods.base import MethodConfig
from reground.methods.chain_target import TargetKind

__all__ = ["BatchConfig", "ClosedFormConfig", "TokenKind"]

#: The token of a prompt at which an edit acts: the last of the subject's name; the last of the image; the last of the
#: question; the last of the prompt. All but the first have seen the whole image.
TokenKind = Literal["subject", "image", "question", "prompt"]


class ClosedFormConfig(MethodConfig):
    """What is written, at which token, and which keys the write should spare.

    Attributes:
        target: ``answer``: the new answer straight after the prompt, as the field does. ``chain``: the model's own
            chain with the fact replaced, then the answer.
        module: The linear part of a layer that is edited, as a path within it.
        textual_token: Where an edit acts whose question names the subject.
        visual_token: Where an edit acts whose subject is in the image alone.
        num_contexts: Texts put before the question, one at a time, so that the key does not hang on what stands
            before it (N in ROME, equation 3, which samples them from the model); they are the beginnings of the
            corpus's first questions.
        learning_rate: Adam's step size for the value, as a multiple of its root mean square.
        num_steps: Steps at most for each value.
        loss_floor: Loss, in nats, below which a value is left as it is.
        kl_weight: Weight of the drift of what is said of the subject otherwise; for edits that act at the subject or
            the image, which other questions share.
        norm_penalty: Weight of the length of the shift, as a multiple of that of the value it shifts.
        max_norm: Longest shift, as a multiple of the length of the value it shifts.
        textual_essence: Prompt whose next token should not change; ``{subject}`` is replaced.
        visual_essence: The same, asked of the image of an edit whose subject is there alone.
        ends: Aim at the end token after the target too.
        max_chain_tokens: Token budget of the model's own chain, for ``chain``.
        corpus: Texts whose keys are to be spared: ``phantom-med``, ``phantom-general``, or a file (``.jsonl`` with
            ``question``, ``image``, ``completion``; else one question a line). None: a built-in model's own.
        num_texts: Texts of the corpus to use, from its beginning.
    """

    target: TargetKind = "answer"
    module: str = "mlp.down_proj"
    textual_token: Literal["subject", "question", "prompt"] = "prompt"
    visual_token: Literal["image", "question", "prompt"] = "prompt"
    num_contexts: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=0.2, gt=0)
    num_steps: int = Field(default=120, ge=1)
    loss_floor: float = Field(default=0.05, ge=0)
    kl_weight: float = Field(default=0.0625, ge=0)
    norm_penalty: float = Field(default=0.01, ge=0)
    max_norm: float = Field(default=16.0, gt=0)
    textual_essence: str = "{subject} is a"
    visual_essence: str = "what is this?"
    ends: bool = False
    max_chain_tokens: int = Field(default=96, ge=1)
    corpus: str | None = None
    num_texts: int = Field(default=1000, ge=1)


class BatchConfig(ClosedFormConfig):
    """The settings all closed-form editors share, and the layers over which edits are spread.

    Attributes:
        layers: Text layers that are edited (R in MEMIT); negative counts from the last, which itself will not do.
            None: from an eighth to a quarter of the way up; of fewer than eight, the lowest alone.
    """

    layers: tuple[int, ...] | None = None
