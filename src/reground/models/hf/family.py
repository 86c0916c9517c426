"""The seam between the adapter and one family of vision-language models.

A family says where things are in its module tree and how one frame becomes features. Everything else
(prompts, batches, decoding, scores, the image cache) is the same for all families and lives in ``adapter``.

Axes: B rows of a batch, T tokens (of a frame: its image tokens), H hidden width of the text model.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from transformers import AutoProcessor

from reground.errors import CapabilityError
from reground.models.base import Capability

__all__ = [
    "FAMILIES",
    "EncodedFrame",
    "Family",
    "TokenRow",
    "family_of",
    "image_outputs",
    "num_layers_read",
    "processed_image",
    "stock_encode",
]

#: Config class of a checkpoint -> where its family is described. A new family is one file and one line here.
FAMILIES: dict[str, str] = {
    "Gemma3Config": "reground.models.hf.gemma3:FAMILY",
    "Glm4vConfig": "reground.models.hf.glm4v:FAMILY",
    "Idefics3Config": "reground.models.hf.idefics3:FAMILY",
    "InternVLConfig": "reground.models.hf.internvl:FAMILY",
    "LlavaConfig": "reground.models.hf.llava:FAMILY",
    "LlavaNextConfig": "reground.models.hf.llava_next:FAMILY",
    "LlavaOnevisionConfig": "reground.models.hf.llava_onevision:FAMILY",
    "MllamaConfig": "reground.models.hf.mllama:FAMILY",
    "PaliGemmaConfig": "reground.models.hf.paligemma:FAMILY",
    "Qwen2VLConfig": "reground.models.hf.qwen2_vl:FAMILY",
    "Qwen2_5_VLConfig": "reground.models.hf.qwen2_vl:FAMILY_2_5",
    "Qwen3VLConfig": "reground.models.hf.qwen3_vl:FAMILY",
    "SmolVLMConfig": "reground.models.hf.smolvlm:FAMILY",
}


def processed_image(processor: Any, image: Image.Image, num_frames: int = 1, **options: Any) -> Any:
    """What the checkpoint's own image processor makes of one picture, as tensors, a batch of one."""
    return processor.image_processor(images=[[image]], return_tensors="pt", **options)


@dataclass(frozen=True)
class EncodedFrame:
    """One frame as the text model receives it.

    Attributes:
        features_TH: What replaces the embeddings of the frame's image tokens, in order.
        placeholder: Text that stands for the frame in the prompt; it holds exactly T image tokens.
        grid: Patches of the frame in time, height and width, for families whose positions depend on them.
        further: What else the text model is given of the frame, by names of the family's own.
    """

    features_TH: torch.Tensor
    placeholder: str
    grid: tuple[int, int, int] | None = None
    further: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.features_TH, *self.further.values()))


@dataclass(frozen=True)
class TokenRow:
    """One sequence before padding.

    Attributes:
        text: The prompt with image placeholders written out.
        ids: Its tokens, and after them those of a completion if there is one.
        frames: What the image tokens stand for, in order.
        num_completion: How many of ``ids``, at the end, are the completion's.
        image: Content key of the image; empty if there is none.
        begun: What of the answer the prompt holds: the beginning of a chain with what opens it.
        num_begun: Tokens of that.
    """

    text: str
    ids: tuple[int, ...]
    frames: tuple[EncodedFrame, ...]
    num_completion: int = 0
    image: str = ""
    begun: str = ""
    num_begun: int = 0


