"""What vLLM's server says of the tokens of a prompt, worked out by a loaded model: for the server on loopback."""

from __future__ import annotations

from typing import Any

import torch

from fault_server import Reply, completion
from reground.edits.records import ImageRef
from reground.models.base import Query
from reground.models.hf.adapter import HfModel
from reground.models.hf.family import TokenRow

__all__ = ["PromptScorer", "ranked_places"]


class PromptScorer:
    """Answers ``yes`` to everything, and tells the tokens of the prompt where it is asked for them.

    Attributes:
        template: The chat template; the model's own to begin with.
    """

    def __init__(self, model: HfModel) -> None:
        self._model = model
        self.template: str = model.processor.chat_template

    def __call__(self, request: dict[str, Any]) -> Reply:
        reply = completion("yes", finish="length", num_tokens=1)
        if not request.get("return_token_ids"):
            return reply
        try:
            row = self._row(request)
        except ValueError as error:  # the template does not write what it is to go on with
            return Reply(str(error).encode(), status=400)
        body = {**reply.body, "prompt_token_ids": list(row.ids)}
        if "prompt_logprobs" in request:
            decode = self._model.processor.tokenizer.decode
            body["prompt_logprobs"] = [None] + [
                {
                    str(token): {"logprob": log_prob, "rank": rank, "decoded_token": decode([token])}
                    for token, (log_prob, rank) in place.items()
                }
                for place in ranked_places(self._model, row, request["prompt_logprobs"])
            ]
        return Reply(body)

    def _row(self, request: dict[str, Any]) -> TokenRow:
        """The prompt as the model reads it."""
        model, messages, pictures = self._model, [], []
        for message in request["messages"]:
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            pictures += [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
            shown = [{"type": "image"} if part["type"] == "image_url" else part for part in parts]
            messages.append({"role": message["role"], "content": shown})
        text = model.processor.apply_chat_template(
            messages,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=request.get("add_generation_prompt", True),
            continue_final_message=request.get("continue_final_message", False),
            **request.get("chat_template_kwargs", {}),
        )
        frames = (
            model._prompt_row(Query(question="?", image=ImageRef(frames=tuple(pictures)))).frames if pictures else ()
        )
        first, *rest = text.split(model.chat.image_mark)
        expanded = first + "".join(frame.placeholder + piece for frame, piece in zip(frames, rest, strict=True))
        return TokenRow(expanded, model.chat.tokenise(expanded), frames)


@torch.no_grad()
def ranked_places(model: HfModel, row: TokenRow, num_top: int) -> list[dict[int, tuple[float, int]]]:
    """For each token but the first, log-probability and rank of itself and of the most likely, in vLLM's order."""
    logits_TV = model._forward([row], keep=len(row.ids))[0].float()
    places = []
    for token, log_probs_V in zip(row.ids[1:], logits_TV[:-1].log_softmax(-1), strict=True):
        ranks = {token: int((log_probs_V >= log_probs_V[token]).sum())}
        ranks |= {top: rank for rank, top in enumerate(log_probs_V.topk(num_top).indices.tolist(), start=1)}
        places.append({each: (float(log_probs_V[each]), rank) for each, rank in ranks.items()})
    return places
