"""SmolVLM and SmolVLM2: built as Idefics3 is, with a processor that also takes video; ours asks about images alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from transformers import ProcessorMixin, SmolVLMProcessor

from reground.errors import MissingExtraError
from reground.models.hf import idefics3
from reground.models.hf.image_only import image_only

__all__ = ["FAMILY", "SmolVLMImageProcessor"]


class SmolVLMImageProcessor(image_only(SmolVLMProcessor)):  # type: ignore[misc]
    """The stock processor without its video part, which is a required argument of it and says how to sample frames."""

    video_processor = SimpleNamespace(num_frames=None, fps=None)

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        video_processor: None = None,
        image_seq_len: int = 169,
        chat_template: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, None, image_seq_len, chat_template, **settings)

    #: The stock one puts its settings for video to every template.
    apply_chat_template = ProcessorMixin.apply_chat_template


SmolVLMImageProcessor.__name__ = "SmolVLMProcessor"


def _load_processor(source: str, **options: Any) -> Any:
    try:
        import num2words  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("num2words", "smolvlm", "the processor of SmolVLM") from error
    return SmolVLMImageProcessor.from_pretrained(source, **options)


FAMILY = replace(idefics3.FAMILY, name="smolvlm", load_processor=_load_processor)
