"""Vision-language models loaded with ``transformers``, behind the model seam.

Each image is encoded once and its features are kept; prompts enter the text model as embeddings. So a hundred
questions about one image pass the vision tower once, and a method that trains the text model never runs the tower.

Axes: B rows of a batch, T tokens, V vocabulary, H hidden width.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from PIL import __version__ as pillow_version
from safetensors import SafetensorError
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers import __version__ as transformers_version
from transformers.utils import logging as progress

from reground import __version__
from reground.edits.images import image_key, open_frame
from reground.edits.quiet import leave_filters_to_caller, warnings_kept_back
from reground.edits.records import ImageRef
from reground.errors import CapabilityError, InputError, ModelError, nearest
from reground.models.base import (
    ALL_CAPABILITIES,
    NUM_TOP_TOKENS,
    Capability,
    Delimiters,
    ModelInfo,
    Output,
    Query,
    TargetScore,
    check_decoding,
    check_paired,
)
from reground.models.hf.allocator import give_back_when_freed
from reground.models.hf.chat_format import ChatFormat, end_ids_of, rendered
from reground.models.hf.checkpoint import (
    align_memory,
    check_finite,
    check_size,
    folder_revision,
    keep_as_packed,
    outlined_size,
    parse_device,
    parse_dtype,
    placement,
    read_delimiters,
    resolve_source,
)
from reground.models.hf.family import EncodedFrame, Family, TokenRow, family_of
from reground.models.hf.image_cache import ImageCache
from reground.models.hf.image_store import ImageStore, code_digest, device_words
from reground.models.hf.key_values import roomy_cache
from reground.models.hf.sampling import ChainLimit, SeededSampling, sample_seed
from reground.models.hf.tiles import in_tiles

__all__ = ["CutPrompt", "HfModel", "Pass", "load_hf_model", "prompt_tokens"]

_log = logging.getLogger(__name__)

# What transformers and what it stands on raise on a checkpoint that is damaged or not one.
_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    ImportError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    AssertionError,
    SafetensorError,
    StrictDataclassError,
)

_UNKNOWN_REVISION = "unknown"

#: Parameters under which a model on a CPU runs on one thread.
_ONE_THREAD_BELOW = 20_000_000
#: Parameters from which on freed memory is not kept.
_GIVES_BACK_FROM = 100_000_000

#: What ends a sentence of a chain.
_STOPS = (".", "!", "?", "\n", "。", "！", "？")

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

#: Label of positions that carry no loss, as ``transformers`` and ``torch`` have it.
_NO_LABEL = -100


def load_hf_model(
    path_or_name: str,
    *,
    name: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    revision: str | None = None,
    quantization: str | None = None,
    attention: str | None = None,
    max_pixels: int | None = None,
    offline: bool = False,
    batch_size: int = 64,
    image_cache_bytes: int = 256 << 20,
) -> HfModel:
    """A local vision-language model, ready to answer and to be edited.

    Args:
        path_or_name: A checkpoint folder, or a name on the hub.
        name: What results call it; ``path_or_name`` if None.
        dtype: ``float32``, ``bfloat16`` or ``float16``; as stored if None.
        device: Where to run, e.g. ``cuda:0``; the best there is if None.
        device_map: Handed to ``from_pretrained`` to spread a large model; not together with ``device``.
        revision: Branch, tag or commit on the hub; its main branch if None.
        quantization: ``4bit`` or ``8bit``: packed weights, by bitsandbytes. They cannot be changed in place.
        attention: Implementation of attention, as ``transformers`` names them; its own choice if None.
        max_pixels: Pictures of more pixels are made smaller first; as the processor has it if None.
        offline: Take what is in the local cache and ask no server.
        batch_size: Rows in one pass; results do not depend on it but for rounding.
        image_cache_bytes: Image features kept between calls; 0 encodes every image every time.

    Raises:
        ModelError: Not a checkpoint; weights missing, unreadable or not finite; no chat template.
        CapabilityError: No family is described for this architecture.
        InputError: A dtype, device, size or limit that cannot be used.
        MissingExtraError: Packed weights are wanted, and what packs them is not installed.
    """
    if device is not None and device_map is not None:
        raise InputError(
            f"both device={device!r} and device_map={device_map!r} were given.", "one of them", "drop one."
        )
    if batch_size < 1 or image_cache_bytes < 0:
        raise InputError(
            f"batch_size={batch_size}, image_cache_bytes={image_cache_bytes} were given.",
            "a batch_size of at least 1, image_cache_bytes of at least 0",
            "leave them out for the defaults.",
        )
    source, folder = resolve_source(path_or_name)
    wanted_dtype = parse_dtype(dtype)
    wanted_device = parse_device(device)
    where: dict[str, Any] = {"revision": revision or "main", "local_files_only": offline}
    options = {**placement(device_map, quantization, wanted_device), "attn_implementation": attention}
    try:
        config = AutoConfig.from_pretrained(source, **where)
        family = family_of(config, path_or_name)
        num_outlined = outlined_size(config)
        if folder is not None:
            check_size(num_outlined, folder, path_or_name)
        _fit_allocator(num_outlined, wanted_device)
        processor = family.load_processor(source, **where)
        if processor.chat_template is None:
            processor.chat_template = family.chat_template
        if max_pixels is not None:
            _limit_pixels(processor, family, max_pixels, path_or_name)
        with _quiet(is_quiet=folder is not None):
            # Misshapen tensors are let pass here and refused, by name, right below.
            module, report = AutoModelForImageTextToText.from_pretrained(
                source, dtype=wanted_dtype, output_loading_info=True, ignore_mismatched_sizes=True, **where, **options
            )
    except _LOAD_ERRORS as error:
        raise _unreadable(path_or_name, error) from error
    _check_complete(report, path_or_name)
    check_finite(module, path_or_name)
    if "device_map" not in options:
        module.to(wanted_device)
    align_memory(module)
    keep_as_packed(module)
    module.generation_config.cache_implementation = None  # a generation here brings its own
    module.requires_grad_(False).eval()
    if family.prepare is not None:
        family.prepare(module)
    thinking_prompt = rendered(processor, Query(question="?"), path_or_name)
    info = ModelInfo(
        name=name or path_or_name,
        revision=folder_revision(folder) if folder else str(getattr(config, "_commit_hash", None) or _UNKNOWN_REVISION),
        dtype=str(module.dtype).removeprefix("torch."),
        device=str(module.get_input_embeddings().weight.device),
        num_parameters=sum(parameter.numel() for parameter in module.parameters()),
    )
    _fit_threads(info)
    return HfModel(
        module,
        processor,
        family,
        info,
        read_delimiters(processor.tokenizer, folder, thinking_prompt=thinking_prompt, is_opened=family.opens_chain),
        batch_size=batch_size,
        image_cache_bytes=image_cache_bytes,
    )


def _limit_pixels(processor: Any, family: Family, max_pixels: int, source: str) -> None:
    if family.limit_pixels is None:
        raise InputError(
            f"max_pixels={max_pixels} was asked for {source!r}; the family {family.name!r} brings every picture to "
            "sizes of its own.",
            "no max_pixels for this family",
            "leave max_pixels out.",
        )
    family.limit_pixels(processor, max_pixels)


def _fit_threads(info: ModelInfo) -> None:
    """Let a small model on a CPU run on one thread, unless the user has said how many.

    A decoding step of such a model is a few hundred tiny operations; waking a second thread for each costs more than
    it brings (quickstart with 8 edits on two cores: 55 s with one thread, 84 s with two).
    """
    is_small = info.num_parameters is not None and info.num_parameters < _ONE_THREAD_BELOW
    if info.device == "cpu" and is_small and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _fit_allocator(num_parameters: int, device: torch.device) -> None:
    """Let freed memory go back to the system beside a large model on a CPU; before loading, which would leave holes."""
    if device.type == "cpu" and num_parameters >= _GIVES_BACK_FROM:
        give_back_when_freed()


@dataclass(frozen=True, eq=False)
class Pass:
    """One batch on its way through the model: first its prompts, then, with a cache, each token it is continued by.

    All forward calls of one generation belong to one pass; every other forward call is a pass of its own.

    Attributes:
        prompt_BT: True where the first call holds the prompts' own tokens: neither padding nor completion.
        image_BT: True on image tokens; None where whoever opened the pass did not say.
    """

    prompt_BT: torch.Tensor
    image_BT: torch.Tensor | None = None

    @property
    def prompt_ends_B(self) -> torch.Tensor:
        """Column of each row's last prompt token in the first call."""
        columns_T = torch.arange(self.prompt_BT.shape[1], device=self.prompt_BT.device)
        return (columns_T * self.prompt_BT).argmax(dim=1)