@dataclass(frozen=True)
class Family:
    """Where a family of models keeps its parts. Paths are dotted and start at the loaded module.

    Attributes:
        name: The family's published name.
        text_layers: The list of text layers.
        mlp: The MLP of a text layer, from that layer.
        vision: The modules an image passes through before the text model; while these are unchanged, cached
            features hold.
        encode: Features and placeholder of one frame, from the module, the processor, and what ``process`` returned.
        vision_layers: The list of layers of the vision tower; None where it has none.
        num_vision_layers: From the config, how many of these the model reads, from the first on; None: all.
        tapped_vision_layers: From the config, which of these the model reads besides the last of them.
        projector: What stands between tower and text model; None where it is no module of its own.
        positions: From the module, the tokens of a row and its frames, the position of each token on each axis
            (a row of the result for an axis); None: one axis, counted from 0.
        position_offset: What a plain forward pass counts positions from; a generation adds it itself.
        process: What the processor makes of one picture, from the processor, the picture, and the number of frames of
            the image it is a part of. Runs in a thread of its own while the tower is at work on another picture.
        load_processor: The checkpoint's own processor, from its folder or name and options such as a revision.
        lacks: What a model of this family does not offer, of what others do.
        layers_run: From the config, which of the text layers run for every prompt; None: all. No others are edited.
        further_inputs: From the module, the rows of a batch and its length in tokens, what the module is given besides
            embeddings, mask and positions; None: nothing.
        first_call_inputs: Those of ``further_inputs`` that go into the first call of a generation alone.
        layer_inputs: Those that are handed on to each text layer, with an axis for T before the last.
        prepare: Called once with the loaded module, for hooks that are to stay.
        limit_pixels: Keeps the processor from handing over a picture of more pixels than given; None where every
            picture is brought to one size anyway.
        chat_template: What stands in for the chat template of checkpoints that have none; None: such are refused.
        opens_chain: Whether a model of this family writes a chain only if its chat template opens one; its tokenizer
            knows the delimiters either way.
        end_tokens: Tokens that end a turn, the one to train on first; before those that the checkpoint states.
        dropped_tokens: Tokens that are taken out of what was written.
    """

    name: str
    text_layers: str
    mlp: str
    vision: tuple[str, ...]
    encode: Callable[[Any, Any, Any], EncodedFrame]
    vision_layers: str | None = None
    num_vision_layers: Callable[[Any], int] | None = None
    tapped_vision_layers: Callable[[Any], Sequence[int]] | None = None
    projector: str | None = None
    positions: Callable[[Any, Sequence[int], Sequence[EncodedFrame]], torch.Tensor] | None = None
    position_offset: int = 0
    process: Callable[[Any, Image.Image, int], Any] = processed_image
    load_processor: Callable[..., Any] = AutoProcessor.from_pretrained
    lacks: frozenset[Capability] = frozenset()
    layers_run: Callable[[Any], Sequence[int]] | None = None
    further_inputs: Callable[[Any, Sequence[TokenRow], int], dict[str, torch.Tensor]] | None = None
    first_call_inputs: frozenset[str] = frozenset()
    layer_inputs: frozenset[str] = frozenset()
    prepare: Callable[[Any], None] | None = None
    limit_pixels: Callable[[Any, int], None] | None = None
    chat_template: str | None = None
    opens_chain: bool = False
    end_tokens: tuple[str, ...] = ()
    dropped_tokens: tuple[str, ...] = ()


def family_of(config: Any, source: str) -> Family:
    """The family that a checkpoint's config belongs to.

    Args:
        config: A ``transformers`` config.
        source: Where it came from, for the message.

    Raises:
        CapabilityError: No family is described for this class of config.
    """
    class_name = type(config).__name__
    if class_name not in FAMILIES:
        known = ", ".join(sorted(name.removesuffix("Config") for name in FAMILIES))
        raise CapabilityError(
            f"{source!r} is a {class_name.removesuffix('Config')} checkpoint; that family is not described.",
            f"families {known}",
            "see docs/adding-a-model.md: a family is one small file and one line in models/hf/family.py.",
        )
    module, _, attribute = FAMILIES[class_name].partition(":")
    family: Family = getattr(importlib.import_module(module), attribute)
    return family


def image_outputs(module: Any, inputs: Any, names: Sequence[str]) -> Any:
    """What a module's tower and projector make of one picture.

    Args:
        module: The model.
        inputs: What ``processed_image`` returned.
        names: Which of these the tower is given.
    """
    device = module.get_input_embeddings().weight.device
    given = {name: inputs[name].to(device) for name in names}
    given = {name: value.to(module.dtype) if value.is_floating_point() else value for name, value in given.items()}
    return module.get_image_features(**given, return_dict=True)


def stock_encode(*names: str) -> Callable[[Any, Any, Any], EncodedFrame]:
    """An ``encode`` for families where features and placeholder follow from the stock classes alone.

    A picture that was split comes back as several tiles; their tokens follow each other in the prompt.

    Args:
        names: Which of the image processor's results the tower is given.
    """

    def encode(module: Any, processor: Any, inputs: Any) -> EncodedFrame:
        outputs = image_outputs(module, inputs, names)
        return EncodedFrame(torch.cat(list(outputs.pooler_output)), processor.replace_image_token(inputs, 0))

    return encode


def num_layers_read(config: Any) -> int:
    """How many layers of its tower a model reads that takes the features before the tower's end, as LLaVA does."""
    chosen = config.vision_feature_layer
    indices: list[int] = [chosen] if isinstance(chosen, int) else list(chosen)
    # Hidden state 0 is what enters the first layer, so state i needs i layers.
    num_states: int = config.vision_config.num_hidden_layers + 1
    return max(index % num_states for index in indices)
