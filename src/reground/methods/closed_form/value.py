"""What an edit writes: the shift of one module's output that makes the target follow the prompt.

Axes: B rows of a batch, T tokens, V vocabulary, H width of the shifted output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from reground.edits.records import Edit, Record
from reground.errors import ModelError
from reground.methods.chain_target import CompletionTarget, edit_query
from reground.methods.closed_form.activations import at_tokens, shares_of, shifted_output
from reground.methods.closed_form.config import ClosedFormConfig, TokenKind
from reground.methods.closed_form.tokens import names_subject, token_index
from reground.methods.recomputing import recomputes, recomputing
from reground.models.base import Query
from reground.models.hf.adapter import HfModel, prompt_tokens

__all__ = ["Request", "ValueReport", "edit_keys", "edit_requests", "request_tokens", "value_shift"]

_NO_LABEL = -100


class ValueReport(Record):
    """How the value of one edit was found.

    Attributes:
        token: Where the edit acts.
        num_steps: Optimiser steps taken.
        first_loss: Loss before the first step.
        last_loss: Loss when the steps ended.
        relative_norm: Length of the shift, as a multiple of that of the value it shifts.
    """

    token: TokenKind
    num_steps: int
    first_loss: float
    last_loss: float
    relative_norm: float


@dataclass(frozen=True)
class Request:
    """One edit as the closed forms need it.

    Attributes:
        target: What should follow the prompt.
        queries: The edit's question, then the same after each context.
        essence: A prompt whose next token should not change, where the edit acts at a token that stands for the
            subject.
        token: The kind of token the edit acts at.
        indices: Where it is in each of ``queries`` and, at the end, in ``essence``.
    """

    target: CompletionTarget
    queries: tuple[Query, ...]
    essence: Query | None
    token: TokenKind
    indices: tuple[int, ...]


def edit_requests(
    model: HfModel,
    edits: Sequence[Edit],
    targets: Sequence[CompletionTarget],
    contexts: Sequence[str],
    config: ClosedFormConfig,
) -> list[Request]:
    """The edits, each with its prompts and the tokens it acts at.

    Raises:
        InputError: An edit is to act at a subject that its question does not name.
        ModelError: The chat template changes the question.
        CapabilityError: The tokenizer does not say where its tokens lie.
    """
    return [_request(model, edit, target, contexts, config) for edit, target in zip(edits, targets, strict=True)]


def _request(
    model: HfModel, edit: Edit, target: CompletionTarget, contexts: Sequence[str], config: ClosedFormConfig
) -> Request:
    plain = edit_query(edit)
    queries = (
        plain,
        *(plain.model_copy(update={"question": f"{context} {plain.question}"}) for context in contexts),
    )
    is_in_text = edit.image is None or names_subject(edit.question, edit.subject)
    token: TokenKind = config.textual_token if is_in_text else config.visual_token
    essence = None
    if token == "subject":
        essence = Query(question=config.textual_essence.replace("{subject}", edit.subject))
    elif token == "image":
        essence = Query(question=config.visual_essence, image=edit.image)
    every = (*queries, essence) if essence else queries
    indices = tuple(token_index(model, query, token, edit.subject) for query in every)
    return Request(target=target, queries=queries, essence=essence, token=token, indices=indices)


def edit_keys(model: HfModel, request: Request, path: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The key (I) of an edit's own prompt, and its mean over that prompt and all contexts, in single precision."""
    keys_BI = request_tokens(model, request, inputs_of=[path])[0][path].float()
    return keys_BI[0], keys_BI.mean(dim=0)