def prompt_tokens(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """True (BT) on the prompts' own tokens of what ``HfModel.training_batch`` or ``prompt_batch`` returned."""
    prompt_BT = batch["attention_mask"] == 1
    return prompt_BT & (batch["labels"] == _NO_LABEL) if "labels" in batch else prompt_BT


@dataclass(frozen=True)
class CutPrompt:
    """How a prompt is cut into tokens, for methods that act at one of them.

    Attributes:
        text: The prompt with image placeholders written out.
        spans: Where each token lies in ``text``, from the first character to one past the last; empty spans for
            tokens the tokenizer adds.
        is_image: For each token, whether a feature of an image takes its place.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    is_image: tuple[bool, ...]


class HfModel:
    """A loaded model. ``load_hf_model`` makes one; methods reach its weights through the members below.

    Attributes:
        module: The ``transformers`` module itself, in eval mode, no parameter asking for gradients.
        processor: The checkpoint's own processor.
        family: Where the parts of this architecture are.
        chat: How its prompts are written and its outputs read.
        images: The cache of image features.
        stored_images: Image features on disk; None where none are kept.
        batch_size: Rows in one pass.
        edits_in_force: Weight edits now applied, oldest first; kept by the methods so that they are undone in order.
        current_pass: The batch that is on its way through the module; None between passes. Edits that treat a
            prompt's last token, or a row as a whole, read it in their hooks.
        is_quantized: Whether weights are packed numbers that cannot be changed in place.
    """

    def __init__(
        self,
        module: Any,
        processor: Any,
        family: Family,
        info: ModelInfo,
        delimiters: Delimiters,
        *,
        batch_size: int = 64,
        image_cache_bytes: int = 256 << 20,
    ) -> None:
        self.module = module
        self.processor = processor
        self.family = family
        self.images = ImageCache(image_cache_bytes)
        self.stored_images: ImageStore | None = None
        self.batch_size = batch_size
        self.edits_in_force: list[object] = []
        self.current_pass: Pass | None = None
        self.is_quantized = bool(getattr(module, "is_quantized", False))
        self._info = info
        self._delimiters = delimiters
        self._vision_epoch = 0
        self._image_token_id: int = module.config.image_token_id
        self.chat = ChatFormat(
            processor,
            family,
            delimiters,
            end_ids_of(module.generation_config, processor.tokenizer, family),
            image_token=processor.tokenizer.convert_ids_to_tokens(self._image_token_id),
            source=info.name,
        )

    # What every model declares and answers.

    @property
    def info(self) -> ModelInfo:
        """Name, revision, number format and device."""
        return self._info

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All of them, as the weights are here, but what the family lacks and what packed weights rule out."""
        ruled_out: frozenset[Capability] = frozenset({"float_weights"} if self.is_quantized else ())
        return ALL_CAPABILITIES - self.family.lacks - ruled_out

    @property
    def delimiters(self) -> Delimiters:
        """How this model marks its chain and its answer."""
        return self._delimiters

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

        A chain with a budget is closed at the end of the sentence that uses it up, see ``Query.chain_tokens``; its
        tokens are counted from its opening delimiter on.

        Decoding settings that a checkpoint brings along (penalties, top-k and so on) are not used. A sample
        depends on the query and the seed alone, not on the batch it is drawn in; the global random state is
        left as it was.

        Raises:
            InputError: A setting is out of range, or a prompt is longer than the model reads.
        """
        check_decoding(max_new_tokens, num_samples, temperature)
        rows = self._prompt_rows(queries)
        num_drawn = num_samples if temperature > 0 else 1
        jobs = [(index, sample) for index in range(len(rows)) for sample in range(num_drawn)]
        outputs: dict[tuple[int, int], Output] = {}
        for batch in self._batches([len(rows[index].ids) for index, _ in jobs]):
            chosen = [jobs[position] for position in batch]
            seeds = [sample_seed(rows[index].text, rows[index].image, sample, seed) for index, sample in chosen]
            texts = self._generate_batch(
                [rows[index] for index, _ in chosen],
                seeds,
                self._chain_limits([queries[index] for index, _ in chosen]),
                max_new_tokens=max_new_tokens,
                temperature=temperature,
            )
            outputs.update(zip(chosen, texts, strict=True))
        return [[outputs[index, sample % num_drawn] for sample in range(num_samples)] for index in range(len(rows))]

    @torch.no_grad()
    def score(self, queries: Sequence[Query], targets: Sequence[str]) -> list[TargetScore]:
        """Teacher-forced score of ``targets[i]`` put straight after the prompt of ``queries[i]``.

        A target is cut into tokens as a continuation of its prompt. If the prompt ends in neither a special
        token nor white space, a space is put between, as a model would write one.

        Raises:
            InputError: Not one target for each query, or a target without tokens.
        """
        rows = self._completed_rows(queries, targets, ends=False)
        scores: dict[int, TargetScore] = {}
        for batch in self._batches([len(row.ids) for row in rows]):
            chosen = [rows[position] for position in batch]
            logits_BTV = self._forward(chosen, keep=1 + max(row.num_completion for row in chosen))
            for position, row, logits_TV in zip(batch, chosen, logits_BTV, strict=True):
                scores[position] = _target_score(logits_TV[-row.num_completion - 1 : -1], row)
        return [scores[position] for position in range(len(rows))]

    @torch.no_grad()
    def fingerprint(self, queries: Sequence[Query]) -> str:
        """SHA-256 over the bytes of the next-token logits of ``queries``: equal iff those are bit-equal."""
        rows = self._prompt_rows(queries)
        last: dict[int, bytes] = {}
        for batch in self._batches([len(row.ids) for row in rows]):
            logits_BV = self._forward([rows[position] for position in batch], keep=1)[:, -1].float().cpu()
            last.update((position, row_V.numpy().tobytes()) for position, row_V in zip(batch, logits_BV, strict=True))
        return hashlib.sha256(b"".join(last[position] for position in range(len(rows)))).hexdigest()

    # What methods that change weights use.

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        device: torch.device = self.module.get_input_embeddings().weight.device
        return device

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """Every device that holds weights, sorted; several if the layers are spread."""
        return tuple(sorted({str(parameter.device) for parameter in self.module.parameters()}))

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        dtype: torch.dtype = self.module.dtype
        return dtype

    @property
    def end_tokens(self) -> tuple[str, ...]:
        """Tokens that end an answer; the first is the one to train on."""
        return tuple(self.processor.tokenizer.convert_ids_to_tokens(list(self.chat.end_ids)))

    @property
    def text_layers(self) -> torch.nn.ModuleList:
        """The layers of the text model that run for every prompt, first to last."""
        stack: torch.nn.ModuleList = self.module.get_submodule(self.family.text_layers)
        if self.family.layers_run is None:
            return stack
        return torch.nn.ModuleList(stack[index] for index in self._layers_run)

    @property
    def _layers_run(self) -> Sequence[int]:
        """Where in the stack the text layers are that run for every prompt."""
        stack = self.module.get_submodule(self.family.text_layers)
        run = self.family.layers_run
        return range(len(stack)) if run is None else run(self.module.config)

    @property
    def tower_layers(self) -> list[torch.nn.Module]:
        """The layers of the vision tower; none where a tower of another kind keeps them elsewhere."""
        tower = _part_of(self.module, self.family.vision_layers)
        return [] if tower is None else list(tower.children())

    @property
    def num_tower_layers_read(self) -> int:
        """How many layers of the vision tower the model reads, from the first on."""
        count = self.family.num_vision_layers
        return count(self.module.config) if count else len(self.tower_layers)

    @property
    def tapped_tower_layers(self) -> Sequence[int]:
        """Layers of the vision tower, from 0, whose output the model reads itself, besides the one above them."""
        tapped = self.family.tapped_vision_layers
        return tapped(self.module.config) if tapped else ()

    @property
    def mlps(self) -> list[torch.nn.Module]:
        """The MLPs of the text layers that run for every prompt, and of the vision tower, where there are such."""
        found = (_part_of(layer, self.family.mlp) for layer in self.text_layers)
        return [*(mlp for mlp in found if mlp is not None), *self._tower_mlps]

    @property
    def _tower_mlps(self) -> list[torch.nn.Module]:
        found = (_part_of(layer, "mlp") for layer in self.tower_layers)
        return [mlp for mlp in found if mlp is not None]

    def layers_from(self, layer: int) -> list[torch.nn.Module]:
        """That text layer and all that stand above it, those among them that not every prompt runs.

        Raises:
            InputError: There is no such layer.
        """
        stack: torch.nn.ModuleList = self.module.get_submodule(self.family.text_layers)
        return list(stack)[self._layers_run[self.layer_index(layer)] :]

    def layer_index(self, layer: int) -> int:
        """Index from 0 of a text layer; negative counts from the last.

        Raises:
            InputError: There is no such layer.
        """
        self.layer_path(layer)
        return layer % len(self.text_layers)

    def layer_path(self, layer: int, part: str = "") -> str:
        """Dotted path of a text layer, or of a part of it.

        Args:
            layer: Index from 0; negative counts from the last.
            part: Path within the layer, e.g. ``self_attn.q_proj``; ``mlp`` is whatever this family calls its MLP.

        Raises:
            InputError: There is no such layer or part.
        """
        inner = self.family.mlp + part.removeprefix("mlp") if part.split(".")[0] == "mlp" else part
        return self._path_in(self.family.text_layers, "text", layer, inner, self._layers_run)

    def _path_in(self, stack: str, kind: str, layer: int, part: str, indices: Sequence[int]) -> str:
        layers = [self.module.get_submodule(stack)[index] for index in indices]
        if not -len(layers) <= layer < len(layers):
            raise InputError(
                f"{kind} layer {layer} of {self.info.name!r} was asked for.",
                f"{-len(layers)} to {len(layers) - 1}",
                "correct the method's `layers`.",
            )
        path = f"{stack}.{indices[layer % len(layers)]}" + (f".{part}" if part else "")
        try:
            self.module.get_submodule(path)
        except AttributeError as error:
            parts = sorted(name for name, _ in layers[layer].named_modules() if name)
            near = nearest(part, parts)
            raise InputError(
                f"the part {part!r} of {kind} layer {layer} of {self.info.name!r} was asked for.",
                ", ".join(parts),
                "correct the method's `modules`" + (f"; did you mean {near!r}?" if near else "."),
            ) from error
        return path

    def layer_parameters(self, layer: int, part: str = "mlp") -> dict[str, torch.nn.Parameter]:
        """Parameters of a part of a text layer, by their full names in ``module``."""
        return self._parameters_at(self.layer_path(layer, part))

    def vision_layer_parameters(self, layer: int, part: str = "mlp") -> dict[str, torch.nn.Parameter]:
        """Parameters of a part of a layer of the vision tower, by their full names in ``module``.

        Args:
            layer: Index from 0; negative counts from the last layer that the model reads.
            part: Path within the layer.

        Raises:
            CapabilityError: The family does not say where those layers are.
            InputError: There is no such layer or part.
        """
        stack = self._described(self.family.vision_layers, "the layers of the vision tower")
        return self._parameters_at(self._path_in(stack, "vision", layer, part, range(self.num_tower_layers_read)))

    def projector_parameters(self) -> dict[str, torch.nn.Parameter]:
        """Parameters of what stands between vision tower and text model, by their full names in ``module``.

        Raises:
            CapabilityError: The family does not say where it is.
        """
        return self._parameters_at(self._described(self.family.projector, "the projector"))

    def _parameters_at(self, path: str) -> dict[str, torch.nn.Parameter]:
        return {f"{path}.{name}": parameter for name, parameter in self.module.get_submodule(path).named_parameters()}

    def _described(self, path: str | None, what: str) -> str:
        if path is None:
            raise CapabilityError(
                f"{what} of {self.info.name!r} were to be changed; the family {self.family.name!r} does not name them.",
                "a family that says where they are",
                "state their path in the family's file in models/hf/, or train the text layers.",
            )
        return path

    def invalidate_images(self) -> None:
        """Forget all image features: to be called after any change to the tower or the connector."""
        self._vision_epoch += 1
        self.images.clear()

    def store_images(self) -> None:
        """From now on keep image features on disk too, for other processes; of a model of unknown revision, none."""
        if self.info.revision == _UNKNOWN_REVISION:
            return
        config = self.module.config
        self.stored_images = ImageStore(
            [
                self.info.revision,
                self.info.dtype,
                self.info.device,
                [device_words(device) for device in self.devices],
                str(getattr(config, "quantization_config", None)),
                config._attn_implementation,
                self.processor.image_processor.to_json_string(),
                torch.get_num_threads(),
                torch.__version__,
                transformers_version,
                pillow_version,
                __version__,
                code_digest(),
            ]
        )

    def cut_prompt(self, query: Query) -> CutPrompt:
        """How the prompt of ``query`` is cut into tokens.

        Raises:
            CapabilityError: The tokenizer does not say where in a text its tokens lie.
        """
        tokenizer = self.processor.tokenizer
        if not tokenizer.is_fast:
            raise CapabilityError(
                f"the tokens of a prompt of {self.info.name!r} were to be located; its tokenizer is a "
                f"{type(tokenizer).__name__}, which keeps no offsets.",
                "a checkpoint with a fast tokenizer (tokenizer.json)",
                "convert the tokenizer, or choose a method that needs no subject token.",
            )
        row = self._prompt_row(query)
        spans = tokenizer(
            row.text, add_special_tokens=self.chat.adds_special_tokens(row.text), return_offsets_mapping=True
        )["offset_mapping"]
        is_image = tuple(token == self._image_token_id for token in row.ids)
        return CutPrompt(row.text, tuple((start, end) for start, end in spans), is_image)

    @torch.no_grad()
    def prompt_batch(self, queries: Sequence[Query]) -> dict[str, torch.Tensor]:
        """Inputs for one pass over prompts alone: as ``training_batch``, without completions and labels."""
        return self._collate(self._prompt_rows(queries))

    def image_tokens(self, queries: Sequence[Query], prompt_BT: torch.Tensor) -> torch.Tensor:
        """True (BT) on the image tokens of a batch that was made from ``queries``.

        Args:
            queries: What was asked, in the order of the rows.
            prompt_BT: True on the prompts' own tokens; see ``prompt_tokens``.
        """
        image_BT = torch.zeros_like(prompt_BT)
        for image_T, prompt_T, row in zip(image_BT, prompt_BT, self._prompt_rows(queries), strict=True):
            ids = torch.tensor(row.ids, device=prompt_BT.device)
            image_T[prompt_T] = ids == self._image_token_id
        return image_BT

    def training_batch(
        self, queries: Sequence[Query], completions: Sequence[str], *, ends: bool = True, trains_vision: bool = False
    ) -> dict[str, torch.Tensor]:
        """Inputs for one teacher-forced pass over all rows, to be used for any number of steps.

        Args:
            queries: What is asked.
            completions: What should be written after each prompt, delimiters included.
            ends: Put the end token after each completion, and train on it.
            trains_vision: Encode the images here and now, with gradients, past the cache: for methods that train
                tower or projector. Such a batch is good for one step.

        Returns:
            ``inputs_embeds`` (BTH, left-padded), ``attention_mask``, ``position_ids`` (in some families with an axis
            before the rows) and ``labels`` (BT; -100 outside the completion). Unless ``trains_vision``, the embeddings
            carry no gradient: they hold for methods that train neither the token embeddings nor the vision side.
        """
        with torch.set_grad_enabled(trains_vision and torch.is_grad_enabled()):
            rows = self._completed_rows(queries, completions, ends=ends, is_live=trains_vision)
            batch = self._collate(rows)
        length = batch["attention_mask"].shape[1]
        labels_BT = torch.full((len(rows), length), _NO_LABEL, dtype=torch.long)
        for index, row in enumerate(rows):
            labels_BT[index, length - row.num_completion :] = torch.tensor(row.ids[-row.num_completion :])
        return {**batch, "labels": labels_BT.to(self.device)}

    @contextmanager
    def passing(self, prompt_BT: torch.Tensor, image_BT: torch.Tensor | None = None) -> Iterator[Pass]:
        """A pass for the forward calls inside the block: to be opened around every direct call of ``module``.

        Args:
            prompt_BT: True on the prompts' own tokens, e.g. what ``prompt_tokens`` says of a training batch.
            image_BT: True on image tokens, e.g. what ``image_tokens`` says; None if nothing in force asks for them.
        """
        current = Pass(prompt_BT, image_BT)
        with self.resuming(current):
            yield current

    @contextmanager
    def resuming(self, current: Pass | None) -> Iterator[None]:
        """For forward calls inside the block that belong to a pass which was open before; None for no pass."""
        outer = self.current_pass
        self.current_pass = current
        try:
            yield
        finally:
            self.current_pass = outer

    def require_pass(self) -> Pass:
        """The batch that is on its way through the module.

        Raises:
            ModelError: ``module`` was called directly, so that it is not known where each prompt ends.
        """
        if self.current_pass is None:
            raise ModelError(
                f"the module of {self.info.name!r} was called directly while an edit in force asks where prompts end.",
                "generate, score and fingerprint of the model, or a call inside `with model.passing(prompt_BT)`",
                "open a pass around the call, or restore the edit first.",
            )
        return self.current_pass

    # Prompts, batches, passes.

    def _prompt_row(self, query: Query) -> TokenRow:
        (row,) = self._prompt_rows([query])
        return row

    def _prompt_rows(self, queries: Sequence[Query], *, is_live: bool = False) -> list[TokenRow]:
        keys = ["" if query.image is None else image_key(query.image) for query in queries]
        if is_live:
            encoded = self._encoded([query.image for query in queries if query.image is not None])
            frames = [next(encoded) if key else () for key in keys]
        else:
            frames_of = self._frames(
                {key: query.image for key, query in zip(keys, queries, strict=True) if query.image}
            )
            frames = [frames_of.get(key, ()) for key in keys]
        return [self._written(*of_query) for of_query in zip(queries, keys, frames, strict=True)]

    def _written(self, query: Query, key: str, frames: tuple[EncodedFrame, ...]) -> TokenRow:
        pieces, begun = self.chat.prompt(query, len(frames))
        expanded = pieces[0] + "".join(
            frame.placeholder + piece for frame, piece in zip(frames, pieces[1:], strict=True)
        )
        ids = self.chat.tokenise(expanded)
        self._check_length(len(ids), query.question)
        num_features = sum(len(frame.features_TH) for frame in frames)
        num_places = ids.count(self._image_token_id)
        if num_places != num_features:
            raise ModelError(
                f"{self.info.name!r} puts {num_places} image tokens in a prompt for {num_features} features.",
                "a processor that fits the model's vision tower and connector",
                "load the processor that was saved with this model.",
            )
        num_begun = len(ids) - len(self.chat.tokenise(expanded[: len(expanded) - len(begun)])) if begun else 0
        return TokenRow(expanded, ids, frames, image=key, begun=begun, num_begun=num_begun)

    def _completed_rows(
        self, queries: Sequence[Query], completions: Sequence[str], *, ends: bool, is_live: bool = False
    ) -> list[TokenRow]:
        check_paired(queries, completions)
        return [
            self._with_completion(row, completion, ends=ends)
            for row, completion in zip(self._prompt_rows(queries, is_live=is_live), completions, strict=True)
        ]

    def _with_completion(self, row: TokenRow, completion: str, *, ends: bool) -> TokenRow:
        written = self.chat.continued(row.text, row.ids, completion)
        if ends:
            written = (*written, self.chat.end_ids[0])
        self._check_length(len(row.ids) + len(written), completion)
        return replace(row, ids=row.ids + written, num_completion=len(written))

    def _check_length(self, num_tokens: int, text: str) -> None:
        limit = getattr(self.module.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and num_tokens > limit:
            raise InputError(
                f"the prompt of {text[:60]!r} has {num_tokens} tokens.",
                f"at most {limit}, which is what {self.info.name!r} reads",
                "shorten the question or the notes, or use fewer or smaller images.",
            )

    def _frames(self, images: Mapping[str, ImageRef]) -> dict[str, tuple[EncodedFrame, ...]]:
        """The frames of images by content key: held in memory, or on disk, or encoded now."""
        store = self.stored_images if self._vision_epoch == 0 else None  # after an edit the tower is not the stored one
        found: dict[str, tuple[EncodedFrame, ...]] = {}
        missing: dict[str, ImageRef] = {}
        for key, image in images.items():
            frames = self.images.get(self._held_as(key))
            if frames is None and store is not None and (frames := store.find(key)) is not None:
                self.images.put(self._held_as(key), frames)
            if frames is None:
                missing[key] = image
            else:
                found[key] = frames
        encoded = self._encoded(list(missing.values()))
        for key in missing:
            with torch.no_grad():
                found[key] = next(encoded)
            self.images.put(self._held_as(key), found[key])
            if store is not None:
                store.keep(key, found[key])
        return found

    def _held_as(self, content_key: str) -> str:
        return f"{self._vision_epoch}:{content_key}"

    def _encoded(self, images: Sequence[ImageRef]) -> Iterator[tuple[EncodedFrame, ...]]:
        """The frames of each image, encoded when they are asked for."""
        places = [(image, number) for image in images for number in range(len(image.frames))]
        processed = _one_ahead(lambda place: self._processed(*place), places)
        for image in images:
            # One frame at a time: features must not depend on which images happen to come together.
            yield tuple(self._frame(next(processed)) for _ in image.frames)

    def _frame(self, processed: Any) -> EncodedFrame:
        # Features are kept, so that they must not depend on what for they are made; those with gradients are not kept.
        with nullcontext() if torch.is_grad_enabled() else in_tiles(self._tower_mlps):
            return self.family.encode(self.module, self.processor, processed)

    def _processed(self, image: ImageRef, number: int) -> Any:
        return self.family.process(self.processor, open_frame(image, number), len(image.frames))

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Positions in batches of similar length, the longest first: what does not fit fails at once."""
        order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _collate(self, rows: Sequence[TokenRow]) -> dict[str, torch.Tensor]:
        length = max(len(row.ids) for row in rows)
        ids_BT = torch.full((len(rows), length), self.chat.pad_id, dtype=torch.long)
        mask_BT = torch.zeros((len(rows), length), dtype=torch.long)
        for index, row in enumerate(rows):
            ids_BT[index, length - len(row.ids) :] = torch.tensor(row.ids)
            mask_BT[index, length - len(row.ids) :] = 1
        image_BT = self._image_places(rows, length)
        embeds_BTH: torch.Tensor = self.module.get_input_embeddings()(ids_BT.to(self.device))
        features = [frame.features_TH for row in rows for frame in row.frames]
        if features:
            embeds_BTH = embeds_BTH.clone()
            embeds_BTH[image_BT.to(self.device)] = torch.cat(features).to(embeds_BTH.device, embeds_BTH.dtype)
        batch = {
            "inputs_embeds": embeds_BTH,
            "attention_mask": mask_BT.to(self.device),
            "position_ids": self._positions(rows, length).to(self.device),
        }
        if self.family.further_inputs is not None:
            further = self.family.further_inputs(self.module, rows, length)
            batch.update({name: tensor.to(self.device) for name, tensor in further.items()})
        return batch

    def _image_places(self, rows: Sequence[TokenRow], length: int) -> torch.Tensor:
        image_BT = torch.zeros((len(rows), length), dtype=torch.bool)
        for index, row in enumerate(rows):
            image_BT[index, length - len(row.ids) :] = torch.tensor(row.ids) == self._image_token_id
        return image_BT

    def _passing_rows(
        self, batch: Mapping[str, torch.Tensor], rows: Sequence[TokenRow]
    ) -> AbstractContextManager[Pass]:
        prompt_BT = _prompt_tokens(batch, rows)
        return self.passing(prompt_BT, self._image_places(rows, prompt_BT.shape[1]).to(prompt_BT.device))

    def _positions(self, rows: Sequence[TokenRow], length: int) -> torch.Tensor:
        """Position of each token, the first on padding: BT, or with an axis before the rows where there are several."""
        count = self.family.positions
        if count is None:
            positions_BT = torch.zeros((len(rows), length), dtype=torch.long)
            for index, row in enumerate(rows):
                positions_BT[index, length - len(row.ids) :] = torch.arange(len(row.ids))
            return positions_BT + self.family.position_offset
        columns = [count(self.module, row.ids, row.frames) for row in rows]
        return torch.stack([functional.pad(one, (length - one.shape[1], 0)) for one in columns], dim=1)

    def _forward(self, rows: Sequence[TokenRow], *, keep: int) -> torch.Tensor:
        """Logits (BTV) of the last ``keep`` positions only: prompts are long and vocabularies large."""
        batch = self._collate(rows)
        with self._passing_rows(batch, rows):
            logits_BTV: torch.Tensor = self.module(
                **batch, use_cache=False, logits_to_keep=keep, return_dict=True
            ).logits
        return logits_BTV

    @torch.no_grad()
    def _generate_batch(
        self,
        rows: Sequence[TokenRow],
        seeds: Sequence[int],
        limits: Sequence[LogitsProcessor],
        *,
        max_new_tokens: int,
        temperature: float,
    ) -> list[Output]:
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            use_cache=True,
            eos_token_id=list(self.chat.end_ids),
            pad_token_id=self.chat.pad_id,
        )
        noise = [SeededSampling(seeds, temperature, self.device)] if temperature > 0 else []
        batch = self._collate(rows)
        batch["position_ids"] = batch["position_ids"] - self.family.position_offset
        at_first = {name: batch.pop(name) for name in self.family.first_call_inputs & batch.keys()}
        with self._passing_rows(batch, rows), _given_at_first(self.module, at_first):
            ids_BT = self.module.generate(
                **batch,
                cache=roomy_cache(self.module.config.get_text_config(decoder=True), max_new_tokens),
                generation_config=settings,
                logits_processor=LogitsProcessorList([*noise, *limits]),
            )
        return [
            self.chat.written(ids, begun=row.begun, num_begun=row.num_begun)
            for ids, row in zip(ids_BT.tolist(), rows, strict=True)
        ]

    def _chain_limits(self, queries: Sequence[Query]) -> list[LogitsProcessor]:
        """What closes the chains of a batch that have a budget; nothing if none has."""
        if not self.delimiters.writes_chain or all(query.chain_tokens is None for query in queries):
            return []
        tokenizer, marks = self.processor.tokenizer, self.delimiters

        def ids_of(mark: str) -> list[int]:
            ids: list[int] = tokenizer(mark, add_special_tokens=False)["input_ids"]
            return ids

        def is_open(ids: list[int]) -> bool:
            text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            has_begun = marks.template_opens_chain or marks.chain_open in text
            return has_begun and marks.chain_close not in text and not set(ids) & set(self.chat.end_ids)

        num_opening = 0 if marks.template_opens_chain else len(ids_of(marks.chain_open))
        budgets = [None if query.chain_tokens is None else num_opening + query.chain_tokens for query in queries]
        ending = ids_of(marks.chain_close + (marks.answer_open or ""))
        return [
            ChainLimit(budgets, ending, lambda token: tokenizer.decode([token]).rstrip(" ").endswith(_STOPS), is_open)
        ]


