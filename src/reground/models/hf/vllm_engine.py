"""A checkpoint whose answers and scores come from vLLM: ``hf:ORG/NAME?engine=vllm``.

Prompts, delimiters and end tokens are those of the same checkpoint loaded with ``transformers``; what is generated
comes back as tokens and is read the same way. There are no logits and no weights to reach, so only methods that edit
by context apply.

vLLM is no dependency: it pins torch and transformers to versions of its own. It needs an environment where it and this
package agree, and a device it runs on.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, GenerationConfig

from reground.edits.images import image_key, open_image, scaled_down
from reground.errors import CapabilityError, InputError, ModelError, RegroundError
from reground.models.base import (
    NUM_TOP_TOKENS,
    Capability,
    Delimiters,
    ModelInfo,
    Output,
    Query,
    TargetScore,
    by_query,
    check_decoding,
    check_paired,
    not_offered,
)
from reground.models.hf.chat_format import ChatFormat, end_ids_of, rendered
from reground.models.hf.checkpoint import folder_revision, read_delimiters, resolve_source
from reground.models.hf.family import family_of
from reground.models.hf.sampling import sample_seed
from reground.models.loading import VLLM_CAPABILITIES, CheckpointSpec
from reground.models.ranked import RankedToken, ranked_score

__all__ = ["VllmModel", "load_vllm_model"]

#: Frames of one query that the engine reserves memory for.
_MAX_FRAMES = 4
_LEAVE_ENGINE_OUT = "leave engine=vllm out of the model's name."


def load_vllm_model(spec: CheckpointSpec, name: str) -> VllmModel:
    """A checkpoint behind vLLM, ready to answer.

    Args:
        spec: Which checkpoint, and how it is loaded: ``dtype``, ``max_pixels``, ``device_map`` (anything but None: one
            tensor-parallel rank for each device) and ``offline`` are heeded.
        name: What results call it.

    Raises:
        RegroundError: vLLM is not installed.
        CapabilityError: No family is described for this architecture.
        ModelError: Not a checkpoint, no chat template, or the engine refuses it.
    """
    vllm = _vllm()
    options = spec.options
    source, folder = resolve_source(spec.source)
    where: dict[str, Any] = {"revision": spec.revision or "main", "local_files_only": options.offline}
    try:
        config = AutoConfig.from_pretrained(source, **where)
        family = family_of(config, spec.source)
        processor = family.load_processor(source, **where)
        if processor.chat_template is None:
            processor.chat_template = family.chat_template
        generation_config = _generation_config(source, config, where)
        engine = vllm.LLM(
            model=str(source),
            revision=spec.revision,
            dtype=options.dtype or "auto",
            tensor_parallel_size=1 if options.device_map is None else max(1, torch.cuda.device_count()),
            limit_mm_per_prompt={"image": _MAX_FRAMES},
            seed=0,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"the model {name!r} could not be loaded with vLLM: {str(error).strip().splitlines()[0][:300]}",
            "a checkpoint of a family that both reground and vLLM know",
            "load it without engine=vllm to see more, or serve it with vLLM and use endpoint:URL#NAME.",
        ) from error
    thinking_prompt = rendered(processor, Query(question="?"), spec.source)
    delimiters = read_delimiters(
        processor.tokenizer, folder, thinking_prompt=thinking_prompt, is_opened=family.opens_chain
    )
    info = ModelInfo(
        name=name,
        revision=folder_revision(folder) if folder else str(getattr(config, "_commit_hash", None) or "unknown"),
        dtype=options.dtype or str(config.dtype or "auto").removeprefix("torch."),
        device="vllm",
    )
    chat = ChatFormat(
        processor,
        family,
        delimiters,
        end_ids_of(generation_config, processor.tokenizer, family),
        image_token=processor.tokenizer.convert_ids_to_tokens(config.image_token_id),
        source=spec.source,
    )
    return VllmModel(engine, vllm.SamplingParams, chat, info, max_pixels=options.max_pixels)


class VllmModel:
    """Generates with vLLM. ``load_vllm_model`` makes one.

    Args:
        engine: ``vllm.LLM``.
        sampling_params: ``vllm.SamplingParams``.
        chat: How prompts are written and outputs read.
        info: Name, revision, number format and device.
        max_pixels: Pictures of more pixels are made smaller first; None: left to the processor.
    """

    def __init__(
        self, engine: Any, sampling_params: Any, chat: ChatFormat, info: ModelInfo, *, max_pixels: int | None = None
    ) -> None:
        self.chat = chat
        self._engine = engine
        self._sampling_params = sampling_params
        self._info = info
        self._max_pixels = max_pixels

    @property
    def info(self) -> ModelInfo:
        """Name, revision and number format; the device is called ``vllm``."""
        return self._info

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Generation, scores, notes and begun chains."""
        return VLLM_CAPABILITIES

    @property
    def delimiters(self) -> Delimiters:
        """How this model marks its chain and its answer."""
        return self.chat.delimiters

    def generate(
        self,
        queries: Sequence[Query],
        *,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
    ) -> list[list[Output]]:
        """Answers in the order of ``queries``, ``num_samples`` each; greedy if ``temperature`` is 0.

        All of them go to the engine in one call, which batches them as it sees fit; rounding may differ from batch to
        batch, and so may an answer. A sample has a seed of its own, which follows from query, sample and ``seed``.

        Raises:
            InputError: A setting is out of range, or a query has more frames than the engine reserves memory for.
            CapabilityError: A query limits its chain.
            ModelError: The engine gave up on a prompt.
        """
        check_decoding(max_new_tokens, num_samples, temperature)
        num_drawn = num_samples if temperature > 0 else 1
        prompts, settings, begun = [], [], []
        for query in queries:
            prompt, opening, text = self._prompt(query)
            key = image_key(query.image) if query.image else ""
            for sample in range(num_drawn):
                prompts.append(prompt)
                begun.append(opening)
                settings.append(
                    self._sampling_params(
                        max_tokens=max_new_tokens,
                        temperature=temperature,
                        seed=sample_seed(text, key, sample, seed) if temperature > 0 else None,
                        stop_token_ids=list(self.chat.end_ids),
                        skip_special_tokens=False,
                    )
                )
        replies = self._engine.generate(prompts, settings, use_tqdm=False) if prompts else []
        outputs = [self._output(reply.outputs[0], opening) for reply, opening in zip(replies, begun, strict=True)]
        return by_query(outputs, num_drawn, num_samples)

    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        """Teacher-forced score of ``targets[i]`` put straight after the prompt of ``queries[i]``.

        A target is cut into tokens as under ``transformers``. The engine is fed both and tells the log-probabilities of
        what it was fed; the one token that it generates after that is not read.

        Raises:
            InputError: Not one target for each query, a target without tokens, or a query has more frames than the
                engine reserves memory for.
            CapabilityError: A query limits its chain.
            ModelError: The engine does not tell all of a target.
        """
        check_paired(queries, targets)
        prompts, written = [], []
        for query, target in zip(queries, targets, strict=True):
            prompt, _, text = self._prompt(query)
            ids = prompt["prompt_token_ids"]
            written.append(self.chat.continued(text, ids, target))
            prompts.append({**prompt, "prompt_token_ids": [*ids, *written[-1]]})
        settings = self._sampling_params(max_tokens=1, temperature=0.0, prompt_logprobs=NUM_TOP_TOKENS)
        replies = self._engine.generate(prompts, [settings] * len(prompts), use_tqdm=False) if prompts else []
        return [
            self._score(reply, target_ids, target)
            for reply, target_ids, target in zip(replies, written, targets, strict=True)
        ]

    def fingerprint(self, queries: Sequence[Query]) -> str:
        """Nothing: the engine gives no logits.

        Raises:
            CapabilityError: Always.
        """
        raise not_offered("logits", self, _LEAVE_ENGINE_OUT)

    def _score(self, reply: Any, target_ids: Sequence[int], target: str) -> TargetScore:
        told, fed = reply.prompt_logprobs or [], tuple(reply.prompt_token_ids)
        num_target = len(target_ids)
        try:
            if len(told) != len(fed) or fed[-num_target:] != tuple(target_ids):
                raise ValueError(f"{len(told)} of {len(fed)} tokens came back, or others than were fed")
            return ranked_score(
                target_ids,
                [
                    {token: RankedToken(one.logprob, one.rank) for token, one in place.items()}
                    for place in told[-num_target:]
                ],
            )
        except ValueError as error:
            raise ModelError(
                f"vLLM does not tell {self._info.name!r} all of the target {target[:80]!r}: {error}.",
                "prompt_logprobs for each token of the target",
                "see what the engine logged, or leave engine=vllm out of the model's name.",
            ) from error

    def _prompt(self, query: Query) -> tuple[dict[str, Any], str, str]:
        """What the engine is given for a query, what the answer begins with, and the prompt's text."""
        if query.chain_tokens is not None:
            raise CapabilityError(
                f"a chain of {query.chain_tokens} tokens was asked of {self._info.name!r}; vLLM closes no chains.",
                "the model's own chain, or none (chain_tokens 0)",
                "leave protocol.chain_tokens out, or engine=vllm out of the model's name.",
            )
        pictures = [scaled_down(frame, self._max_pixels) for frame in open_image(query.image)] if query.image else []
        if len(pictures) > _MAX_FRAMES:
            raise InputError(
                f"{len(pictures)} frames were given to {self._info.name!r}, which generates with vLLM.",
                f"at most {_MAX_FRAMES}",
                "show fewer frames, or leave engine=vllm out of the model's name.",
            )
        pieces, begun = self.chat.prompt(query, len(pictures))
        text = self.chat.image_mark.join(pieces)
        prompt: dict[str, Any] = {"prompt_token_ids": list(self.chat.tokenise(text))}
        if pictures:
            prompt["multi_modal_data"] = {"image": pictures}
        return prompt, begun, text

    def _output(self, completion: Any, begun: str) -> Output:
        if completion.finish_reason not in ("stop", "length"):
            raise ModelError(
                f"vLLM ended an answer of {self._info.name!r} with {completion.finish_reason!r}.",
                "'stop' or 'length'",
                "see what the engine logged.",
            )
        num_begun = len(self.chat.tokenise(begun)) if begun else 0
        output = self.chat.written(completion.token_ids, begun=begun, num_begun=num_begun)
        return output.model_copy(update={"is_truncated": completion.finish_reason == "length"})


def _generation_config(source: str, config: Any, where: dict[str, Any]) -> GenerationConfig:
    try:
        return GenerationConfig.from_pretrained(source, **where)
    except OSError:
        return GenerationConfig.from_model_config(config)


def _vllm() -> Any:
    try:
        return importlib.import_module("vllm")
    except ImportError as error:
        raise RegroundError(
            "engine=vllm needs the package 'vllm', which is not installed.",
            "an environment in which vLLM and reground agree on torch and transformers",
            "pip install vllm, or serve the model with vLLM elsewhere and use endpoint:URL#NAME.",
        ) from error