def request_tokens(
    model: HfModel, request: Request, *, inputs_of: Sequence[str] = (), outputs_of: Sequence[str] = ()
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What ``at_tokens`` gives for an edit's own prompt, first, and for the same after each context."""
    queries, indices = request.queries, request.indices[: len(request.queries)]
    batch = model.prompt_batch(queries)
    if len(queries) == 1 or not recomputes(model, batch["attention_mask"].numel()):
        return at_tokens(model, batch, indices, inputs_of=inputs_of, outputs_of=outputs_of)
    del batch
    found = [
        at_tokens(model, model.prompt_batch([query]), [index], inputs_of=inputs_of, outputs_of=outputs_of)
        for query, index in zip(queries, indices, strict=True)
    ]
    inputs, outputs = zip(*found, strict=True)
    return _joined(inputs), _joined(outputs)


def _joined(rows: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {path: torch.cat([row[path] for row in rows]) for path in rows[0]}


def value_shift(
    model: HfModel, request: Request, path: str, direction_I: torch.Tensor, config: ClosedFormConfig
) -> tuple[torch.Tensor, ValueReport]:
    """The shift (H) of the output at ``path`` under which the target follows the prompt, in single precision.

    It is found under the update that will be written, ``shift`` times ``direction_I`` transposed, which moves the
    outputs at other tokens too, more or less.

    Minimises, over the shift d of the output v at the edit's token: the mean cross-entropy of the target's tokens over
    all contexts, plus ``kl_weight`` times the divergence of what follows the essence prompt from what followed it
    before, plus ``norm_penalty`` times |d| / |v|; |d| is held to ``max_norm`` times |v|, and Adam's step is
    ``learning_rate`` times the root mean square of v.

    Raises:
        ModelError: The loss is no longer finite.

    Source:
        Meng et al., 2022, "Locating and Editing Factual Associations in GPT", equation 4; penalty and bound are in the
        released code alone. Differs: both, and the step, are relative to v, whose length varies widely among models;
        the paper shifts the output at the edit's token alone.
    """
    parts = _parts(model, request, path, direction_I, config)
    plain = model.prompt_batch(request.queries[:1])
    value_H = at_tokens(model, plain, request.indices[:1], outputs_of=[path])[1][path][0].float()
    length = float(value_H.norm())
    shift_H = torch.zeros_like(value_H, requires_grad=True)
    optimiser = torch.optim.Adam([shift_H], lr=config.learning_rate * length / len(value_H) ** 0.5)
    losses: list[float] = []
    while True:
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for number, part in enumerate(parts):
            with torch.enable_grad(), shifted_output(model, path, part.shares_BT, shift_H):
                loss = part.loss(model, config.kl_weight)
                if number == 0:
                    loss = loss + config.norm_penalty * shift_H.norm() / length
                total += float(loss.detach())
                is_last = total < config.loss_floor or len(losses) == config.num_steps
                # Of several parts none is kept until all are known.
                if len(parts) > 1 or not is_last:
                    loss.backward()  # type: ignore[no-untyped-call]
        losses.append(total)
        if not math.isfinite(total):
            raise _diverged(losses, config.learning_rate)
        if is_last:
            break
        optimiser.step()
        with torch.no_grad():
            shift_H *= (config.max_norm * length / shift_H.norm()).clamp(max=1.0)
    report = ValueReport(
        token=request.token,
        num_steps=len(losses) - 1,
        first_loss=losses[0],
        last_loss=losses[-1],
        relative_norm=float(shift_H.detach().norm()) / length,
    )
    return shift_H.detach(), report


@dataclass
class _Part:
    """Prompts that are run together while a value is searched for.

    Attributes:
        batch: The prompts, each followed by the target; last, if it is here, the essence prompt.
        shares_BT: What of the shift each token gets.
        num_queries: How many of the prompts are followed by the target as they should.
        weight: Their share of all such prompts.
        essence_before_V: What followed the essence prompt at first, log-probabilities; once it was run.
    """

    batch: Mapping[str, torch.Tensor]
    shares_BT: torch.Tensor
    num_queries: int
    weight: float
    essence_before_V: torch.Tensor | None = None

    def loss(self, model: HfModel, kl_weight: float) -> torch.Tensor:
        """What this part adds to the loss, in nats."""
        loss, essence_V = _target_and_essence(model, self.batch, self.num_queries)
        loss = self.weight * loss
        if essence_V is not None:
            if self.essence_before_V is None:
                self.essence_before_V = essence_V.detach()
            drift = functional.kl_div(self.essence_before_V, essence_V, log_target=True, reduction="sum")
            loss = loss + kl_weight * drift
        return loss


def _parts(
    model: HfModel, request: Request, path: str, direction_I: torch.Tensor, config: ClosedFormConfig
) -> list[_Part]:
    """All prompts together; each by itself where together they would keep too much for the way back."""
    every = (*request.queries, request.essence) if request.essence else request.queries

    def part(queries: Sequence[Query], num_queries: int) -> _Part:
        batch = model.training_batch(queries, [request.target.text] * len(queries), ends=config.ends)
        shares_BT = shares_of(model, batch, path, direction_I)
        return _Part(batch, shares_BT, num_queries, num_queries / len(request.queries))

    together = part(every, len(request.queries))
    if len(every) == 1 or not recomputes(model, together.batch["attention_mask"].numel()):
        return [together]
    return [part([query], int(number < len(request.queries))) for number, query in enumerate(every)]


def _target_and_essence(
    model: HfModel, batch: Mapping[str, torch.Tensor], num_queries: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Cross-entropy of the target in the first rows, and what follows the essence prompt, the row after them if any.

    The target after the essence prompt has no bearing on what comes before it.

    Returns:
        The mean over tokens, then over rows, in nats, 0 without such rows; and log-probabilities (V).
    """
    labels_BT = batch["labels"]
    is_label_BT = labels_BT != _NO_LABEL
    num_columns = labels_BT.shape[1] - int(is_label_BT.any(dim=0).nonzero()[0])
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with model.passing(prompt_tokens(batch)), recomputing(model, batch["attention_mask"].numel()):
        logits_BTV = model.module(**inputs, use_cache=False, logits_to_keep=num_columns + 1, return_dict=True).logits
    losses_BT = functional.cross_entropy(
        logits_BTV[:num_queries, :-1].float().transpose(1, 2),
        labels_BT[:num_queries, -num_columns:],
        ignore_index=_NO_LABEL,
        reduction="none",
    )
    means_B = losses_BT.sum(dim=1) / is_label_BT[:num_queries].sum(dim=1)
    loss = means_B.mean() if num_queries else means_B.sum()
    if num_queries == len(labels_BT):
        return loss, None
    prompt_end = -1 - int(is_label_BT[-1].sum())
    return loss, logits_BTV[-1, prompt_end].float().log_softmax(-1)


def _diverged(losses: Sequence[float], learning_rate: float) -> ModelError:
    return ModelError(
        f"finding the value of an edit diverged at learning_rate={learning_rate}: "
        f"the loss is {losses[-1]} after {len(losses) - 1} steps.",
        "a step size at which the loss stays finite",
        "lower learning_rate, or load the model in float32.",
    )