def _one_ahead(make: Callable[[_Item], _Made], items: Sequence[_Item]) -> Iterator[_Made]:
    """``make`` of each item, in order; a thread is at work on the next one while the caller uses what it has."""
    if len(items) < 2:
        yield from map(make, items)
        return
    with warnings_kept_back(), ThreadPoolExecutor(1, "pictures", initializer=leave_filters_to_caller) as pool:
        waiting: deque[Future[_Made]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) == 2:
                yield waiting.popleft().result()
        yield waiting.popleft().result()


def _part_of(module: torch.nn.Module, path: str | None) -> torch.nn.Module | None:
    """The part at a path, None where there is none."""
    try:
        return None if path is None else module.get_submodule(path)
    except AttributeError:
        return None


def _prompt_tokens(batch: Mapping[str, torch.Tensor], rows: Sequence[TokenRow]) -> torch.Tensor:
    prompt_BT = batch["attention_mask"] == 1
    for row_T, row in zip(prompt_BT, rows, strict=True):
        row_T[len(row_T) - row.num_completion :] = False
    return prompt_BT


def _target_score(logits_TV: torch.Tensor, row: TokenRow) -> TargetScore:
    target_T = torch.tensor(row.ids[-row.num_completion :], device=logits_TV.device)
    log_probs_TV = logits_TV.float().log_softmax(-1)
    is_top_T = logits_TV.argmax(-1) == target_T
    return TargetScore(
        top1_share=int(is_top_T.sum()) / row.num_completion,
        log_prob=float(log_probs_TV.gather(-1, target_T[:, None]).sum()),
        num_tokens=row.num_completion,
        target_ids=row.ids[-row.num_completion :],
        top_ids=tuple(map(tuple, logits_TV.topk(min(NUM_TOP_TOKENS, logits_TV.shape[-1])).indices.tolist())),
    )


@contextmanager
def _given_at_first(module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """The first call of ``module`` inside the block is given ``inputs`` besides its own."""
    if not inputs:
        yield
        return

    def give(_: torch.nn.Module, arguments: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, Any]:
        handle.remove()
        return arguments, {**settings, **inputs}

    handle = module.register_forward_pre_hook(give, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _quiet(*, is_quiet: bool) -> Iterator[None]:
    """No progress bars inside the block (reading a folder is quick, a download is not), nor a report of the load.

    What the report would say is checked by ``_check_complete``, and said in a sentence.
    """
    was_shown = progress.is_progress_bar_enabled()
    verbosity = progress.get_verbosity()
    progress.set_verbosity_error()
    if is_quiet:
        progress.disable_progress_bar()
    try:
        yield
    finally:
        progress.set_verbosity(verbosity)
        if is_quiet and was_shown:
            progress.enable_progress_bar()


def _check_complete(report: Mapping[str, Any], source: str) -> None:
    absent = sorted(str(name) for name in report.get("missing_keys", ()))
    misfits = sorted(str(entry) for entry in report.get("mismatched_keys", ()))
    if absent or misfits:
        first = (absent or misfits)[0]
        raise ModelError(
            f"the weights at {source!r} do not cover the model: "
            f"{len(absent) + len(misfits)} tensors are missing or misshapen, the first is {first}.",
            "a checkpoint with every tensor its config calls for",
            "save or download the checkpoint again.",
        )
    unused = sorted(str(name) for name in report.get("unexpected_keys", ()))
    if unused:
        _log.warning("%s: the model has no place for %d tensors, the first is %s.", source, len(unused), unused[0])


def _unreadable(source: str, error: Exception) -> ModelError:
    said = " ".join(line.strip() for line in str(error).strip().splitlines()[:2] if line.strip())
    if not said or isinstance(error, KeyError):
        said = f"{type(error).__name__} {said}".strip()
    return ModelError(
        f"the checkpoint {source!r} cannot be loaded: {said}",
        "a folder or hub name with config, weights (safetensors) and processor of one model",
        "check that all files are there and whole; for a hub name, that it exists and the network is up.",
    )
